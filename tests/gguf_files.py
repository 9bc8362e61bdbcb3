"""Small GGUF files, written from tiny checkpoints as converters write real ones, with any key or tensor otherwise."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize
from transformers import AutoConfig
from transformers.modeling_gguf_pytorch_utils import TensorProcessor, get_gguf_hf_weights_map

from tests.factories import load_raw

NAMES = {"gemma3_text": "gemma3"}
"""Of architectures that GGUF files call otherwise than configurations."""

NO_WIDTHS: Mapping[int, int] = {}


def write_gguf(
    folder: Path, path: Path, kind: str = "F32", without: str = "", widths: Mapping[int, int] = NO_WIDTHS, **keys: Any
) -> Path:
    """The checkpoint of a folder as a GGUF file.

    Args:
        kind: quantisation type of matrices whose rows are whole blocks.
        without: tensors whose names begin so are left out.
        widths: of layers, neurons of which the first are kept.
        keys: of the header, `.` written as `__`; None leaves one out. Those that begin with `of__` are the architecture's.
    """
    config, model = AutoConfig.from_pretrained(folder), load_raw(folder)
    name = NAMES.get(config.model_type, config.model_type)
    writer = GGUFWriter(path, name)
    given = {key.replace("__", ".").replace("of.", f"{name}.", 1): value for key, value in keys.items()}
    for key, value in ({**_function(name, config), **_tokenizer(folder)} | given).items():
        if value is not None and key != "general.architecture":
            _add(writer, key, value)
    state = model.state_dict()
    for theirs, ours in get_gguf_hf_weights_map(model, TensorProcessor()).items():
        tied = theirs == "output.weight" and config.tie_word_embeddings
        if ours not in state or tied or (without and theirs.startswith(without)):
            continue
        values = _as_written(name, theirs, state[ours].numpy(), config)
        layer = int(theirs.split(".")[1]) if theirs.startswith("blk.") else None
        if layer in widths and ".ffn_down.weight" in theirs:
            values = values[:, : widths[layer]]
        _add_tensor(writer, theirs, values, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tensor(writer: GGUFWriter, name: str, values: np.ndarray, kind: str) -> None:
    wanted = GGMLQuantizationType[kind]
    if kind == "F32" or values.ndim < 2 or values.shape[-1] % 32:
        writer.add_tensor(name, np.ascontiguousarray(values))
        return
    writer.add_tensor(name, quantize(np.ascontiguousarray(values), wanted), raw_dtype=wanted)


def _as_written(name: str, theirs: str, values: np.ndarray, config: Any) -> np.ndarray:
    """As converters write a tensor: turning dimensions are neighbours, gains have 1 added, GPT-2's matrices are turned."""
    if name == "llama" and (".attn_q." in theirs or ".attn_k." in theirs):
        heads = config.num_attention_heads if ".attn_q." in theirs else config.num_key_value_heads
        return values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    if name.startswith("gemma") and theirs.endswith("norm.weight"):
        return values + 1
    if name == "gpt2" and theirs.split(".")[-2] in ("attn_qkv", "attn_output", "ffn_up", "ffn_down"):
        return values.T
    return values


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _function(name: str, config: Any) -> dict[str, Any]:
    """What the header says of the model's function."""
    width = getattr(config, "intermediate_size", None) or config.n_inner
    said = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": width,
        "vocab_size": config.vocab_size,
        "attention.head_count": config.num_attention_heads,
    }
    if name == "gpt2":
        said["attention.layer_norm_epsilon"] = config.layer_norm_epsilon
    else:
        said["attention.head_count_kv"] = config.num_key_value_heads
        said["attention.layer_norm_rms_epsilon"] = config.rms_norm_eps
        said["rope.freq_base"] = float(_base(config.rope_parameters))
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        said |= {"rope.dimension_count": head} if name == "llama" else {"attention.key_length": head}
    if name.startswith("gemma"):
        said["attention.sliding_window"] = config.sliding_window
    if name == "gemma2":
        said["attn_logit_softcapping"] = config.attn_logit_softcapping
        said["final_logit_softcapping"] = config.final_logit_softcapping
    return {f"{name}.{key}": value for key, value in said.items()}


def _base(rotary: dict[str, Any]) -> float:
    return rotary["full_attention"]["rope_theta"] if "full_attention" in rotary else rotary["rope_theta"]


def _tokenizer(folder: Path) -> dict[str, Any]:
    """A byte-level BPE."""
    held = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = held["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = {token["content"] for token in held["added_tokens"]}
    names = json.loads((folder / "tokenizer_config.json").read_text())
    ids = {name: vocabulary[names[f"{name}_token"]] for name in ("bos", "eos") if names.get(f"{name}_token")}
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [int(TokenType.CONTROL if token in special else TokenType.NORMAL) for token in tokens],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in held["model"]["merges"]],
        **{f"tokenizer.ggml.{name}_token_id": value for name, value in ids.items()},
    }
