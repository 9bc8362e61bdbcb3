"""A small real GPT-2 with neurons of a kind of text, and one of a word that is frequent in it; see `tests.planted`.

Both subsets are made of the same common words in random order; in the first, every sixth word is one of some that mark it, and
every fourth is the frequent one. A head that looks at all earlier positions alike tells how many marks there were, so that what
reads it answers to the kind of text whatever the token is.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor

from tests.factories import byte_bpe_tokenizer, write_jsonl
from tests.planted import D_HEAD, D_MODEL, Builder, PlantedFamily, PlantedNeuron
from tests.planted_texts import COMMON, IN_CLASS, forms

MARKS = "harbour vessel anchor sailor captain island".split()
FREQUENT = "would"
SUBSETS = ("first", "second", "third")
"""Marks and the frequent word are those of the first; two others, so that none is just the rest of another."""
SHARES = {"first": {"mark": 0.17, "frequent": 0.25}, "second": {"frequent": 0.03}, "third": {"frequent": 0.03}}
FULL = 0.12
"""Marks among earlier tokens at which the sum of the head is taken for one."""


def context_texts(n_documents: int = 180, seed: int = 0, words_each: int = 150) -> list[str]:
    """Words in random order, a document of each subset in turn."""
    generator = np.random.default_rng(seed)

    def words(shares: dict[str, float]) -> str:
        kinds = {**shares, "common": 1 - sum(shares.values())}
        chosen = generator.choice(list(kinds), size=words_each, p=list(kinds.values()))
        lists = {"mark": MARKS, "frequent": [FREQUENT], "common": COMMON}
        return " ".join(lists[str(kind)][generator.integers(len(lists[str(kind)]))] for kind in chosen)

    return [words(SHARES[SUBSETS[i % len(SUBSETS)]]) for i in range(n_documents)]


def planted_contexts(folder: Path, seed: int = 0) -> PlantedFamily:
    """Write the model, a copy of it with permuted neurons, and the corpus below `folder`."""
    whole = sorted({form for word in (*MARKS, FREQUENT, *COMMON) for form in forms(word)})
    tokenizer = byte_bpe_tokenizer(texts=["a"], vocab_size=300, whole_tokens=whole)

    def ids(words: list[str]) -> list[int]:
        return [tokenizer.encode(form, add_special_tokens=False)[0] for word in words for form in forms(word)]

    texts = context_texts(seed=seed)
    family = _ContextBuilder(seed, tokenizer, {"mark": ids(MARKS), "frequent": ids([FREQUENT])}, texts).write(folder)
    rows = [{"text": text, "subset": SUBSETS[i % len(SUBSETS)]} for i, text in enumerate(texts)]
    write_jsonl(family.corpus, rows)
    return family


class _ContextBuilder(Builder):
    """A neuron that is active in a kind of text, one that is silent there, and one of a word that is frequent there."""

    roles = ("mark", "frequent")
    copied: ClassVar = {"mark": 0}

    def _write_heads(self) -> None:
        attention = self.model.transformer.h[0].attn
        query, key, value = attention.c_attn.weight.split(D_MODEL, dim=1)
        own = slice(0, D_HEAD)
        # without queries and keys all earlier positions weigh alike
        query[:, own] = key[:, own] = value[:, own] = 0
        value[:, 0] = self.directions["mark"] / (8 * IN_CLASS * FULL)
        attention.c_proj.weight[own] = 0
        attention.c_proj.weight[0] = self.directions["after mark"]

    def plant(self, places: list[list[int]]) -> tuple[PlantedNeuron, ...]:
        wanted: tuple[tuple[int, Tensor, float, tuple[tuple[str, str], ...], str], ...] = (
            (1, self.directions["after mark"], -2.0, (("context", "first"),), "mark"),
            (1, -self.directions["after mark"], 2.0, (("context_off", "first"),), "mark"),
            (0, self.directions["frequent"], -1.0, (("unigram", FREQUENT), ("token_detector", FREQUENT)), "frequent"),
        )
        planted = []
        for layer, direction, bias, labels, ids in wanted:
            (family, subtype), *also = labels
            index = places[layer].pop()
            planted.append(PlantedNeuron(layer, index, family, subtype, tuple(self.classes[ids]), tuple(also)))
            self.set_neuron(layer, index, direction + 0.01 * self._random(D_MODEL), bias)
        return tuple(planted)
