"""distributions: histograms, quantiles, and moments within subsets and at late positions, to one entry per neuron and rows."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from catalog.rows import FeatureRow
from ingest.features.held_out import Scores, ShiftSums, Totals
from ingest.features.scores import LEAST_SUPPORT
from ingest.parts.arrays import Arrays, Ids, TableRows, object_array
from ingest.parts.explained import explanation_columns
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.shapes import LayerPivots, Layers, LayerShape, Size
from ingest.statistics.distributions import (
    QUANTILES,
    Cells,
    HistogramAccumulator,
    SubsetAccumulator,
    SubsetMoments,
    quantiles,
)
from ingest.statistics.jackknife import jackknife
from ingest.statistics.moments import central_moments

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
        return describe_histograms(sums, ground.bos_id is not None)

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
        return Size(SubsetAccumulator.bytes_needed(n_subsets, shape.n_ids, n), operations=n, finish_operations=n * n_subsets)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> SubsetAccumulator:
        return SubsetAccumulator(shape.corpus.n_subsets, shape.n_ids, pivots.pre, pivots.post, shape.gated)

    def finish(self, sums: SubsetAccumulator, layers: Layers, ground: Ground) -> Arrays:
        return describe_subsets(sums)

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        return subset_columns(arrays, ids, ground.features.subsets)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(kept=n_subsets, moved=2)


def quantile_name(share: float) -> str:
    """0.999 -> p99_9, as in the catalog's columns."""
    return f"p{share * 100:g}".replace(".", "_")


def describe_histograms(accumulator: HistogramAccumulator, with_bos: bool = True) -> Arrays:
    """Histograms as they are, quantiles, and the value on BOS over the 99.9th percentile of post; NaN where there is no BOS."""
    state = {name: counts.cpu().numpy() for name, counts in accumulator.state().items()}
    post = quantiles(state["post_fine"])
    bos = state["bos"] / np.maximum(state["n_bos"], 1) if with_bos else np.full(len(post), np.nan)
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
    subsets, cells = [accumulator.subset(group) for group in range(accumulator.n_subsets)], accumulator.cells()
    n_neurons = accumulator.active_.shape[1]
    described = {"n_tokens": np.array([0 if s is None else s.pre.n for s in subsets], dtype=np.int64)}
    columns = [
        _columns(s, n_neurons) | _rectified(s, n_neurons) | _errors(accumulator, cells, i) for i, s in enumerate(subsets)
    ]
    described |= {name: np.stack([of_subset[name] for of_subset in columns]) for name in columns[0]}
    reductions, explained = explain_subsets(accumulator, cells)
    described |= reductions | {f"explained.{name}": values for name, values in explained.items()}
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


def _rectified(part: SubsetMoments | None, n_neurons: int) -> Arrays:
    return {"rectified": np.full(n_neurons, np.nan) if part is None else part.rectified}


def _errors(accumulator: SubsetAccumulator, cells: Cells, subset: int) -> Arrays:
    """Standard errors of what is known of a subset."""
    n, pre, post = cells.n[subset], cells.pre[subset], cells.post[subset]
    pivot = accumulator.pivots["pre"].cpu()

    def kurt(n_tokens: np.ndarray, powers: np.ndarray) -> np.ndarray:
        if n_tokens == 0:
            return np.full(powers.shape[1], np.nan)
        return central_moments(int(n_tokens), torch.from_numpy(powers), pivot).kurt.numpy()

    def mean(n_tokens: np.ndarray, sums: np.ndarray) -> np.ndarray:
        return np.full(sums.shape, np.nan) if n_tokens == 0 else sums / n_tokens

    of_means = {
        "sparsity": cells.active[subset],
        "rectified": cells.rectified[subset],
        "mean": pre[:, 0],
        "post_mean": post[:, 0],
    }
    errors = {f"{name}_se": jackknife(n, mean, sums) for name, sums in of_means.items()}
    return errors | {"kurt_se": jackknife(n, kurt, pre)}


def explain_subsets(accumulator: SubsetAccumulator, cells: Cells, least_support: int = LEAST_SUPPORT) -> tuple[Arrays, Arrays]:
    """What "the token is in this subset" explains of each neuron (SPEC 6.1).

    A row of the corpus is of one subset, so that the previous token tells no more than the token. Two subsets that are each
    other's rest explain alike; the one in which the neuron is more active is kept.

    Returns:
        `variance_reduction` and `variance_reduction_se` (subsets, neurons), NaN where either class has too few tokens or the
        neuron does not vary; and the explanations that are kept, as `Scores.kept_rows` has them.
    """
    n_in, (sums, squares) = cells.n.T, (cells.post[:, :, power].swapaxes(0, 1) for power in (0, 1))
    directed = [of_cells.swapaxes(0, 1) for of_cells in (cells.active, cells.rectified)]
    pivot = accumulator.pivots["post"].double().cpu().numpy()
    usable = np.ones(len(pivot), dtype=bool)
    totals = Totals(0, n_in.sum(1), sums.sum(1), squares.sum(1), pivot, usable, [x.sum(1) for x in directed])
    shift = ShiftSums.of_each(n_in, sums, directed, accumulator.of_tokens.partial(sums.sum(0)))
    reductions = shift.reductions(totals, slice(None), least_support)
    excluded = _less_active(n_in, directed[1]) if np.count_nonzero(n_in.sum(0)) == 2 else None
    scores = Scores([shift], totals, least_support, excluded)
    row, neuron = (places.ravel() for places in np.indices(reductions.shape))
    errors = scores.numbers(row, neuron)["variance_reduction_se"].reshape(reductions.shape)
    errors = np.where(np.isnan(reductions), np.nan, errors)
    return {"variance_reduction": reductions, "variance_reduction_se": errors}, scores.kept_rows()


def _less_active(n_in: np.ndarray, rectified: np.ndarray) -> np.ndarray:
    """(subsets, neurons) bool: the rectified mean is not above that of the rest; of equals the first subset stays."""
    counts, sums = n_in.sum(0)[:, None], rectified.sum(0)
    inside, outside = sums / np.maximum(counts, 1), (sums.sum(0) - sums) / np.maximum(counts.sum() - counts, 1)
    first = np.arange(len(counts))[:, None] == np.flatnonzero(counts[:, 0])[0]
    return (inside < outside) | ((inside == outside) & ~first)


def subset_columns(arrays: Arrays, ids: Ids, subsets: Sequence[str]) -> Iterator[TableRows]:
    """Rows of late_statistics and, where the corpus has subsets, of subset_statistics and explanations."""
    late = {name.removeprefix("late."): values for name, values in arrays.items() if name.startswith("late.")}
    n_late = int(late.pop("n_tokens")[0])
    yield "late_statistics", {"neuron_id": ids, "n_tokens": np.full(len(ids), n_late, dtype=np.int64), **late}
    errors = [f"{name}_se" for name in ("sparsity", "rectified", "mean", "post_mean", "kurt", "variance_reduction")]
    names = [*late, "rectified", "variance_reduction", *errors]
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
