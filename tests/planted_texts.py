"""Texts for planted families, and the classes of tokens that their neurons follow."""

import numpy as np
from transformers import PreTrainedTokenizerFast

LETTER, UNIGRAM, FOLLOWED = "k", "on", "of"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
COMMON = "the and that was for with his they from have had but what were when there your which their said will each".split()

BEGINNING = ["know", "keep"]
"""Words that begin with the letter; without them start_w_k would be the same feature as k_unigram."""
CLASSES = ("unigram", "letter", "numbers", "followed")

N_FREQUENT = 24
"""Tokens that fillers do not read."""
IN_CLASS = 0.7
"""Part of a class token's unit embedding that lies along the direction of its class."""
BEGINS_WITH = 0.2
"""The same for tokens that only begin with the letter: the alphabet rule wants letter > beginning > rest."""


def planted_texts(n_documents: int = 150, seed: int = 0, words_each: int = 150) -> list[str]:
    """Words in random order: common ones, the planted ones, single letters and numbers, with and without space and capital."""
    generator = np.random.default_rng(seed)
    kinds = {UNIGRAM: 0.06, FOLLOWED: 0.08, LETTER: 0.04, "letter": 0.1, "number": 0.06, "begins": 0.06, "common": 0.6}
    texts = []
    for _ in range(n_documents):
        text = ""
        for kind in generator.choice(list(kinds), size=words_each, p=list(kinds.values())):
            word = {
                "letter": LETTERS[generator.integers(26)],
                "begins": BEGINNING[generator.integers(len(BEGINNING))],
                "number": str(generator.integers(100)),
                "common": COMMON[generator.integers(len(COMMON))],
            }.get(str(kind), str(kind))
            word = word.capitalize() if generator.random() < 0.3 else word
            text += word + str(generator.choice([" ", "-", ", ", ".\n", ""], p=[0.84, 0.06, 0.04, 0.04, 0.02]))
        texts.append(text)
    return texts


def forms(word: str) -> list[str]:
    """With and without space and capital."""
    return [space + shape for space in ("", " ") for shape in (word, word.capitalize())]


def token_classes(tokenizer: PreTrainedTokenizerFast) -> dict[str, list[int]]:
    """Ids of each class of `CLASSES`, and of the tokens that begin with the letter without being it."""
    strings = [tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in range(len(tokenizer))]
    bare = [string.lower().strip() for string in strings]
    return {
        "unigram": [i for i, text in enumerate(bare) if text == UNIGRAM],
        "letter": [i for i, text in enumerate(bare) if text == LETTER],
        "numbers": [i for i, text in enumerate(bare) if text.isdecimal()],
        "followed": [i for i, text in enumerate(bare) if text == FOLLOWED],
        "begins": [i for i, text in enumerate(bare) if text.startswith(LETTER) and text != LETTER],
    }
