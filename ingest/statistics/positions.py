"""Activation by position in the row: frequency, mean and spread, and what the position tells about being active.

VO §5.1 and App. B.1, SPEC §12.8. Every position of every row counts, newlines included, and rows are full, so that each
position has equally many tokens. Where position 0 holds BOS, figures over positions leave it out unless they say otherwise.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int, Int32, Int64
from torch import Tensor

from ingest.statistics import loops
from ingest.statistics.jackknife import N_BLOCKS, jackknife
from ingest.statistics.layers import LayerAccumulator, TokenBatch

LEAST_ROWS = 1000
"""Below, the finite-sample bias of mutual information, about 1 / (2 rows) nats, is no longer small (§12.8)."""


@dataclass(frozen=True)
class PositionCurves:
    """What is known of each position, float64, (positions, neurons) each."""

    n_rows: int
    block_rows: Int64[np.ndarray, " blocks"]
    """Rows of each block of documents."""
    block_active: Int[np.ndarray, "blocks positions neurons"]
    """Of these, rows with pre > 0."""
    frequency: Float64[np.ndarray, "positions neurons"]
    """Fraction of rows with pre > 0."""
    mean: Float64[np.ndarray, "positions neurons"]
    """Of post over rows."""
    std: Float64[np.ndarray, "positions neurons"]
    """Of post over rows (population)."""


class PositionAccumulator(LayerAccumulator):
    """Sums per position of consecutive layers of one model."""

    rows_: Int64[Tensor, " blocks"]
    """Rows seen of each block of documents."""
    active_: Int32[Tensor, "blocks positions neurons"]
    """Rows with pre > 0."""
    sums_: Float64[Tensor, "2 positions neurons"]
    """Of post and of its square."""

    def __init__(self, context: int, n_neurons: int, device: torch.device) -> None:
        self.rows_ = torch.zeros(N_BLOCKS, dtype=torch.int64)
        self.active_ = torch.zeros(N_BLOCKS, context, n_neurons, dtype=torch.int32, device=device)
        self.sums_ = torch.zeros(2, context, n_neurons, dtype=torch.float64, device=device)

    @staticmethod
    def bytes_needed(context: int, n_neurons: int) -> int:
        """Bytes of the resident sums."""
        return (4 * N_BLOCKS + 2 * 8) * context * n_neurons

    def observe(self, batch: TokenBatch, pre: Tensor, post: Tensor, neurons: slice) -> None:
        """Add one layer of a batch; its rows are counted by `update`."""
        add = loops.add_positions if pre.device.type == "cpu" else add_positions
        add(pre, post, batch.blocks, self.active_[:, :, neurons], self.sums_[:, :, neurons])

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Count the rows of a batch."""
        self.rows_ += torch.bincount(batch.blocks.cpu(), minlength=N_BLOCKS)

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {"rows": self.rows_, "active": self.active_, "sums": self.sums_}

    def compute(self) -> PositionCurves:
        """The curves of everything seen.

        Raises:
            ValueError: nothing was seen.
        """
        n = int(self.rows_.sum())
        if n == 0:
            raise ValueError("no rows were accumulated")
        mean, square = (self.sums_ / n).cpu().numpy()
        active = self.active_.cpu().numpy()
        return PositionCurves(n, self.rows_.numpy(), active, active.sum(0) / n, mean, np.sqrt(np.maximum(square - mean**2, 0)))


def add_positions(pre: Tensor, post: Tensor, blocks: Tensor, active: Tensor, sums: Tensor) -> None:
    """Add a batch to sums per position, in few operations.

    Args:
        pre, post: (rows * positions, width) fp32.
        blocks: (rows,) int64, that of each row.
        active: (blocks, positions, width) int32; sums: (2, positions, width) float64.
    """
    shape = (-1, *active.shape[1:])
    active.index_add_(0, blocks, (pre.view(shape) > 0).int())
    values = post.view(shape).double()
    sums[0] += values.sum(0)
    sums[1] += values.square_().sum(0)


def mutual_information(frequency: Float64[np.ndarray, "positions neurons"]) -> Float64[np.ndarray, " neurons"]:
    """I(active; position) in nats for equally likely positions, at most ln 2 (§12.8); 0 · ln 0 is 0.

    A neuron that is always or never active has none: 0.
    """
    overall = frequency.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        on = np.where(frequency > 0, frequency * np.log(frequency / overall), 0)
        off = np.where(frequency < 1, (1 - frequency) * np.log((1 - frequency) / (1 - overall)), 0)
        information = (on + off).mean(0)
    return np.where((overall > 0) & (overall < 1), np.maximum(information, 0), 0.0)


def information_errors(curves: PositionCurves) -> Float64[np.ndarray, "2 neurons"]:
    """Standard errors of the mutual information without the first position and with it, by the jackknife over blocks.

    NaN with too few blocks. A neuron that is always or never active has an information of 0 in all of them.
    """

    def estimates(n_rows: np.int64, active: np.ndarray) -> Float64[np.ndarray, "2 neurons"]:
        frequency = active / max(n_rows, 1)
        return np.stack([mutual_information(frequency[1:]), mutual_information(frequency)])

    return jackknife(curves.block_rows, estimates, curves.block_active)
