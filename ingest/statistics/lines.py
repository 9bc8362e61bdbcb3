"""Lines by least squares: what others say of a neuron's activation, and what its current token says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from ingest.statistics.jackknife import HALF, jackknife


@dataclass(frozen=True)
class Line:
    """What the first half says of one neuron."""

    n: int
    """Tokens of M_corr."""
    mean: float
    of_others: Float64[np.ndarray, " substitutes"]
    """Means of the substitutes, about which the lines turn."""
    alpha: Float64[np.ndarray, " substitutes"]
    beta: Float64[np.ndarray, " substitutes"]
    beta_se: Float64[np.ndarray, " substitutes"]
    """Standard errors of the slopes, jackknifed over blocks of documents; NaN where these are too few."""
    of_tokens: Float64[np.ndarray, " ids"]
    """Mean by the current token; `mean` where the token was not met."""


class LineSums:
    """Sums of a neuron x and its substitutes y, about values that lie near their means."""

    def __init__(self, n_ids: int) -> None:
        self.n = np.zeros(HALF, dtype=np.int64)
        self.pivot: np.ndarray | None = None
        self.by_token = np.zeros(n_ids)

    def add(
        self,
        values: Float64[np.ndarray, "neurons positions"],
        ids: Int64[np.ndarray, " positions"],
        of_blocks: Sequence[tuple[int, Int64[np.ndarray, " some"]]],
    ) -> None:
        """Add positions that are replaced, at least one.

        Args:
            of_blocks: which of them are of M_corr, by block of documents.
        """
        if self.pivot is None:
            self.pivot = values.mean(1, keepdims=True)
            self.sums, self.squares, self.products = np.zeros((3, HALF, len(values)))
        values = values - self.pivot
        self.by_token += np.bincount(ids, weights=values[0], minlength=len(self.by_token))
        for block, places in of_blocks:
            of_block = values[:, places]
            self.n[block] += of_block.shape[1]
            self.sums[block] += of_block.sum(1)
            self.squares[block] += (of_block**2).sum(1)
            self.products[block] += (of_block * of_block[0]).sum(1)

    def line(self, counts: Int64[np.ndarray, " ids"]) -> Line:
        """Of at least one token of M_corr.

        Args:
            counts: how often each id was replaced.
        """
        assert self.pivot is not None
        n, sums = self.n.sum(), (self.sums, self.squares, self.products)
        beta, beta_se = _slopes(n, *(of_blocks.sum(0) for of_blocks in sums)), jackknife(self.n, _slopes, *sums)
        means = self.sums.sum(0) / n
        mean = means + self.pivot[:, 0]
        of_tokens = np.where(counts > 0, self.by_token / np.maximum(counts, 1), means[0]) + self.pivot[0, 0]
        return Line(int(n), float(mean[0]), mean[1:], mean[0] - beta * mean[1:], beta, beta_se, of_tokens)


def _slopes(
    n: np.int64,
    sums: Float64[np.ndarray, " neurons"],
    squares: Float64[np.ndarray, " neurons"],
    products: Float64[np.ndarray, " neurons"],
) -> Float64[np.ndarray, " substitutes"]:
    """By least squares, of the first neuron on each of the others; 0 on one that never varies."""
    means = sums / n
    spread = squares[1:] - n * means[1:] ** 2
    varies = spread > np.finfo(np.float64).eps * squares[1:]
    return np.where(varies, (products[1:] - n * means[1:] * means[0]) / np.where(varies, spread, 1.0), 0.0)
