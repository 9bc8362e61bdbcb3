"""Interventions: formula, later layers and their stacking give what a hooked float64 forward pass of the whole model gives."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.roles import interventions as engine
from ingest.roles.intervention import CHANGES, Intervention
from ingest.roles.interventions import run_interventions
from ingest.roles.prediction_metrics import METRICS, InterventionResults, next_token_mask
from tests.factories import mlp_parameters
from tests.unit.intervened import (
    BOS,
    CONTEXT,
    FAMILIES,
    NEWLINE,
    PAD,
    ROWS,
    VALUES,
    Family,
    assert_by_definition,
)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return Family(request.param, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return Family("gpt2", tmp_path_factory.mktemp("models"))


def every_kind(n_layers: int) -> list[Intervention]:
    """Each kind in each layer on one neuron, on several of a layer, and on several across layers."""
    layers = range(n_layers)
    sets = [((layer, 3),) for layer in layers] + [((layer, 0), (layer, 5)) for layer in layers]
    sets += [tuple((layer, 7 + layer) for layer in layers), ((n_layers - 1, 2), (0, 2), (n_layers - 1, 4))]
    values = {"fix": 1.5, "threshold": -0.2, "multiply": -1.5}
    made = [Intervention(change, neurons, values.get(change, 0.0)) for change in CHANGES for neurons in sets]
    return made + [Intervention("fix", ((layer, 1),), value) for layer in (0, n_layers - 1) for value in VALUES]


def run(family: Family, interventions: list[Intervention], **options: Any) -> InterventionResults:
    return run_interventions(family.checkpoint, family.tokens, (BOS, PAD), interventions, **options)


@pytest.mark.parametrize("batch_tokens", [1, 4 * CONTEXT, 10_000])
def test_every_kind_in_every_layer_is_the_hooked_forward_pass(family: Family, batch_tokens: int) -> None:
    interventions = every_kind(family.checkpoint.n_layers)
    assert_by_definition(family, interventions, run(family, interventions, batch_tokens=batch_tokens))


def test_interventions_alone_or_few_at_a_time_give_the_same(gpt2: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    interventions = [*every_kind(3), *controls(3)]
    together = run(gpt2, interventions)
    monkeypatch.setattr(engine, "STACKED_TOKENS", 1)
    monkeypatch.setattr(engine, "METRICS_AT_ONCE", 1)
    one_by_one = run(gpt2, interventions)
    for name in ("nominal", "mean", "delta", "se"):
        np.testing.assert_allclose(getattr(one_by_one, name), getattr(together, name), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 4 * CONTEXT, 10_000])
def test_what_is_found_of_one_does_not_depend_on_which_others_are_answered(gpt2: Family, batch_tokens: int) -> None:
    """To the bit: a share of the interventions is a job of its own."""
    interventions = [*every_kind(3), *controls(3)]
    whole = run(gpt2, interventions, batch_tokens=batch_tokens)
    edges = [0, 1, 8, 8, 23, len(interventions) - 30, len(interventions) - 1, len(interventions)]
    shares = [run(gpt2, interventions, batch_tokens=batch_tokens, answered=slice(*edge)) for edge in pairwise(edges)]
    for name in ("mean", "delta", "se"):
        np.testing.assert_array_equal(np.concatenate([getattr(share, name) for share in shares]), getattr(whole, name))
    for share in shares:
        np.testing.assert_array_equal(share.nominal, whole.nominal)
        assert share.n_tokens == whole.n_tokens


def controls(n_layers: int) -> list[Intervention]:
    """In each layer, kinds of change of two neurons, each along several others."""
    values = {"fix": 6.0, "threshold": -0.2, "multiply": -1.5}
    return [
        Intervention(change, ((layer, neuron),), values.get(change, 0.0), along)
        for layer in range(n_layers)
        for neuron, along in ((3, 5), (3, 11), (8, 3), (8, 8))
        for change in ("fix", "multiply")
    ]


@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_a_change_along_another_neuron_is_the_forward_pass_with_that_in_the_residual_stream(
    family: Family, batch_tokens: int
) -> None:
    interventions = controls(family.checkpoint.n_layers)
    assert_by_definition(family, interventions, run(family, interventions, batch_tokens=batch_tokens))


def test_a_change_along_the_neuron_itself_is_its_own(gpt2: Family) -> None:
    own, along = ([Intervention("fix", ((layer, 4),), 6.0, other) for layer in range(3)] for other in (None, 4))
    for name in ("mean", "delta", "se"):
        np.testing.assert_array_equal(getattr(run(gpt2, along), name), getattr(run(gpt2, own), name))


def test_how_long_the_other_neurons_weights_are_is_all_the_same(tmp_path: Path) -> None:
    """And what all their components have alike. The neuron is silent, so that its own weights write nothing."""
    family = Family("gpt2", tmp_path)
    for w_in, b_in, _ in mlp_parameters(family.checkpoint.model):
        with torch.no_grad():
            w_in[:, 5], b_in[5] = 0, 0
    interventions = [Intervention("fix", ((layer, 3),), 6.0, 5) for layer in range(3)]
    before = run(family, interventions)
    for *_, w_out in mlp_parameters(family.checkpoint.model):
        with torch.no_grad():
            w_out[5] = 7 * w_out[5] + 3
    after = run(family, interventions)
    assert abs(before.delta[:, 1]).min() > 1e-3
    for name in ("nominal", "mean", "delta", "se"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-5, atol=1e-5)


NEURONS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 23)), min_size=1, max_size=4, unique=True)

INTERVENTIONS = st.builds(
    Intervention, st.sampled_from(CHANGES), NEURONS.map(tuple), st.sampled_from([*VALUES, -3.0, 0.5, 1e-3, 40.0])
)


@settings(max_examples=15, deadline=None)
@given(interventions=st.lists(INTERVENTIONS, min_size=1, max_size=4), batch_tokens=st.integers(1, 2 * ROWS * CONTEXT))
def test_any_interventions_are_the_hooked_forward_pass(
    gpt2: Family, interventions: list[Intervention], batch_tokens: int
) -> None:
    assert_by_definition(gpt2, interventions, run(gpt2, interventions, batch_tokens=batch_tokens))


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_fixing_a_constant_neuron_to_its_value_changes_nothing(layer: int, tmp_path: Path) -> None:
    family = Family("gpt2", tmp_path)
    w_in, b_in, _ = mlp_parameters(family.checkpoint.model)[layer]
    with torch.no_grad():
        w_in[:, 3], b_in[3] = 0, 0.8
    constant = family.checkpoint.mlp_activations(torch.from_numpy(family.tokens).long())[layer][1][0, 0, 3].item()
    results = run(family, [Intervention("fix", ((layer, 3),), constant), Intervention("multiply", ((layer, 3),), 1.0)])
    np.testing.assert_allclose(results.delta, 0, atol=1e-6)
    np.testing.assert_allclose(results.se, 0, atol=1e-6)
    np.testing.assert_allclose(results.mean, [results.nominal] * 2, atol=1e-6)


@pytest.mark.parametrize("value", [6.0, -6.0, 1e4])
def test_a_neuron_that_writes_much_neither_overflows_nor_underflows(value: float, tmp_path: Path) -> None:
    family = Family("opt", tmp_path)
    for model in (family.checkpoint.model, family.raw):
        with torch.no_grad():
            mlp_parameters(model)[2][2][4] *= 1000
            model.get_output_embeddings().weight *= 30
    family.nominal = family.by_definition(None)
    intervention = Intervention("fix", ((2, 4),), value)
    results, expected = run(family, [intervention]), family.by_definition(intervention)
    for metric, name in enumerate(METRICS):
        if "rank" not in name:
            # logits of some hundreds have errors of 1e-5 in fp32
            np.testing.assert_allclose(results.mean[0, metric], expected[name].mean(), rtol=1e-4, atol=1e-4, err_msg=name)


def test_rows_are_read_until_the_tokens_are_used_up(gpt2: Family) -> None:
    told: list[int] = []
    intervention = [Intervention("zero", ((0, 0),))]
    results = run(gpt2, intervention, n_tokens=2 * CONTEXT + 1, batch_tokens=2 * CONTEXT, advance=told.append)
    assert told == [2 * CONTEXT, CONTEXT]
    assert results.n_tokens == next_token_mask(gpt2.tokens[:3], (BOS, PAD)).sum()
    first = run_interventions(gpt2.checkpoint, gpt2.tokens[:3], (BOS, PAD), intervention)
    np.testing.assert_allclose(results.mean, first.mean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.15])
def test_of_many_positions_every_second_or_third_counts(gpt2: Family, share: float) -> None:
    interventions = [*every_kind(3)[::4], *controls(3)]
    n = int(next_token_mask(gpt2.tokens, (BOS, PAD)).sum())
    most = int(share * n)
    found = run(gpt2, interventions, most=most, batch_tokens=3 * CONTEXT)
    assert most / 2 < found.n_tokens <= most
    assert_by_definition(gpt2, interventions, found, step=-(-n // most))


def test_positions_that_count_have_a_next_token_and_are_not_special() -> None:
    tokens = np.array([[BOS, 3, NEWLINE, PAD, 4, BOS, 9, 9]])
    assert next_token_mask(tokens, (BOS, PAD)).tolist() == [[False, True, True, False, True, False, True, False]]


def test_without_a_position_that_counts_nothing_is_defined(gpt2: Family) -> None:
    intervention = [Intervention("zero", ((0, 0),))]
    none = run_interventions(gpt2.checkpoint, np.full((2, CONTEXT), BOS), (BOS,), intervention)
    assert none.n_tokens == 0 and all(np.isnan(getattr(none, name)).all() for name in ("nominal", "mean", "delta", "se"))
    one = run_interventions(gpt2.checkpoint, np.array([[BOS, 3, 4]]), (BOS,), intervention)
    assert one.n_tokens == 1 and np.isfinite(one.delta).all() and np.isnan(one.se).all()


def test_the_model_is_left_as_it_was_even_by_a_pass_that_fails(gpt2: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = gpt2.checkpoint.model, torch.from_numpy(gpt2.tokens).long()
    with torch.inference_mode():
        before = model(tokens).logits
    run(gpt2, every_kind(3))
    last = gpt2.checkpoint.modules.last_norm
    monkeypatch.setattr(engine, "intervened_metrics", None)
    with pytest.raises(TypeError):
        run(gpt2, [Intervention("fix", ((0, 0), (2, 1)), 1.0)])
    handle = last.register_forward_hook(fail_on(2))
    with pytest.raises(ZeroDivisionError):
        run(gpt2, [Intervention("fix", ((0, 0), (2, 1)), 1.0)])
    handle.remove()
    with torch.inference_mode():
        assert torch.equal(model(tokens).logits, before)


def fail_on(call: int) -> Callable[..., None]:
    calls: list[None] = []

    def hook(*_: Any) -> None:
        calls.append(None)
        if len(calls) == call:
            raise ZeroDivisionError

    return hook


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_a_value_that_is_no_finite_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cannot take the value"):
        Intervention("fix", ((0, 0),), value)


def test_what_is_no_intervention_is_refused(gpt2: Family) -> None:
    with pytest.raises(ValueError, match="no intervention 'clamp'; those that there are: fix, zero"):
        Intervention("clamp", ((0, 0),))
    with pytest.raises(ValueError, match="what several neurons write cannot be written along another one"):
        Intervention("zero", ((0, 1), (0, 2)), along=3)
    with pytest.raises(ValueError, match=r"no neuron 1\.24; layers are 0 to 2, neurons 0 to 23"):
        run(gpt2, [Intervention("zero", ((1, 0),), along=24)])
    for neurons in ((), ((0, 1), (0, 1))):
        with pytest.raises(ValueError, match="at least one neuron, and each neuron once"):
            Intervention("zero", neurons)
    for neuron in ((3, 0), (0, 24), (-1, 0)):
        with pytest.raises(ValueError, match=rf"no neuron {neuron[0]}\.{neuron[1]}; layers are 0 to 2, neurons 0 to 23"):
            run(gpt2, [Intervention("zero", (neuron,))])
