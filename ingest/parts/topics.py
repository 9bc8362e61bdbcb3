"""topics: what topics of tokens explain of neurons."""

from collections.abc import Iterator, Sequence

import numpy as np

from catalog.rows import FeatureRow
from ingest.corpus.batches import FeatureSource
from ingest.features.of_corpus import TokenTable
from ingest.features.vocabulary import FeatureTable
from ingest.parts.arrays import Arrays, Ids, TableRows
from ingest.parts.explained import explain_features, explanation_columns, of_sets
from ingest.parts.ground import Ground
from ingest.parts.measure import Keys, LayerMeasure, Written
from ingest.parts.shapes import CorpusShape, LayerPivots, Layers, LayerShape, Size
from ingest.progress import Progress
from ingest.statistics.features import FeatureAccumulator


class Topics(LayerMeasure[FeatureAccumulator]):
    """Sums by the topics of a token and of the one before it; and the topics of the run."""

    part = name = "topics"

    def features(self, ground: Ground) -> Sequence[FeatureRow]:
        return ground.features.topic_rows

    def tokens(self, ground: Ground) -> FeatureTable | None:
        return ground.features.topics

    def columns(self, shape: CorpusShape) -> int:
        return 2 * shape.n_topics

    def source(self, ground: Ground, progress: Progress) -> FeatureSource:
        matrix = ground.features.topics.matrix
        return TokenTable(matrix, matrix)

    def size(self, shape: LayerShape) -> Size:
        n, n_topics = shape.n_neurons, shape.corpus.n_topics
        size = FeatureAccumulator.bytes_needed(2 * n_topics, n, n_topics)
        return Size(size, operations=n, finish_operations=n * n_topics)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> FeatureAccumulator:
        n_topics = shape.corpus.n_topics
        return FeatureAccumulator(self.name, 2 * n_topics, pivots.post, n_topics, shape.gated)

    def finish(self, sums: FeatureAccumulator, layers: Layers, ground: Ground) -> Arrays:
        return explain_features(sums, of_sets(sums))

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        return explanation_columns(arrays, ids)

    def rows_of_run(self, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        of_features = keys.of(self.features(ground))
        ordinal = np.arange(1, len(of_features) + 1, dtype=np.int32)
        yield "run_topics", {"ordinal": ordinal, "feature_id": of_features}

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=5)
