"""How much of an effect goes one way: shares of effects, with standard errors over blocks of documents."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ingest.statistics.jackknife import jackknife
from ingest.statistics.restoration import SURE


@dataclass(frozen=True)
class Estimate:
    """Of several neurons; undefined is NaN."""

    value: Float[np.ndarray, " neurons"]
    se: Float[np.ndarray, " neurons"]
    """By the jackknife over blocks."""


def mean(n: Int[np.ndarray, " blocks"], sums: Float[np.ndarray, "neurons blocks"]) -> Estimate:
    """Mean over tokens of what was summed by block; NaN without a token."""
    if not n.any():
        return Estimate(*np.full((2, len(sums)), np.nan))
    return Estimate(sums.sum(1) / n.sum(), jackknife(n, lambda tokens, total: total / tokens, sums.T))


def mediated(
    n: Int[np.ndarray, " blocks"], total: Float[np.ndarray, "neurons blocks"], without: Float[np.ndarray, "neurons blocks"]
) -> Estimate:
    """1 - the effect without a way / the total effect: a ratio of means over tokens.

    Args:
        n: tokens of each block.
        total, without: sums of effects.
    Returns:
        NaN where the total effect is within 1.96 standard errors of 0.
    """
    of_all = mean(n, total)
    known = np.abs(of_all.value) > SURE * of_all.se  # a NaN is not above
    # where the total is 0 in all other blocks, a share without one of them is undefined
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1 - without.sum(1) / total.sum(1)
        error = jackknife(n, lambda tokens, all_ways, other_ways: 1 - other_ways / all_ways, total.T, without.T)
    return Estimate(np.where(known, share, np.nan), np.where(known, error, np.nan))
