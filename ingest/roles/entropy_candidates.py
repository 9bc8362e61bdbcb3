"""Which neurons may be entropy neurons, and with which they are compared (SPEC §8.1, §8.4).

Entropy neurons write much, in directions that hardly change any logit against the others: they act on the scale of the final
layer norm. All arrays hold the neurons of one model, float64 but for `layer`; an undefined statistic is NaN, and a neuron
that has one is never chosen.
"""

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
    control_layers: int = 2
    control_l2_percentile: float = 90.0
    """At most this, of l2_penalty in the model."""
    control_vocab_var_percentile: float = 10.0
    """At least this, of vocab_var in the model."""
    n_controls: int = 20


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
    """Neurons of the last layers with large weights and a small variance of cosines with the vocabulary, and their antipodes.

    Args:
        w_out_unit: output weights of processed weights (§0.2), divided by their norm; NaN where that is 0.
    An antipode has no threshold but the cosine, and antipodes of antipodes are not looked for.
    """
    defined = _defined(l2_penalty, vocab_var)
    chosen = defined & (layer >= _n_layers(layer) - thresholds.last_layers)
    chosen &= _at_least(l2_penalty, thresholds.least_l2_percentile, defined)
    for number in np.unique(layer[chosen]):
        in_layer = layer == number
        chosen[in_layer] &= _at_most(vocab_var[in_layer], thresholds.most_vocab_var_percentile, defined[in_layer])
    by_thresholds = np.flatnonzero(chosen)
    by_thresholds = by_thresholds[np.argsort(vocab_var[by_thresholds], kind="stable")]
    cosines = np.nan_to_num(w_out_unit) @ np.nan_to_num(w_out_unit[by_thresholds]).T
    cosines[~defined | chosen] = np.inf
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


def controls(
    layer: Int64[np.ndarray, " neurons"],
    l2_penalty: Float[np.ndarray, " neurons"],
    vocab_var: Float[np.ndarray, " neurons"],
    chosen: Candidates,
    seed: int,
    thresholds: EntropyThresholds = DEFAULTS,
) -> Int64[np.ndarray, " controls"]:
    """Neurons of the last layers without what makes a candidate, drawn uniformly without replacement, ascending.

    Fewer than `thresholds.n_controls` where there are fewer. Equal arrays and seeds give equal neurons.
    """
    defined = _defined(l2_penalty, vocab_var)
    eligible = defined & (layer >= _n_layers(layer) - thresholds.control_layers)
    eligible &= _at_most(l2_penalty, thresholds.control_l2_percentile, defined)
    eligible &= _at_least(vocab_var, thresholds.control_vocab_var_percentile, defined)
    eligible[chosen.neurons] = False
    places = np.flatnonzero(eligible)
    count = min(thresholds.n_controls, len(places))
    return np.sort(np.random.default_rng(seed).choice(places, size=count, replace=False))


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
