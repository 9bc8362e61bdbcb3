"""Yes-or-no features of single tokens, under the names and with the quirks of the reference (SPEC §5.1–5.8).

A rule sees a token three ways: x, its text alone; s, stripped of Unicode white space; w, s in lower case. Quirks that are
kept on purpose: all_symbolic means any symbol, all_digits is true of white space, is_lt_31 includes 31, and lengths and
times are found inside longer words (B20).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from ingest.features import word_lists as words


@dataclass(frozen=True)
class FeatureTable:
    """Features over token ids, in column order."""

    names: list[str]
    families: list[str]
    """Group of SPEC §5 that each feature belongs to."""
    definitions: list[str]
    """Each rule in words."""
    matrix: Bool[np.ndarray, "features tokens"]

    def of(self, ids: Int64[np.ndarray, " ids"]) -> "FeatureTable":
        """The same over some ids alone."""
        return replace(self, matrix=self.matrix[:, ids])

    @staticmethod
    def concatenate(tables: Sequence["FeatureTable"]) -> "FeatureTable":
        """One table after the other."""
        return FeatureTable(
            names=[name for table in tables for name in table.names],
            families=[family for table in tables for family in table.families],
            definitions=[definition for table in tables for definition in table.definitions],
            matrix=np.concatenate([table.matrix for table in tables]),
        )


@dataclass(frozen=True)
class Token:
    """The three ways to see a token."""

    x: str
    s: str
    w: str


@dataclass(frozen=True)
class Feature:
    """A rule and its name."""

    name: str
    family: str
    definition: str
    holds: Callable[[Token], bool]


def vocabulary_features(strings: Sequence[str], unknown_ids: Collection[int] = ()) -> FeatureTable:
    """All features of §5.1–5.8 in column order; those true of no token are left out.

    Args:
        strings: text of each token id, decoded alone without clean-up.
        unknown_ids: tokens whose text is not known, of which nothing is true.
    """
    tokens = [Token(x, x.strip(), x.strip().lower()) for x in strings]
    features = all_features()
    matrix = np.array([[feature.holds(token) for token in tokens] for feature in features], dtype=bool)
    matrix = matrix.reshape(len(features), len(tokens))
    matrix[:, list(unknown_ids)] = False
    kept = [i for i in range(len(features)) if matrix[i].any()]
    return FeatureTable(
        names=[features[i].name for i in kept],
        families=[features[i].family for i in kept],
        definitions=[features[i].definition for i in kept],
        matrix=matrix[kept],
    )


def all_features() -> list[Feature]:
    """The rules of §5.1–5.8, in column order."""
    groups = (_types, _symbols, _numeric, _pronouns, _starts, _suffixes, _prefixes, _word_groups)
    return [feature for group in groups for feature in group()]


def _types() -> Iterator[Feature]:
    yield Feature("all_white_space", "type", "nothing but white space", lambda t: t.s == "")
    yield Feature("all_caps", "type", "upper case, two characters or more", lambda t: t.s.isupper() and len(t.s) > 1)
    yield Feature("all_lower", "type", "lower case", lambda t: t.s.islower())
    yield Feature("all_alpha", "type", "letters only", lambda t: t.s.isalpha())
    yield Feature("all_numeric", "type", "decimal digits only", lambda t: t.s.isdecimal())
    yield Feature("all_symbolic", "type", "any symbol in it", lambda t: any(not c.isalnum() for c in t.s))


def _symbols() -> Iterator[Feature]:
    for name, parts in words.SYMBOLS.items():
        yield Feature(
            f"contains_{name}",
            "symbol",
            f"contains {' or '.join(parts)}",
            lambda t, parts=parts: any(part in t.x for part in parts),  # type: ignore[misc]
        )


def _decimal(token: Token, low: int, high: int) -> bool:
    return token.s.isdecimal() and low <= int(token.s) <= high


def _numeric() -> Iterator[Feature]:
    yield Feature("contains_digit", "numeric", "a digit in it", lambda t: any(c.isdigit() for c in t.x))
    yield Feature("all_digits", "numeric", "no character but digits, or white space", lambda t: all(c.isdigit() for c in t.s))
    yield Feature("is_number_word", "numeric", "a number written as a lower-case word", lambda t: t.s in words.NUMBER_WORDS)
    yield Feature("is_year", "numeric", "a number from 1491 to 2199", lambda t: _decimal(t, 1491, 2199))
    for n, name in enumerate(("one", "two", "three", "four"), 1):
        yield Feature(
            f"is_{name}_digit",
            "numeric",
            f"a number of {name} digits",
            lambda t, n=n: t.s.isdecimal() and len(t.s) == n,  # type: ignore[misc]
        )
    yield Feature("is_lt_31", "numeric", "a number up to 31", lambda t: _decimal(t, 0, 31))


def _pronouns() -> Iterator[Feature]:
    for name, members in words.PRONOUNS.items():
        yield Feature(
            f"is_{name}_pronoun",
            "pronoun",
            f"one of {', '.join(sorted(members))}",
            lambda t, members=members: t.w in members,  # type: ignore[misc]
        )


def _starts() -> Iterator[Feature]:
    rules: list[tuple[str, str, Callable[[Token], bool]]] = [
        ("starts_w_vowel", "starts with a vowel", lambda t: t.w[:1] in tuple("aeiou")),
        ("starts_w_consonant", "letters only, starting with no vowel", lambda t: t.w.isalpha() and t.w[0] not in "aeiou"),
        ("start_w_no_space", "the first character is no space", lambda t: t.x != "" and t.x[0] != " "),
        ("start_w_no_space_and_letter", "the first character is a letter", lambda t: t.x[:1].isalpha()),
        ("start_w_no_space_and_digit", "the first character is a digit", lambda t: t.x[:1].isdigit()),
        ("starts_w_digit", "decimal digits only", lambda t: t.s.isdecimal()),
        ("starts_w_space", "a space before something else", lambda t: t.s != "" and t.x[0] == " "),
        ("start_w_space_and_letter", "a space, then a letter", lambda t: t.x[:1] == " " and t.x[1:2].isalpha()),
        ("starts_w_cap", "starts with a capital, white space aside", lambda t: t.s[:1].isupper()),
        ("starts_w_no_space_and_cap", "the first character is a capital", lambda t: t.s != "" and t.x[0].isupper()),
        ("starts_w_no_space_and_lower", "the first character is lower case", lambda t: t.s != "" and t.x[0].islower()),
    ]
    for name, definition, holds in rules:
        yield Feature(name, "starts", definition, holds)


def _suffixes() -> Iterator[Feature]:
    for suffix in words.SUFFIXES:
        yield Feature(
            f"end_w_{suffix}",
            "suffix",
            f"ends in -{suffix}",
            lambda t, suffix=suffix: t.w.endswith(suffix),  # type: ignore[misc]
        )


def _prefixes() -> Iterator[Feature]:
    for prefix in words.PREFIXES:
        yield Feature(
            f"start_w_{prefix}",
            "prefix",
            f"starts with {prefix}-",
            lambda t, prefix=prefix: t.w.startswith(prefix),  # type: ignore[misc]
        )


def _word_groups() -> Iterator[Feature]:
    rules: list[tuple[str, str, Callable[[Token], bool]]] = [
        ("is_month", "a month or its abbreviation", lambda t: t.w in words.MONTHS),
        ("is_day_of_week", "a day of the week or its abbreviation", lambda t: t.w in words.DAYS),
        ("is_state", "a state of the USA, or the second word of its name", lambda t: t.w in words.STATES),
        ("is_state_abv", "the code of a state of the USA", lambda t: t.s in words.STATE_CODES),
        ("is_website_suffix", "a top-level domain without a space", lambda t: t.x in words.WEBSITE_SUFFIXES),
        ("is_length", "a unit of length in it", lambda t: any(unit in t.w for unit in words.LENGTHS)),
        ("is_time", "a unit of time in it", lambda t: any(unit in t.w for unit in words.TIMES)),
        ("is_contrastive_conjuction", "but, however and the like", lambda t: t.w in words.CONTRASTIVE),
    ]
    for name, definition, holds in rules:
        yield Feature(name, "word_group", definition, holds)
