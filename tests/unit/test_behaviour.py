"""Whatever a configuration makes a model compute is in its identity, and what changes no output is not."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from catalog.errors import InputError
from ingest.checkpoints.architectures import ARCHITECTURES
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.behaviour import ModelIdentity, behaviour_of, changed, difference
from ingest.checkpoints.config import read_config
from ingest.checkpoints.files import load_model, weights_sha256
from ingest.checkpoints.quiet import quiet
from tests.decoders import CONFIGS, tiny_decoder
from tests.factories import tiny_gpt2, tiny_neox, tiny_opt

MAKERS: dict[str, Callable[..., Path]] = {
    **{architecture: partial(tiny_decoder, architecture) for architecture in CONFIGS},
    "gpt2": tiny_gpt2, "gpt_neox": tiny_neox, "opt": tiny_opt,
}  # fmt: skip
UNKNOWN_KEYS = {
    "head_dim": [4, 8, 16],
    "is_causal": [False, True],
    "rotary_pct": [0.5, 1.0],
    "rotary_emb_base": [100, 1e5],
    "rope_theta": [100.0],
    "rope_scaling": [{"type": "linear", "factor": 2.0}, {"rope_type": "dynamic", "factor": 4.0}],
    "sliding_window": [3],
    "layer_types": [["full_attention", "sliding_attention"]],
    "attn_implementation": ["eager"],
    "_attn_implementation": ["eager"],
    "layer_norm_eps": [0.1],
    "layer_norm_epsilon": [0.1],
    "hidden_act": ["relu", "gelu"],
    "activation_function": ["relu", "gelu"],
    "n_head": [1, 4],
    "num_attention_heads": [1, 4],
    "n_ctx": [16],
    "n_positions": [16],
    "gradient_checkpointing": [True],
    "logits_mup_width_multiplier": [2.0],
    "seed": [1, 2**40],
    "model_max_length": [8],
    "torchscript": [True],
    "pruned_heads": [{"0": [0]}],
    "is_decoder": [True, False],
    "num_labels": [5],
    "note": ["anything"],
}
"""Keys of other architectures, of older versions, or of nobody, with values that would matter if they were read."""
ACTIVATIONS = ["relu", "gelu", "gelu_new", "gelu_fast", "quick_gelu", "gelu_pytorch_tanh", "silu", "nonsense"]


def alternatives(key: str, value: Any) -> list[Any]:
    """Other values that a key might have."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        others = [0, -value or 1, value + 1, value * 2, value / 2, 1e-5]
        return list({json.dumps(other): other for other in others if json.dumps(other) != json.dumps(value)}.values())
    if key in ("activation_function", "hidden_act", "hidden_activation"):
        return [name for name in ACTIVATIONS if name != value]
    if isinstance(value, str):
        return [f"{value}x", None]
    if value is None:
        return [1, 0.5, True, "x"]
    if isinstance(value, dict) and key == "rope_parameters":
        return [{**value, name: other} for name, old in value.items() for other in alternatives(name, old)]
    return [None]


@pytest.fixture(scope="module", params=list(MAKERS))
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param) / "original")


@pytest.fixture(scope="module")
def original_identity(original: Path) -> ModelIdentity:
    return identity_of(original)


def with_config(original: Path, folder: Path, config: dict[str, Any]) -> Path:
    """The same files with another config.json."""
    folder.mkdir(exist_ok=True)
    for file in original.iterdir():
        if file.name != "config.json" and not (folder / file.name).exists():
            (folder / file.name).symlink_to(file)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def identity_of(folder: Path) -> ModelIdentity:
    source = parse_model_argument(str(folder))
    config = read_config(source)
    model = load_model(source, config)
    return ModelIdentity(weights_sha256(model, source), behaviour_of(config, model))


@torch.inference_mode()
def raw_logits(folder: Path) -> Tensor:
    """(1, 9, vocabulary) of the model as the library reads it, in fp32."""
    with quiet():
        # which kernel computes the same attention is the catalog's choice
        kernel: Any = {"attn_implementation": "eager", "output_attentions": False}
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32, **kernel).eval()
        model.set_attn_implementation("eager")
        model.config.return_dict = True  # without it parts of the library fail on their own tuples
        logits = model(torch.arange(9)[None], use_cache=False).logits
    assert isinstance(logits, Tensor)
    return logits


