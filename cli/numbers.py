"""Negative numbers as values: `catalog rules set antipodal.max_cosine -0.6`."""

import re
from itertools import islice


def behind_options(words: list[str], takes_value: set[str]) -> list[str]:
    """The words with all values behind the options and a `--`, if one of them is a negative number; else as they are.

    Args:
        takes_value: names of options that are followed by a value, which may be negative anyway.
    """
    options: list[str] = []
    values: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            values += rest
        elif word.startswith("-") and len(word) > 1 and not is_negative(word):
            options += [word, *islice(rest, 1 if word in takes_value else 0)]
        else:
            values.append(word)
    return [*options, "--", *values] if any(map(is_negative, values)) else words


def is_negative(word: str) -> bool:
    """Whether the word begins as a negative number does."""
    return re.match(r"-\.?[0-9]", word) is not None
