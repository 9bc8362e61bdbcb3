"""Sums of activations by the features of positions and by block of documents: all that variance reductions, their errors and
their held-out scores need (SPEC §5b, §5.10, §6.1).

Where features are known of some rows only, such as syntax, only these rows' positions count, so that n, the mean and the
variance are those of these positions, too.
"""

import torch
from jaxtyping import Float64, Int32, Int64
from torch import Tensor

from ingest.statistics import feature_loops
from ingest.statistics.jackknife import N_BLOCKS
from ingest.statistics.layers import LayerAccumulator, TokenBatch


class FeatureAccumulator(LayerAccumulator):
    """Sums of `post - pivot` by block and feature, for consecutive layers of one model.

    Some features are directed: of their positions it is kept as well how often pre > 0, and the sum of max(post, 0), or of
    max(pre, 0) where neurons have gates, whose posts have both signs however open the gate is. Costs
    256 * (features + 2) bytes per neuron, and 384 * (directed + 1) where features are directed: 88 KiB for syntax, 174 features
    and half of them directed. Per position and neuron: one addition for each feature that the position has, about ten for
    syntax in English, two more where it is directed, and three operations for moments.
    """

    counts_: Int64[Tensor, "blocks features"]
    """Positions with each feature; the last entry counts all positions."""
    sums_: Float64[Tensor, "blocks features neurons"]
    """Of post - pivot over these positions."""
    squares_: Float64[Tensor, "blocks neurons"]
    """Of (post - pivot)² over all positions."""
    active_: Int32[Tensor, "blocks directed neurons"]
    """Positions with pre > 0 of those with each directed feature, and of all; no rows where no feature is directed."""
    rectified_: Float64[Tensor, "blocks directed neurons"]
    """Sums of max(post, 0) over the same; of gated neurons, of max(pre, 0)."""

    def __init__(self, name: str, n_features: int, pivot: Tensor, n_directed: int = 0, gated: bool = False) -> None:
        """Args:
        name: of the features in a batch.
        n_features: columns of the features in a batch.
        pivot: (neurons,) fp32, of post; it is on the device of the sums.
        n_directed: columns that are directed, the first ones.
        gated: the neurons have gates.
        """
        self.name = name
        self.pivot = pivot
        self.n_directed = n_directed
        self.gated = gated
        n_neurons, device = len(pivot), pivot.device
        directed = n_directed + 1 if n_directed else 0
        self.counts_ = torch.zeros(N_BLOCKS, n_features + 1, dtype=torch.int64, device=device)
        self.sums_ = torch.zeros(N_BLOCKS, n_features + 1, n_neurons, dtype=torch.float64, device=device)
        self.squares_ = torch.zeros(N_BLOCKS, n_neurons, dtype=torch.float64, device=device)
        self.active_ = torch.zeros(N_BLOCKS, directed, n_neurons, dtype=torch.int32, device=device)
        self.rectified_ = torch.zeros(N_BLOCKS, directed, n_neurons, dtype=torch.float64, device=device)

    @staticmethod
    def bytes_needed(n_features: int, n_neurons: int, n_directed: int = 0) -> int:
        """Bytes of the resident sums."""
        directed = 12 * (n_directed + 1) if n_directed else 0
        return N_BLOCKS * (8 * (n_features + 2) + directed) * n_neurons

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Add the positions of a batch whose features are known, in float64: features that are equal have equal sums.

        Raises:
            ValueError: the batch comes without these features.
        """
        if self.name not in batch.features:
            raise ValueError(f"a batch without {self.name} cannot be added")
        known = batch.features[self.name]
        if not len(known.features):
            return
        blocks = batch.block_of_kept
        if known.places is not None:
            pre, post, blocks = (values.index_select(0, known.places) for values in (pre, post, blocks))
        everything = torch.ones(len(known.features), 1, dtype=torch.int64, device=post.device)
        self.counts_.index_add_(0, blocks, torch.cat([known.features.long(), everything], dim=1))
        if post.device.type == "cpu":
            feature_loops.add_members(post, known.features, blocks, self.sums_, self.squares_)
        else:
            add_members(post, known.features, blocks, self.sums_, self.squares_)
        if self.n_directed:
            directed = known.features[:, : self.n_directed]
            add = feature_loops.add_directed if post.device.type == "cpu" else add_directed
            rectified = (pre, torch.zeros_like(self.pivot)) if self.gated else (post, self.pivot)
            add(pre, *rectified, directed, blocks, self.active_, self.rectified_)

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        names = ("counts", "sums", "squares", *(("active", "rectified") if self.n_directed else ()))
        return {name: getattr(self, f"{name}_") for name in names}


def add_members(values: Tensor, members: Tensor, blocks: Tensor, sums: Tensor, squares: Tensor) -> None:
    """Add (positions, neurons) fp32 to the float64 sums of each block and feature, and of all positions: a product per block.

    Args:
        members: (positions, features) bool.
        blocks: (positions,) int64.
        sums: (blocks, features + 1, neurons); squares: (blocks, neurons).
    """
    for block, exact, inside in _by_block(values, members, blocks):
        sums[block, :-1] += inside.T @ exact
        sums[block, -1] += exact.sum(0)
        squares[block] += exact.square().sum(0)


def add_directed(
    pre: Tensor, values: Tensor, pivot: Tensor, members: Tensor, blocks: Tensor, active: Tensor, rectified: Tensor
) -> None:
    """Count pre > 0 and sum max(value, 0) by block and feature, and over all positions.

    Args:
        pre, values: (positions, neurons) fp32, values about the pivot.
        active, rectified: (blocks, features + 1, neurons) int32 and float64.
    """
    everything = torch.ones(len(members), 1, dtype=torch.bool, device=members.device)
    inside = torch.cat([members, everything], dim=1)
    for block, positive, of_block in _by_block((pre > 0).float(), inside, blocks):
        active[block] += (of_block.T @ positive).round_().int()
    for block, exact, of_block in _by_block(values, inside, blocks):
        rectified[block] += of_block.T @ (exact + pivot.double()).clamp_min_(0)


def _by_block(values: Tensor, members: Tensor, blocks: Tensor) -> list[tuple[int, Tensor, Tensor]]:
    """Of each block that there is, its values and members in float64."""
    places = [(block, (blocks == block).nonzero().squeeze(1)) for block in blocks.unique().tolist()]
    return [(block, values[place].double(), members[place].double()) for block, place in places]