def changes(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if key != "model_type":
            yield from ((key, other) for other in alternatives(key, value))
    yield from ((key, other) for key, others in UNKNOWN_KEYS.items() for other in others)


def test_a_key_of_the_config_changes_no_output_or_changes_the_identity(
    original: Path, original_identity: ModelIdentity, tmp_path: Path
) -> None:
    written = json.loads((original / "config.json").read_text())
    config = read_config(parse_model_argument(str(original))).to_dict() | written
    before, same = original_identity, defaultdict[str, list[Any]](list)
    other, refused = set(), set()
    for key, value in changes(config):
        folder = with_config(original, tmp_path / "changed", {**written, key: value})
        try:
            found = identity_of(folder)
        except InputError as error:
            assert "\n" not in str(error) and str(error).endswith(".")
            refused.add(key)
            continue
        if found.sha256 != before.sha256:
            assert found.weights_sha256 == before.weights_sha256 and difference(found.behaviour, before.behaviour)
            other.add(key)
            continue
        same[key].append(value)
    assert_no_output_changes(original, tmp_path, written, same)
    of_architecture = {
        "gpt2": {"activation_function", "layer_norm_epsilon", "n_head", "scale_attn_by_inverse_layer_idx"},
        "gpt_neox": {"hidden_act", "layer_norm_eps", "num_attention_heads", "use_parallel_residual", "rope_parameters"},
        "opt": {"activation_function", "num_attention_heads"},
    }
    usual = {"hidden_act", "rope_parameters"}
    of_architecture |= {name: usual for name in ("phi", "llama", "mistral", "qwen2", "qwen3", "olmo", "olmo2")}
    of_architecture |= {
        "gpt_neo": {"activation_function", "num_heads", "window_size"},
        "gptj": {"activation_function", "n_head", "rotary_dim"},
    }
    gemma = {"hidden_activation", "query_pre_attn_scalar", "sliding_window", "layer_types"}
    of_architecture |= {name: gemma for name in ("gemma2", "gemma3_text")}
    assert of_architecture[config["model_type"]] <= other
    assert {"n_layer", "num_layers", "num_hidden_layers", "vocab_size"} & refused
    assert {"initializer_range", "init_std", "note", "use_cache", "seed"} & same.keys()


def assert_no_output_changes(original: Path, tmp_path: Path, written: dict[str, Any], same: dict[str, list[Any]]) -> None:
    """All keys at once, each with its first other value, then each with its second, and so on: a model is slow to load."""
    logits, identity = raw_logits(original), identity_of(original)

    def changed(keys: dict[str, Any]) -> Path:
        return with_config(original, tmp_path / "changed", {**written, **keys})

    for place in range(max(map(len, same.values()))):
        keys = {key: values[place] for key, values in same.items() if place < len(values)}
        # keys that do nothing alone may do something together, which the identity has to see
        together = identity_of(changed(keys)) == identity
        for some in [keys] if together else [{key: value} for key, value in keys.items()]:
            assert torch.equal(raw_logits(changed(some)), logits), some


def old_names(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the keys' names of older versions."""
    names = {"n_embd": "hidden_size", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers", "dtype": "torch_dtype"}
    rotary = config.get("rope_parameters")
    # one for each kind of layer has no older name
    kept = {"n_positions"} if rotary is None or "rope_theta" not in rotary else {"n_positions", "rope_parameters"}
    renamed = {names.get(key, key): value for key, value in config.items() if key not in kept}
    if "n_positions" in config:
        renamed["max_position_embeddings"] = config["n_positions"]
    if rotary and config["model_type"] == "gpt_neox":
        renamed |= {"rotary_pct": rotary["partial_rotary_factor"], "rotary_emb_base": rotary["rope_theta"]}
        renamed |= {"rope_scaling": None}
    elif "rope_parameters" in kept:
        renamed |= {"rope_theta": rotary["rope_theta"], "rope_scaling": None}
        renamed |= {key: rotary[key] for key in ("partial_rotary_factor",) if key in rotary}
    return renamed


INERT: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "order of keys": lambda config: dict(reversed(config.items())),
    "version": lambda config: {**config, "transformers_version": "4.1.0"},
    "dtype": lambda config: {**config, "dtype": "float16"},
    "old name of dtype": lambda config: {**config, "torch_dtype": "bfloat16"},
    "dropout": lambda config: config
    | {key: 0.7 for key in config if key.endswith(("pdrop", "dropout"))}
    | ({"layerdrop": 0.4} if "layerdrop" in config else {}),
    "old names": old_names,
    "padding": lambda config: {**config, "pad_token_id": 3},
    "special ids": lambda config: {**config, "bos_token_id": 5, "eos_token_id": 6},
    "outputs": lambda config: {**config, "return_dict": False, "output_hidden_states": True, "use_cache": False},
    "attentions": lambda config: {**config, "output_attentions": True},
    "name": lambda config: {**config, "_name_or_path": "elsewhere", "architectures": None},
    "numbers written otherwise": lambda config: {
        key: float(f"{value:.17e}") if isinstance(value, float) else value for key, value in config.items()
    },
}


@pytest.mark.parametrize("inert", list(INERT))
def test_what_is_inert_leaves_the_identity(
    inert: str, original: Path, original_identity: ModelIdentity, tmp_path: Path
) -> None:
    written = json.loads((original / "config.json").read_text())
    changed_config = INERT[inert](written)
    assert list(changed_config.items()) != list(written.items()) or inert.startswith("numbers")
    assert identity_of(with_config(original, tmp_path / "m", changed_config)) == original_identity


def test_equal_weights_are_other_models_under_another_activation_or_other_heads(tmp_path: Path) -> None:
    """The three activations and two numbers of heads that were once taken for one model."""
    folders = [tiny_gpt2(tmp_path / name, activation=name) for name in ("gelu", "gelu_fast", "quick_gelu")]
    folders.append(tiny_gpt2(tmp_path / "heads", activation="gelu", n_heads=4))
    found = [identity_of(folder) for folder in folders]
    assert len({identity.weights_sha256 for identity in found}) == 1
    assert len({identity.sha256 for identity in found}) == 4
    assert changed(found[1], found[0].weights_sha256, found[0].behaviour) == "activation_function gelu_fast, not gelu"
    assert changed(found[3], "x" * 64, found[0].behaviour) == "other weights and n_heads 4, not 2"


def test_a_tied_and_a_separate_head_of_equal_weights_are_two_models(tmp_path: Path) -> None:
    tied, separate = (identity_of(tiny_neox(tmp_path / str(tie), tie_word_embeddings=tie)) for tie in (True, False))
    assert (tied.behaviour["tied_embeddings"], separate.behaviour["tied_embeddings"]) == (True, False)


def test_every_architecture_says_what_it_reads() -> None:
    assert set(MAKERS) == set(ARCHITECTURES)
