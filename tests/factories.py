"""Tiny checkpoints, tokenizers and corpora, made on the spot; planted models are in tests/planted.py.

Every parameter is random, layer-norm gains and every bias included: the usual initialisation (gains 1, biases 0) would
let a wrong folding of layer norms pass. d_mlp is not 4 * d_model, and models embed more ids than their tokenizer has.
"""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

END_OF_TEXT = "<|endoftext|>"
UNUSED_IDS = 7
"""Ids that the model embeds and the tokenizer does not know."""
WORDS = (
    "the of and to in on that it was for as with his they at be this from have or by one had not but what all were when we "
    "there can an your which their said if do will each about how up out them then she many some so these would other into "
    "has more her two like him see time could no make than first been its who now people my made over did down only way find"
).split()


def random_texts(n_documents: int = 60, seed: int = 0, words_each: int = 60) -> list[str]:
    """Documents of common words, a few numbers, lines and marks."""
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(WORDS) + 1)
    texts = []
    for _ in range(n_documents):
        words = generator.choice(WORDS, size=words_each, p=weights / weights.sum()).tolist()
        words = [str(generator.integers(100)) if generator.random() < 0.05 else word for word in words]
        words = [word.capitalize() if generator.random() < 0.1 else word for word in words]
        ends = generator.choice([" ", " ", " ", " ", ", ", ".\n"], size=words_each).tolist()
        texts.append("".join(word + end for word, end in zip(words, ends, strict=True)))
    return texts


def byte_bpe_tokenizer(
    folder: Path | None = None,
    texts: Iterable[str] | None = None,
    vocab_size: int = 400,
    whole_tokens: Sequence[str] = (),
    **special_tokens: str | None,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained here; end-of-text is id 0 and serves as BOS and EOS.

    Args:
        folder: where to save it, if anywhere.
        whole_tokens: texts that must be one token each, such as " x".
        special_tokens: `bos_token`, `eos_token` or `pad_token`; None leaves one out.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    named = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT} | special_tokens
    written = list(dict.fromkeys([END_OF_TEXT, *(token for token in named.values() if token)]))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=written,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(list(texts) if texts is not None else random_texts(), trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=_with_whole_tokens(tokenizer, whole_tokens),
        **{name: token for name, token in named.items() if token},
    )
    if folder is not None:
        wrapped.save_pretrained(folder)
    return wrapped


def _with_whole_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokenizer:
    """The tokenizer with merges of lowest priority added, so that each text is one token."""
    for text in texts:
        content = json.loads(tokenizer.to_str())
        pieces = tokenizer.encode(text, add_special_tokens=False).tokens
        for end in range(1, len(pieces)):
            content["model"]["merges"].append(["".join(pieces[:end]), pieces[end]])
            content["model"]["vocab"].setdefault("".join(pieces[: end + 1]), len(content["model"]["vocab"]))
        tokenizer = Tokenizer.from_str(json.dumps(content))
    return tokenizer


def tiny_gpt2(
    folder: Path,
    seed: int = 0,
    tokenizer: PreTrainedTokenizerFast | None = None,
    n_layers: int = 2,
    d_model: int = 16,
    d_mlp: int = 24,
    n_heads: int = 2,
    n_ctx: int = 32,
    activation: str = "gelu_new",
    **config: Any,
) -> Path:
    """A random GPT-2 in `folder`; `config` goes to GPT2Config (scale_attn_by_inverse_layer_idx, …)."""
    tokenizer = tokenizer or byte_bpe_tokenizer()
    return _save(
        folder,
        seed,
        tokenizer,
        GPT2LMHeadModel,
        GPT2Config(
            n_layer=n_layers,
            n_embd=d_model,
            n_inner=d_mlp,
            n_head=n_heads,
            n_positions=n_ctx,
            activation_function=activation,
            vocab_size=len(tokenizer) + UNUSED_IDS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **config,
        ),
    )


def tiny_neox(
    folder: Path,
    seed: int = 0,
    tokenizer: PreTrainedTokenizerFast | None = None,
    n_layers: int = 2,
    d_model: int = 16,
    d_mlp: int = 24,
    n_heads: int = 2,
    n_ctx: int = 32,
    activation: str = "gelu",
    **config: Any,
) -> Path:
    """A random GPT-NeoX as Pythia's: parallel attention, rotary positions, untied unembedding, erf GELU."""
    tokenizer = tokenizer or byte_bpe_tokenizer()
    settings = {"use_parallel_residual": True, "tie_word_embeddings": False} | config
    return _save(
        folder,
        seed,
        tokenizer,
        GPTNeoXForCausalLM,
        GPTNeoXConfig(
            num_hidden_layers=n_layers,
            hidden_size=d_model,
            intermediate_size=d_mlp,
            num_attention_heads=n_heads,
            max_position_embeddings=n_ctx,
            hidden_act=activation,
            vocab_size=len(tokenizer) + UNUSED_IDS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **settings,
        ),
    )


