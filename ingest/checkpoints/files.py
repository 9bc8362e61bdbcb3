"""A checkpoint's tokenizer and weights, read whole or refused: nothing of a file is dropped without a word."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import cached_file

from catalog.errors import InputError
from ingest.checkpoints.arguments import ModelSource
from ingest.checkpoints.first_looks import check_pieces, refuse_code
from ingest.checkpoints.gguf_file import read_header
from ingest.checkpoints.gguf_model import left_over, read_tokenizer
from ingest.checkpoints.libraries import load
from ingest.checkpoints.tokenizer_config import keep_statements

HARMLESS = re.compile(r"\.(attn|attention)\.(bias|masked_bias)$|\.rotary_emb\.inv_freq$")
"""Tensors that old checkpoints carry and models no longer take: causal masks, and frequencies that follow from the config."""

IGNORED = "_keys_to_ignore_on_load_unexpected"
"""Where the library lists tensors that it does not report."""


def load_tokenizer(source: ModelSource, d_vocab: int) -> Any:
    """The model's tokenizer.

    Raises:
        InputError: there is none (the library would make up an empty one), or it gives ids that the model does not embed.
    """
    if source.file is not None:
        return _within(source, load(source, "tokenizer", lambda *_, **__: read_tokenizer(read_header(source.file))), d_vocab)
    refuse_code(source, "tokenizer_config.json", load(source, "tokenizer", get_tokenizer_config).get("auto_map"))
    tokenizer = load(source, "tokenizer", AutoTokenizer.from_pretrained)
    if _pads_by_chance(source, tokenizer):
        tokenizer = load(source, "tokenizer", AutoTokenizer.from_pretrained, pad_token=None)
    keep_statements(tokenizer, load(source, "tokenizer", get_tokenizer_config))
    return _within(source, tokenizer, d_vocab)


def _within(source: ModelSource, tokenizer: Any, d_vocab: int) -> Any:
    """The tokenizer, if it has tokens, and the model embeds them all."""
    ids = set(tokenizer.get_vocab().values())
    if ids <= set(tokenizer.all_special_ids):
        raise InputError(f"{source.location} has no tokenizer; put the tokenizer files that the model was trained with there.")
    if max(ids) >= d_vocab:
        raise InputError(
            f"the tokenizer of {source.location} has ids up to {max(ids)} and the model embeds {d_vocab}; use the tokenizer "
            "that the model was trained with."
        )
    return tokenizer


def _pads_by_chance(source: ModelSource, tokenizer: Any) -> bool:
    """Whether its PAD is only what a padding that was on in tokenizer.json filled up with, which is no token of the model."""
    padding = getattr(getattr(tokenizer, "backend_tokenizer", None), "padding", None)
    if padding is None or padding["pad_token"] != tokenizer.pad_token:
        return False
    return not load(source, "tokenizer", get_tokenizer_config).get("pad_token")


def load_model(source: ModelSource, config: Any) -> Any:
    """The raw model in fp32, whatever dtype it was saved in and its configuration names.

    Raises:
        InputError: parameters are missing or of another shape, which the library would fill with random numbers; tensors
            of the file have no place in the model; an adapter lies beside it; or the model cannot be run.
    """
    refuse_adapter(source)
    if source.is_local and source.file is None:
        check_pieces(source)
    model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    # fused attention knows no cap of scores
    fused = model_class._supports_sdpa and not getattr(config, "attn_logit_softcapping", None)
    attention = "sdpa" if fused else "eager"
    options = {"config": config, "dtype": torch.float32, "attn_implementation": attention, "output_loading_info": True}
    options |= source.in_folder
    with _all_told(config):
        model, report = load(source, "weights", AutoModelForCausalLM.from_pretrained, **options)
    absent = sorted(report["missing_keys"]) + sorted(str(key[0]) for key in report["mismatched_keys"])
    if absent:
        raise InputError(
            f"the weights of {source.location} lack {absent[0]} ({len(absent)} tensors in all are missing); give a complete "
            "Hugging Face checkpoint."
        )
    refuse_left_over(source, report["unexpected_keys"])
    if source.file is not None:
        refuse_left_over(source, left_over(read_header(source.file), model))
    load(source, "model", lambda *_, **__: _try(model))
    return model


@torch.inference_mode()
def _try(model: Any) -> None:
    """A pass over two tokens: what a configuration makes impossible is told before anything is computed."""
    model.eval()(torch.zeros(1, 2, dtype=torch.long), use_cache=False)


@contextmanager
def _all_told(config: Any) -> Iterator[None]:
    """The library reports every tensor that it leaves out; its own patterns for harmless ones meet real biases as well."""
    model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    owner = next(kind for kind in model_class.__mro__ if IGNORED in vars(kind))
    before = getattr(owner, IGNORED)
    setattr(owner, IGNORED, None)
    try:
        yield
    finally:
        setattr(owner, IGNORED, before)


def refuse_left_over(source: ModelSource, names: Collection[str]) -> None:
    """Raises:
    InputError: tensors of the file, apart from known buffers, that the model has no place for.
    """
    left = sorted(name for name in names if not HARMLESS.search(name))
    if left:
        raise InputError(
            f"the weights of {source.location} hold {len(left)} tensors that config.json has no place for, such as {left[0]}, "
            "so another model would be computed; correct config.json (its number of layers, biases, adapters), or give the "
            "whole model."
        )


def refuse_adapter(source: ModelSource) -> None:
    """Raises:
    InputError: an adapter (LoRA) lies beside the base model, which would be left out.
    """
    name = "adapter_config.json"
    adapter = load(
        source,
        "adapter",
        lambda location, **options: cached_file(location, name, _raise_exceptions_for_missing_entries=False, **options),
    )
    if adapter is not None:
        raise InputError(
            f"{source.location} has an adapter beside the model ({name}), which would be left out; merge it into the weights "
            "(peft: merge_and_unload) and give the folder of the result."
        )
