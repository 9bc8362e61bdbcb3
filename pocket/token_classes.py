"""The commoner token classes of SPEC §5 and the unigram classes of §5.9, for judging a family while searching."""

import string
from collections.abc import Callable
from functools import partial

import numpy as np
from transformers import PreTrainedTokenizerBase

SYMBOLS = {
    "period": ".",
    "comma": ",",
    "exclamation": "!",
    "question": "?",
    "semicolon": ";",
    "colon": ":",
    "dash": "-",
    "slash": "/",
    "underscore": "_",
    "apostrophe": "'",
    "quotation": '"',
    "close_paren": ")",
    "open_paren": "(",
    "close_bracket": "]",
    "open_bracket": "[",
    "math_symbol": "+-*/=<>",
    "closing_punc": ")]}>",
    "opening_punc": "([{<",
}
PRONOUNS = frozenset("i me my we us our you he him his she her it they them".split())
ENDINGS = "tion ence er al ic ly en ant ent ing ed s est y".split()
BEGINNINGS = "un re in im en de ex non sub pre over".split()


def contains(characters: str, x: str) -> bool:
    return any(c in x for c in characters)


def ends(suffix: str, x: str) -> bool:
    return x.strip().lower().endswith(suffix)


def starts(prefix: str | tuple[str, ...], x: str) -> bool:
    return x.strip().lower().startswith(prefix)


RULES: dict[str, Callable[[str], bool]] = {
    "all_white_space": lambda x: not x.strip(),
    "all_caps": lambda x: x.strip().isupper() and len(x.strip()) > 1,
    "all_lower": lambda x: x.strip().islower(),
    "all_alpha": lambda x: x.strip().isalpha(),
    "all_numeric": lambda x: x.strip().isdecimal(),
    "all_symbolic": lambda x: any(not c.isalnum() for c in x.strip()),
    "starts_w_vowel": partial(starts, tuple("aeiou")),
    "starts_w_consonant": lambda x: x.strip().isalpha() and not starts(tuple("aeiou"), x),
    "start_w_no_space": lambda x: x[:1] != " ",
    "start_w_no_space_and_letter": lambda x: x[:1].isalpha(),
    "starts_w_space": lambda x: x.strip() != "" and x[0] == " ",
    "start_w_space_and_letter": lambda x: x[:1] == " " and x[1:2].isalpha(),
    "starts_w_cap": lambda x: x.strip()[:1].isupper(),
    "starts_w_no_space_and_cap": lambda x: x.strip() != "" and x[:1].isupper(),
    "starts_w_no_space_and_lower": lambda x: x.strip() != "" and x[:1].islower(),
    "is_personal_pronoun": lambda x: x.strip().lower() in PRONOUNS,
    **{f"contains_{name}": partial(contains, characters) for name, characters in SYMBOLS.items()},
    **{f"end_w_{suffix}": partial(ends, suffix) for suffix in ENDINGS},
    **{f"start_w_{prefix}": partial(starts, prefix) for prefix in (*BEGINNINGS, *string.ascii_lowercase)},
}


def token_classes(tokenizer: PreTrainedTokenizerBase) -> dict[str, np.ndarray]:
    """Name -> (ids,) bool: every normal form with enough ids (letters two, others four), and RULES."""
    words = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    forms: dict[str, list[int]] = {}
    for i, word in enumerate(words):
        forms.setdefault(word.strip().lower(), []).append(i)
    minimum = {**dict.fromkeys(forms, 4), **dict.fromkeys(string.ascii_lowercase, 2)}
    kept = {form: ids for form, ids in forms.items() if form not in ("", "\ufffd") and len(ids) >= minimum[form]}
    lists = {f"{form}_unigram": ids for form, ids in kept.items()}
    lists |= {name: [i for i, word in enumerate(words) if rule(word)] for name, rule in RULES.items()}
    return {name: np.isin(np.arange(len(words)), ids) for name, ids in lists.items() if ids}


def is_letter_class(name: str) -> bool:
    """Whether this is the unigram class of one of the 26 letters."""
    return name.endswith("_unigram") and name.removesuffix("_unigram") in set(string.ascii_lowercase)
