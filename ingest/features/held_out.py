"""Explanations by features that one half of the documents chose, scored on the other, with their errors.

    blocks before HALF   rank the features of a neuron; the best are kept
    the other blocks     score what was kept: held out
    all blocks           variance reduction, means and activity as they are, and a jackknife over blocks for their errors

The variance of each half is its own. Everything is float64, about the neuron's pivot.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from ingest.features.scores import LEAST_SUPPORT, LEAST_WITHIN, TOP, Neurons, class_statistics, neurons_of
from ingest.statistics.given_token import Partial
from ingest.statistics.jackknife import HALF, standard_error

HELD_OUT_SUPPORT = 0.5
"""Of the positions that both classes need in the half that chooses, how many they need in the other: what has enough there has
about as many here, and chance alone is to void no score."""
DIRECTION = ("frequency", "rectified")
"""Statistics of directed features, by prefix of their columns."""
PARTIAL = ("partial_effect", "partial_variance_reduction", "overlap")


@dataclass(frozen=True)
class Totals:
    """Of all positions, by block, for a chunk of neurons."""

    start: int
    """Index of the first neuron."""
    n: Int[np.ndarray, " blocks"]
    sums: Float[np.ndarray, "blocks neurons"]
    """Of post - pivot."""
    squares: Float[np.ndarray, "blocks neurons"]
    pivot: Float[np.ndarray, " neurons"]
    usable: Bool[np.ndarray, " neurons"]
    """Neurons that may be explained."""
    directed: Sequence[Real[np.ndarray, "blocks neurons"]] = ()
    """Positions with pre > 0, and sums of max(post, 0), where features are directed."""

    def of(self, blocks: slice) -> tuple[int, np.ndarray, Neurons]:
        """Positions, sums, means and variances over some blocks; no variance of what may not be explained."""
        n, sums = int(self.n[blocks].sum()), self.sums[blocks].sum(0)
        neurons = neurons_of(n, sums, self.squares[blocks].sum(0), self.pivot, self.start)
        return n, sums, Neurons(self.start, neurons.centre, self.pivot, np.where(self.usable, neurons.variance, np.nan))


@dataclass(frozen=True)
class ShiftSums:
    """Of the positions with features of the current, or of the previous token, by block; for the same chunk of neurons."""

    n_in: Int[np.ndarray, "blocks divisions"]
    sums: Float[np.ndarray, "blocks divisions neurons"]
    of_feature: Int[np.ndarray, " features"]
    """The division that each feature makes."""
    swapped: Bool[np.ndarray, " features"]
    """The feature is true outside its division."""
    directed: Sequence[Real[np.ndarray, "blocks divisions neurons"]] = ()
    """As in `Totals`; no feature is then swapped."""
    partial: Partial | None = None
    """What the features explain given the token, where that is asked."""

    @staticmethod
    def of_each(
        n_in: np.ndarray, sums: np.ndarray, directed: Sequence[np.ndarray] = (), partial: Partial | None = None
    ) -> "ShiftSums":
        """Of features that are divisions of their own."""
        n_features = n_in.shape[1]
        return ShiftSums(n_in, sums, np.arange(n_features), np.zeros(n_features, dtype=bool), directed, partial)

    def reductions(self, totals: Totals, blocks: slice, least_support: int) -> Float[np.ndarray, "features neurons"]:
        """Variance reductions over some blocks; NaN where undefined or unsupported."""
        n, total, neurons = totals.of(blocks)
        n_in, sums = self.n_in[blocks].sum(0), self.sums[blocks].sum(0)
        each = class_statistics(n_in, sums, total, max(n, 1), neurons, least_support)
        return each.reduction[self.of_feature]


@dataclass(frozen=True)
class Scores:
    """The scores of all features for a chunk of neurons."""

    shifts: Sequence[ShiftSums]
    """The same features of the current token and, where that differs, of the previous one."""
    totals: Totals
    least_support: int = LEAST_SUPPORT
    """Positions that both classes of a feature need in the half that chooses."""
    excluded: Bool[np.ndarray, "features neurons"] | None = None
    """Features of the current token that are not to be chosen."""
    n_features: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_features", len(self.shifts[0].of_feature))

    @cached_property
    def chosen(self) -> Float[np.ndarray, "rows neurons"]:
        """By shift and feature, in the half that chooses."""
        found = [shift.reductions(self.totals, slice(HALF), self.least_support) for shift in self.shifts]
        if self.excluded is not None:
            found[0] = np.where(self.excluded, np.nan, found[0])
        return np.concatenate(found)

    def kept_rows(self) -> dict[str, np.ndarray]:
        """What is kept: the best five of all features and shifts, and the best of each shift.

        Returns:
            Columns of explanations, and `neuron_index`, `feature_index`, `shift` (0: of the current token), `rank`.
        """
        row, neuron, rank = _choose(self.chosen, self.n_features)
        return {
            "neuron_index": neuron + self.totals.start,
            "feature_index": row % max(self.n_features, 1),
            "shift": row // max(self.n_features, 1),
            "rank": rank,
            **self.numbers(row, neuron),
        }

    def numbers(self, row: Int[np.ndarray, " rows"], neuron: Int[np.ndarray, " rows"]) -> dict[str, np.ndarray]:
        """Scores, means and their errors of rows of `chosen` and of neurons of the chunk."""
        of_shift, feature = np.divmod(row, max(self.n_features, 1))
        places = [np.flatnonzero(of_shift == number) for number in range(len(self.shifts))]
        pieces = [self._numbers_of(shift, feature[at], neuron[at]) for shift, at in zip(self.shifts, places, strict=True)]
        order = np.argsort(np.concatenate(places))
        found = {name: np.concatenate([piece[name] for piece in pieces])[order] for name in pieces[0]}
        return found | {"chosen_variance_reduction": self.chosen[row, neuron]}

    def _numbers_of(self, shift: ShiftSums, feature: np.ndarray, neuron: np.ndarray) -> dict[str, np.ndarray]:
        rows = _Rows.of(shift, self.totals, feature, neuron)
        whole, held_out = slice(None), slice(HALF, None)
        enough = max(1, int(self.least_support * HELD_OUT_SUPPORT))
        reduction = rows.reduction(whole)
        usable = ~np.isnan(self.totals.of(held_out)[2].variance)[neuron]
        mean_in, mean_out = rows.means(rows.sums)
        spread = 1 - reduction > LEAST_WITHIN
        within = np.sqrt(np.where(spread, (1 - reduction) * self.totals.of(whole)[2].variance[neuron], 1.0))
        defined = usable & (rows.support(held_out) >= enough)
        in_se, out_se = rows.mean_errors(rows.sums)
        return {
            "variance_reduction": reduction,
            "held_out_variance_reduction": np.where(defined, rows.reduction(held_out), np.nan),
            "variance_reduction_se": rows.reduction_error(whole),
            "held_out_variance_reduction_se": np.where(defined, rows.reduction_error(held_out), np.nan),
            "n_in": rows.n_in.sum(0),
            "n_out": rows.n_out.sum(0),
            "mean_in": mean_in + self.totals.pivot[neuron],
            "mean_out": mean_out + self.totals.pivot[neuron],
            "mean_in_se": in_se,
            "mean_out_se": out_se,
            "cohen_d": np.where(spread, (mean_in - mean_out) / within, np.nan),
            **self._direction(shift, rows, feature, neuron),
        }

    def _direction(self, shift: ShiftSums, rows: "_Rows", feature: np.ndarray, neuron: np.ndarray) -> dict[str, np.ndarray]:
        nothing = np.full(len(feature), np.nan)
        found = {f"{name}_{side}{end}": nothing for name in DIRECTION for side in ("in", "out") for end in ("", "_se")}
        for name, inside, total in zip(DIRECTION, shift.directed, self.totals.directed, strict=False):
            sums = inside[:, feature, neuron], total[:, neuron] - inside[:, feature, neuron]
            found |= dict(zip((f"{name}_in", f"{name}_out"), rows.means(sums), strict=True))
            found |= dict(zip((f"{name}_in_se", f"{name}_out_se"), rows.mean_errors(sums), strict=True))
        if shift.partial is None:
            return found | dict.fromkeys(PARTIAL, nothing)
        effect, reduction, overlap = shift.partial
        values = effect[feature, neuron], reduction[feature, neuron], overlap[feature]
        return found | dict(zip(PARTIAL, values, strict=True))


@dataclass(frozen=True)
class _Rows:
    """Sums by block of pairs of a feature and a neuron."""

    n_in: Int[np.ndarray, "blocks rows"]
    n_out: Int[np.ndarray, "blocks rows"]
    sums: tuple[Float[np.ndarray, "blocks rows"], Float[np.ndarray, "blocks rows"]]
    """Of post - pivot inside and outside."""
    squares: Float[np.ndarray, "blocks rows"]

    @classmethod
    def of(cls, shift: ShiftSums, totals: Totals, feature: np.ndarray, neuron: np.ndarray) -> "_Rows":
        division, swapped = shift.of_feature[feature], shift.swapped[feature]
        n_in, inside = shift.n_in[:, division], shift.sums[:, division, neuron]
        n_out, outside = totals.n[:, None] - n_in, totals.sums[:, neuron] - inside
        return cls(
            n_in=np.where(swapped, n_out, n_in),
            n_out=np.where(swapped, n_in, n_out),
            sums=(np.where(swapped, outside, inside), np.where(swapped, inside, outside)),
            squares=totals.squares[:, neuron],
        )

    def support(self, blocks: slice) -> np.ndarray:
        """Positions of the smaller class."""
        return np.minimum(self.n_in[blocks].sum(0), self.n_out[blocks].sum(0))

    def reduction(self, blocks: slice) -> np.ndarray:
        """Variance reduction over some blocks."""
        return _reduction(*(values[blocks].sum(0) for values in self._of_reduction))

    def reduction_error(self, blocks: slice) -> np.ndarray:
        """Its standard error."""
        each = [values[blocks] for values in self._of_reduction]
        return standard_error(_reduction(*(values.sum(0) - values for values in each)), self._filled[blocks])

    @property
    def _of_reduction(self) -> tuple[np.ndarray, ...]:
        return self.n_in, self.n_out, *self.sums, self.squares

    @property
    def _filled(self) -> np.ndarray:
        """Blocks with positions: the same of all rows."""
        return (self.n_in + self.n_out).any(axis=1)

    def means(self, sums: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Inside and outside."""
        return _quotient(sums[0].sum(0), self.n_in.sum(0)), _quotient(sums[1].sum(0), self.n_out.sum(0))

    def mean_errors(self, sums: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Standard errors of these."""
        inside, outside = (
            standard_error(_quotient(own.sum(0) - own, n.sum(0) - n), self._filled)
            for own, n in zip(sums, (self.n_in, self.n_out), strict=True)
        )
        return inside, outside


def _quotient(sums: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.where(n > 0, sums / np.maximum(n, 1), np.nan)


def _reduction(n_in: np.ndarray, n_out: np.ndarray, inside: np.ndarray, outside: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """β(1-β)(μ₁-μ₀)²/σ² of each row; NaN where a class is empty or nothing varies."""
    n = np.maximum(n_in + n_out, 1)
    variance = squares / n - ((inside + outside) / n) ** 2
    difference = _quotient(inside, n_in) - _quotient(outside, n_out)
    scores = n_in / n * (n_out / n) * difference**2 / np.where(variance > 0, variance, np.nan)
    return np.asarray(np.clip(scores, 0, 1))


def _choose(reductions: np.ndarray, n_features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, neurons and ranks that are kept of the (shifts * features, neurons) scores, by neuron and then by row."""
    scores = np.where(np.isnan(reductions), -1.0, reductions)
    order = np.argsort(-scores, axis=0, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(1, len(order) + 1)[:, None], axis=0)
    keep = rank <= TOP
    for first in range(0, len(scores), max(n_features, 1)):
        best = scores[first : first + n_features].argmax(axis=0) + first
        keep[best, np.arange(keep.shape[1])] = True
    neuron, row = np.nonzero((keep & (scores >= 0)).T)
    return row, neuron, rank[row, neuron]
