"""Scores of yes-or-no features from counts and sums: reduction in variance (UN eq. 4, SPEC §6.1)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ingest.statistics.moments import LEAST_VARIANCE

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


def neurons_of(n: int, sums: np.ndarray, squares: np.ndarray, pivot: np.ndarray, start: int = 0) -> Neurons:
    """Means and variances from (neurons,) sums about the pivot over n positions."""
    centre = sums / max(n, 1)
    variance = squares / max(n, 1) - centre**2
    varies = variance * n > LEAST_VARIANCE * np.maximum(squares, 1)
    return Neurons(start, centre, pivot, np.where(varies, variance, np.nan))
