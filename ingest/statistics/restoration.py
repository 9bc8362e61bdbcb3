"""How much of what an ablation costs a substitute restores, with standard errors over documents that score and that fit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ingest.statistics.jackknife import jackknife

SURE = 1.96
"""Standard errors that the cost of the ablation must exceed: of what costs nothing, nothing can be restored."""


@dataclass(frozen=True)
class Restoration:
    """Of each replacement of one neuron, the ablation first; undefined is NaN."""

    change: Float[np.ndarray, " replacements"]
    """Mean change of the loss, nats per token."""
    change_se: Float[np.ndarray, " replacements"]
    """By the jackknife over blocks that score, and by the fit."""
    restored: Float[np.ndarray, " replacements"]
    """1 - change / change by the ablation."""
    restored_se: Float[np.ndarray, " replacements"]


def restoration(
    n: Int[np.ndarray, " blocks"],
    changes: Float[np.ndarray, "replacements blocks"],
    fit_se: Float[np.ndarray, " replacements"],
) -> Restoration:
    """What sums over blocks say.

    Args:
        n: tokens of each block.
        changes: sums of the change of the loss, of the ablation first.
        fit_se: standard error of the mean change that is due to what was fitted on other documents; 0 for the ablation.
    """
    sums = changes.T
    change = sums.sum(0) / n.sum()
    # an ablation that changes nothing
    with np.errstate(divide="ignore", invalid="ignore"):
        change_se = np.hypot(jackknife(n, lambda tokens, total: total / tokens, sums), fit_se)
        restored_se = np.hypot(jackknife(n, lambda tokens, total: 1 - total / total[0], sums), fit_se / change[0])
    if not change[0] > SURE * change_se[0]:
        return Restoration(change, change_se, *np.full((2, len(change)), np.nan))
    return Restoration(change, change_se, 1 - change / change[0], restored_se)
