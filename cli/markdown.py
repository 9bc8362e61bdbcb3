"""Text and tables in Markdown that show as they are."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.parts.words import with_error
from catalog.text import visible
from cli.tables import Measured, joined_errors

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$])")


def plain(text: str, spaces: bool = True) -> str:
    """Text on one line that Markdown shows as it is: white space and control characters visible, marks escaped."""
    return _SPECIAL.sub(r"\\\1", visible(text, spaces))


def named(name: str) -> str:
    """A name of a family, feature or pattern; as code unless it may hold anything."""
    return f"`{name}`" if re.fullmatch(r"[a-z0-9_]{2,}", name) else plain(name)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with equal keys as a Markdown table; numbers to the right, with their standard errors."""
    if not rows:
        return "none\n"
    names, cells = joined_errors(list(rows[0]), [list(row.values()) for row in rows])
    numeric = [all(isinstance(value, int | float | Measured) for value in column) for column in zip(*cells, strict=True)]
    lines = [names, ["--:" if is_numeric else ":--" for is_numeric in numeric]]
    lines += [[_shown(value) for value in row] for row in cells]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, Measured):
        return with_error(*value)
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,.0f}"
        if isinstance(value, int | float)
        else str(value)
    )
