"""Sums of activations over the positions that have each feature: all that variance reductions need (SPEC §5b, §5.10, §6.1).

Where features are known of some rows only, such as syntax, only these rows' positions count, so that n, the mean and the
variance are those of these positions, too.
"""

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ingest.statistics import loops
from ingest.statistics.layers import LayerAccumulator, TokenBatch


class FeatureAccumulator(LayerAccumulator):
    """Sums of `post - pivot` by feature, for consecutive layers of one model.

    Costs 8 * (2 * features + 2) bytes per neuron, 1,408 for the 87 of syntax. Per position and neuron: one addition for
    each feature that the token or the one before it has, about ten for syntax in English, and three operations for moments.
    """

    counts_: Int64[Tensor, " features"]
    """Positions with each feature of the current token, then of the previous one; the last entry counts all positions."""
    sums_: Float64[Tensor, "features neurons"]
    """Of post - pivot over these positions."""
    squares_: Float64[Tensor, " neurons"]
    """Of (post - pivot)² over all positions."""

    def __init__(self, name: str, n_features: int, pivot: Tensor) -> None:
        """Args:
        name: of the features in a batch.
        pivot: (neurons,) fp32, of post; it is on the device of the sums.
        """
        self.name = name
        self.pivot = pivot
        n_neurons, device = len(pivot), pivot.device
        self.counts_ = torch.zeros(2 * n_features + 1, dtype=torch.int64, device=device)
        self.sums_ = torch.zeros(2 * n_features + 1, n_neurons, dtype=torch.float64, device=device)
        self.squares_ = torch.zeros(n_neurons, dtype=torch.float64, device=device)

    @staticmethod
    def bytes_needed(n_features: int, n_neurons: int) -> int:
        """Bytes of the resident sums."""
        return 8 * (2 * n_features + 2) * n_neurons

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
        values = post if known.places is None else post.index_select(0, known.places)
        self.counts_[:-1] += known.features.sum(0)
        self.counts_[-1] += len(known.features)
        if values.device.type == "cpu":
            loops.add_members(values, known.features, self.sums_[:-1])
            loops.add_squares(values, self.sums_[-1], self.squares_)
        else:
            add_members(values, known.features, self.sums_[:-1])
            add_squares(values, self.sums_[-1], self.squares_)

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {"counts": self.counts_, "sums": self.sums_, "squares": self.squares_}


def add_members(values: Tensor, members: Tensor, sums: Tensor) -> None:
    """Add (positions, neurons) fp32 to the float64 sums of each feature that (positions, features) bool says: a product."""
    sums += members.double().T @ values.double()


def add_squares(values: Tensor, sums: Tensor, squares: Tensor) -> None:
    """Add the sums over rows of (positions, neurons) fp32, and of the squares, to (neurons,) float64."""
    exact = values.double()
    sums += exact.sum(0)
    squares += exact.square_().sum(0)
