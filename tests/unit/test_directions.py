"""Norms, biases and cosines of gates, inputs and outputs equal those of raw weights in float64 (docs/formulas.md)."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.statistics.directions import Directions, directions, mismatched
from tests.database.helpers import ROOT
from tests.decoders import CONFIGS, D_MLP, N_LAYERS, tiny_decoder
from tests.factories import load_raw
from tests.raw_io_classes import NAMES, classes_of, cosines_of, neurons_of, published

pytestmark = pytest.mark.usefixtures("two_threads")
CPU = torch.device("cpu")
ROUNDED = 2e-6
"""Processed weights are fp32."""


def opened(folder: Path) -> Checkpoint:
    checkpoint = open_checkpoint(parse_model_argument(str(folder)), CPU)
    checkpoint.process(tokenizer_identity(checkpoint.tokenizer).n_tokens)
    return checkpoint


def of_all(checkpoint: Checkpoint) -> Directions:
    weights = checkpoint.weights
    return directions(weights.W_in, weights.W_out, weights.W_gate, weights.b_gate, slice(None))


def equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=ROUNDED, rtol=ROUNDED, equal_nan=True)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_cosines_and_norms_are_those_of_raw_weights(architecture: str, tmp_path: Path) -> None:
    found = of_all(opened(tiny_decoder(architecture, tmp_path)))
    raw = [*neurons_of(load_raw(tmp_path))]
    others = torch.from_numpy(mismatched(N_LAYERS, D_MLP))
    undefined = torch.full((N_LAYERS * D_MLP,), torch.nan, dtype=torch.float64)
    cosines = [cosines_of(neurons) for neurons in raw]
    drawn = [cosines_of(own._replace(output=own.output[places])) for own, places in zip(raw, others, strict=True)]
    assert (found.mismatched_index == others.flatten()).all()
    if raw[0].gate is None:
        equal(found.mismatched_in_out_sim, torch.cat([of_layer.in_out for of_layer in drawn]))
        for name in ("w_gate_norm", "gate_bias", "gate_out_sim", "gate_in_sim", "mismatched_gate_out_sim"):
            equal(getattr(found, name), undefined)
        return
    signs = torch.cat([of_layer.gate_in for of_layer in cosines]).sign()
    equal(found.w_gate_norm, torch.cat([of_layer.gate.norm(dim=1) for of_layer in raw]))
    equal(found.gate_in_sim, torch.cat([of_layer.gate_in for of_layer in cosines]) * signs)
    equal(found.gate_out_sim, torch.cat([of_layer.gate_out for of_layer in cosines]) * signs)
    # the output weights are another neuron's, and have its sign
    place = (torch.arange(N_LAYERS)[:, None] * D_MLP + others).flatten()
    equal(found.mismatched_in_out_sim, torch.cat([of_layer.in_out for of_layer in drawn]) * signs * signs[place])
    equal(found.mismatched_gate_out_sim, torch.cat([of_layer.gate_out for of_layer in drawn]) * signs[place])
    assert {*signs.tolist()} == {-1, 1} and (found.gate_in_sim >= 0).all()


def test_biases_of_gates_are_folded(tmp_path: Path) -> None:
    """A gate reads the bias of a layer norm as well; Llama has biases of its own, and no others."""
    found = of_all(opened(tiny_decoder("llama", tmp_path)))
    blocks = load_raw(tmp_path).model.layers  # type: ignore[union-attr]
    equal(found.gate_bias, torch.cat([block.mlp.gate_proj.bias.detach().double() for block in blocks]))
    assert found.gate_bias.abs().min() > 0


def test_a_twin_of_other_signs_has_the_same_numbers(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    from tests.factories import save_checkpoint

    folder, twin = tiny_decoder("llama", tmp_path / "one"), tmp_path / "twin"
    model = load_raw(folder)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for block in model.model.layers:  # type: ignore[union-attr]
            signs = torch.where(torch.rand(D_MLP, generator=generator) < 0.5, -1.0, 1.0)
            block.mlp.up_proj.weight *= signs[:, None]
            block.mlp.up_proj.bias *= signs
            block.mlp.down_proj.weight *= signs
    save_checkpoint(model, PreTrainedTokenizerFast.from_pretrained(folder), twin)
    one, other = of_all(opened(folder)), of_all(opened(twin))
    for name, values in vars(one).items():
        assert torch.equal(values, getattr(other, name)), name
    assert classes_of(load_raw(folder)) == classes_of(load_raw(twin))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 9), st.booleans(), st.integers(0, 27), st.integers(0, 2**31))
def test_neurons_may_come_in_any_blocks(layers: int, d_mlp: int, gated: bool, cut: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    reads, gates = (torch.randn(layers, 5, d_mlp, generator=generator) for _ in range(2))
    writes, bias = torch.randn(layers, d_mlp, 5, generator=generator), torch.randn(layers, d_mlp, generator=generator)
    reads[:, :, 0], writes[0, -1] = 0, 0
    own = (reads, writes, gates if gated else None, bias if gated else None)
    whole = directions(*own, slice(None))
    parts = [directions(*own, piece) for piece in (slice(0, cut), slice(cut, layers * d_mlp + 100))]
    for name, values in vars(whole).items():
        together = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(together, values, equal_nan=True, rtol=0, atol=1e-14)
    assert whole.mismatched_in_out_sim[::d_mlp].isnan().all(), "which read nothing"
    assert not gated or whole.gate_out_sim[d_mlp - 1].isnan(), "which writes nothing"


@given(st.integers(1, 4), st.integers(1, 40))
def test_mismatched_neurons_are_others_and_each_is_drawn_once(layers: int, d_mlp: int) -> None:
    others = mismatched(layers, d_mlp)
    assert (others == mismatched(layers, d_mlp)).all() and others.shape == (layers, d_mlp)
    if d_mlp == 1:
        assert (others == -1).all()
        return
    assert (others != np.arange(d_mlp)).all()
    assert (np.sort(others) == np.arange(d_mlp)).all()


def test_published_totals_are_all_neurons_of_their_models() -> None:
    """The models themselves are compared by `python tests/raw_io_classes.py`, where somebody has them."""
    rows = published()
    assert set(rows) == {"gpt2", "gpt2-medium", "distilgpt2", "opt-125m", "pythia-14m", "pythia-1b"}
    for row in rows.values():
        total = sum(int(row[name]) for name in ("strengthening", "orthogonal", "weakening"))
        assert total == int(row["n_layers"]) * int(row["d_mlp"]) and row["source"]


def test_the_script_counts_neurons_and_says_where_published_totals_differ(tmp_path: Path) -> None:
    tiny_decoder("gpt2", tmp_path)
    for name, code in (("mine", 0), ("gpt2", 1)):
        command = [sys.executable, str(ROOT / "tests" / "raw_io_classes.py"), f"{name}={tmp_path}"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        assert answer.returncode == code, answer.stderr
        assert answer.stdout.startswith(f"{name}: {N_LAYERS * D_MLP} neurons\n")
        assert all(of_class in answer.stdout for of_class in NAMES.values())
        assert ("published: 30229" in answer.stdout) == (name == "gpt2")
