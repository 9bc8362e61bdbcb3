"""What accumulators of consecutive layers of one model have in common, and the tokens that they are shown.

observe   every position of a layer, as the forward pass reaches it
update    the kept positions of all their layers, once per batch
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ingest.statistics.accumulator import Accumulator
from ingest.statistics.hashing import context_hashes

EARLY = 10
"""Positions of a row, BOS among them, that the `late` statistics leave out: attention has little to look back at there."""


@dataclass(frozen=True)
class FeatureBatch:
    """Which features the kept positions of a batch have, as far as that is known."""

    features: Tensor
    """(known, columns) bool: of the token, then of the one before it in the row."""
    places: Tensor | None = None
    """(known,) int64: which of the kept positions these are; None: all."""


@dataclass(frozen=True)
class TokenBatch:
    """Consecutive rows of the corpus."""

    first_row: int
    n_rows: int
    first_kept: int
    """Kept positions in the rows of the corpus before these."""
    tokens: Tensor
    """(rows, context) int64."""
    kept: Tensor
    """(kept,) int64: positions of the flattened rows that are in M_corr (§0.3)."""
    current: Tensor
    """(kept,) int64 token ids."""
    previous: Tensor
    """(kept,) int64 ids one position earlier in the same row; -1 at the first position."""
    subsets: Tensor
    """(rows,) int64: which of the corpus's subsets each row belongs to; 0 where it has none."""
    blocks: Tensor
    """(rows,) int64: the block of documents that each row is of (`ingest.corpus.blocks`)."""
    features: Mapping[str, FeatureBatch] = field(default_factory=dict)
    """By name, those that a statistic asks for."""
    ids: Tensor | None = None
    """(ids,) int64, in order: those that the corpus has, of which sums by id have a row each; None: ids are their rows."""

    @cached_property
    def masked(self) -> Tensor:
        """(rows * context,) bool: the positions that are not kept."""
        masked = torch.ones(self.tokens.numel(), dtype=torch.bool, device=self.tokens.device)
        masked[self.kept] = False
        return masked

    @cached_property
    def row_ranges(self) -> list[tuple[int, int, int, int]]:
        """Of each row its subset, and where its kept positions begin, its late ones begin, and both end among all kept."""
        context = self.tokens.shape[1]
        starts = torch.arange(self.n_rows, device=self.kept.device) * context
        edges = torch.searchsorted(self.kept, torch.stack([starts, starts + min(EARLY, context), starts + context]))
        return list(zip(self.subsets.tolist(), *edges.tolist(), strict=True))

    @cached_property
    def block_of_kept(self) -> Tensor:
        """(kept,) int64: the block of each kept position."""
        return self.blocks[self.kept // self.tokens.shape[1]]

    @cached_property
    def following(self) -> Tensor:
        """(kept,) int64 ids one position later in the same row; -1 at the last position."""
        following = torch.full_like(self.tokens, -1)
        following[:, :-1] = self.tokens[:, 1:]
        return following.flatten()[self.kept]

    @cached_property
    def current_rows(self) -> Tensor:
        """(kept,) int64: the row of the current token in sums by id."""
        return self.current if self.ids is None else torch.searchsorted(self.ids, self.current)

    @cached_property
    def following_rows(self) -> Tensor:
        """(kept,) int64: the row of the next token in sums by id; -1 at the last position."""
        following = self.following
        return following if self.ids is None else torch.where(following < 0, -1, torch.searchsorted(self.ids, following))

    @cached_property
    def places(self) -> Tensor:
        """(kept,) int64 row * context + position in the corpus."""
        return self.kept + self.first_row * self.tokens.shape[1]

    @cached_property
    def contexts(self) -> Tensor:
        """(kept,) int64 hash of each kept token and those before it, see `context_hashes`."""
        return context_hashes(self.tokens).flatten()[self.kept]


class LayerAccumulator(Accumulator):
    """Sums of consecutive layers of one model; a subclass overrides what it needs."""

    def observe(
        self, batch: TokenBatch, pre: Tensor, post: Tensor, neurons: slice, read: Tensor | None = None
    ) -> None:
        """Add every position of one layer of a batch.

        Args:
            pre, post: (rows * context, d_mlp) fp32, post as it is.
            neurons: which of the accumulator's neurons they are.
            read: of gated neurons, what the gate's activation is multiplied by, as pre.
        """

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Add a batch, after its layers were observed.

        Args:
            pre: (kept, neurons) fp32, as it is.
            post: (kept, neurons) fp32, about the pivot.
        """
