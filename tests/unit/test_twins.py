"""Twins: each neuron reads a direction of its own norm, and nothing else is otherwise."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.checkpoints.processing import ProcessedWeights, processed_weights
from ingest.checkpoints.twins import permuted, twin_of
from ingest.corpus.tokenizer import tokenizer_identity
from tests.decoders import tiny_decoder
from tests.factories import tiny_gpt2, tiny_neox, tiny_opt

FAMILIES: dict[str, tuple[Callable[..., Path], dict[str, Any]]] = {
    "gpt2": (tiny_gpt2, {}),
    "neox": (tiny_neox, {}),
    "neox-serial": (tiny_neox, {"use_parallel_residual": False}),
    "opt": (tiny_opt, {}),
    **{name: (partial(tiny_decoder, name), {}) for name in ("gptj", "llama", "gemma2", "olmo2")},
}


@pytest.fixture(scope="module", params=list(FAMILIES))
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    make, config = FAMILIES[request.param]
    folder = make(tmp_path_factory.mktemp("models") / request.param, **config)
    checkpoint = open_checkpoint(parse_model_argument(str(folder)), torch.device("cpu"))
    checkpoint.process(tokenizer_identity(checkpoint.tokenizer).n_tokens)
    return checkpoint


def some_tokens(checkpoint: Checkpoint) -> Tensor:
    return torch.randint(100, (3, 12), generator=torch.Generator().manual_seed(1))


def test_each_neuron_keeps_its_weights_in_another_order(original: Checkpoint) -> None:
    read, own = twin_of(original, 1).weights.W_in, original.weights.W_in
    assert torch.equal(read.sort(dim=1).values, own.sort(dim=1).values)
    torch.testing.assert_close(read.norm(dim=1), own.norm(dim=1))
    moved = (read != own).float().mean(1)
    assert (moved > 0.5).all(), "no neuron reads what it read"
    order = (read[0, :, :1] - own[0, :, :1].T).abs().argmin(1)
    other = (read[0, :, 1:2] - own[0, :, 1:2].T).abs().argmin(1)
    assert not torch.equal(order, other), "each neuron has an order of its own"


def test_nothing_else_is_otherwise(original: Checkpoint) -> None:
    twin = twin_of(original, 1)
    for name in ProcessedWeights.__dataclass_fields__:
        held, own = getattr(twin.weights, name), getattr(original.weights, name)
        if name not in ("W_in", "W_gate"):
            assert held is own or torch.equal(held, own), name
    for layer in range(original.n_layers):
        assert torch.equal(twin.raw_w_out(layer), original.raw_w_out(layer))
    assert torch.equal(twin.raw_w_u(), original.raw_w_u())
    assert not original.model.training and not twin.model.training


def test_the_raw_model_is_the_function_that_the_processed_weights_say(original: Checkpoint) -> None:
    """Folding the twin's model gives its weights, and folding asserts that log-probabilities and activations are the same."""
    twin = twin_of(original, 2)
    folded = processed_weights(twin, tokenizer_identity(twin.tokenizer).n_tokens)
    for name in ProcessedWeights.__dataclass_fields__:
        held, own = getattr(folded, name), getattr(twin.weights, name)
        if own is not None:
            torch.testing.assert_close(held, own, rtol=1e-4, atol=1e-5, msg=name)


def test_gates_go_along_with_what_they_open(original: Checkpoint) -> None:
    """Both are in one order, so that the sign rule holds for the twin as it does for the model."""
    weights, twin = original.weights, twin_of(original, 1).weights
    if weights.W_gate is None or twin.W_gate is None:
        pytest.skip("has no gates")
    own, found = ((one.W_gate * one.W_in).sum(1) for one in (weights, twin) if one.W_gate is not None)
    torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-5)
    assert (found >= 0).all() and not torch.equal(twin.W_gate, weights.W_gate)


def test_it_answers_otherwise_and_the_model_as_before(original: Checkpoint) -> None:
    tokens = some_tokens(original)
    before = original.mlp_activations(tokens)
    activations = twin_of(original, 1).mlp_activations(tokens)
    for (pre, post), (own_pre, own_post), (again, _) in zip(activations, before, original.mlp_activations(tokens), strict=True):
        assert (pre - own_pre).abs().mean() > 0.1 * own_pre.std() and not torch.equal(post, own_post)
        assert torch.equal(again, own_pre)


def test_what_makes_a_twin(original: Checkpoint) -> None:
    first, same = twin_of(original, 1), twin_of(original, 1)
    assert first.identity == same.identity and torch.equal(first.weights.W_in, same.weights.W_in)
    assert first.name == f"{original.name}~1" and first.seed is None
    other = twin_of(original, 2)
    assert len({one.identity.sha256 for one in (first, other, original)}) == 3
    assert not torch.equal(other.weights.W_in, first.weights.W_in)


@settings(max_examples=25, deadline=None)
@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), key=st.text(max_size=5))
def test_permuted_columns(shape: tuple[int, int, int], key: str) -> None:
    w_in = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    read = permuted(w_in, key)
    assert torch.equal(read.sort(dim=1).values, w_in.sort(dim=1).values) and torch.equal(read, permuted(w_in, key))
