"""Lines by least squares: what others say of a neuron's activation, and what its current token says."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True)
class Line:
    """What the first half says of one neuron."""

    n: int
    """Tokens of M_corr."""
    mean: float
    alpha: Float64[np.ndarray, " substitutes"]
    beta: Float64[np.ndarray, " substitutes"]
    of_tokens: Float64[np.ndarray, " ids"]
    """Mean by the current token; `mean` where the token was not met."""


class LineSums:
    """Sums of a neuron x and its substitutes y, about values that lie near their means."""

    def __init__(self, n_ids: int) -> None:
        self.n = 0
        self.pivot: np.ndarray | None = None
        self.by_token = np.zeros(n_ids)

    def add(
        self,
        values: Float64[np.ndarray, "neurons positions"],
        ids: Int64[np.ndarray, " positions"],
        kept: Bool[np.ndarray, " positions"],
    ) -> None:
        """Add positions that are replaced, at least one; `kept` says which are of M_corr."""
        if self.pivot is None:
            self.pivot = values.mean(1, keepdims=True)
            self.sums, self.squares, self.products = np.zeros((3, len(values)))
        values = values - self.pivot
        self.by_token += np.bincount(ids, weights=values[0], minlength=len(self.by_token))
        values = values[:, kept]
        self.n += values.shape[1]
        self.sums += values.sum(1)
        self.squares += (values**2).sum(1)
        self.products += (values * values[0]).sum(1)

    def line(self, counts: Int64[np.ndarray, " ids"]) -> Line:
        """Of at least one token of M_corr.

        Args:
            counts: how often each id was replaced.
        """
        assert self.pivot is not None
        means = self.sums / self.n
        spread = self.squares[1:] - self.n * means[1:] ** 2
        varies = spread > np.finfo(np.float64).eps * self.squares[1:]
        slope = (self.products[1:] - self.n * means[1:] * means[0]) / np.where(varies, spread, 1.0)
        beta, mean = np.where(varies, slope, 0.0), means + self.pivot[:, 0]
        of_tokens = np.where(counts > 0, self.by_token / np.maximum(counts, 1), means[0]) + self.pivot[0, 0]
        return Line(self.n, float(mean[0]), mean[0] - beta * mean[1:], beta, of_tokens)
