"""A small real GPT-2 with a neuron of plural nouns, and one of what follows a determiner; see `tests.planted`.

English sentences, in which the vocabulary cannot say what a plural noun is: many end in no -s (men, feet, mice), and much
that ends in -s is none (runs, always, glass). Each determiner is frequent, and no class of the vocabulary holds them all.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tests.factories import byte_bpe_tokenizer
from tests.planted import D_MODEL, Builder, PlantedFamily, PlantedNeuron
from tests.planted_texts import forms

NOUNS = dict(
    pair.split("/")
    for pair in (
        "dog/dogs bird/birds tree/trees boat/boats king/kings door/doors river/rivers song/songs farmer/farmers cow/cows "
        "horse/horses garden/gardens window/windows castle/castles letter/letters soldier/soldiers teacher/teachers "
        "man/men woman/women child/children foot/feet mouse/mice tooth/teeth goose/geese person/people "
        "policeman/policemen fisherman/fishermen grandchild/grandchildren "
        "glass/glasses bus/buses boss/bosses dress/dresses class/classes princess/princesses"
    ).split()
)
"""Singular -> plural."""
VERBS = dict(
    pair.split("/")
    for pair in (
        "see/sees find/finds like/likes bring/brings follow/follows watch/watches need/needs hear/hears carry/carries "
        "hold/holds leave/leaves love/loves catch/catches push/pushes keep/keeps meet/meets know/knows take/takes move/moves "
        "visit/visits admire/admires describe/describes remember/remembers want/wants"
    ).split()
)
"""With a plural subject -> with a singular one."""
DETERMINERS = {"singular": "a every each another the this".split(), "plural": "some many the both no".split()}
ADVERBS = "always perhaps sometimes often never soon".split()
ADJECTIVES = (
    "old small red famous serious tall young green brown tired strange quiet heavy narrow clever poor rich blue happy angry"
).split()
PREPOSITIONS = "near under with across".split()


def syntax_texts(n_documents: int = 60, seed: int = 0, sentences_each: int = 50) -> list[str]:
    """Sentences in random words of one pattern."""
    generator = np.random.default_rng(seed)

    def one(words: list[str]) -> str:
        return words[generator.integers(len(words))]

    def noun_phrase() -> tuple[str, str]:
        number = one(["singular", "plural"])
        noun = one(list(NOUNS if number == "singular" else NOUNS.values()))
        adjective = f" {one(ADJECTIVES)}" if generator.random() < 0.4 else ""
        return f"{one(DETERMINERS[number])}{adjective} {noun}", number

    def sentence() -> str:
        (subject, number), (thing, _), (place, _) = noun_phrase(), noun_phrase(), noun_phrase()
        verb = one(list(VERBS if number == "plural" else VERBS.values()))
        adverb = f" {one(ADVERBS)}" if generator.random() < 0.5 else ""
        made = f"{subject}{adverb} {verb} {thing} {one(PREPOSITIONS)} {place}"
        return f"{made[0].upper()}{made[1:]}."

    return [" ".join(sentence() for _ in range(sentences_each)) for _ in range(n_documents)]


def planted_syntax(folder: Path, seed: int = 0) -> PlantedFamily:
    """Write the model, a copy of it with permuted neurons, and the corpus below `folder`."""
    determiners = {word for words in DETERMINERS.values() for word in words}
    groups = (NOUNS, NOUNS.values(), VERBS, VERBS.values(), ADVERBS, ADJECTIVES, PREPOSITIONS, determiners)
    whole = sorted({form for words in groups for word in words for form in forms(word)})
    tokenizer = byte_bpe_tokenizer(texts=["a"], vocab_size=300, whole_tokens=whole)

    def ids(words: set[str]) -> list[int]:
        return [tokenizer.encode(form, add_special_tokens=False)[0] for word in sorted(words) for form in forms(word)]

    classes = {"plural": ids(set(NOUNS.values())), "determiner": ids(determiners)}
    classes |= {f"group {number}": ids(set(words)) for number, words in enumerate(groups)}
    return _SyntaxBuilder(seed, tokenizer, classes, syntax_texts(seed=seed)).write(folder)


class _SyntaxBuilder(Builder):
    """A neuron of plural nouns, and one of tokens after a determiner."""

    roles = ("plural", "determiner")
    copied: ClassVar = {"determiner": 1}

    def unread(self) -> Tensor:
        """Nor what the words of a part of speech have in common."""
        embeddings = self.model.transformer.wte.weight
        means = torch.stack([embeddings[list(ids)].mean(0) for name, ids in self.classes.items() if name.startswith("group")])
        return torch.cat([super().unread(), means - means.mean(1, keepdim=True)])

    def plant(self, places: list[list[int]]) -> tuple[PlantedNeuron, ...]:
        wanted = (
            (0, "plural", "syntax", "morph_plural", "plural"),
            (1, "after determiner", "previous_token", "dep_det", "determiner"),
        )
        planted = []
        for layer, direction, family, subtype, ids in wanted:
            planted.append(PlantedNeuron(layer, places[layer].pop(), family, subtype, tuple(self.classes[ids])))
            w_in = self.directions[direction] + 0.01 * self._random(D_MODEL)
            self.set_neuron(layer, planted[-1].index, w_in, -1.0)
        return tuple(planted)
