"""Candidates for entropy neurons and their controls, against the rules written out neuron by neuron."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.roles.entropy_candidates import DEFAULTS, Candidates, candidates, controls, controls_of

LAYERS, D_MLP, D_MODEL = 4, 100, 16


class Neurons:
    """Random statistics; a few neurons of the last layers are strong and quiet, some statistics are undefined."""

    def __init__(self, seed: int, n_planted: int = 3) -> None:
        generator = np.random.default_rng(seed)
        n = LAYERS * D_MLP
        self.layer = np.repeat(np.arange(LAYERS), D_MLP)
        self.l2 = generator.gamma(2, size=n)
        self.var = generator.gamma(2, size=n)
        w_out = generator.normal(size=(n, D_MODEL))
        planted = generator.choice(n, n_planted, replace=False)
        self.l2[planted] += 100
        self.var[planted] = 1e-6 * generator.random(n_planted)
        for neuron in planted:
            w_out[generator.integers(n // 4, n)] = -w_out[neuron] + 0.3 * generator.normal(size=D_MODEL)
        self.unit = w_out / np.linalg.norm(w_out, axis=1, keepdims=True)
        undefined = generator.choice(n, 12, replace=False)
        self.l2[undefined[:4]] = np.nan
        self.var[undefined[4:8]] = np.nan
        self.unit[undefined[8:]] = np.nan

    def candidates(self) -> Candidates:
        return candidates(self.layer, self.l2, self.var, self.unit)

    def by_rule(self) -> set[int]:
        defined = ~(np.isnan(self.l2) | np.isnan(self.var))
        least = np.percentile(self.l2[defined], 99)
        found = set()
        for i in np.flatnonzero(defined):
            most = np.percentile(self.var[defined & (self.layer == self.layer[i])], 1)
            if self.layer[i] >= LAYERS - 2 and self.l2[i] >= least and self.var[i] <= most:
                found.add(int(i))
        return found

    def antipodes(self, chosen: set[int]) -> dict[int, tuple[int, float]]:
        found = {}
        for j in range(len(self.layer)):
            cosines = {i: float(self.unit[j] @ self.unit[i]) for i in chosen}
            opposed = {i: cosine for i, cosine in cosines.items() if cosine <= -0.7}
            if not opposed or j in chosen or self.layer[j] < LAYERS - 2:
                continue
            if not (np.isnan(self.l2[j]) or np.isnan(self.var[j])):
                best = min(opposed, key=opposed.__getitem__)
                found[j] = (best, opposed[best])
        return found


def test_candidates_are_those_of_the_rule_and_their_antipodes() -> None:
    n_by_rule = n_opposed = 0
    for seed in range(40):
        neurons = Neurons(seed)
        found = neurons.candidates()
        chosen = neurons.by_rule()
        opposed = neurons.antipodes(chosen)
        by_rule = found.antipode_of < 0
        assert set(found.neurons[by_rule]) == chosen and len(found.neurons) == len(chosen) + len(opposed)
        assert (np.diff(neurons.var[found.neurons[by_rule]]) >= 0).all() and np.isnan(found.cosine[by_rule]).all()
        for neuron, of, cosine in zip(
            found.neurons[~by_rule], found.antipode_of[~by_rule], found.cosine[~by_rule], strict=True
        ):
            assert opposed[neuron][0] == of and cosine == pytest.approx(opposed[neuron][1])
        n_by_rule, n_opposed = n_by_rule + len(chosen), n_opposed + len(opposed)
    assert n_by_rule > 20 and n_opposed > 10


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999),
    draw=st.integers(0, 2**31),
    least=st.integers(1, 30),
    q=st.sampled_from([0.05, 0.1, 0.3, 1.0]),
)
def test_controls_are_drawn_from_the_rest_of_the_layer(seed: int, draw: int, least: int, q: float) -> None:
    neurons = Neurons(seed)
    found = neurons.candidates()
    thresholds = replace(DEFAULTS, least_controls=least, false_discoveries=q)
    wanted = max(least, math.ceil(Fraction(len(found.neurons)) / Fraction(str(q))))
    assert controls_of(len(found.neurons), thresholds) == wanted
    drawn = controls(neurons.layer, neurons.unit, found, draw, thresholds)
    assert len(drawn) == len(found.neurons)
    for neuron, along in zip(found.neurons, drawn, strict=True):
        eligible = set(np.flatnonzero((neurons.layer == neurons.layer[neuron]) & ~np.isnan(neurons.unit).any(1)))
        eligible -= set(found.neurons)
        assert set(along) <= eligible and len(along) == len(set(along)) == min(wanted, len(eligible))
        assert (np.diff(along) > 0).all()
    again, others = (controls(neurons.layer, neurons.unit, found, other, thresholds) for other in (draw, draw + 1))
    assert all(map(np.array_equal, drawn, again))
    fewer = [i for i, along in enumerate(drawn) if 5 < len(along) < 60]
    assert not fewer or not all(np.array_equal(drawn[i], others[i]) for i in fewer)


def test_every_eligible_neuron_is_drawn_alike() -> None:
    neurons = Neurons(5)
    found = neurons.candidates()
    thresholds = replace(DEFAULTS, least_controls=20, false_discoveries=1.0)
    (eligible, *_) = controls(neurons.layer, neurons.unit, found, 0, replace(thresholds, least_controls=10_000))
    times = np.zeros(len(neurons.layer))
    for seed in range(400):
        times[controls(neurons.layer, neurons.unit, found, seed, thresholds)[0]] += 1
    expected = 400 * 20 / len(eligible)
    assert times.sum() == 400 * 20 == times[eligible].sum()
    assert abs(times[eligible] - expected).max() < 5 * np.sqrt(expected)


def test_nothing_defined_is_nothing_selected() -> None:
    neurons = Neurons(0)
    undefined = np.full(len(neurons.layer), np.nan)
    found = candidates(neurons.layer, undefined, neurons.var, neurons.unit)
    assert len(found.neurons) == len(found.antipode_of) == len(found.cosine) == 0
    assert controls(neurons.layer, neurons.unit, found, 0) == []
    none = np.empty(0)
    assert len(candidates(none.astype(np.int64), none, none, np.empty((0, D_MODEL))).neurons) == 0
