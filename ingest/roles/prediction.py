"""Which classes of tokens a neuron's effect on the logits tells apart: explanations of e_i = w_out(i) · W_U (UN §5.1, SPEC §7).

    EffectExplainer(table).classes  ->  the pass over the effects  --EffectSums-->  add  ->  result

Every token id counts once. All that is wanted follows from the sums of the first four powers over each class.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ingest.features.divisions import Divisions, divide
from ingest.features.vocabulary import FeatureTable
from ingest.statistics.effects import EffectSums, SumMoments, TokenClasses, moments_of

Columns = dict[str, np.ndarray]

TOP = 5
LEAST_CLASS_VARIANCE = 1e-12
"""Variance within a class over its mean square about the mean of all, up to which it is rounding."""


class EffectExplainer:
    """Explains effects from sums over classes; features that divide the tokens alike share one and tie exactly."""

    classes: TokenClasses
    """Of these the pass has to take sums."""

    def __init__(self, table: FeatureTable) -> None:
        """Args:
        table: features of real token ids.
        """
        n_tokens = table.matrix.shape[1]
        self._divisions = _smaller_sides(divide(table.matrix, np.ones(n_tokens, dtype=np.int64), n_tokens))
        self.classes = TokenClasses.of(self._divisions.matrix)
        self._pieces: list[Columns] = []

    def add(self, sums: EffectSums) -> None:
        """Explain the next neurons."""
        n_in = self._divisions.matrix.sum(1)
        reductions = _reductions(sums, n_in)[self._divisions.of_feature]
        scores = np.where(np.isnan(reductions), -1.0, reductions)
        order = np.argsort(-scores, axis=0, kind="stable")[:TOP]
        neuron, rank = np.nonzero((np.take_along_axis(scores, order, axis=0) >= 0).T)
        feature = order[rank, neuron]
        division, swapped = self._divisions.of_feature[feature], self._divisions.swapped[feature]
        members = _Sums(n_in[division], sums.class_powers[division, :, neuron].T)
        whole = _Sums(np.full(len(neuron), sums.n), sums.powers[:, neuron])
        rest = _Sums(whole.n - members.n, whole.powers - members.powers)
        inside, outside = members.unless(swapped, rest), rest.unless(swapped, members)
        self._pieces.append(
            {
                "neuron_index": neuron + sums.neurons.start,
                "feature_index": feature,
                "rank": rank + 1,
                **_comparison(inside, outside, whole, sums.pivot[neuron]),
                "variance_reduction": reductions[feature, neuron],
            }
        )

    def result(self) -> Columns:
        """The five features of each neuron that reduce the variance of its effects most, equal ones in the table's order.

        Returns:
            One element per neuron and feature, by neuron and rank: neuron_index, feature_index (places), rank from 1, n_in,
            n_out (tokens), mean_in, mean_out, mean_difference (logits per unit of activation), welch_t, variance_reduction,
            skew_reduction, kurt_reduction; undefined is NaN. Features of no token and of every token explain nothing; no
            rows for neurons whose effects do not vary.
        """
        return {name: np.concatenate([piece[name] for piece in self._pieces]) for name in self._pieces[0]}


@dataclass(frozen=True)
class _Sums:
    """Of classes of tokens, one per row."""

    n: np.ndarray
    powers: np.ndarray
    """(4, rows) about the mean of all tokens."""

    def unless(self, wanted: np.ndarray, other: "_Sums") -> "_Sums":
        """The other's rows where wanted."""
        return _Sums(np.where(wanted, other.n, self.n), np.where(wanted, other.powers, self.powers))


def _smaller_sides(divisions: Divisions) -> Divisions:
    """Sums are taken over the smaller side of each division: less work, and what is subtracted is the smaller part."""
    flipped = 2 * divisions.matrix.sum(1) > divisions.matrix.shape[1]
    return replace(
        divisions, matrix=divisions.matrix ^ flipped[:, None], swapped=divisions.swapped ^ flipped[divisions.of_feature]
    )


def _reductions(sums: EffectSums, n_in: np.ndarray) -> Float[np.ndarray, "divisions neurons"]:
    """β(1-β)(μ₊-μ₋)²/σ²; NaN where a side is empty or the effects of a neuron do not vary."""
    n_out = sums.n - n_in
    divided = ((n_in > 0) & (n_out > 0))[:, None]
    inside, outside = (np.where(divided, n[:, None], np.nan) for n in (n_in, n_out))
    in_class = sums.class_powers[:, 0]
    difference = in_class / inside - (sums.powers[0] - in_class) / outside
    whole = moments_of(sums.n, sums.powers, sums.pivot)
    variance = np.where(np.isnan(whole.kurt), np.nan, whole.var)
    return np.clip(inside * outside / sums.n**2 * difference**2 / variance, 0, 1)


def _comparison(inside: _Sums, outside: _Sums, whole: _Sums, pivot: np.ndarray) -> Columns:
    """What is told of classes that both have members, §7 (a), (b), (d) and (e)."""
    a, b = _class_moments(inside), _class_moments(outside)
    every = moments_of(1, whole.powers / whole.n, np.zeros(len(pivot)))
    share = inside.n / whole.n
    error = np.sqrt(_squared_error(inside.n, a.var) + _squared_error(outside.n, b.var))
    difference = a.mean - b.mean
    skew = share * np.abs(a.skew) + (1 - share) * np.abs(b.skew)
    kurt = share * a.kurt + (1 - share) * b.kurt
    return {
        "n_in": inside.n,
        "n_out": outside.n,
        "mean_in": a.mean + pivot,
        "mean_out": b.mean + pivot,
        "mean_difference": difference,
        "welch_t": difference / np.where(error > 0, error, np.nan),
        "skew_reduction": np.abs(every.skew) - skew,
        "kurt_reduction": (every.kurt - kurt) / every.kurt,
    }


def _class_moments(sums: _Sums) -> SumMoments:
    """About the mean of all tokens; variance 0 where what is left of it is rounding."""
    moments = moments_of(1, sums.powers / sums.n, np.zeros(len(sums.n)))
    varies = moments.var > LEAST_CLASS_VARIANCE * sums.powers[1] / sums.n
    return SumMoments(
        moments.mean,
        np.where(varies, moments.var, 0.0),
        np.where(varies, moments.skew, np.nan),
        np.where(varies, moments.kurt, np.nan),
    )


def _squared_error(n: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """s²/n = σ²/(n - 1), from the population variance; NaN for a class of one token."""
    return variance / np.where(n > 1, n - 1, np.nan)
