"""Every architecture that is described: what is hooked and folded is what the model of transformers computes, in float64."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ingest.checkpoints.architectures import ARCHITECTURES
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.checkpoints.folding import fold, put_into
from ingest.checkpoints.modules import MlpPass, Modules
from ingest.checkpoints.processing import caps_logits
from ingest.checkpoints.signs import signs_of
from ingest.corpus.tokenizer import tokenizer_identity
from tests.decoders import CONFIGS, tiny_decoder
from tests.factories import load_raw

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=list(CONFIGS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_decoder(request.param, tmp_path_factory.mktemp("decoders") / request.param)


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    made = open_checkpoint(parse_model_argument(str(folder)), CPU)
    made.process(tokenizer_identity(made.tokenizer).n_tokens)
    return made


@pytest.fixture(scope="module")
def tokens(checkpoint: Checkpoint) -> Tensor:
    return torch.randint(checkpoint.d_vocab, (3, 20), generator=torch.Generator().manual_seed(1))


def raw_in_float64(folder: Path) -> Any:
    """The model as transformers reads it, which knows nothing of us."""
    raw: Any = load_raw(folder).double()
    raw.set_attn_implementation("eager")
    return raw


def hooked(raw: Any, architecture: str, tokens: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs of every nonlinearity, and of what reads its output."""
    names = {
        "gpt2": ("act", "c_proj"), "gpt_neo": ("act", "c_proj"), "gptj": ("act", "fc_out"),
        "gpt_neox": ("act", "dense_4h_to_h"), "opt": ("activation_fn", "fc2"), "phi": ("activation_fn", "fc2"),
    }.get(architecture, ("act_fn", "down_proj"))  # fmt: skip
    pre: list[Tensor] = []
    post: list[Tensor] = []
    for name, module in raw.named_modules():
        for wanted, held in zip(names, (pre, post), strict=True):
            if name.endswith(f".{wanted}") and "attn" not in name and "attention" not in name:
                module.register_forward_pre_hook(lambda module, inputs, held=held: held.append(inputs[0].detach()))
    with torch.inference_mode():
        raw(tokens, use_cache=False)
    return pre, post


def test_all_that_are_described_are_tested() -> None:
    assert set(CONFIGS) == set(ARCHITECTURES)


def test_activations_are_those_of_hooks_on_the_raw_model_in_float64(
    checkpoint: Checkpoint, folder: Path, tokens: Tensor
) -> None:
    """But for the sign of gated neurons, which the rule chooses."""
    pre, post = hooked(raw_in_float64(folder), checkpoint.architecture, tokens)
    layers = checkpoint.mlp_activations(tokens)
    assert len(layers) == len(pre) == len(post) == checkpoint.n_layers
    untouched = Modules(load_raw(folder), checkpoint.architecture)
    for layer, (one, other) in enumerate(layers):
        signs = signs_of(untouched, layer) if checkpoint.is_gated else torch.ones(checkpoint.d_mlp)
        for ours, raw in ((one, pre[layer].reshape(one.shape)), (other, post[layer].reshape(other.shape) * signs)):
            torch.testing.assert_close(ours.double(), raw, atol=1e-5 * raw.abs().max().item(), rtol=0)
        assert not checkpoint.is_gated or {*signs.tolist()} == {-1.0, 1.0}


def test_a_pass_that_ends_at_a_layer_has_seen_the_same_and_the_model_is_whole(checkpoint: Checkpoint, tokens: Tensor) -> None:
    def seen(last: int | None) -> list[tuple[int, Tensor, Tensor]]:
        found: list[tuple[int, Tensor, Tensor]] = []
        with torch.inference_mode():
            checkpoint.visit_mlps(tokens, lambda layer, shown: found.append((layer, shown.pre, shown.post)), last)
        return found

    whole = seen(None)
    for last in range(checkpoint.n_layers):
        part = seen(last)
        assert [layer for layer, *_ in part] == list(range(last + 1))
        for (_, *one), (_, *other) in zip(part, whole, strict=False):
            assert all(map(torch.equal, one, other))
    assert [layer for layer, *_ in seen(None)] == list(range(checkpoint.n_layers))


def test_what_a_gated_neuron_reads_is_that_of_hooks_on_the_raw_model_in_float64(
    checkpoint: Checkpoint, folder: Path, tokens: Tensor
) -> None:
    """With the sign that the rule chooses; post is the product of it and of what the gate gives."""
    if not checkpoint.is_gated:
        pytest.skip("has no gates")
    raw, expected = raw_in_float64(folder), list[Tensor]()
    for block in raw.model.layers:
        block.mlp.up_proj.register_forward_hook(lambda module, inputs, output: expected.append(output))
    seen: list[MlpPass] = []
    layers = range(checkpoint.n_layers)

    def keep(shown: MlpPass) -> None:
        seen.append(shown.each(torch.clone))

    with torch.inference_mode(), checkpoint.modules.watched(dict.fromkeys(layers, keep)):
        checkpoint.model(tokens, use_cache=False)  # type: ignore[operator]
        raw(tokens, use_cache=False)
    untouched = Modules(load_raw(folder), checkpoint.architecture)
    for layer, shown in enumerate(seen):
        assert shown.read is not None
        of_raw = expected[layer].flatten(0, 1) * signs_of(untouched, layer)
        torch.testing.assert_close(shown.read.double(), of_raw, atol=1e-5 * of_raw.abs().max().item(), rtol=0)
        product = checkpoint.modules.activations[layer].forward(shown.pre) * shown.read
        torch.testing.assert_close(shown.post, product, atol=1e-6, rtol=1e-6)


def test_folded_weights_are_the_same_function_in_float64(checkpoint: Checkpoint, folder: Path, tokens: Tensor) -> None:
    raw = raw_in_float64(folder)
    copy = raw_in_float64(folder)
    modules = Modules(raw, checkpoint.architecture)
    put_into(copy, checkpoint.architecture, fold(modules, checkpoint.d_head, caps_logits(checkpoint.config)))
    with torch.inference_mode():
        before, after = (model(tokens, use_cache=False).logits.log_softmax(-1) for model in (raw, copy))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)
    assert before.std() > 0.1


def test_folded_norms_do_nothing_but_normalise(checkpoint: Checkpoint, folder: Path) -> None:
    """And gated neurons have gate·in from 0 on: the rule was applied before."""
    weights = checkpoint.weights
    if checkpoint.modules.architecture.centred:
        assert weights.W_in.mean(1).abs().max() < 1e-6 and weights.W_U.mean(0).abs().max() < 1e-6
    if checkpoint.is_gated:
        assert weights.W_gate is not None and weights.b_gate is not None
        assert (torch.linalg.vecdot(weights.W_gate, weights.W_in, dim=1) >= 0).all()
    else:
        assert weights.W_gate is None


def test_the_sign_rule_changes_no_output(checkpoint: Checkpoint, folder: Path, tokens: Tensor) -> None:
    raw: nn.Module = load_raw(folder)
    with torch.inference_mode():
        one, other = (model(tokens, use_cache=False).logits for model in (raw, checkpoint.model))  # type: ignore[operator]
    torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)
