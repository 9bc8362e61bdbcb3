"""Unigram features: all tokens that are one word once case and white space are set aside (SPEC §5.9, DECISIONS)."""

import string
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from ingest.labels.vocabulary import FeatureTable

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
    found: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(strings):
        form = normal_form(text)
        if i not in excluded and form.strip(REPLACEMENT):
            found[form].append(i)
    return found


def unigram_features(
    strings: Sequence[str],
    token_counts: Int64[np.ndarray, " tokens"],
    n_kept: int,
    excluded_ids: Collection[int],
) -> FeatureTable:
    """The classes that are features, by name `<normal form>_unigram`, in order of their first id.

    A class holds at least 3.0e-4 of the kept tokens and four ids; a letter two ids and 100 tokens.
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
            names.append(f"{form}_unigram")
            rows.append(row)
            definitions.append(f"is {form!r}, whatever its case and surrounding white space")
    matrix = np.array(rows, dtype=bool).reshape(len(rows), len(strings))
    return FeatureTable(names, ["unigram"] * len(names), definitions, matrix)


@dataclass(frozen=True)
class LetterClasses:
    """For each letter a to z: its own tokens (A) and other words that start with it (B); the rest is C (SPEC §6.5)."""

    own: Bool[np.ndarray, "26 tokens"]
    starting: Bool[np.ndarray, "26 tokens"]


def letter_classes(strings: Sequence[str], excluded_ids: Collection[int]) -> LetterClasses:
    """Classes A and B of all letters."""
    forms = [normal_form(text) for text in strings]
    excluded = np.isin(np.arange(len(forms)), list(excluded_ids))
    own = np.array([[form == letter for form in forms] for letter in string.ascii_lowercase])
    starting = np.array([[form.startswith(letter) for form in forms] for letter in string.ascii_lowercase])
    return LetterClasses(own & ~excluded, starting & ~own & ~excluded)
