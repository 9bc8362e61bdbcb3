"""Negative numbers as values: `catalog rules set antipodal.max_cosine -0.6`."""

import re
from itertools import islice
from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command for which what begins with a minus and a digit is a value; no option is named so."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a command line."""
        takes_value = {
            name
            for parameter in self.params
            if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        return super().parse_args(ctx, behind_options(args, takes_value))


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
