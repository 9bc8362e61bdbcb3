"""Nothing that a checkpoint's files hold is dropped without a word, and no value of its config ends in a traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from catalog.errors import InputError
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tests.factories import byte_bpe_tokenizer, load_raw, save_checkpoint, tiny_gpt2, tiny_neox, tiny_opt


def opened(folder: Path) -> Checkpoint:
    return open_checkpoint(parse_model_argument(str(folder)), torch.device("cpu"))


def configure(folder: Path, **changes: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def edit(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


# --- tensors that the model does not take --------------------------------------------------------------------------------


def test_a_config_that_cuts_layers_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hold 12 tensors that config.json has no place for, such as .*h\.1\."):
        opened(configure(tiny_gpt2(tmp_path / "m"), n_layer=1))


def test_adapters_within_the_weights_and_beside_them_are_refused(tmp_path: Path) -> None:
    name = "transformer.h.0.attn.c_attn.lora_A.weight"
    with pytest.raises(InputError, match=r"hold 1 tensors .* such as .*lora_A"):
        opened(edit(tiny_gpt2(tmp_path / "within"), lambda tensors: tensors.update({name: torch.ones(4, 16)})))
    beside = tiny_gpt2(tmp_path / "beside")
    (beside / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    save_file({name: torch.ones(4, 16)}, beside / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"has an adapter beside the model \(adapter_config.json\), which would be left out"):
        opened(beside)


def test_known_buffers_of_old_checkpoints_are_left_out(tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path / "m")
    before = opened(folder).identity
    mask = {"transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32), "transformer.h.0.attn.masked_bias": torch.tensor(-1e4)}
    assert opened(edit(folder, lambda tensors: tensors.update(mask))).identity == before
    neox = tiny_neox(tmp_path / "n")
    before = opened(neox).identity
    frequencies = {f"gpt_neox.layers.{i}.attention.rotary_emb.inv_freq": torch.ones(1) for i in range(2)}
    masks = {f"gpt_neox.layers.{i}.attention.masked_bias": torch.tensor(-1e9) for i in range(2)}
    assert opened(edit(neox, lambda tensors: tensors.update(frequencies | masks))).identity == before


def test_a_head_that_differs_from_the_embedding_it_is_said_to_be_is_kept(tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path / "m")
    tied = opened(folder)
    assert tied.identity.behaviour["tied_embeddings"]
    head = torch.randn(tied.d_vocab, tied.d_model, generator=torch.Generator().manual_seed(3))
    separate = opened(edit(folder, lambda tensors: tensors.update({"lm_head.weight": head})))
    assert not separate.identity.behaviour["tied_embeddings"]
    assert separate.identity.weights_sha256 != tied.identity.weights_sha256
    torch.testing.assert_close(separate.raw_w_u(), head.T)


def test_weights_of_two_dtypes_are_read_as_they_are(tmp_path: Path) -> None:
    """The first tensor's dtype once decided that of all: fp32 layer norms beside fp16 matrices were rounded."""
    folder = tiny_gpt2(tmp_path / "m")

    def halve(tensors: dict[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            if tensor.ndim > 1:
                tensors[name] = tensor.half()

    gain = load_file(folder / "model.safetensors")["transformer.h.0.ln_1.weight"]
    model: Any = opened(configure(edit(folder, halve), dtype="float16")).model
    assert torch.equal(model.transformer.h[0].ln_1.weight, gain)


# --- values of the config ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "changes", "says"),
    [
        (tiny_gpt2, {"add_cross_attention": True}, r"add_cross_attention"),
        (tiny_gpt2, {"seed": "forty-two"}, r"seed 'forty-two', which is no whole number of 64 bits"),
        (tiny_gpt2, {"seed": 2**70}, r"seed 1180591620717411303424, which is no whole number of 64 bits"),
        (tiny_gpt2, {"seed": 1.5}, r"seed 1.5, which is no whole number"),
        (tiny_gpt2, {"seed": True}, r"seed True, which is no whole number"),
        (tiny_gpt2, {"activation_function": "gelu_old"}, r"activation_function 'gelu_old', which is no activation function"),
        (tiny_gpt2, {"layer_norm_epsilon": -1e-5}, r"layer_norm_epsilon -1e-05, which is no finite number from 0"),
        (tiny_gpt2, {"n_head": 3}, r"num_attention_heads 3, which is no divisor of the 16"),
        (tiny_gpt2, {"n_head": 0}, r"num_attention_heads 0, which is no whole number above 0"),
        (tiny_gpt2, {"n_layer": "2"}, r"n_layer"),
        (tiny_gpt2, {"n_positions": -1}, r"max_position_embeddings -1, which is no whole number above 0"),
        (tiny_gpt2, {"is_causal": False}, r"sees later tokens \(is_causal is false\)"),
        (tiny_gpt2, {"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"quantis"),
        (tiny_neox, {"head_dim": 4}, r"has head_dim 4 where its heads are 8 wide"),
        (tiny_neox, {"rope_parameters": {"rope_type": "nonsense", "rope_theta": 1e4}}, r"cannot be loaded"),
        (tiny_neox, {"rope_parameters": {"rope_theta": "x"}}, r"cannot be loaded"),
    ],
    ids=lambda value: None if callable(value) or isinstance(value, str) else ",".join(value),
)
def test_a_value_that_cannot_be_is_one_sentence(
    make: Callable[..., Path], changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    folder = configure(make(tmp_path / "m"), **changes)
    with pytest.raises(InputError, match=says) as raised:
        opened(folder)
    assert "\n" not in str(raised.value) and str(raised.value).endswith(".")


@pytest.mark.parametrize("seed", [None, 0, 7, -1, 2**40])
def test_a_seed_that_is_a_number_is_kept(seed: int | None, tmp_path: Path) -> None:
    assert opened(configure(tiny_gpt2(tmp_path / "m"), seed=seed)).seed == seed


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (tiny_neox, {"attention_bias": False}),
        (tiny_opt, {"enable_bias": False}),
        (tiny_opt, {"layer_norm_elementwise_affine": False}),
    ],
    ids=["neox without attention biases", "opt without biases", "opt without gains"],
)
def test_models_without_biases_or_gains_are_folded(make: Callable[..., Path], options: dict[str, Any], tmp_path: Path) -> None:
    """Biases of norms become biases of matrices that had none; processing asserts that the function is the same."""
    checkpoint = opened(make(tmp_path / "m", **options))
    checkpoint.process(300)
    assert checkpoint.weights.b_in.any()


# --- names -----------------------------------------------------------------------------------------------------------------


def test_a_model_in_the_hubs_cache_is_called_as_on_the_hub(tmp_path: Path) -> None:
    commit = tmp_path / "hub" / "models--owner--tiny-model-x21" / "snapshots" / ("0" * 40)
    save_checkpoint(load_raw(tiny_gpt2(tmp_path / "m")), byte_bpe_tokenizer(), commit)
    link = tmp_path / "link"
    link.symlink_to(commit)
    for given in (commit, link, Path(f"{commit}/../{'0' * 40}")):
        assert parse_model_argument(str(given)).name == "tiny-model-x21"
    assert parse_model_argument(f"own={commit}").name == "own"
    shutil.move(tmp_path / "hub" / "models--owner--tiny-model-x21", tmp_path / "hub" / "models--gpt2")
    assert parse_model_argument(str(tmp_path / "hub" / "models--gpt2" / "snapshots" / ("0" * 40))).name == "gpt2"


def test_a_link_is_called_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "step-143000").mkdir()
    (tmp_path / "seed-b").symlink_to(tmp_path / "step-143000")
    source = parse_model_argument(str(tmp_path / "seed-b"))
    assert (source.name, source.location) == ("seed-b", str(tmp_path / "step-143000"))
