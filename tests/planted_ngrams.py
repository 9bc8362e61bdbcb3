"""A small real GPT-2 with a neuron that detects a token in two spellings, and one that detects a trigram; see `tests.planted`.

Two heads of layer 0 look one and two positions back, and copy the directions of the trigram's second and first word into
directions of their own. The trigram's neuron needs both and the third word: two of the three leave it about 2 below 0.
The token's neuron writes against the unembedding of its token, the trigram's neuron along that of its last word.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.factories import byte_bpe_tokenizer, permuted_copy, save_checkpoint, write_jsonl
from tests.planted import (
    COMMON,
    CONTEXT,
    D_HEAD,
    D_MLP,
    D_MODEL,
    IN_CLASS,
    N_LAYERS,
    PlantedFamily,
    PlantedNeuron,
    _Builder,
    _forms,
)

TRIGGER = "cat"
TRIGRAM = ("big", "red", "dog")
ROLES = ("trigger", "first", "second", "third")
COPIED = {"second": 1, "first": 2}
"""Words that heads copy, and from how many positions back."""


def ngram_texts(n_documents: int, seed: int) -> list[str]:
    """Words in random order: common ones, the trigger in both spellings, the trigram, and every part of it alone."""
    generator = np.random.default_rng(seed)
    parts = {"big red dog": 0.05, "red dog": 0.03, "big dog": 0.03, "big red": 0.03, "dog": 0.04, "big": 0.03, "red": 0.03}
    kinds = {**parts, TRIGGER: 0.06, TRIGGER.capitalize(): 0.04}
    common = {word: (1 - sum(kinds.values())) / len(COMMON) for word in COMMON}
    words, shares = zip(*{**kinds, **common}.items(), strict=True)
    return ["".join(f" {word}" for word in generator.choice(words, 130, p=shares)) for _ in range(n_documents)]


def planted_ngrams(folder: Path, seed: int = 0, n_documents: int = 150) -> PlantedFamily:
    """Write the model, a copy of it with permuted neurons, and the corpus below `folder`."""
    texts = ngram_texts(n_documents, seed)
    forms = [form for word in (TRIGGER, *TRIGRAM) for form in _forms(word)]
    tokenizer = byte_bpe_tokenizer(texts=texts, vocab_size=420, whole_tokens=forms)
    ids = {name: tokenizer.convert_tokens_to_ids([f"Ġ{word}"]) for name, word in zip(ROLES[1:], TRIGRAM, strict=True)}
    ids["trigger"] = tokenizer.convert_tokens_to_ids([f"Ġ{TRIGGER}", f"Ġ{TRIGGER.capitalize()}"])
    builder = _NgramBuilder(seed, tokenizer, ids)
    save_checkpoint(builder.model, tokenizer, folder / "planted-a")
    return PlantedFamily(
        a=folder / "planted-a",
        b=folder / "planted-b",
        corpus=write_jsonl(folder / "corpus.jsonl", texts),
        tokenizer=tokenizer,
        neurons=builder.planted,
        constant=builder.constant,
        permutation=permuted_copy(folder / "planted-a", folder / "planted-b", seed + 1),
    )


class _NgramBuilder(_Builder):
    """Other directions, heads and neurons."""

    def _directions(self) -> dict[str, Tensor]:
        start = torch.cat([torch.ones(D_MODEL, 1), self._random(D_MODEL, D_MODEL - 1)], dim=1)
        basis = torch.linalg.qr(start)[0].T[1:]
        named = {name: basis[D_HEAD + i] for i, name in enumerate((*ROLES, *(f"after {name}" for name in COPIED)))}
        return {"position": basis[:D_HEAD], "token": basis[D_HEAD + len(named) :], **named}

    def _write_embeddings(self) -> None:
        n = self.model.config.vocab_size
        along = torch.zeros(n, len(ROLES))
        for column, name in enumerate(ROLES):
            along[self.classes[name], column] = IN_CLASS
        own = self._random(n, len(self.directions["token"]))
        own = own / own.norm(dim=1, keepdim=True) * (1 - along.square().sum(1, keepdim=True)).sqrt()
        embeddings = along @ torch.stack([self.directions[name] for name in ROLES]) + own @ self.directions["token"]
        self.model.transformer.wte.weight.copy_(embeddings + 0.1 * self._random(n, 1))
        self.model.transformer.wpe.weight.copy_(self._waves() @ self.directions["position"] + 0.1 * self._random(CONTEXT, 1))

    def _write_previous_position_head(self) -> None:
        attention = self.model.transformer.h[0].attn
        cos, sin = self._frequencies().cos().diag(), self._frequencies().sin().diag()
        one_back = torch.cat([torch.cat([cos, -sin], dim=1), torch.cat([sin, cos], dim=1)])
        query, key, value = attention.c_attn.weight.split(D_MODEL, dim=1)
        for head, (name, back) in enumerate(COPIED.items()):
            own = slice(head * D_HEAD, (head + 1) * D_HEAD)
            query[:, own] = 1.2 * self.directions["position"].T @ torch.linalg.matrix_power(one_back, back)
            key[:, own] = 1.2 * self.directions["position"].T
            value[:, own] = 0
            value[:, own.start] = self.directions[name] / (8 * IN_CLASS)
            attention.c_proj.weight[own] = 0
            attention.c_proj.weight[own.start] = self.directions[f"after {name}"]

    def _write_neurons(self) -> None:
        roles = {name: direction for name, direction in self.directions.items() if direction.ndim == 1}
        trigram = 1.5 * roles["third"] + sum(roles[f"after {name}"] for name in COPIED)
        places = [torch.randperm(D_MLP, generator=self.generator).tolist() for _ in range(N_LAYERS)]
        planted = (
            PlantedNeuron(0, places[0].pop(), "token_detector", TRIGGER, tuple(self.classes["trigger"])),
            PlantedNeuron(0, places[0].pop(), "ngram_detector", "trigram", tuple(self.classes["third"])),
        )
        written = (roles["trigger"], -1.0, -0.5 * roles["trigger"]), (trigram, -14.3, 0.5 * roles["third"])
        for neuron, (w_in, b_in, w_out) in zip(planted, written, strict=True):
            self._set(neuron.layer, neuron.index, w_in + 0.01 * self._random(D_MODEL), b_in)
            self.model.transformer.h[neuron.layer].mlp.c_proj.weight[neuron.index] = w_out
        self.planted = planted
        others = [(layer, index, number % 2 == 0) for layer, left in enumerate(places) for number, index in enumerate(left)]
        self.constant = tuple((layer, index) for layer, index, constant in others if constant)
        basis = torch.stack(list(roles.values()))
        for layer, index, constant in others:
            dense = self._random(D_MODEL) / D_MODEL**0.5
            dense = dense - basis.T @ (basis @ dense)
            bias = 0.3 * float(self._random(1))
            self._set(layer, index, *((torch.zeros(D_MODEL), 1.0) if constant else (dense, bias)))
