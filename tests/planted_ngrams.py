"""A small real GPT-2 with a neuron that detects a token in two spellings, and one that detects a trigram; see `tests.planted`.

Two heads of layer 0 look one and two positions back, and copy the directions of the trigram's second and first word into
directions of their own. The trigram's neuron needs both and the third word: two of the three leave it about 2 below 0.
The token's neuron writes against the unembedding of its token, the trigram's neuron along that of its last word: that
suppresses and predicts a token or two, of which the initial is the best name. The former has smaller weights than fillers, for
a neuron that writes much and moves hardly any token is a candidate for an entropy neuron, and held on would be one.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from tests.factories import byte_bpe_tokenizer
from tests.planted import D_MODEL, Builder, PlantedFamily, PlantedNeuron
from tests.planted_texts import forms

TRIGGER = "cat"
TRIGRAM = ("big", "red", "dog")
ROLES = ("trigger", "first", "second", "third")


def common_words(seed: int, n: int = 200) -> list[str]:
    """Words of four random letters: so many that no token among them, nor what a parser takes them for, stands out."""
    generator = np.random.default_rng(seed)
    return sorted({"".join(generator.choice(list("abcdefghijklmnopqrstuvwxyz"), 4)) for _ in range(n)})


def ngram_texts(common: list[str], n_documents: int, seed: int) -> list[str]:
    """Words in random order: common ones, the trigger in both spellings, the trigram, and every part of it alone.

    The parts are so frequent that none of them, here or one position back, says much about the trigram.
    """
    parts = {"big red dog": 0.03, "red dog": 0.04, "big dog": 0.04, "big red": 0.04, "dog": 0.1, "big": 0.05, "red": 0.1}
    kinds = {**parts, TRIGGER: 0.06, TRIGGER.capitalize(): 0.04}
    shares = [*kinds.values(), *[(1 - sum(kinds.values())) / len(common)] * len(common)]
    generator = np.random.default_rng(seed)
    return ["".join(f" {word}" for word in generator.choice([*kinds, *common], 130, p=shares)) for _ in range(n_documents)]


def planted_ngrams(folder: Path, seed: int = 0, n_documents: int = 210) -> PlantedFamily:
    """Write the model, a copy of it with permuted neurons, and the corpus below `folder`."""
    common = common_words(seed)
    whole = [form for word in (TRIGGER, *TRIGRAM) for form in forms(word)] + [f" {word}" for word in common]
    tokenizer = byte_bpe_tokenizer(texts=["a"], vocab_size=300, whole_tokens=whole)
    ids = {name: tokenizer.convert_tokens_to_ids([f"Ġ{word}"]) for name, word in zip(ROLES[1:], TRIGRAM, strict=True)}
    ids["trigger"] = tokenizer.convert_tokens_to_ids([f"Ġ{TRIGGER}", f"Ġ{TRIGGER.capitalize()}"])
    return _NgramBuilder(seed, tokenizer, ids, ngram_texts(common, n_documents, seed)).write(folder)


class _NgramBuilder(Builder):
    """A neuron of a token in two spellings, and one of a trigram."""

    roles = ROLES
    copied: ClassVar = {"second": 1, "first": 2}

    def plant(self, places: list[list[int]]) -> tuple[PlantedNeuron, ...]:
        roles = self.directions
        trigram = 1.5 * roles["third"] + sum(roles[f"after {name}"] for name in self.copied)
        # the token is a word whose other two spellings never occur
        spelt = (("unigram", TRIGGER), ("suppression", f"start_w_{TRIGGER[0]}"))
        last = (("prediction", f"start_w_{TRIGRAM[2][0]}"),)
        planted = (
            PlantedNeuron(0, places[0].pop(), "token_detector", TRIGGER, tuple(self.classes["trigger"]), spelt),
            PlantedNeuron(0, places[0].pop(), "ngram_detector", "trigram", tuple(self.classes["third"]), last),
        )
        written = (0.9 * roles["trigger"], -0.9, -0.3 * roles["trigger"]), (trigram, -14.3, 0.5 * roles["third"])
        for neuron, (w_in, b_in, w_out) in zip(planted, written, strict=True):
            self.set_neuron(neuron.layer, neuron.index, w_in + 0.01 * self._random(D_MODEL), b_in)
            self.model.transformer.h[neuron.layer].mlp.c_proj.weight[neuron.index] = w_out
        return planted
