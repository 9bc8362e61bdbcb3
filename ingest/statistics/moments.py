"""Streaming central moments about a fixed pivot (SPEC §3.1, §3.2).

MomentAccumulator  --update/merge-->  compute()  -->  Moments

Powers of `x - pivot` are summed in fp32 inside blocks of rows and in float64 across blocks. As all shards share the
pivot, merging is addition; central moments follow from the sums in float64. The pivot (the mean of the first tokens)
lies within a fraction of a standard deviation of the mean, so the subtraction loses no digits that matter.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ingest.statistics import loops
from ingest.statistics.accumulator import Accumulator

FP32_ROWS = 1024
"""Rows whose sums a GPU takes in fp32, by halves; a CPU takes fewer, one after the other."""

LEAST_VARIANCE = 1e-12
"""Sum of squares about the mean, over that about the pivot (or 1), up to which a neuron does not vary (§2.1)."""


@dataclass(frozen=True)
class Moments:
    """Population moments (ddof 0) per neuron, float64; undefined is NaN."""

    n: int
    """Tokens."""
    mean: Float64[Tensor, " neurons"]
    """In units of the activation."""
    var: Float64[Tensor, " neurons"]
    skew: Float64[Tensor, " neurons"]
    """NaN where degenerate."""
    kurt: Float64[Tensor, " neurons"]
    """Not the excess: 3 for a Gaussian. NaN where degenerate."""
    degenerate: torch.Tensor
    """bool (neurons,): M2 <= 1e-12 * max(1, sum of squares about the pivot) (§2.1)."""

    def __getitem__(self, neurons: slice) -> "Moments":
        """The same for a range of neurons."""
        columns = (self.mean, self.var, self.skew, self.kurt, self.degenerate)
        return Moments(self.n, *(column[neurons] for column in columns))


def add_powers(values: Tensor, sums: Tensor) -> None:
    """Add the sums over rows of the first four powers of (tokens, neurons) to (4, neurons) float64, in few operations."""
    for x in values.split(FP32_ROWS):
        square = x * x
        sums += torch.stack([x.sum(0), square.sum(0), (x * square).sum(0), (square * square).sum(0)])


def add_positive(values: Tensor, count: Tensor) -> None:
    """Add the number of values > 0 per column of (tokens, neurons) to (neurons,) int64, in few operations."""
    count += (values > 0).sum(0)


def add_rectified(values: Tensor, sums: Tensor) -> None:
    """Add the sums over rows of max(value, 0), of (tokens, neurons) fp32, to (neurons,) float64."""
    sums += values.clamp_min(0).double().sum(0)


class MomentAccumulator(Accumulator):
    """Sums of the first four powers of activations about a pivot."""

    pivot: Tensor
    """(neurons,) fp32, frozen."""
    n_: Int64[Tensor, " 1"]
    """Tokens seen."""
    power_sums_: Float64[Tensor, "4 neurons"]
    """Unnormalised sums of (x - pivot)**k for k = 1..4."""

    def __init__(self, pivot: Tensor) -> None:
        self.pivot = pivot
        self.n_ = torch.zeros(1, dtype=torch.int64)
        self.power_sums_ = torch.zeros(4, pivot.shape[0], dtype=torch.float64, device=pivot.device)

    def update(self, centred: Tensor) -> None:
        """Add a batch `centred` = x - pivot, (tokens, neurons) fp32."""
        self.n_ += centred.shape[0]
        add = loops.add_powers if centred.device.type == "cpu" else add_powers
        add(centred, self.power_sums_)

    @property
    def n(self) -> int:
        """Tokens seen."""
        return int(self.n_)

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {"n": self.n_, "powers": self.power_sums_}

    def compute(self) -> Moments:
        """Central moments of everything seen.

        Raises:
            ValueError: nothing was seen.
        """
        if self.n == 0:
            raise ValueError("no tokens were accumulated")
        return central_moments(self.n, self.power_sums_, self.pivot)


def central_moments(n: int, power_sums: Float64[Tensor, "4 neurons"], pivot: Tensor) -> Moments:
    """Moments of n > 0 tokens from their sums of powers about a pivot, (neurons,) fp32."""
    m1, m2, m3, m4 = power_sums / n
    var = (m2 - m1**2).clamp_min(0)
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    degenerate = var * n <= LEAST_VARIANCE * power_sums[1].clamp_min(1)
    undefined = torch.full_like(var, torch.nan)
    return Moments(
        n=n,
        mean=pivot.double() + m1,
        var=var,
        skew=torch.where(degenerate, undefined, third / var**1.5),
        kurt=torch.where(degenerate, undefined, fourth / var**2),
        degenerate=degenerate,
    )


class FrequencyAccumulator(Accumulator):
    """Counts tokens with pre > 0: the activation frequency, `sparsity` in the tables (§3.2)."""

    def __init__(self, n_neurons: int, device: torch.device) -> None:
        self.n_ = torch.zeros(1, dtype=torch.int64)
        self.count = torch.zeros(n_neurons, dtype=torch.int64, device=device)

    def update(self, pre: Tensor) -> None:
        """Add a batch of pre-activations, (tokens, neurons)."""
        self.n_ += pre.shape[0]
        add = loops.add_positive if pre.device.type == "cpu" else add_positive
        add(pre, self.count)

    def state(self) -> dict[str, Tensor]:
        """The live counts, which may be added to."""
        return {"n": self.n_, "count": self.count}

    def compute(self) -> Float64[Tensor, " neurons"]:
        """Fraction of tokens with pre > 0, in [0, 1]."""
        return self.count.double() / self.n_
