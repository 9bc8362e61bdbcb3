"""Checkpoints: what is refused, what is hashed, and that weights and activations are those of the processed model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from catalog.errors import InputError
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.checkpoints.folding import Folded
from ingest.checkpoints.quiet import quiet
from ingest.corpus.tokenizer import tokenizer_identity
from tests.factories import (
    byte_bpe_tokenizer,
    load_raw,
    mlp_parameters,
    permuted_copy,
    save_checkpoint,
    tiny_gpt2,
    tiny_neox,
    tiny_opt,
)

CPU = torch.device("cpu")


def tanh_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


FAMILIES: dict[str, tuple[Callable[..., Path], dict[str, Any], Callable[[Tensor], Tensor]]] = {
    "gpt2": (tiny_gpt2, {}, tanh_gelu),
    "gpt2-inverse-layer": (tiny_gpt2, {"scale_attn_by_inverse_layer_idx": True, "n_layers": 3}, tanh_gelu),
    "gpt2-erf": (tiny_gpt2, {"activation": "gelu"}, torch.nn.functional.gelu),
    "neox": (tiny_neox, {}, torch.nn.functional.gelu),
    "neox-serial": (tiny_neox, {"use_parallel_residual": False}, torch.nn.functional.gelu),
    "opt": (tiny_opt, {}, torch.relu),
}


def opened(folder: Path) -> Checkpoint:
    return open_checkpoint(parse_model_argument(str(folder)), CPU)


def processed(folder: Path) -> Checkpoint:
    checkpoint = opened(folder)
    checkpoint.process(tokenizer_identity(checkpoint.tokenizer).n_tokens)
    return checkpoint


@pytest.fixture(scope="module", params=list(FAMILIES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Path, Any]:
    make, config, activation = FAMILIES[request.param]
    folder = make(tmp_path_factory.mktemp("models") / request.param, **config)
    return processed(folder), folder, activation


def random_tokens(checkpoint: Checkpoint, rows: int = 3, context: int = 20) -> Tensor:
    return torch.randint(checkpoint.d_vocab, (rows, context), generator=torch.Generator().manual_seed(1))


def bridge_of(folder: Path) -> Any:
    """An independent bridge, booted from the folder."""
    from transformer_lens.model_bridge import TransformerBridge

    with quiet():
        bridge = TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)
        bridge.enable_compatibility_mode(disable_warnings=True)
    return bridge


def test_activations_are_hook_pre_and_hook_post_of_the_processed_model(model: tuple[Checkpoint, Path, Any]) -> None:
    checkpoint, folder, activation = model
    tokens = random_tokens(checkpoint)
    seen: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any) -> Tensor:
        seen[hook.name] = value.detach().clone()
        return value

    names = [f"blocks.{i}.mlp.hook_{kind}" for i in range(checkpoint.n_layers) for kind in ("pre", "post")]
    with torch.inference_mode(), quiet():
        bridge_of(folder).run_with_hooks(tokens, fwd_hooks=[(name, keep) for name in names])
    layers = checkpoint.mlp_activations(tokens)
    assert len(layers) == checkpoint.n_layers
    for i, (pre, post) in enumerate(layers):
        assert pre.dtype == post.dtype == torch.float32 and pre.shape == (3, 20, checkpoint.d_mlp)
        torch.testing.assert_close(pre, seen[f"blocks.{i}.mlp.hook_pre"].reshape(pre.shape), atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(post, seen[f"blocks.{i}.mlp.hook_post"].reshape(post.shape), atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(post, activation(pre), atol=1e-6, rtol=0)


def test_weights_are_folded_and_centred(model: tuple[Checkpoint, Path, Any]) -> None:
    checkpoint, folder, _ = model
    raw = load_raw(folder)
    gains = {name: value.detach() for name, value in raw.named_parameters()}
    norm = {"gpt2": "transformer.h.{}.ln_2", "gpt_neox": "gpt_neox.layers.{}.post_attention_layernorm"}.get(
        checkpoint.architecture, "model.decoder.layers.{}.final_layer_norm"
    )
    for layer, (w_in, b_in, w_out) in enumerate(mlp_parameters(raw)):
        gain, bias = gains[norm.format(layer) + ".weight"], gains[norm.format(layer) + ".bias"]
        folded = gain[:, None] * w_in
        torch.testing.assert_close(checkpoint.weights.W_in[layer], folded - folded.mean(0), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(checkpoint.weights.b_in[layer], b_in + bias @ w_in, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(checkpoint.weights.W_out[layer], w_out - w_out.mean(1, keepdim=True), atol=1e-5, rtol=1e-5)
    w_u = checkpoint.weights.W_U
    assert w_u.shape == (checkpoint.d_model, checkpoint.d_vocab)
    assert w_u.mean(0).abs().max() < 1e-5 and w_u.mean(1).abs().max() < 1e-5
    assert (w_u.norm(dim=0) > 0.1).all()


def test_facts_of_the_configuration(model: tuple[Checkpoint, Path, Any]) -> None:
    checkpoint, folder, _ = model
    assert checkpoint.name == folder.name and checkpoint.source == str(folder)
    assert (checkpoint.d_model, checkpoint.d_mlp, checkpoint.n_heads, checkpoint.d_head) == (16, 24, 2, 8)
    assert checkpoint.n_ctx == 32
    assert checkpoint.d_vocab > tokenizer_identity(checkpoint.tokenizer).n_tokens


@pytest.mark.parametrize("wrong", ["log-probabilities", "weights"])
def test_a_model_that_processing_changes_is_refused(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest.checkpoints import processing

    fold = processing.fold

    def broken(*arguments: Any) -> Folded:
        folded = fold(*arguments)
        # a constant in every weight of a token's column meets only centred residuals and changes no logit
        weight = folded.unembedding.weight + (1.0 if wrong == "weights" else torch.randn_like(folded.unembedding.weight))
        return replace(folded, unembedding=folded.unembedding._replace(weight=weight))

    monkeypatch.setattr(processing, "fold", broken)
    with pytest.raises(InputError, match="log-probabilities" if wrong == "log-probabilities" else "off zero"):
        processed(tiny_gpt2(tmp_path / "m"))


def test_the_hash_is_of_the_weights_and_not_of_the_files(tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path / "m")
    sha256 = opened(folder).identity.weights_sha256
    load_raw(folder).save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    byte_bpe_tokenizer(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert opened(tmp_path / "shards").identity.weights_sha256 == sha256
    permuted_copy(folder, tmp_path / "p", seed=1)
    assert opened(tmp_path / "p").identity.weights_sha256 != sha256
    half = load_raw(folder).half()
    save_checkpoint(half, byte_bpe_tokenizer(), tmp_path / "half")
    assert opened(tmp_path / "half").identity.weights_sha256 != sha256
    assert next(opened(tmp_path / "half").model.parameters()).dtype == torch.float32


def test_a_permuted_copy_has_the_neurons_of_the_original(tmp_path: Path) -> None:
    original = tiny_neox(tmp_path / "a", n_layers=2)
    order = permuted_copy(original, tmp_path / "b", seed=3)
    tokens = random_tokens(first := opened(original))
    for layer, ((pre, _), (moved, _)) in enumerate(
        zip(first.mlp_activations(tokens), opened(tmp_path / "b").mlp_activations(tokens), strict=True)
    ):
        torch.testing.assert_close(moved, pre[..., torch.from_numpy(order[layer])], atol=1e-5, rtol=1e-5)
        assert (order[layer] != range(24)).any()
