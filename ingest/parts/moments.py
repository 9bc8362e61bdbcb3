"""Moments of the activations of one model: what rows of activations, correlations and explanations stand on."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from ingest.corpus.batches import Pivots
from ingest.parts.arrays import decode
from ingest.statistics.correlation import NeuronSums
from ingest.statistics.moments import FrequencyAccumulator, MomentAccumulator


class ModelMoments:
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
        """All sums; `merge` takes them."""
        n = torch.tensor([self.pre.n, self.post.n, self.frequency.n])
        return {"pre": self.pre.power_sums_, "post": self.post.power_sums_, "count": self.frequency.count, "n": n}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Add the sums of other rows about the same pivots."""
        for name, sums in (("pre", self.pre.power_sums_), ("post", self.post.power_sums_), ("count", self.frequency.count)):
            sums += torch.from_numpy(state[name]).to(sums.device)
        pre, post, frequency = state["n"].tolist()
        self.pre.n += pre
        self.post.n += post
        self.frequency.n += frequency


def merged_moments(pivots: Pivots, parts: Iterable[bytes]) -> ModelMoments:
    """The moments of a model over all rows, from the results of the jobs that took them."""
    merged = ModelMoments(pivots)
    for data in parts:
        merged.merge(decode(data))
    return merged
