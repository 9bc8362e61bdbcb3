"""How activations are distributed: from counts and sums to one entry per neuron, and to rows of the catalog."""

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.columns import Columns, Ids
from ingest.results import Arrays
from ingest.statistics.distributions import (
    QUANTILES,
    HistogramAccumulator,
    SubsetAccumulator,
    SubsetMoments,
    quantiles,
)

LEAST_BOS = 0.1
"""What a neuron's 99.9th percentile is at least taken for when its value on BOS is measured by it (SPEC 6.7)."""

LEAST_SUPPORT = 100
"""Tokens with and without a feature that its variance reduction needs (SPEC 6.1)."""

COUNTS = ("pre", "post", "pre_masked")


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


def histogram_columns(found: Arrays, ids: Ids) -> Iterator[tuple[str, Columns]]:
    """Rows of histograms and distribution_statistics."""
    yield "histograms", {"neuron_id": ids, **{name: _lists(found[name]) for name in COUNTS}}
    yield (
        "distribution_statistics",
        {
            "neuron_id": ids,
            **{
                f"{kind}_{quantile_name(share)}": found[f"{kind}_quantiles"][:, i]
                for kind in ("pre", "post")
                for i, share in enumerate(QUANTILES)
            },
            "bos_activation": found["bos_activation"],
            "bos_ratio": found["bos_ratio"],
        },
    )


def _lists(rows: np.ndarray) -> np.ndarray:
    made = np.empty(len(rows), dtype=object)
    made[:] = rows.tolist()
    return made


def describe_subsets(accumulator: SubsetAccumulator) -> Arrays:
    """Moments per subset and their variance reduction, and moments without early positions; NaN where undefined.

    Returns:
        (subsets, neurons) by column of subset_statistics, `n_tokens` as (subsets,); (neurons,) under `late.` and the
        column of late_statistics.
    """
    subsets = [accumulator.subset(group) for group in range(len(accumulator.n_) - 1)]
    n_neurons = accumulator.active_.shape[1]
    found = {"n_tokens": np.array([0 if s is None else s.pre.n for s in subsets], dtype=np.int64)}
    columns = [_columns(s, n_neurons) for s in subsets]
    found |= {name: np.stack([own[name] for own in columns]) for name in columns[0]}
    found["variance_reduction"] = variance_reductions(found["n_tokens"], found["post_mean"], found["post_var"])
    late = accumulator.late()
    found["late.n_tokens"] = np.array([0 if late is None else late.pre.n])
    return found | {f"late.{name}": values for name, values in _columns(late, n_neurons).items()}


def _columns(part: SubsetMoments | None, n_neurons: int) -> Arrays:
    names = ("mean", "var", "skew", "kurt")
    if part is None:
        undefined = np.full(n_neurons, np.nan)
        return {name: undefined for name in [*names, "sparsity", *(f"post_{name}" for name in names)]}
    own = {name: getattr(part.pre, name).cpu().numpy() for name in names}
    return own | {"sparsity": part.sparsity} | {f"post_{name}": getattr(part.post, name).cpu().numpy() for name in names}


def variance_reductions(n_tokens: np.ndarray, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Variance reduction of "the token is in this subset" (SPEC 6.1), from moments per subset.

    Args:
        n_tokens: (subsets,); means, variances: (subsets, neurons) of post, NaN in empty subsets.
    Returns:
        (subsets, neurons); NaN where either class has fewer than 100 tokens or the neuron never changes.
    """
    share = (n_tokens / max(n_tokens.sum(), 1))[:, None]
    known = np.where(share > 0, means, 0)
    overall = (share * known).sum(0)
    variance = (share * (np.where(share > 0, variances, 0) + (known - overall) ** 2)).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # b (1 - b) (m1 - m0)^2, where m1 - m0 = (m1 - m) / (1 - b)
        found = share * (known - overall) ** 2 / ((1 - share) * variance)
    rest = n_tokens.sum() - n_tokens
    supported = (n_tokens >= LEAST_SUPPORT) & (rest >= LEAST_SUPPORT)
    return np.where(supported[:, None] & (variance > 1e-12), found, np.nan)


def subset_columns(found: Arrays, ids: Ids, subsets: Sequence[str]) -> Iterator[tuple[str, Columns]]:
    """Rows of subset_statistics, none where the corpus has no subsets, and of late_statistics."""
    late = {name.removeprefix("late."): values for name, values in found.items() if name.startswith("late.")}
    n_late = int(late.pop("n_tokens")[0])
    yield "late_statistics", {"neuron_id": ids, "n_tokens": np.full(len(ids), n_late, dtype=np.int64), **late}
    names = [*late, "variance_reduction"]
    for i, subset in enumerate(subsets):
        if found["n_tokens"][i]:
            yield (
                "subset_statistics",
                {
                    "neuron_id": ids,
                    "subset": np.full(len(ids), subset, dtype=object),
                    "n_tokens": np.full(len(ids), found["n_tokens"][i], dtype=np.int64),
                    **{name: found[name][i] for name in names},
                },
            )
