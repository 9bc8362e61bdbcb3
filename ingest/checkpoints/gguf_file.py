"""GGUF files: what their header says, without torch.

A GGUF file is a whole checkpoint: configuration, tokenizer and tensors, most of them quantised. What the header says of the
model's function is either put into the configuration (`SAID`) or refused by its name, so that no file is read as another model.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from catalog.errors import InputError

ARCHITECTURES_IN_FILES = {
    "gpt2": "gpt2",
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
}
"""By the name that a GGUF file has for it: the `model_type` of a configuration. Mistral's models are llamas there."""

SAID = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "vocab_size": "vocab_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "rope.dimension_count": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
"""Keys of the header, after the name of the architecture, and the attribute of a configuration that says the same."""
ROTARY_BASE = "rope.freq_base"
FULL = ("F32", "F16", "BF16")
"""Types of tensors that are not quantised."""


@dataclass(frozen=True)
class HeldTensor:
    """A tensor as the header describes it."""

    shape: tuple[int, ...]
    """The dimension that is contiguous last."""
    kind: str
    """Its quantisation type."""


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself."""

    path: Path
    fields: Mapping[str, Any]
    tensors: Mapping[str, HeldTensor]

    @property
    def architecture(self) -> str:
        """As the file names it."""
        return str(self.fields.get("general.architecture", ""))

    def of_architecture(self) -> dict[str, Any]:
        """What the header says of the model's function, without the name of the architecture in front."""
        before = f"{self.architecture}."
        return {key.removeprefix(before): value for key, value in self.fields.items() if key.startswith(before)}

    @property
    def tokens(self) -> list[str]:
        """The token of each id, as the file spells it; empty without a tokenizer."""
        return list(self.fields.get("tokenizer.ggml.tokens", []))

    @property
    def quantisation(self) -> str:
        """How many tensors are stored in each type, the most frequent first."""
        counted = Counter(tensor.kind for tensor in self.tensors.values())
        return ", ".join(f"{kind} {n}" for kind, n in sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    @property
    def quantised(self) -> list[str]:
        """The quantisation types among those."""
        return sorted({tensor.kind for tensor in self.tensors.values()} - {*FULL})


def read_header(path: Path) -> GgufHeader:
    """The header of a file, which is read once as long as nobody changes it.

    Raises:
        InputError: it is no GGUF file, is damaged or cut short, or holds tensors of a type that cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a GGUF file that can.") from None
    return _read(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, size: int, changed: int) -> GgufHeader:
    from gguf import GGUFReader
    from gguf.constants import GGMLQuantizationType

    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a GGUF file that can.") from None
    if magic != b"GGUF":
        raise InputError(f"{path} ends in .gguf and is no GGUF file; give one, or the folder of a Hugging Face checkpoint.")
    try:
        reader = GGUFReader(path)
    except Exception as error:  # its parts are cut out of the file as they come, and fail by errors of every kind
        raise InputError(f"{path} {_unreadable(error, GGMLQuantizationType)}.") from None
    return GgufHeader(
        path,
        {key: field.contents() for key, field in reader.fields.items()},
        {
            tensor.name: HeldTensor(tuple(int(length) for length in reversed(tensor.shape)), tensor.tensor_type.name)
            for tensor in reader.tensors
        },
    )


def _unreadable(error: Exception, kinds: type) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    unknown = re.search(rf"(\d+)\)? is not a valid {kinds.__name__}", said)
    if unknown:
        return f"holds tensors of quantisation type {unknown[1]}, which is unknown here; give it in another"
    return f"is damaged or cut short ({said}); get the whole file"


def check_header(header: GgufHeader) -> None:
    """What can be told of a file before torch is imported.

    Raises:
        InputError: a part of a model, an architecture or quantisation that cannot be read, layers of different widths, a key
            that changes the function and is not read, or a tokenizer that is missing or larger than the vocabulary.
    """
    for wrong in (_pieces, _architecture, _quantisation, _widths, _unread, _tokenizer):
        said = wrong(header)
        if said:
            raise InputError(f"{header.path} {said}.")


def _pieces(header: GgufHeader) -> str:
    count = int(header.fields.get("split.count", 1))
    return f"is one of {count} pieces (split.count); merge them with gguf-split and give the result" if count > 1 else ""


def _architecture(header: GgufHeader) -> str:
    if header.architecture in ARCHITECTURES_IN_FILES:
        return ""
    readable = ", ".join(sorted(ARCHITECTURES_IN_FILES))
    if not header.architecture:
        return f"names no general.architecture; give a file of {readable} that names it"
    return (
        f"is a {header.architecture!r} model, an architecture that cannot be read from a GGUF file here; those that can are "
        f"{readable}"
    )


def _quantisation(header: GgufHeader) -> str:
    import numpy as np
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    for name in sorted({tensor.kind for tensor in header.tensors.values()}):
        kind = GGMLQuantizationType[name]
        try:
            dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8), kind)
        except NotImplementedError:
            tensor = next(key for key, held in header.tensors.items() if held.kind == name)
            return f"holds tensors of quantisation type {name}, such as {tensor}, which cannot be read; give it in another"
    return ""


def _widths(header: GgufHeader) -> str:
    said = header.of_architecture().get("feed_forward_length")
    widths = said if isinstance(said, list) else [said] * int(header.of_architecture().get("block_count", 0))
    held = [header.tensors.get(f"blk.{layer}.ffn_down.weight") for layer in range(len(widths))]
    found = [width if tensor is None else tensor.shape[-1] for width, tensor in zip(widths, held, strict=True)]
    if len({*widths}) > 1:
        found = widths
    other = next((layer for layer, width in enumerate(found) if width != found[0]), None)
    if other is None:
        return ""
    return (
        f"has {found[0]} neurons in layer 0 and {found[other]} in layer {other} (d_mlp), and a model here has as many in every "
        "layer; give one that has"
    )


def _unread(header: GgufHeader) -> str:
    unread = sorted(header.of_architecture().keys() - SAID.keys() - {ROTARY_BASE})
    if not unread:
        return ""
    return f"says {header.architecture}.{unread[0]}, which changes what the model computes and is not read; give another model"


def _tokenizer(header: GgufHeader) -> str:
    if not header.tokens:
        return "has no tokenizer (tokenizer.ggml.tokens); give a file that has the tokenizer that the model was trained with"
    embedded = header.tensors.get("token_embd.weight")
    if embedded is not None and len(header.tokens) > embedded.shape[0]:
        return (
            f"has a tokenizer of ids up to {len(header.tokens) - 1} and embeds {embedded.shape[0]}; use the tokenizer that the "
            "model was trained with"
        )
    return ""
