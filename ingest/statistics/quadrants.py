"""What gated neurons do in each quadrant of (g, u): post = act(g)·u, g what the gate reads and u what it multiplies.

    QuadrantAccumulator  --observe/merge-->  statistics(), standard_errors()  -->  one number per quadrant and neuron

A neuron writes along its output weights where post is positive and against them where it is negative; which of the two, and
whether its gate is open, are two questions with four answers. The sign of u cannot be told from post: where the gate's
activation rounds to zero, its sign is not always that of g.
"""

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ingest.statistics import quadrant_loops
from ingest.statistics.jackknife import N_BLOCKS, jackknife
from ingest.statistics.layers import LayerAccumulator, TokenBatch

QUADRANTS = ("open_positive", "open_negative", "shut_positive", "shut_negative")
"""The gate is open where g > 0, the input positive where u > 0; zeros are on the other side."""
STATISTICS = ("frequency", "post_mean", "share")
"""Fraction of tokens in the quadrant, mean of post over them, and share of the quadrant in the sum of |post|."""


class QuadrantAccumulator(LayerAccumulator):
    """Counts, sums of post and of |post| by block of documents and quadrant, for consecutive layers of one model."""

    n_: Int64[Tensor, " blocks"]
    """Tokens."""
    counts_: Int64[Tensor, "blocks 4 neurons"]
    sums_: Float64[Tensor, "blocks 4 neurons"]
    sizes_: Float64[Tensor, "blocks 4 neurons"]

    def __init__(self, n_neurons: int, device: torch.device) -> None:
        shape = N_BLOCKS, len(QUADRANTS), n_neurons
        self.n_ = torch.zeros(N_BLOCKS, dtype=torch.int64)
        self.counts_ = torch.zeros(shape, dtype=torch.int64, device=device)
        self.sums_ = torch.zeros(shape, dtype=torch.float64, device=device)
        self.sizes_ = torch.zeros(shape, dtype=torch.float64, device=device)

    @staticmethod
    def bytes_needed(n_neurons: int) -> int:
        """Bytes of the resident sums."""
        return N_BLOCKS * len(QUADRANTS) * n_neurons * 24

    def observe(
        self, batch: TokenBatch, pre: Tensor, post: Tensor, neurons: slice, read: Tensor | None = None
    ) -> None:
        """Add the kept positions of one layer of a batch.

        Raises:
            ValueError: the neurons have no gates.
        """
        if read is None:
            raise ValueError("neurons without gates have no quadrants")
        # a copy, for loops want the neurons of a sum side by side
        own = [sums[:, :, neurons].contiguous() for sums in (self.counts_, self.sums_, self.sizes_)]
        add = quadrant_loops.add_quadrants if pre.device.type == "cpu" else add_quadrants
        add(pre, read, post, batch.kept, batch.block_of_kept, *own)
        for sums, added in zip((self.counts_, self.sums_, self.sizes_), own, strict=True):
            sums[:, :, neurons] = added

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Count the kept positions of a batch."""
        self.n_ += torch.bincount(batch.block_of_kept, minlength=N_BLOCKS).cpu()

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {"n": self.n_, "counts": self.counts_, "sums": self.sums_, "sizes": self.sizes_}

    def statistics(self) -> dict[str, Float64[np.ndarray, "4 neurons"]]:
        """`STATISTICS` of each quadrant; NaN where undefined."""
        n, *sums = (values.cpu().numpy().sum(axis=0) for values in self.state().values())
        return dict(zip(STATISTICS, _estimates(n, *sums), strict=True))

    def standard_errors(self) -> dict[str, Float64[np.ndarray, "4 neurons"]]:
        """Theirs, by the jackknife over blocks; NaN with too few blocks, and where the statistic is undefined.

        How often a neuron is in a quadrant where it never is, or always, varies between no blocks: that has no standard error.
        """
        n, counts, sums, sizes = (values.cpu().numpy() for values in self.state().values())
        found = dict(zip(STATISTICS, jackknife(n, _estimates, counts, sums, sizes), strict=True))
        total = counts.sum(axis=0)
        found["frequency"] = np.where((total > 0) & (total < n.sum()), found["frequency"], np.nan)
        return found


def _estimates(n: np.int64, counts: np.ndarray, sums: np.ndarray, sizes: np.ndarray) -> Float64[np.ndarray, "3 4 neurons"]:
    """`STATISTICS` of sums over n tokens; nothing divided by nothing is undefined."""
    with np.errstate(invalid="ignore"):
        return np.stack([counts / n, sums / counts, sizes / sizes.sum(axis=0)])


def add_quadrants(
    gate: Tensor, read: Tensor, post: Tensor, kept: Tensor, blocks: Tensor, counts: Tensor, sums: Tensor, sizes: Tensor
) -> None:
    """What `quadrant_loops.add_quadrants` adds, in few operations for each block."""
    gate, read, post = (values.index_select(0, kept) for values in (gate, read, post))
    quadrants = 2 * ~(gate > 0) + ~(read > 0)
    for block in blocks.unique().tolist():
        here = blocks == block
        for quadrant in range(len(QUADRANTS)):
            inside = quadrants[here] == quadrant
            exact = torch.where(inside, post[here].double(), 0.0)
            counts[block, quadrant] += inside.sum(0)
            sums[block, quadrant] += exact.sum(0)
            sizes[block, quadrant] += exact.abs().sum(0)
