"""Rows as an aligned table for a person: numbers to the right, text to the left, a rule below the header."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

UNDEFINED = "–"
"""How a table shows a value that is not defined."""


def table_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows of plain values, by position, as an aligned table; nothing if there are none."""
    if not rows:
        return ""
    values = list(zip(*rows, strict=True))
    decimals = map(_decimals, values)
    cells = [[cell_text(value, places) for value in column] for column, places in zip(values, decimals, strict=True)]
    heads = [printable(name) for name in columns]
    widths = [max(map(width_of, (head, *texts))) for head, texts in zip(heads, cells, strict=True)]
    numeric = [_is_numeric(column) for column in values]
    lines = [heads, ["─" * width for width in widths], *zip(*cells, strict=True)]
    return "".join(_line(line, widths, numeric) for line in lines)


def cell_text(value: Any, decimals: int | None = None) -> str:
    """One value as a person reads it: a float with so many decimals or three figures, no control characters."""
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if decimals is None else f"{value:.{decimals}f}"
    if isinstance(value, (dict, list)):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(str(value))


def printable(text: str) -> str:
    """The text with control, formatting and unpaired characters written as escapes, since terminals obey them."""
    return "".join(_escape(character) for character in text)


def _decimals(values: Iterable[Any]) -> int | None:
    """Decimals that suit every float of a column: 4, or 2 for larger numbers; None where neither would show them all."""
    sizes = [abs(value) for value in values if isinstance(value, float) and value]
    if sizes and (max(sizes) >= 1e5 or min(sizes) < 1e-4):
        return None
    if sizes and max(sizes) >= 10:
        return 2 if min(sizes) >= 1e-2 else None
    return 4


def _is_numeric(values: Iterable[Any]) -> bool:
    kinds = {type(value) for value in values if value is not None}
    return bool(kinds) and kinds <= {int, float}


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = []
    for cell, width, right in zip(cells, widths, numeric, strict=True):
        space = " " * (width - width_of(cell))
        padded.append(space + cell if right else cell + space)
    return "  ".join(padded).rstrip() + "\n"


def width_of(text: str) -> int:
    """Columns of a terminal: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _escape(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape").decode("ascii")
    return character
