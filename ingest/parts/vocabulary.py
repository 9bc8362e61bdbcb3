"""vocabulary: what classes of tokens explain of neurons, from sums per token id to explanations, letters and top tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np

from catalog.rows import FeatureRow
from ingest.features.explanations import Explanations, LetterScores, TopTokens, explain, top_tokens
from ingest.features.vocabulary import FeatureTable
from ingest.parts.arrays import Arrays, Columns, Ids, TableRows
from ingest.parts.explained import explanation_columns
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.shapes import LayerPivots, Layers, LayerShape, Size
from ingest.statistics.token_sums import TokenSumAccumulator


class Vocabulary(LayerMeasure[TokenSumAccumulator]):
    """Sums of activations by the current and by the previous token id."""

    part = name = "vocabulary"
    reads_moments = True

    def features(self, ground: Ground) -> Sequence[FeatureRow]:
        return ground.features.token_rows

    def tokens(self, ground: Ground) -> FeatureTable | None:
        return ground.features.tokens

    def size(self, shape: LayerShape) -> Size:
        n = shape.n_neurons
        return Size(TokenSumAccumulator.bytes_needed(shape.d_vocab, n), operations=n, finish_operations=n * shape.d_vocab)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> TokenSumAccumulator:
        return TokenSumAccumulator(shape.d_vocab, pivots.post)

    def finish(self, sums: TokenSumAccumulator, layers: Layers, ground: Ground) -> Arrays:
        """Ids beyond the tokenizer's never occur in a corpus."""
        n_ids, counts = ground.tokenizer.n_tokens, ground.features.counts
        moments = ground.moments(layers.model).post.compute()[layers.neurons]
        of_tokens, pivot = sums.sums_[:, :n_ids].cpu().numpy(), sums.pivot.cpu().numpy()
        explanations = explain(
            ground.features.tokens,
            ground.features.letters,
            counts=counts.current[:n_ids],
            counts_previous=counts.previous[:n_ids],
            sums=of_tokens[0],
            sums_previous=of_tokens[1],
            n=moments.n,
            mean=moments.mean.cpu().numpy(),
            variance=moments.var.cpu().numpy(),
            pivot=pivot.astype(np.float64),
            degenerate=moments.degenerate.cpu().numpy(),
        )
        top = top_tokens(counts.current[:n_ids], of_tokens[0], pivot=pivot, min_count=ground.settings.min_count)
        return _arrays(explanations, top)

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        yield from explanation_columns(_named("explanations", arrays), ids)
        yield "letter_scores", _letter_columns(ids, _named("letters", arrays))
        yield "top_tokens", _top_columns(ids, _named("top", arrays))

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(kept=20, moved=2)


def _arrays(explanations: Explanations, top: TopTokens) -> Arrays:
    names = [field.name for field in fields(Explanations) if field.name != "letters"]
    arrays = {f"explanations.{name}": getattr(explanations, name) for name in names}
    arrays |= {f"letters.{field.name}": getattr(explanations.letters, field.name) for field in fields(LetterScores)}
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
        **{name: letters[name] for name in ("variance_reduction", "mean_a", "mean_b", "mean_c")},
    }
