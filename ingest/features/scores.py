"""Scores of yes-or-no features from counts and sums: reduction in variance (UN eq. 4, SPEC §6.1), and which are kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

TOP = 5
LEAST_SUPPORT = 100
"""Positions that both classes need (§6.1)."""
LEAST_WITHIN = 1e-12
"""Share of the variance within the classes below which it is rounding, and Cohen's d has no meaning."""


@dataclass(frozen=True)
class Neurons:
    """What is known of a chunk of neurons."""

    start: int
    """Index of the first one."""
    centre: Float[np.ndarray, " neurons"]
    """Mean of post - pivot."""
    pivot: Float[np.ndarray, " neurons"]
    variance: Float[np.ndarray, " neurons"]
    """Of post; NaN where nothing can be explained."""


@dataclass(frozen=True)
class Classes:
    """Counts and mean activations of the classes of all features, for a chunk of neurons."""

    n_in: Int[np.ndarray, " features"]
    mean_in: Float[np.ndarray, "features neurons"]
    """About the pivot; NaN for an empty class."""
    mean_out: Float[np.ndarray, "features neurons"]
    reduction: Float[np.ndarray, "features neurons"]
    """NaN where undefined or unsupported."""


def class_statistics(
    n_in: Int[np.ndarray, " features"],
    sum_in: Float[np.ndarray, "features neurons"],
    total: Float[np.ndarray, " neurons"],
    n: int,
    neurons: Neurons,
    least_support: int = LEAST_SUPPORT,
) -> Classes:
    """VR = β(1-β)(μ₁-μ₀)²/σ² of every feature, from sums about the pivot.

    Args:
        n_in, sum_in: positions with each feature, and sums of post - pivot over them.
        total: the sum over all n positions.
        least_support: positions that both classes of a feature need to be scored.
    """
    n_out = n - n_in
    mean_in, mean_out = ratio(sum_in, n_in), ratio(total - sum_in, n_out)
    beta = (n_in / n)[:, None]
    reduction = beta * (1 - beta) * (mean_in - mean_out) ** 2 / neurons.variance
    supported = np.minimum(n_in, n_out) >= max(1, least_support)
    reduction = np.where(supported[:, None], np.clip(reduction, 0, 1), np.nan)
    return Classes(n_in, mean_in, mean_out, reduction)


def ratio(sums: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Rows of sums over n; NaN where n is 0."""
    return np.where((n > 0)[:, None], sums / np.maximum(n, 1)[:, None], np.nan)


def kept_rows(shifts: Sequence[Classes], n: int, neurons: Neurons) -> dict[str, np.ndarray]:
    """What is kept: the best five of all features and shifts, and the best of each shift.

    Args:
        shifts: the same features of the current token and, where that differs, of the previous one.
        n: positions.
    Returns:
        Columns by the names of `ingest.features.explanations.Explanations`.
    """
    n_features = len(shifts[0].n_in)
    reductions = np.concatenate([classes.reduction for classes in shifts])
    row, neuron, rank = _choose(reductions, n_features)
    n_in = np.concatenate([classes.n_in for classes in shifts])[row]
    mean_in = np.concatenate([classes.mean_in for classes in shifts])[row, neuron]
    mean_out = np.concatenate([classes.mean_out for classes in shifts])[row, neuron]
    reduction = reductions[row, neuron]
    spread = 1 - reduction > LEAST_WITHIN
    within = np.sqrt(np.where(spread, (1 - reduction) * neurons.variance[neuron], 1.0))
    return {
        "neuron_index": neuron + neurons.start,
        "feature_index": row % max(n_features, 1),
        "shift": row // max(n_features, 1),
        "variance_reduction": reduction,
        "n_in": n_in,
        "n_out": n - n_in,
        "mean_in": mean_in + neurons.pivot[neuron],
        "mean_out": mean_out + neurons.pivot[neuron],
        "cohen_d": np.where(spread, (mean_in - mean_out) / within, np.nan),
        "rank": rank,
    }


def _choose(reductions: np.ndarray, n_features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, neurons and ranks that are kept of the (shifts * features, neurons) scores, by neuron and then by row."""
    scores = np.where(np.isnan(reductions), -1.0, reductions)
    order = np.argsort(-scores, axis=0, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(1, len(order) + 1)[:, None], axis=0)
    keep = rank <= TOP
    for first in range(0, len(scores), max(n_features, 1)):
        best = scores[first : first + n_features].argmax(axis=0) + first
        keep[best, np.arange(keep.shape[1])] = True
    neuron, row = np.nonzero((keep & (scores >= 0)).T)
    return row, neuron, rank[row, neuron]
