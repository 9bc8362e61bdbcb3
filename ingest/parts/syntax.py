"""syntax: what properties of words and sentences explain of neurons."""

from collections.abc import Iterator, Sequence

from catalog.rows import FeatureRow
from ingest.corpus.batches import FeatureSource
from ingest.corpus.syntax.cache import open_syntax
from ingest.features.of_corpus import SYNTAX_ROWS
from ingest.parts.arrays import Arrays, Ids, TableRows
from ingest.parts.explained import explain_features, explanation_columns
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.shapes import LayerPivots, Layers, LayerShape, Size
from ingest.progress import Progress
from ingest.statistics.features import FeatureAccumulator


class Syntax(LayerMeasure[FeatureAccumulator]):
    """Sums by the syntax of a token and of the one before it, in rows that are annotated."""

    part = name = "syntax"

    def features(self, ground: Ground) -> Sequence[FeatureRow]:
        return SYNTAX_ROWS

    def source(self, ground: Ground, progress: Progress) -> FeatureSource:
        asked = ground.settings
        return open_syntax(asked.spacy_model, asked.syntax_subsets, ground.describing_corpus, ground.tokenizer, progress)

    def size(self, shape: LayerShape) -> Size:
        n, n_features = shape.n_neurons, len(SYNTAX_ROWS)
        return Size(FeatureAccumulator.bytes_needed(n_features, n), operations=n, finish_operations=n)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> FeatureAccumulator:
        return FeatureAccumulator(self.name, len(SYNTAX_ROWS), pivots.post)

    def finish(self, sums: FeatureAccumulator, layers: Layers, ground: Ground) -> Arrays:
        return explain_features(sums)

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        return explanation_columns(arrays, ids)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=5)
