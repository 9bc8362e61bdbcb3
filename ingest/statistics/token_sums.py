"""Sums of activations per token id: the sufficient statistics of every token-level explanation (SPEC §3.3, §6.1)."""

import torch
from jaxtyping import Float64
from torch import Tensor

from ingest.statistics import loops
from ingest.statistics.layers import LayerAccumulator, TokenBatch


def add_rows(values: Tensor, ids: Tensor, sums: Tensor) -> None:
    """Add every row of (tokens, neurons) fp32 to the float64 row of its id; an id of -1 names none.

    Nothing waits for the device: rows of no id are added to the first one, as zeros.
    """
    named = torch.where((ids >= 0)[:, None], values, 0)
    sums.index_add_(0, ids.clamp_min(0), named.double())


class TokenSumAccumulator(LayerAccumulator):
    """Sums of `post - pivot` by the current token id, for consecutive layers of one model."""

    sums_: Float64[Tensor, "tokens neurons"]

    def __init__(self, n_ids: int, pivot: Tensor) -> None:
        """Args:
        n_ids: rows of the sums (`TokenBatch.current_rows`).
        pivot: (neurons,) fp32, of post; it is on the device of the sums.
        """
        self.pivot = pivot
        self.sums_ = torch.zeros(n_ids, len(pivot), dtype=torch.float64, device=pivot.device)

    @staticmethod
    def bytes_needed(n_ids: int, n_neurons: int) -> int:
        """Bytes of the resident sums."""
        return n_ids * n_neurons * 8

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Add a batch, in float64."""
        add = loops.add_rows if post.device.type == "cpu" else add_rows
        add(post, batch.current_rows, self.sums_)

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {"sums": self.sums_}
