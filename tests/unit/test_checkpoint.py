"""Checkpoints: what is refused, what is hashed, and that weights and activations are those of the processed model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import normalizers
from torch import Tensor

from catalog.errors import InputError
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, check_family, open_checkpoint
from ingest.checkpoints.quiet import quiet
from ingest.corpus.tokenizer import tokenizer_identity
from tests.factories import (
    byte_bpe_tokenizer,
    load_raw,
    mlp_parameters,
    permuted_copy,
    random_texts,
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

    boot = processing._boot

    def broken(checkpoint: Checkpoint) -> Any:
        bridge = boot(checkpoint)
        with torch.no_grad():
            # a constant in every weight of a token's column meets only centred residuals and changes no logit
            bridge.W_U.add_(1.0 if wrong == "weights" else torch.randn_like(bridge.W_U))
        return bridge

    monkeypatch.setattr(processing, "_boot", broken)
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


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["{tmp}/absent", "./absent", "../absent/x", "~/absent", "/absent", "a=/absent", "", "a="])
def test_a_path_that_is_not_there_is_refused_at_once(argument: str, tmp_path: Path, no_network: None) -> None:
    with pytest.raises(InputError, match=r"there is no folder|has no location"):
        parse_model_argument(argument.format(tmp=tmp_path))


def test_a_name_beside_an_existing_folder_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="there is no folder 'models/absent'"):
        parse_model_argument("models/absent")
    with pytest.raises(InputError, match="is a folder and has no revision 'main'"):
        parse_model_argument("models@main")


def test_names_and_revisions_are_read_from_the_argument(tmp_path: Path) -> None:
    hub = parse_model_argument("small=owner/gpt2-x21@step-100")
    assert (hub.name, hub.location, hub.revision, hub.is_local) == ("small", "owner/gpt2-x21", "step-100", False)
    assert parse_model_argument("owner/gpt2-x21").name == "gpt2-x21"
    local = parse_model_argument(f"b={tmp_path}")
    assert (local.name, local.location, local.revision, local.is_local) == ("b", str(tmp_path), None, True)


def damage_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def damage_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def damage_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def damage_truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def damage_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)


def damage_missing_tensor(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.pop("transformer.h.1.mlp.c_fc.weight"))


def damage_shape(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.update({"transformer.h.1.mlp.c_fc.weight": torch.zeros(3, 3)}))


def damage_nan(folder: Path) -> None:
    edit(folder, lambda tensors: tensors["transformer.h.1.mlp.c_fc.weight"][0].fill_(float("nan")))


def damage_infinity(folder: Path) -> None:
    edit(folder, lambda tensors: tensors["transformer.h.0.ln_1.bias"][0].fill_(float("inf")))


def damage_no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def damage_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[]")


def damage_small_vocabulary(folder: Path) -> None:
    byte_bpe_tokenizer(folder, vocab_size=500)


def make_rms_norm(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))


def damage_architecture(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))


def edit(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_no_config, "no config.json"),
        (damage_config, "cannot be read"),
        (damage_no_weights, "weights of .* cannot be loaded"),
        (damage_truncated, "weights of .* cannot be loaded"),
        (damage_header, "weights of .* cannot be loaded"),
        (damage_missing_tensor, r"lack transformer.h.1.mlp.c_fc.weight"),
        (damage_shape, "weights of .* cannot be loaded"),
        (damage_nan, r"not finite in transformer.h.1.mlp.c_fc.weight"),
        (damage_infinity, r"not finite in transformer.h.0.ln_1.bias"),
        (damage_no_tokenizer, "has no tokenizer"),
        (damage_tokenizer, "tokenizer of .* cannot be loaded"),
        (damage_small_vocabulary, "has ids up to 499 and the model embeds 407"),
        (damage_architecture, "'bert' model; those that work are gpt2, gpt_neox, opt"),
        (make_rms_norm, "'llama' model, which normalises by RMSNorm.*loss, rank and KL would be defined, the centred scale"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(damage: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path / "m")
    damage(folder)
    with pytest.raises(InputError, match=says) as raised:
        opened(folder)
    assert "\n" not in str(raised.value) and str(raised.value).endswith(".")


def test_an_empty_folder_and_a_file_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match=r"is no checkpoint, it has no config\.json"):
            opened(path)


def test_opt_350m_is_refused_for_its_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="normalises after each block"):
        opened(tiny_opt(tmp_path / "post", do_layer_norm_before=False))
    with pytest.raises(InputError, match="projects its embeddings"):
        opened(tiny_opt(tmp_path / "projected", word_embed_proj_dim=8))
    with pytest.raises(InputError, match="no biases"):
        opened(tiny_opt(tmp_path / "unbiased", enable_bias=False))


def test_a_family_has_different_weights_and_one_tokenizer(tmp_path: Path) -> None:
    a, b = opened(tiny_gpt2(tmp_path / "a")), opened(tiny_gpt2(tmp_path / "b", seed=1, n_layers=3, d_mlp=40))
    shutil.copytree(tmp_path / "a", tmp_path / "twin")
    twin = opened(tmp_path / "twin")
    check_family([a, b], ["x", "x"])
    check_family([a], ["x"])
    for checkpoints, tokenizers, says in (
        ([a, twin], ["x", "x"], "are the same model"),
        ([a, b], ["x", "y"], "different tokenizers"),
    ):
        with pytest.raises(InputError, match=says):
            check_family(checkpoints, tokenizers)


@pytest.mark.parametrize("change", ["vocabulary", "normalizer"])
def test_tokenizers_that_differ_are_seen(change: str, tmp_path: Path) -> None:
    other = byte_bpe_tokenizer(texts=random_texts(seed=5 if change == "vocabulary" else 0))
    if change == "normalizer":
        other.backend_tokenizer.normalizer = normalizers.Lowercase()
    first = opened(tiny_gpt2(tmp_path / "a"))
    second = opened(tiny_gpt2(tmp_path / "b", seed=1, tokenizer=other))
    with pytest.raises(InputError, match="different tokenizers"):
        check_family([first, second], [tokenizer_identity(c.tokenizer).sha256 for c in (first, second)])