def tiny_opt(
    folder: Path,
    seed: int = 0,
    tokenizer: PreTrainedTokenizerFast | None = None,
    n_layers: int = 2,
    d_model: int = 16,
    d_mlp: int = 24,
    n_heads: int = 2,
    n_ctx: int = 32,
    activation: str = "relu",
    **config: Any,
) -> Path:
    """A random OPT with pre-layer-norm; do_layer_norm_before=False or word_embed_proj_dim=… make an opt-350m."""
    tokenizer = tokenizer or byte_bpe_tokenizer()
    settings = {"word_embed_proj_dim": d_model} | config
    return _save(
        folder,
        seed,
        tokenizer,
        OPTForCausalLM,
        OPTConfig(
            num_hidden_layers=n_layers,
            hidden_size=d_model,
            ffn_dim=d_mlp,
            num_attention_heads=n_heads,
            max_position_embeddings=n_ctx,
            activation_function=activation,
            vocab_size=len(tokenizer) + UNUSED_IDS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=None,
            **settings,
        ),
    )


def _save(folder: Path, seed: int, tokenizer: PreTrainedTokenizerFast, model_class: Any, config: Any) -> Path:
    model = model_class(config).eval()
    randomise(model, seed)
    save_checkpoint(model, tokenizer, folder)
    return folder


@torch.no_grad()
def randomise(model: nn.Module, seed: int) -> None:
    """Every parameter random: gains about 1, biases about 0, matrices with unit-sized outputs."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.copy_(noise / parameter.shape[-1] ** 0.5)
        elif name.endswith("bias"):
            parameter.copy_(0.3 * noise)
        else:
            parameter.copy_(1 + 0.3 * noise)


def save_checkpoint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast | None, folder: Path) -> None:
    """Write model and tokenizer as a Hugging Face folder, without progress bars."""
    transformers_logging.disable_progress_bar()
    try:
        model.save_pretrained(folder)
    finally:
        transformers_logging.enable_progress_bar()
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def load_raw(folder: Path) -> PreTrainedModel:
    """The Hugging Face model of a folder, as it is."""
    transformers_logging.disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    finally:
        transformers_logging.enable_progress_bar()


@torch.no_grad()
def permuted_copy(folder: Path, copy: Path, seed: int) -> np.ndarray:
    """Save the model with the neurons of each layer permuted; the tokenizer goes along.

    Returns:
        (layers, d_mlp) int64: neuron n of the copy is neuron result[layer, n] of the original.
    """
    generator = np.random.default_rng(seed)
    model = load_raw(folder)
    permutations = []
    for w_in, b_in, w_out in mlp_parameters(model):
        order = generator.permutation(len(b_in))
        permutations.append(order)
        for parameter, dimension in ((w_in, 1), (b_in, 0), (w_out, 0)):
            parameter.copy_(parameter.clone().index_select(dimension, torch.from_numpy(order)))
    save_checkpoint(model, PreTrainedTokenizerFast.from_pretrained(folder), copy)
    return np.stack(permutations)


def mlp_parameters(model: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Views (W_in (d_model, d_mlp), b_in (d_mlp,), W_out (d_mlp, d_model)) of each layer's parameters."""
    name = model.config.model_type  # type: ignore[union-attr]
    if name == "gpt2":
        mlps = [block.mlp for block in model.transformer.h]  # type: ignore[union-attr]
        return [(mlp.c_fc.weight, mlp.c_fc.bias, mlp.c_proj.weight) for mlp in mlps]
    if name == "gpt_neox":
        mlps = [block.mlp for block in model.gpt_neox.layers]  # type: ignore[union-attr]
        return [(mlp.dense_h_to_4h.weight.T, mlp.dense_h_to_4h.bias, mlp.dense_4h_to_h.weight.T) for mlp in mlps]
    blocks = model.model.decoder.layers  # type: ignore[union-attr]
    return [(block.fc1.weight.T, block.fc1.bias, block.fc2.weight.T) for block in blocks]


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any] | str]) -> Path:
    """One JSON object per line (a string stands for {"text": string}); compressed where the name ends in .gz."""
    objects = [{"text": row} if isinstance(row, str) else dict(row) for row in rows]
    content = "".join(json.dumps(row) + "\n" for row in objects).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path
