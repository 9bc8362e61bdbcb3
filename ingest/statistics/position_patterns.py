"""How a neuron depends on position: the pattern types of VO §5.2 and Fig. 7, made exact (SPEC §12.9).

With tolerance t a position is low (frequency <= t), high (>= 1 - t) or neither; runs shorter than `shortest_run` count as
neither. What remains are low and high runs in order:

    oscillatory     at least two changes between low and high
    both_extremes   one
    one_extreme     none, and at least one run
    other           no run

The first that holds wins, with t = 0.005 (strong) before t = 0.10 (weak), each with the least share of positions in runs
that it asks for. `other` is strong where each position's frequency is predicted by its neighbours'.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from jaxtyping import Float64

STRONG, WEAK = 0.005, 0.10
"""Tolerances."""
LEAST_COVERAGE = {
    "strong": {"oscillatory": 0.8, "both_extremes": 0.8, "one_extreme": 0.2},
    "weak": {"oscillatory": 0.1, "both_extremes": 0.1, "one_extreme": 0.1},
}
SMOOTH = 0.98
"""Predictability from which `other` is strong."""


@dataclass(frozen=True)
class Run:
    """Adjacent positions in one extreme."""

    first: int
    last: int
    """Inclusive."""
    high: bool


@dataclass(frozen=True)
class Pattern:
    """One neuron's pattern."""

    pattern: str
    strength: str
    tolerance: float | None
    """None for `other`, which has no runs."""
    alternations: int
    coverage: float
    """Share of positions in low or high runs."""
    predictability: float | None
    """1 - mean squared distance from the neighbours' mean / variance; None where the frequency never changes."""
    runs: tuple[Run, ...]


def shortest_run(n_positions: int) -> int:
    """Positions that a run has at least."""
    return max(8, ceil(0.01 * n_positions))


def find_runs(frequency: Float64[np.ndarray, " positions"], tolerance: float, first_position: int) -> tuple[Run, ...]:
    """The low and high runs of a curve whose first entry is `first_position`."""
    state = (frequency >= 1 - tolerance).astype(np.int8) - (frequency <= tolerance).astype(np.int8)
    edges = np.flatnonzero(np.diff(state)) + 1
    stretches = pairwise([0, *edges.tolist(), len(state)])
    least = shortest_run(len(frequency))
    return tuple(
        Run(first_position + start, first_position + end - 1, bool(state[start] > 0))
        for start, end in stretches
        if state[start] and end - start >= least
    )


def find_pattern(frequency: Float64[np.ndarray, " positions"], first_position: int = 1) -> Pattern:
    """The pattern of one neuron.

    Args:
        frequency: of activation at each position, without BOS.
        first_position: that of the first of them.
    """
    predictability = _predictability(frequency)
    for strength, tolerance in (("strong", STRONG), ("weak", WEAK)):
        runs = find_runs(frequency, tolerance, first_position)
        if not runs:
            continue
        alternations = sum(one.high != other.high for one, other in pairwise(runs))
        pattern = ("one_extreme", "both_extremes", "oscillatory")[min(alternations, 2)]
        coverage = sum(run.last - run.first + 1 for run in runs) / len(frequency)
        if coverage >= LEAST_COVERAGE[strength][pattern]:
            return Pattern(pattern, strength, tolerance, alternations, coverage, predictability, runs)
    smooth = predictability is not None and predictability >= SMOOTH
    return Pattern("other", "strong" if smooth else "weak", None, 0, 0.0, predictability, ())


def _predictability(frequency: Float64[np.ndarray, " positions"]) -> float | None:
    variance = frequency.var()
    if len(frequency) < 3 or variance < 1e-12:
        return None
    inner = frequency[1:-1] - (frequency[:-2] + frequency[2:]) / 2
    return float(1 - (inner**2).mean() / variance)
