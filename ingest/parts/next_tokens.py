"""next_tokens: how neurons differ before tokens of a class, from sums by the next token to rows per neuron and class."""

from collections.abc import Iterator, Sequence

import numpy as np

from catalog.rows import FeatureRow
from ingest.features.divisions import Divisions, divide, divided_statistics
from ingest.features.scores import LEAST_SUPPORT, LEAST_WITHIN, TOP, Classes, Neurons, neurons_of, ratio
from ingest.features.vocabulary import FeatureTable
from ingest.parts.arrays import Arrays, Ids, TableRows
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.shapes import LayerPivots, Layers, LayerShape, Size
from ingest.statistics.next_tokens import NextTokenAccumulator

NEURONS_AT_ONCE = 512


class NextTokens(LayerMeasure[NextTokenAccumulator]):
    """Sums of pre-activations by the token that follows."""

    part = name = "next_tokens"

    def features(self, ground: Ground) -> Sequence[FeatureRow]:
        return ground.features.token_rows

    def tokens(self, ground: Ground) -> FeatureTable | None:
        return ground.features.tokens

    def size(self, shape: LayerShape) -> Size:
        n = shape.n_neurons
        return Size(NextTokenAccumulator.bytes_needed(shape.n_ids, n), operations=n, finish_operations=n * shape.n_ids)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> NextTokenAccumulator:
        return NextTokenAccumulator(shape.n_ids, pivots.pre)

    def finish(self, sums: NextTokenAccumulator, layers: Layers, ground: Ground) -> Arrays:
        return describe_next_tokens(sums, ground.features.tokens.of(ground.corpus.ids))

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        return next_token_columns(arrays, ids)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(kept=5)


def describe_next_tokens(accumulator: NextTokenAccumulator, table: FeatureTable, least_support: int = LEAST_SUPPORT) -> Arrays:
    """Of each neuron the five classes of tokens before which its pre-activation differs most, by Cohen's d (SPEC 3.5).

    Args:
        table: the classes, over the ids that the rows of the sums are of.
        least_support: positions that a class and its rest need.
    Returns:
        Columns of next_token_statistics; `neuron_index` and `feature_index` are places. No rows for neurons that do not vary.
    """
    n_ids = table.matrix.shape[1]
    counts, sums, active = (
        held[:n_ids].cpu().numpy() for held in (accumulator.counts_, accumulator.sums_, accumulator.active_)
    )
    n = int(counts.sum())
    divisions = divide(table.matrix, counts, n)
    every = neurons_of(n, sums.sum(0), accumulator.squares_.cpu().numpy(), accumulator.pivot.double().cpu().numpy())
    pieces = []
    for start in range(0, max(1, sums.shape[1]), NEURONS_AT_ONCE):
        part = slice(start, start + NEURONS_AT_ONCE)
        neurons = Neurons(start, every.centre[part], every.pivot[part], every.variance[part])
        classes = divided_statistics(divisions, counts, sums[:, part], max(n, 1), neurons, least_support)
        pieces.append(_rows(classes, divisions, active[:, part], n, neurons))
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _rows(classes: Classes, divisions: Divisions, active: np.ndarray, n: int, neurons: Neurons) -> Arrays:
    """The largest effects of a chunk of neurons; of equal ones the earlier class."""
    within = np.sqrt(np.maximum(1 - classes.reduction, LEAST_WITHIN) * neurons.variance)
    effect = (classes.mean_in - classes.mean_out) / within
    defined = ~np.isnan(classes.reduction) & (1 - classes.reduction > LEAST_WITHIN)
    order = np.argsort(np.where(defined, -np.abs(effect), np.inf), axis=0, kind="stable")[:TOP]
    rank, neuron = np.nonzero(np.take_along_axis(defined, order, axis=0))
    feature = order[rank, neuron]
    total = active.sum(axis=0, dtype=np.int64)
    active_in = divisions.sums_in(active.astype(np.float64), total.astype(np.float64))
    share_in, share_out = ratio(active_in, classes.n_in), ratio(total - active_in, n - classes.n_in)
    return {
        "neuron_index": neuron + neurons.start,
        "feature_index": feature,
        "rank": rank + 1,
        "n_in": classes.n_in[feature],
        "n_out": n - classes.n_in[feature],
        "mean_in": classes.mean_in[feature, neuron] + neurons.pivot[neuron],
        "mean_out": classes.mean_out[feature, neuron] + neurons.pivot[neuron],
        "freq_in": share_in[feature, neuron],
        "freq_out": share_out[feature, neuron],
        "cohen_d": effect[feature, neuron],
    }


def next_token_columns(arrays: Arrays, ids: Ids) -> Iterator[TableRows]:
    """Rows of next_token_statistics; their features are places, until they have keys."""
    yield (
        "next_token_statistics",
        {
            "neuron_id": ids[arrays["neuron_index"]],
            "feature_id": arrays["feature_index"].astype(np.int32),
            "rank": arrays["rank"].astype(np.int16),
            **{name: arrays[name] for name in ("n_in", "n_out", "mean_in", "mean_out", "freq_in", "freq_out", "cohen_d")},
        },
    )
