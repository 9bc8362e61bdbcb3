"""distributions: histograms, quantiles, and moments within subsets and at late positions, to one entry per neuron and rows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from catalog.rows import FeatureRow
from ingest.features.scores import LEAST_SUPPORT, class_statistics, kept_rows
from ingest.parts.arrays import Arrays, Ids, TableRows, object_array
from ingest.parts.explained import explanation_columns, neurons_of
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.shapes import LayerPivots, Layers, LayerShape, Size
from ingest.statistics.distributions import (
    QUANTILES,
    HistogramAccumulator,
    SubsetAccumulator,
    SubsetMoments,
    quantiles,
)

LEAST_BOS = 0.1
"""What a neuron's 99.9th percentile is at least taken for when its value on BOS is measured by it (SPEC 6.7)."""

COUNTS = ("pre", "post", "pre_masked")


class Histograms(LayerMeasure[HistogramAccumulator]):
    """Histograms of pre and post, and the activation on BOS."""

    part = "distributions"
    name = "histograms"

    def size(self, shape: LayerShape) -> Size:
        n = shape.n_neurons
        return Size(HistogramAccumulator.bytes_needed(n), operations=n, finish_operations=n)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> HistogramAccumulator:
        return HistogramAccumulator(shape.n_neurons, pivots.pre.device)

    def finish(self, sums: HistogramAccumulator, layers: Layers, ground: Ground) -> Arrays:
        return describe_histograms(sums)

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        return histogram_columns(arrays, ids)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=2, wide=60)


class Subsets(LayerMeasure[SubsetAccumulator]):
    """Moments within each subset of the corpus, and at late positions."""

    part = "distributions"
    name = "subsets"

    def features(self, ground: Ground) -> Sequence[FeatureRow]:
        return ground.features.subset_rows

    def size(self, shape: LayerShape) -> Size:
        n, n_subsets = shape.n_neurons, shape.corpus.n_subsets
        return Size(SubsetAccumulator.bytes_needed(n_subsets, n), operations=n, finish_operations=n * n_subsets)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> SubsetAccumulator:
        return SubsetAccumulator(shape.corpus.n_subsets, pivots.pre, pivots.post)

    def finish(self, sums: SubsetAccumulator, layers: Layers, ground: Ground) -> Arrays:
        return describe_subsets(sums)

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        return subset_columns(arrays, ids, ground.features.subsets)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(kept=n_subsets, moved=2)


def quantile_name(share: float) -> str:
    """0.999 -> p99_9, as in the catalog's columns."""
    return f"p{share * 100:g}".replace(".", "_")


def describe_histograms(accumulator: HistogramAccumulator) -> Arrays:
    """Histograms as they are, quantiles, and the value on BOS over the 99.9th percentile of post."""
    state = {name: counts.cpu().numpy() for name, counts in accumulator.state().items()}
    post = quantiles(state["post_fine"])
    bos = state["bos"] / np.maximum(state["n_bos"], 1)
    return {
        **{name: state[name] for name in COUNTS},
        "pre_quantiles": quantiles(state["pre_fine"]),
        "post_quantiles": post,
        "bos_activation": bos,
        "bos_ratio": bos / np.maximum(post[:, QUANTILES.index(0.999)], LEAST_BOS),
    }


def histogram_columns(arrays: Arrays, ids: Ids) -> Iterator[TableRows]:
    """Rows of histograms and distribution_statistics."""
    yield "histograms", {"neuron_id": ids, **{name: object_array(arrays[name].tolist()) for name in COUNTS}}
    yield (
        "distribution_statistics",
        {
            "neuron_id": ids,
            **{
                f"{kind}_{quantile_name(share)}": arrays[f"{kind}_quantiles"][:, i]
                for kind in ("pre", "post")
                for i, share in enumerate(QUANTILES)
            },
            "bos_activation": arrays["bos_activation"],
            "bos_ratio": arrays["bos_ratio"],
        },
    )


