"""Which neurons may be entropy neurons (SPEC §8.1), and with what they are compared (DECISIONS, Meaning of labels).

Entropy neurons write much, in directions that hardly change any logit against the others: they act on the scale of the final
layer norm. All arrays hold the neurons of one model, float64 but for `layer`; an undefined statistic is NaN, and a neuron
that has one is never chosen.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64


@dataclass(frozen=True)
class EntropyThresholds:
    """Percentiles are np.percentile's, linear between neurons."""

    last_layers: int = 2
    least_l2_percentile: float = 99.0
    """Of l2_penalty in the model."""
    most_vocab_var_percentile: float = 1.0
    """Of vocab_var in the neuron's layer."""
    antipode_cosine: float = -0.7
    """At most this cosine of output weights with a candidate makes a neuron one, too."""
    least_controls: int = 100
    false_discoveries: float = 0.05
    """Each candidate has as many controls as there are candidates over this, if that is more."""


DEFAULTS = EntropyThresholds()


@dataclass(frozen=True)
class Candidates:
    """Neurons by their place in the arrays: by thresholds (lowest vocab_var first), then antipodes (lowest cosine first)."""

    neurons: Int64[np.ndarray, " candidates"]
    antipode_of: Int64[np.ndarray, " candidates"]
    """The candidate that it is the antipode of (of several, the most opposed); -1 for candidates by thresholds."""
    cosine: Float[np.ndarray, " candidates"]
    """With that candidate's output weights; NaN for candidates by thresholds."""


def candidates(
    layer: Int64[np.ndarray, " neurons"],
    l2_penalty: Float[np.ndarray, " neurons"],
    vocab_var: Float[np.ndarray, " neurons"],
    w_out_unit: Float[np.ndarray, "neurons d_model"],
    thresholds: EntropyThresholds = DEFAULTS,
) -> Candidates:
    """Neurons of the last layers with large weights and a small variance of cosines with the vocabulary; antipodes among them.

    Args:
        w_out_unit: output weights of processed weights (§0.2), divided by their norm; NaN where that is 0.
    An antipode has no threshold but the cosine, and antipodes of antipodes are not looked for. One of an earlier layer acts on
    all that the layers between do, and not on the final norm's scale alone.
    """
    defined = _defined(l2_penalty, vocab_var)
    last = layer >= _n_layers(layer) - thresholds.last_layers
    chosen = defined & last
    chosen &= _at_least(l2_penalty, thresholds.least_l2_percentile, defined)
    for number in np.unique(layer[chosen]):
        in_layer = layer == number
        chosen[in_layer] &= _at_most(vocab_var[in_layer], thresholds.most_vocab_var_percentile, defined[in_layer])
    by_thresholds = np.flatnonzero(chosen)
    by_thresholds = by_thresholds[np.argsort(vocab_var[by_thresholds], kind="stable")]
    cosines = np.nan_to_num(w_out_unit) @ np.nan_to_num(w_out_unit[by_thresholds]).T
    cosines[~defined | ~last | chosen] = np.inf
    opposed = np.flatnonzero((cosines <= thresholds.antipode_cosine).any(1))
    nearest = cosines[opposed].argmin(1) if len(opposed) else np.empty(0, dtype=np.int64)
    cosine = cosines[opposed, nearest]
    order = np.argsort(cosine, kind="stable")
    none = len(by_thresholds)
    return Candidates(
        neurons=np.concatenate([by_thresholds, opposed[order]]),
        antipode_of=np.concatenate([np.full(none, -1), by_thresholds[nearest[order]]]),
        cosine=np.concatenate([np.full(none, np.nan), cosine[order]]),
    )


def controls_of(n_candidates: int, thresholds: EntropyThresholds = DEFAULTS) -> int:
    """How many controls each of so many candidates needs."""
    return max(thresholds.least_controls, math.ceil(n_candidates / thresholds.false_discoveries))


def controls(
    layer: Int64[np.ndarray, " neurons"],
    w_out_unit: Float[np.ndarray, "neurons d_model"],
    chosen: Candidates,
    seed: int,
    thresholds: EntropyThresholds = DEFAULTS,
) -> list[Int64[np.ndarray, " controls"]]:
    """Of each candidate, other neurons of its layer, along whose output weights its change is written to compare with it.

    They are drawn uniformly without replacement from those that are no candidates, once for all candidates of a layer; all of
    them where there are too few. Ascending; equal arrays and seeds give equal neurons.
    """
    wanted = controls_of(len(chosen.neurons), thresholds)
    eligible = np.isfinite(w_out_unit).all(1)
    eligible[chosen.neurons] = False
    drawn = {}
    for number in np.unique(layer[chosen.neurons]).tolist():
        places = np.flatnonzero(eligible & (layer == number))
        generator = np.random.default_rng([seed, number])
        drawn[number] = np.sort(generator.choice(places, size=min(wanted, len(places)), replace=False))
    return [drawn[number] for number in layer[chosen.neurons].tolist()]


def _n_layers(layer: np.ndarray) -> int:
    return int(layer.max(initial=-1)) + 1


def _defined(l2_penalty: np.ndarray, vocab_var: np.ndarray) -> np.ndarray:
    return np.isfinite(l2_penalty) & np.isfinite(vocab_var)


def _at_least(values: np.ndarray, percentile: float, among: np.ndarray) -> np.ndarray:
    return np.greater_equal(values, _percentile(values, percentile, among))


def _at_most(values: np.ndarray, percentile: float, among: np.ndarray) -> np.ndarray:
    return np.less_equal(values, _percentile(values, percentile, among))


def _percentile(values: np.ndarray, percentile: float, among: np.ndarray) -> float:
    """NaN, which nothing reaches, among none."""
    return float(np.percentile(values[among], percentile)) if among.any() else np.nan
