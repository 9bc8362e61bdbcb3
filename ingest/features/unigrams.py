"""Unigram features: all tokens that are one word once case and white space are set aside (SPEC §5.9, DECISIONS)."""

import string
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from ingest.features.vocabulary import FeatureTable

LEAST_SHARE = 3.0e-4
"""Share of the kept tokens that a class must hold."""
LEAST_IDS = 4
LEAST_LETTER_IDS = 2
LEAST_LETTER_COUNT = 100
REPLACEMENT = "\ufffd"


def normal_form(text: str) -> str:
    """Lower case without surrounding white space."""
    return text.lower().strip()


def classes(strings: Sequence[str], excluded_ids: Collection[int]) -> dict[str, list[int]]:
    """Token ids by normal form, without excluded ids, white space and what is no character."""
    excluded = set(excluded_ids)
    by_form: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(strings):
        form = normal_form(text)
        if i not in excluded and form.replace(REPLACEMENT, "").strip():
            by_form[form].append(i)
    return by_form


def unigram_features(
    strings: Sequence[str],
    token_counts: Int64[np.ndarray, " tokens"],
    n_kept: int,
    excluded_ids: Collection[int],
) -> FeatureTable:
    """The classes that are features, by name `<normal form>_unigram`, in order of their first id.

    A class holds at least 3.0e-4 of the kept tokens and four ids; a letter two ids and 100 tokens.

    Names are unique within a table, and no feature of §5.1–5.8 ends in `_unigram`. Tokens collide in one class where
    lower case joins words (`Polish`, `polish`), where they are of different white space, and where bytes that are no
    character decode to the same text (`a\ufffd`). NUL, which no database text holds, is written \\x00 in the name.

    Args:
        strings: text of each token id, decoded alone without clean-up.
        token_counts: int64, kept positions of each id.
        n_kept: all kept positions.
        excluded_ids: special, masked and unknown tokens, which belong to no class.
    """
    names, rows, definitions = [], [], []
    for form, ids in classes(strings, excluded_ids).items():
        count = int(token_counts[ids].sum())
        is_letter = form in string.ascii_lowercase and len(form) == 1
        enough = (
            len(ids) >= LEAST_LETTER_IDS and count >= LEAST_LETTER_COUNT
            if is_letter
            else len(ids) >= LEAST_IDS and count >= LEAST_SHARE * n_kept
        )
        if enough:
            row = np.zeros(len(strings), dtype=bool)
            row[ids] = True
            names.append(f"{form}_unigram".replace("\0", "\\x00"))
            rows.append(row)
            definitions.append(f"is {form!r}, whatever its case and surrounding white space")
    matrix = np.array(rows, dtype=bool).reshape(len(rows), len(strings))
    return FeatureTable(names, ["unigram"] * len(names), definitions, matrix)


@dataclass(frozen=True)
class LetterClasses:
    """For each letter a to z three classes of tokens, without excluded ids (SPEC §6.5)."""

    itself: Bool[np.ndarray, "26 tokens"]
    """A: the letter itself."""
    starting: Bool[np.ndarray, "26 tokens"]
    """B: others that start with it."""
    rest: Bool[np.ndarray, "26 tokens"]
    """C."""

    def of(self, ids: Int64[np.ndarray, " ids"]) -> "LetterClasses":
        """The same over some ids alone."""
        return LetterClasses(self.itself[:, ids], self.starting[:, ids], self.rest[:, ids])


def letter_classes(strings: Sequence[str], excluded_ids: Collection[int]) -> LetterClasses:
    """Classes A, B and C of all letters."""
    forms = [normal_form(text) for text in strings]
    real = ~np.isin(np.arange(len(forms)), list(excluded_ids))
    itself = np.array([[form == letter for form in forms] for letter in string.ascii_lowercase])
    starting = np.array([[form.startswith(letter) for form in forms] for letter in string.ascii_lowercase])
    return LetterClasses(itself & real, starting & ~itself & real, ~starting & real)
