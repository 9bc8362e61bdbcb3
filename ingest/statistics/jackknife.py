"""Standard errors that hold where tokens are not independent: a jackknife over blocks of documents (DECISIONS, What is stored).

Documents are dealt into blocks (`ingest.corpus.blocks`), so that blocks are independent of each other while the tokens of one
are not. An estimate is made once more without each block; how these differ says how sure the estimate is (delete-a-group
jackknife: SE² = (g - 1) / g · Σ (θ₋ᵢ - mean of θ₋ᵢ)² over the g blocks that are not empty).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

N_BLOCKS = 32
"""Blocks into which documents are dealt."""
HALF = N_BLOCKS // 2
"""Blocks before this one are the half of the documents in which features are chosen; the others score what was chosen."""
LEAST_BLOCKS = 10
"""Blocks with tokens below which a standard error is undefined."""


def standard_error(without: Float[np.ndarray, "blocks ..."], filled: Bool[np.ndarray, " blocks"]) -> Float[np.ndarray, "..."]:
    """The standard error of estimates, in their unit.

    Args:
        without: the estimates without each of the blocks.
        filled: blocks that have tokens; the others say nothing.
    Returns:
        NaN where fewer than `LEAST_BLOCKS` blocks have tokens, or where an estimate without one of them is undefined.
    """
    used = np.asarray(without)[filled]
    n = len(used)
    if n < LEAST_BLOCKS:
        return np.full(without.shape[1:], np.nan)
    deviations = used - used.mean(axis=0)
    return np.asarray(np.sqrt((n - 1) / n * (deviations**2).sum(axis=0)))


def error_of_sums(first: Float[np.ndarray, "..."], second: Float[np.ndarray, "..."], n_blocks: int) -> Float[np.ndarray, "..."]:
    """The standard error, where of the estimates without each block only sums were kept.

    Args:
        first, second: sums of their deviations from one number, such as the estimate with all blocks, and of the squares.
        n_blocks: blocks that have tokens.
    """
    if n_blocks < LEAST_BLOCKS:
        return np.full(np.shape(first), np.nan)
    squares = np.clip(second - first**2 / n_blocks, 0, None)
    return np.asarray(np.sqrt((n_blocks - 1) / n_blocks * squares))


def error_over_blocks(without: Float[np.ndarray, "estimates blocks"]) -> Float[np.ndarray, " estimates"]:
    """The standard errors of estimates of which it is known what each is without each block, less any number."""
    return error_of_sums(without.sum(1), (without**2).sum(1), without.shape[1])


def jackknife(
    counts: Int[np.ndarray, " blocks"],
    estimate: Callable[..., Float[np.ndarray, "..."]],
    *sums: np.ndarray,
) -> Float[np.ndarray, "..."]:
    """The standard error of an estimate from sums, all of which have a first axis of blocks.

    Args:
        counts: tokens of each block.
        estimate: makes it of the total of `counts` and the totals of `sums`, in this order.
        sums: of each block.
    """
    filled = np.asarray(counts) > 0
    totals = [np.asarray(values).sum(axis=0) for values in (counts, *sums)]
    if filled.sum() < LEAST_BLOCKS:
        whole = np.asarray(estimate(*totals))
        return np.full(whole.shape, np.nan)
    without = [
        estimate(*(total - values[block] for total, values in zip(totals, (counts, *sums), strict=True)))
        for block in np.flatnonzero(filled)
    ]
    return standard_error(np.stack(without), np.ones(len(without), dtype=bool))