def describe_subsets(accumulator: SubsetAccumulator) -> Arrays:
    """Moments per subset and what the subsets explain, and moments without early positions; NaN where undefined.

    Returns:
        (subsets, neurons) by column of subset_statistics, `n_tokens` as (subsets,); (neurons,) under `late.` and the
        column of late_statistics; under `explained.` the columns of explanations, as places.
    """
    subsets = [accumulator.subset(group) for group in range(len(accumulator.n_) - 1)]
    n_neurons = accumulator.active_.shape[1]
    described = {"n_tokens": np.array([0 if s is None else s.pre.n for s in subsets], dtype=np.int64)}
    columns = [_columns(s, n_neurons) for s in subsets]
    described |= {name: np.stack([of_subset[name] for of_subset in columns]) for name in columns[0]}
    described["variance_reduction"], explained = explain_subsets(accumulator)
    described |= {f"explained.{name}": values for name, values in explained.items()}
    late = accumulator.late()
    described["late.n_tokens"] = np.array([0 if late is None else late.pre.n])
    return described | {f"late.{name}": values for name, values in _columns(late, n_neurons).items()}


def _columns(part: SubsetMoments | None, n_neurons: int) -> Arrays:
    names = ("mean", "var", "skew", "kurt")
    if part is None:
        undefined = np.full(n_neurons, np.nan)
        return {name: undefined for name in [*names, "sparsity", *(f"post_{name}" for name in names)]}
    of_pre = {name: getattr(part.pre, name).cpu().numpy() for name in names}
    return of_pre | {"sparsity": part.sparsity} | {f"post_{name}": getattr(part.post, name).cpu().numpy() for name in names}


def explain_subsets(accumulator: SubsetAccumulator, least_support: int = LEAST_SUPPORT) -> tuple[np.ndarray, Arrays]:
    """What "the token is in this subset" explains of each neuron (SPEC 6.1).

    A row of the corpus is of one subset, so that the previous token tells no more than the token. Two subsets that are each
    other's rest explain alike; the one with the higher mean is kept.

    Returns:
        Variance reduction (subsets, neurons), NaN where either class has too few tokens or the neuron does not vary; and
        the explanations that are kept, as `kept_rows` has them.
    """
    n_in = accumulator.n_[:-1].numpy()
    sums, squares = (accumulator.powers_["post"][:-1, power].cpu().numpy() for power in (0, 1))
    n, total = int(n_in.sum()), sums.sum(0)
    neurons = neurons_of(n, total, squares.sum(0), accumulator.pivots["post"].double().cpu().numpy())
    classes = class_statistics(n_in, sums, total, max(n, 1), neurons, least_support)
    scores = classes.reduction
    if np.count_nonzero(n_in) == 2:
        scores = np.where(classes.mean_in > classes.mean_out, scores, np.nan)
    return classes.reduction, kept_rows([replace(classes, reduction=scores)], n, neurons)


def subset_columns(arrays: Arrays, ids: Ids, subsets: Sequence[str]) -> Iterator[TableRows]:
    """Rows of late_statistics and, where the corpus has subsets, of subset_statistics and explanations."""
    late = {name.removeprefix("late."): values for name, values in arrays.items() if name.startswith("late.")}
    n_late = int(late.pop("n_tokens")[0])
    yield "late_statistics", {"neuron_id": ids, "n_tokens": np.full(len(ids), n_late, dtype=np.int64), **late}
    names = [*late, "variance_reduction"]
    for i, subset in enumerate(subsets):
        if arrays["n_tokens"][i]:
            yield (
                "subset_statistics",
                {
                    "neuron_id": ids,
                    "subset": np.full(len(ids), subset, dtype=object),
                    "n_tokens": np.full(len(ids), arrays["n_tokens"][i], dtype=np.int64),
                    **{name: arrays[name][i] for name in names},
                },
            )
    if subsets:
        names = [name for name in arrays if name.startswith("explained.")]
        yield from explanation_columns({name.removeprefix("explained."): arrays[name] for name in names}, ids)
