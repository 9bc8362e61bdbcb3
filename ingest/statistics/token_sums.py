"""Sums of activations per token id: the sufficient statistics of every token-level explanation (SPEC §3.3, §6.1)."""

import torch
from jaxtyping import Float64
from torch import Tensor

CHUNK_IDS = 64
"""Ids whose fp32 sums are added to float64 at a time: a chunk that stays in the cache is added twice as fast."""


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
        """Add a batch: fp32 sums of an id within it (relative error below 1e-6), float64 across batches.

        Args:
            centred: (tokens, neurons) fp32, post - pivot.
            current, previous: (tokens,) int64 ids; a previous id of -1 (first position of a row) belongs to no token.
        """
        for shift, ids in enumerate((current, previous)):
            seen, slot = torch.unique(ids, return_inverse=True)
            partial = torch.zeros(len(seen), centred.shape[1], device=centred.device)
            partial.index_add_(0, slot, centred)
            none = int((seen < 0).sum()) if shift else 0  # ids are in order: -1 comes first
            for some, sums in zip(seen[none:].split(CHUNK_IDS), partial[none:].split(CHUNK_IDS), strict=True):
                self.sums_[shift].index_add_(0, some, sums.double())

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {"sums": self.sums_}

    def merge(self, other: "TokenSumAccumulator") -> None:
        """Add the sums of another shard with the same pivot."""
        self.sums_ += other.sums_
