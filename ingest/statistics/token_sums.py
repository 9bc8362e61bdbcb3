"""Sums of activations per token id: the sufficient statistics of every token-level explanation (SPEC §3.3, §6.1)."""

import torch
from jaxtyping import Float64
from torch import Tensor

MOST_SLOTS = 1024
"""Distinct ids of a batch up to which one product with their indicators is faster than adding row by row."""


def _sums_by_slot(values: Tensor, slot: Tensor, n_slots: int) -> Tensor:
    """(slots, neurons) fp32: sums of the rows of `values`, (tokens, neurons), by slot."""
    if n_slots > MOST_SLOTS:
        return torch.zeros(n_slots, values.shape[1], device=values.device).index_add_(0, slot, values)
    indicator = torch.zeros(len(slot), n_slots, device=values.device)
    indicator.scatter_(1, slot[:, None], 1.0)
    return indicator.T @ values


class TokenSumAccumulator:
    """Sums of `post - pivot` by the current and by the previous token id, for a range of neurons of one model."""

    sums_: Float64[Tensor, "2 tokens neurons"]
    """[0] by the current token id, [1] by the previous one, about the pivot."""

    def __init__(self, d_vocab: int, n_neurons: int, device: torch.device) -> None:
        self.sums_ = torch.zeros(2, d_vocab, n_neurons, dtype=torch.float64, device=device)

    @staticmethod
    def bytes_needed(d_vocab: int, n_neurons: int) -> int:
        """Bytes of the resident sums."""
        return 2 * d_vocab * n_neurons * 8

    def update(self, centred: Tensor, current: Tensor, previous: Tensor) -> None:
        """Add a batch.

        Args:
            centred: (tokens, neurons) fp32, post - pivot.
            current, previous: (tokens,) int64 ids; a previous id of -1 (first position of a row) belongs to no token.
        """
        for shift, ids in enumerate((current, previous)):
            seen, slot = torch.unique(ids, return_inverse=True)
            partial = _sums_by_slot(centred, slot, len(seen))
            real = seen >= 0
            self.sums_[shift].index_add_(0, seen[real], partial[real].double())

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {"sums": self.sums_}

    def merge(self, other: "TokenSumAccumulator") -> None:
        """Add the sums of another shard with the same pivot."""
        self.sums_ += other.sums_
