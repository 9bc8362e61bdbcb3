"""Moments and frequency of activations by block of documents: what their standard errors follow from.

    BlockMoments  --update/merge-->  standard_errors()  -->  one number per statistic and neuron

The sums are those of `ingest.statistics.moments`, once for each block; a row of the corpus is of one block.
"""

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ingest.statistics import block_loops, moments
from ingest.statistics.jackknife import N_BLOCKS, jackknife
from ingest.statistics.layers import LayerAccumulator, TokenBatch
from ingest.statistics.moments import central_moments

MOMENTS = ("mean", "var", "skew", "kurt")
STATISTICS = (*MOMENTS, *(f"post_{name}" for name in MOMENTS), "sparsity")
"""What has a standard error; `sparsity` is the fraction of tokens with pre > 0."""


class BlockMoments(LayerAccumulator):
    """Sums of pre and post about their pivots, and activity, per block of documents."""

    n_: Int64[Tensor, " blocks"]
    """Tokens."""
    active_: Int64[Tensor, "blocks neurons"]
    """Tokens with pre > 0."""
    powers_: dict[str, Float64[Tensor, "blocks 4 neurons"]]
    """Of pre and of post: sums of (x - pivot)**k for k = 1..4."""

    def __init__(self, pivot_pre: Tensor, pivot_post: Tensor) -> None:
        """Args:
        pivot_pre, pivot_post: (neurons,) fp32.
        """
        n, device = len(pivot_pre), pivot_pre.device
        self.pivots = {"pre": pivot_pre, "post": pivot_post}
        self.n_ = torch.zeros(N_BLOCKS, dtype=torch.int64)
        self.active_ = torch.zeros(N_BLOCKS, n, dtype=torch.int64, device=device)
        self.powers_ = {name: torch.zeros(N_BLOCKS, 4, n, dtype=torch.float64, device=device) for name in self.pivots}

    @staticmethod
    def bytes_needed(n_neurons: int) -> int:
        """Bytes of the resident sums."""
        return N_BLOCKS * n_neurons * 8 * 9

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Add a batch; its rows are of one block each."""
        rows = zip(batch.blocks.tolist(), batch.row_ranges, strict=True)
        numbers = [(block, first, end) for block, (_, first, _, end) in rows]
        ranges = torch.tensor(numbers, dtype=torch.int64).view(-1, 3)
        self.n_.index_add_(0, ranges[:, 0], ranges[:, 2] - ranges[:, 1])
        on_cpu = pre.device.type == "cpu"
        add, add_active = (block_loops.add_powers, block_loops.add_positive) if on_cpu else (add_powers, add_positive)
        add_active(pre, ranges, self.active_)
        add(pre, ranges, self.pivots["pre"], self.powers_["pre"])
        add(post, ranges, torch.zeros_like(self.pivots["post"]), self.powers_["post"])

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {"n": self.n_, "active": self.active_, **self.powers_}

    def standard_errors(self) -> dict[str, Float64[np.ndarray, " neurons"]]:
        """Of each of `STATISTICS`, by the jackknife over blocks; NaN with too few blocks, and where the statistic is undefined.

        How often a neuron is active that never is, or always, varies between no blocks: that has no standard error.
        """
        n, active, pre, post = (sums.cpu().numpy() for sums in self.state().values())
        found = dict(zip(STATISTICS, jackknife(n, self._estimates, active, pre, post), strict=True))
        total = active.sum(axis=0)
        found["sparsity"] = np.where((total > 0) & (total < n.sum()), found["sparsity"], np.nan)
        return found

    def _estimates(self, n: np.int64, active: np.ndarray, pre: np.ndarray, post: np.ndarray) -> Float64[np.ndarray, "9 n"]:
        """`STATISTICS` of sums over n tokens."""
        columns = []
        for name, powers in (("pre", pre), ("post", post)):
            found = central_moments(int(n), torch.from_numpy(powers), self.pivots[name].cpu())
            columns += [getattr(found, moment) for moment in MOMENTS]
        return torch.stack([*columns, torch.from_numpy(active).double() / int(n)]).numpy()


def add_powers(values: Tensor, ranges: Tensor, pivot: Tensor, sums: Tensor) -> None:
    """Add to (blocks, 4, neurons) what `block_loops.add_powers` adds, in few operations for each range."""
    for block, first, end in ranges.tolist():
        moments.add_powers(values[first:end] - pivot, sums[block])


def add_positive(values: Tensor, ranges: Tensor, count: Tensor) -> None:
    """The same of the number of values > 0, to (blocks, neurons)."""
    for block, first, end in ranges.tolist():
        moments.add_positive(values[first:end], count[block])
