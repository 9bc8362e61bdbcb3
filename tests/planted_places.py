"""A small real GPT-2 of one layer whose neurons depend on the position, on BOS, on the subset of the corpus, or on nothing.

Attention does nothing. Token embeddings have norm 1: along `bos` for BOS, along `subset` for the words of one subset, else in
random directions; two directions hold step functions of the position. A planted neuron reads one direction.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from tests.factories import UNUSED_IDS, byte_bpe_tokenizer, permuted_copy, save_checkpoint, write_jsonl

D_MODEL, D_MLP, CONTEXT = 128, 60, 64
CODE, PROSE = "code", "prose"
STEP = 0.7
"""Height of the step functions; the layer norm multiplies it by about 8."""
ROLES = ("bos", "subset", "often", "once")
HIGH_OFTEN = ((1, 16), (33, 48))
HIGH_ONCE = ((1, 32),)
"""Positions at which the step functions are high."""


@dataclass(frozen=True)
class PlacesFamily:
    """Folders of the two models and their corpus, and the labels of planted neurons of 'a' by index."""

    a: Path
    b: Path
    corpus: Path
    labels: dict[int, tuple[str, str]]
    of_words: int
    """Index of the neuron of 'a' that is active on the words of the subset `code`, which are in no other: it has no label."""
    permutation: np.ndarray
    """(1, d_mlp): neuron n of 'b' is neuron permutation[0, n] of 'a'."""


WORDS_EACH, DOCUMENTS = 1500, {PROSE: 15, CODE: 30}
"""Of each subset: more than 1,000 rows in all, and so little prose that one process annotates it."""


def places_family(folder: Path, seed: int = 0) -> PlacesFamily:
    """Write both models and the corpus, of two subsets with words of their own, below `folder`."""
    generator = np.random.default_rng(seed)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = sorted({"".join(generator.choice(letters, 4)) for _ in range(620)})
    generator.shuffle(words)
    vocabulary = {PROSE: words[:300], CODE: words[300:600]}
    tokenizer = byte_bpe_tokenizer(texts=["a"], vocab_size=300, whole_tokens=[f" {w}" for v in vocabulary.values() for w in v])
    rows = [
        {"text": "".join(f" {word}" for word in generator.choice(vocabulary[subset], WORDS_EACH)), "subset": subset}
        for subset, documents in DOCUMENTS.items()
        for _ in range(documents)
    ]
    code = [tokenizer.encode(f" {word}", add_special_tokens=False)[0] for word in vocabulary[CODE]]
    model, labels, of_words = _model(seed, len(tokenizer), tokenizer.bos_token_id, code)
    save_checkpoint(model, tokenizer, folder / "places-a")
    permutation = permuted_copy(folder / "places-a", folder / "places-b", seed + 1)
    return PlacesFamily(
        folder / "places-a", folder / "places-b", write_jsonl(folder / "corpus.jsonl", rows), labels, of_words, permutation
    )


def _model(seed: int, n_tokens: int, bos: int, code: list[int]) -> tuple[GPT2LMHeadModel, dict[int, tuple[str, str]], int]:
    generator = torch.Generator().manual_seed(seed)
    start = torch.cat([torch.ones(D_MODEL, 1), torch.randn(D_MODEL, D_MODEL - 1, generator=generator)], dim=1)
    basis = torch.linalg.qr(start)[0].T[1:]
    roles = dict(zip(ROLES, basis, strict=False))
    config = GPT2Config(
        n_layer=1, n_embd=D_MODEL, n_inner=D_MLP, n_head=4, n_positions=CONTEXT, vocab_size=n_tokens + UNUSED_IDS,
        bos_token_id=bos, eos_token_id=bos,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        block = model.transformer.h[0]
        block.attn.c_proj.weight.zero_()
        block.attn.c_proj.bias.zero_()
        model.transformer.wte.weight.copy_(_tokens(n_tokens + UNUSED_IDS, bos, code, roles, basis[len(ROLES) :], generator))
        model.transformer.wpe.weight.copy_(_positions(roles))
        labels, of_words = _neurons(model, roles, generator)
        block.ln_2.weight.copy_(torch.exp(0.3 * torch.randn(D_MODEL, generator=generator)))
        block.ln_2.bias.copy_(0.2 * torch.randn(D_MODEL, generator=generator))
        block.mlp.c_fc.weight.div_(block.ln_2.weight[:, None])
        block.mlp.c_fc.bias.sub_(block.ln_2.bias @ block.mlp.c_fc.weight)
    return model, labels, of_words


def _tokens(n: int, bos: int, code: list[int], roles: dict[str, Tensor], free: Tensor, generator: torch.Generator) -> Tensor:
    along = torch.zeros(n, 2)
    along[bos, 0] = along[code, 1] = STEP
    own = torch.randn(n, len(free), generator=generator)
    own = own / own.norm(dim=1, keepdim=True) * (1 - along.square().sum(1, keepdim=True)).sqrt()
    return along @ torch.stack([roles["bos"], roles["subset"]]) + own @ free


def _positions(roles: dict[str, Tensor]) -> Tensor:
    made = torch.zeros(CONTEXT, D_MODEL)
    for name, spans in (("often", HIGH_OFTEN), ("once", HIGH_ONCE)):
        step = torch.full((CONTEXT,), -STEP)
        for first, last in spans:
            step[first : last + 1] = STEP
        made += step[:, None] * roles[name]
    return made


def _neurons(
    model: GPT2LMHeadModel, roles: dict[str, Tensor], generator: torch.Generator
) -> tuple[dict[int, tuple[str, str]], int]:
    """Five planted neurons; of the others half are constant, and half dense in directions without a role."""
    mlp = model.transformer.h[0].mlp
    order = torch.randperm(D_MLP, generator=generator).tolist()
    known = torch.stack(list(roles.values()))

    def dense() -> Tensor:
        made = torch.randn(D_MODEL, generator=generator) / D_MODEL**0.5
        return made - known.T @ (known @ made)

    wanted = (
        (roles["often"], 0.0, ("position", "oscillatory")),
        (roles["once"], 0.0, ("position", "both_extremes")),
        # a little noise makes it active on other tokens, too: without that it would be dead where BOS does not count
        (roles["bos"] + 0.2 * dense(), 0.0, ("bos", "bos")),
        # it follows words that occur in one subset alone, which says nothing of the kind of text
        (roles["subset"], -1.0, None),
        (torch.zeros(D_MODEL), -1.0, ("dead", "provisional")),
    )
    for number, index in enumerate(order):
        if number < len(wanted):
            w_in, b_in, _ = wanted[number]
        elif number % 2:
            w_in, b_in = torch.zeros(D_MODEL), 1.0
        else:
            w_in, b_in = dense(), 0.3 * float(torch.randn(1, generator=generator))
        mlp.c_fc.weight[:, index] = w_in
        mlp.c_fc.bias[index] = b_in
        mlp.c_proj.weight[index] = 0.1 * torch.randn(D_MODEL, generator=generator) / D_MODEL**0.5
    labels = {order[number]: label for number, (_, _, label) in enumerate(wanted) if label is not None}
    (of_words,) = (order[number] for number, (_, _, label) in enumerate(wanted) if label is None)
    return labels, of_words
