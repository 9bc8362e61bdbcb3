"""Moments of the activations of one model: what rows of activations, correlations and explanations stand on."""

from collections.abc import Iterable

from torch import Tensor

from ingest.corpus.batches import Pivots
from ingest.parts.arrays import decode
from ingest.statistics.accumulator import Accumulator
from ingest.statistics.correlation import NeuronSums
from ingest.statistics.moments import FrequencyAccumulator, MomentAccumulator


class ModelMoments(Accumulator):
    """Moments of pre and post and the activation frequency of one model, about its pivots."""

    def __init__(self, pivots: Pivots) -> None:
        self.pre = MomentAccumulator(pivots.pre)
        self.post = MomentAccumulator(pivots.post)
        self.frequency = FrequencyAccumulator(len(pivots.pre), pivots.pre.device)

    def update(self, pre: Tensor, post: Tensor) -> None:
        """Add (tokens, neurons) fp32 of pre, which is centred in place, and of post about its pivot."""
        self.frequency.update(pre)
        pre -= self.pre.pivot
        self.pre.update(pre)
        self.post.update(post)

    @property
    def sums(self) -> NeuronSums:
        """What correlations need."""
        return NeuronSums(self.post.n, self.post.power_sums_[0], self.post.power_sums_[1])

    def state(self) -> dict[str, Tensor]:
        """The live sums of all three, which may be added to."""
        states = {"pre": self.pre.state(), "post": self.post.state(), "frequency": self.frequency.state()}
        return {f"{name}.{key}": sums for name, state in states.items() for key, sums in state.items()}


def merged_moments(pivots: Pivots, parts: Iterable[bytes]) -> ModelMoments:
    """The moments of a model over all rows, from the results of the jobs that took them."""
    merged = ModelMoments(pivots)
    for data in parts:
        merged.merge(decode(data))
    return merged
