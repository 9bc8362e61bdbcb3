"""syntax: what properties of words and sentences explain of neurons."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from catalog.rows import FeatureRow
from ingest.corpus.batches import FeatureSource
from ingest.corpus.syntax.cache import open_syntax
from ingest.features.of_corpus import SYNTAX_ROWS
from ingest.parts.arrays import Arrays, Ids, TableRows
from ingest.parts.explained import explain_features, explanation_columns
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.shapes import CorpusShape, LayerPivots, Layers, LayerShape, Size
from ingest.progress import Progress
from ingest.statistics.features import FeatureAccumulator
from ingest.statistics.given_token import TokenClassSums
from ingest.statistics.layers import LayerAccumulator, TokenBatch

N_FEATURES = len(SYNTAX_ROWS)


class SyntaxSums(LayerAccumulator):
    """Sums by block and syntax, and by token, over the positions that are annotated."""

    def __init__(self, name: str, n_ids: int, pivot: Tensor, gated: bool = False) -> None:
        self.of_features = FeatureAccumulator(name, 2 * N_FEATURES, pivot, N_FEATURES, gated)
        self.of_tokens = TokenClassSums(n_ids, N_FEATURES, len(pivot), pivot.device)

    @staticmethod
    def bytes_needed(n_ids: int, n_neurons: int) -> int:
        """Bytes of the resident sums."""
        of_features = FeatureAccumulator.bytes_needed(2 * N_FEATURES, n_neurons, N_FEATURES)
        return of_features + TokenClassSums.bytes_needed(n_ids, N_FEATURES, n_neurons)

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Add the positions of a batch that are annotated."""
        self.of_features.update(batch, pre, post)
        known, ids = batch.features[self.of_features.name], batch.current_rows
        if known.places is not None:
            post, ids = post.index_select(0, known.places), ids.index_select(0, known.places)
        self.of_tokens.add(post, ids, known.features[:, :N_FEATURES])

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {**self.of_features.state(), **self.of_tokens.state()}


class Syntax(LayerMeasure[SyntaxSums]):
    """Sums by the syntax of a token and of the one before it, in rows that are annotated."""

    part = name = "syntax"

    def features(self, ground: Ground) -> Sequence[FeatureRow]:
        return SYNTAX_ROWS

    def columns(self, shape: CorpusShape) -> int:
        return 2 * N_FEATURES

    def source(self, ground: Ground, progress: Progress) -> FeatureSource:
        asked = ground.settings
        return open_syntax(asked.spacy_model, asked.syntax_subsets, ground.describing_corpus, ground.tokenizer, progress)

    def size(self, shape: LayerShape) -> Size:
        n = shape.n_neurons
        return Size(SyntaxSums.bytes_needed(shape.n_ids, n), operations=n, finish_operations=n)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> SyntaxSums:
        return SyntaxSums(self.name, shape.n_ids, pivots.post, shape.gated)

    def finish(self, sums: SyntaxSums, layers: Layers, ground: Ground) -> Arrays:
        of_classes = sums.of_features.sums_[:, :N_FEATURES].sum(0).cpu().numpy()
        return explain_features(sums.of_features, sums.of_tokens.partial(of_classes))

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        return explanation_columns(arrays, ids)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=5)
