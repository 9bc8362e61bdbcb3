"""Activations by the token that comes next: what neurons are when the model is about to see something (SPEC §3.5)."""

import torch
from jaxtyping import Float64, Int32, Int64
from torch import Tensor

from ingest.statistics import loops
from ingest.statistics.layers import LayerAccumulator, TokenBatch


class NextTokenAccumulator(LayerAccumulator):
    """Sums of `pre - pivot` and activity by the id of the next token, for consecutive layers of one model.

    The last position of a row has no next token and does not count. Costs 12 bytes per token id and neuron, and five
    operations per token and neuron.
    """

    counts_: Int64[Tensor, " tokens"]
    sums_: Float64[Tensor, "tokens neurons"]
    active_: Int32[Tensor, "tokens neurons"]
    """Positions with pre > 0."""
    squares_: Float64[Tensor, " neurons"]
    """Of (pre - pivot)² over all these positions."""

    def __init__(self, n_ids: int, pivot: Tensor) -> None:
        """Args:
        n_ids: rows of the sums (`TokenBatch.following_rows`).
        pivot: (neurons,) fp32, of pre; it is on the device of the sums.
        """
        self.pivot = pivot
        self.counts_ = torch.zeros(n_ids, dtype=torch.int64, device=pivot.device)
        self.sums_ = torch.zeros(n_ids, len(pivot), dtype=torch.float64, device=pivot.device)
        self.active_ = torch.zeros(n_ids, len(pivot), dtype=torch.int32, device=pivot.device)
        self.squares_ = torch.zeros(len(pivot), dtype=torch.float64, device=pivot.device)

    @staticmethod
    def bytes_needed(n_ids: int, n_neurons: int) -> int:
        """Bytes of the resident sums."""
        return 12 * n_ids * n_neurons + 8 * (n_ids + n_neurons)

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Add a batch, in float64."""
        following = batch.following_rows
        self.counts_ += torch.bincount(following[following >= 0], minlength=len(self.counts_))
        add = loops.add_following if pre.device.type == "cpu" else add_following
        add(pre, following, self.pivot, self.sums_, self.active_, self.squares_)

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {"counts": self.counts_, "sums": self.sums_, "active": self.active_, "squares": self.squares_}


def add_following(pre: Tensor, ids: Tensor, pivot: Tensor, sums: Tensor, active: Tensor, squares: Tensor) -> None:
    """Add every row of (positions, neurons) fp32 to the row of its id; an id of -1 names none.

    Nothing waits for the device: rows of no id are added to the first one, as zeros.
    """
    named = (ids >= 0)[:, None]
    centred = torch.where(named, pre.double() - pivot.double(), 0.0)
    sums.index_add_(0, ids.clamp_min(0), centred)
    active.index_add_(0, ids.clamp_min(0), (named & (pre > 0)).to(active.dtype))
    squares += centred.square_().sum(0)
