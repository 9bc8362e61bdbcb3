"""vocabulary: what classes of tokens explain of neurons, from sums per token id to explanations, letters and top tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import numpy as np
from torch import Tensor

from catalog.rows import FeatureRow
from ingest.corpus.batches import FeatureSource
from ingest.features.explanations import LETTER_NUMBERS, DivisionSums, Explained, TopTokens, explain, top_tokens
from ingest.features.of_corpus import TokenTable
from ingest.features.vocabulary import FeatureTable
from ingest.parts.arrays import Arrays, Columns, Ids, TableRows
from ingest.parts.explained import explanation_columns
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.shapes import CorpusShape, LayerPivots, Layers, LayerShape, Size
from ingest.progress import Progress
from ingest.statistics.features import FeatureAccumulator
from ingest.statistics.layers import LayerAccumulator, TokenBatch
from ingest.statistics.token_sums import TokenSumAccumulator


class VocabularySums(LayerAccumulator):
    """Sums by the current token id, and by block and the divisions of the current and of the previous token."""

    def __init__(self, name: str, n_ids: int, n_divisions: int, pivot: Tensor) -> None:
        self.of_tokens = TokenSumAccumulator(n_ids, pivot)
        self.of_divisions = FeatureAccumulator(name, n_divisions, pivot)

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Add a batch to both."""
        self.of_tokens.update(batch, pre, post)
        self.of_divisions.update(batch, pre, post)

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        of_divisions = {f"division_{name}": sums for name, sums in self.of_divisions.state().items()}
        return {**self.of_tokens.state(), **of_divisions}


class Vocabulary(LayerMeasure[VocabularySums]):
    """Sums of activations by the current token id, and by block and what features of the current and previous token divide."""

    part = name = "vocabulary"
    reads_moments = True

    def features(self, ground: Ground) -> Sequence[FeatureRow]:
        return ground.features.token_rows

    def tokens(self, ground: Ground) -> FeatureTable | None:
        return ground.features.tokens

    def columns(self, shape: CorpusShape) -> int:
        return shape.n_divisions

    def source(self, ground: Ground, progress: Progress) -> FeatureSource:
        return TokenTable(*(made.matrix for made in ground.features.divisions))

    def size(self, shape: LayerShape) -> Size:
        n, n_divisions = shape.n_neurons, shape.corpus.n_divisions
        size = TokenSumAccumulator.bytes_needed(shape.n_ids, n) + FeatureAccumulator.bytes_needed(n_divisions, n)
        return Size(size, operations=n, finish_operations=n * shape.n_ids)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> VocabularySums:
        return VocabularySums(self.name, shape.n_ids, shape.corpus.n_divisions, pivots.post)

    def finish(self, sums: VocabularySums, layers: Layers, ground: Ground) -> Arrays:
        ids, features = ground.corpus.ids, ground.features
        counts, pivot = features.counts.current[ids], sums.of_tokens.pivot.cpu().numpy()
        of_tokens = sums.of_tokens.sums_[: len(ids)].cpu().numpy()
        held = sums.of_divisions.counts_, sums.of_divisions.sums_, sums.of_divisions.squares_
        explained = explain(
            features.tokens.names,
            features.divisions,
            DivisionSums(*(values.cpu().numpy() for values in held)),
            features.letters.of(ids),
            token_counts=counts,
            token_sums=of_tokens,
            pivot=pivot.astype(np.float64),
            degenerate=ground.moments(layers.model).post.compute().degenerate[layers.neurons].cpu().numpy(),
        )
        top = top_tokens(counts, of_tokens, pivot=pivot, min_count=ground.settings.min_count)
        return _arrays(explained, replace(top, token_id=ids[top.token_id]))

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        yield from explanation_columns(_named("explanations", arrays), ids)
        yield "letter_scores", _letter_columns(ids, _named("letters", arrays))
        yield "top_tokens", _top_columns(ids, _named("top", arrays))

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(kept=20, moved=2)


def _arrays(explained: Explained, top: TopTokens) -> Arrays:
    arrays = {f"explanations.{name}": values for name, values in explained.rows.items()}
    arrays |= {f"letters.{name}": values for name, values in explained.letters.items()}
    arrays["letters.letter"] = arrays["letters.letter"].astype("U1")
    return arrays | {f"top.{field.name}": getattr(top, field.name) for field in fields(TopTokens)}


def _named(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(f"{prefix}."): values for name, values in arrays.items() if name.startswith(f"{prefix}.")}


def _top_columns(ids: Ids, top: Arrays) -> Columns:
    return {
        "neuron_id": ids[top["neuron_index"]],
        "rank": top["rank"].astype(np.int16),
        "token_id": top["token_id"].astype(np.int32),
        "mean": top["mean"],
        "n": top["n"].astype(np.int64),
    }


def _letter_columns(ids: Ids, letters: Arrays) -> Columns:
    return {
        "neuron_id": ids[letters["neuron_index"]],
        "letter": letters["letter"].astype(object),
        "feature_id": letters["feature_index"].astype(np.int32),
        **{name: letters[name] for name in (*LETTER_NUMBERS, "mean_a", "mean_b", "mean_c")},
    }
