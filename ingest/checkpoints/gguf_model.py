"""Configuration, tokenizer and left-over tensors of a GGUF file, as the library reads them, held against the file's header."""

from collections.abc import Callable
from typing import Any

import numpy as np
from tokenizers import pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.integrations.gguf.gguf_tokenizer_mapping import (
    GGUF_PRE_TOKENIZER_SPLITS,
    convert_gguf_tokenizer,
    get_gguf_tokenizer,
)
from transformers.modeling_gguf_pytorch_utils import TensorProcessor, get_gguf_hf_weights_map

from catalog.errors import InputError
from ingest.checkpoints.gguf_file import SAID, GgufHeader
from ingest.checkpoints.tokenizer_config import keep_statements

WIDE_LAYERS = (46, 62)
"""Numbers of layers of the Gemmas whose scores are divided by the width of a head's share of the residual (27B), which a file
does not say; those of the others are divided by the width of a head."""


def complete(config: Any, header: GgufHeader) -> None:
    """Put what the file says into the configuration that the library made of a part of it."""
    for key, value in header.of_architecture().items():
        if key in SAID and hasattr(config, SAID[key]):
            setattr(config, SAID[key], _shortest(value[0] if isinstance(value, list) else value))
    if config.model_type == "gpt2":
        config.n_inner = header.of_architecture().get("feed_forward_length", config.n_inner)
    if config.model_type.startswith("gemma"):
        per_head = config.hidden_size // config.num_attention_heads
        config.query_pre_attn_scalar = per_head if config.num_hidden_layers in WIDE_LAYERS else config.head_dim
    rotary = getattr(config, "rope_parameters", None)
    if rotary:
        config.rope_parameters = _shortest(rotary)


def _shortest(value: Any) -> Any:
    """Numbers are stored in 32 bits: of those that they may have been, the one with the fewest digits."""
    if isinstance(value, dict):
        return {key: _shortest(item) for key, item in value.items()}
    return float(str(np.float32(value))) if isinstance(value, float) else value


def read_tokenizer(header: GgufHeader) -> Any:
    """The tokenizer that a file describes.

    Raises:
        InputError: texts are cut in a way that is not known here, or the ids are not those of the file.
    """
    architecture, described, special = get_gguf_tokenizer(str(header.path))
    cut = _cut(header)
    backend, _ = convert_gguf_tokenizer(architecture, described)
    if cut is not None:
        backend.pre_tokenizer = cut()
    names = {name: special[name] for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, name_or_path=str(header.path), **names)
    keep_statements(tokenizer, special)
    _compare(header, tokenizer)
    return tokenizer


def _digits_apart() -> pre_tokenizers.PreTokenizer:
    """As GPT-2 does, with each digit by itself."""
    usual = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), usual])


CUTS: dict[str, Callable[[], Any]] = {name: _digits_apart for name in ("smollm", "starcoder", "refact", "command-r")}
"""Ways to cut a text before merges that the library does not know, by what files call them (tokenizer.ggml.pre)."""


def _cut(header: GgufHeader) -> Callable[[], Any] | None:
    """How texts are cut; None where the library does it.

    Raises:
        InputError: in a way that is not known.
    """
    name = header.fields.get("tokenizer.ggml.pre")
    if header.fields.get("tokenizer.ggml.model") != "gpt2" or name in (None, "gpt-2", *GGUF_PRE_TOKENIZER_SPLITS):
        return None
    if name not in CUTS:
        known = ", ".join(sorted({"gpt-2", *CUTS, *GGUF_PRE_TOKENIZER_SPLITS}))
        raise InputError(
            f"{header.path} has a tokenizer that cuts texts as {name!r} (tokenizer.ggml.pre), which is not known here; those "
            f"that are known are {known}."
        )
    return CUTS[name]


def _compare(header: GgufHeader, tokenizer: Any) -> None:
    spelling = bytes_to_unicode()
    byte_level = header.fields.get("tokenizer.ggml.model") == "gpt2"

    def same(found: str | None, said: str) -> bool:
        respelled = "".join(spelling[byte] for byte in said.encode()) if byte_level else "▁" * len(said)
        return found == said or (found == respelled and (byte_level or not said.strip(" ")))

    tokens, backend = header.tokens, tokenizer.backend_tokenizer
    wrong = next((i for i, token in enumerate(tokens) if not same(backend.id_to_token(i), token)), None)
    if wrong is not None or backend.get_vocab_size(with_added_tokens=True) != len(tokens):
        told = f"id {wrong} is {backend.id_to_token(wrong)!r}" if wrong is not None else "there are more ids"
        raise InputError(
            f"the tokenizer of {header.path} cannot be made as the file has it ({told}, and the file's list of tokens says "
            "otherwise); give the folder of the model before its conversion."
        )
    for name in ("bos", "eos"):
        said, found = header.fields.get(f"tokenizer.ggml.{name}_token_id"), getattr(tokenizer, f"{name}_token_id")
        if said != found:
            raise InputError(
                f"the tokenizer of {header.path} has {name.upper()} {found} where the file says {said}; give the folder of the "
                "model before its conversion."
            )


def left_over(header: GgufHeader, model: nn.Module) -> list[str]:
    """Tensors of the file for which the model has no place, and which the library drops without a word."""
    taken = get_gguf_hf_weights_map(model, TensorProcessor())
    return sorted(header.tensors.keys() - taken.keys())
