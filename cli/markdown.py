"""Text and tables in Markdown that show as they are."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.text import visible

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$])")


def plain(text: str, spaces: bool = True) -> str:
    """Text on one line that Markdown shows as it is: white space and control characters visible, marks escaped."""
    return _SPECIAL.sub(r"\\\1", visible(text, spaces))


def named(name: str) -> str:
    """A name of a family, feature or pattern; as code unless it may hold anything."""
    return f"`{name}`" if re.fullmatch(r"[a-z0-9_]{2,}", name) else plain(name)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with equal keys as a Markdown table; numbers to the right."""
    if not rows:
        return "none\n"
    names = list(rows[0])
    numeric = {name: all(isinstance(row[name], int | float) for row in rows) for name in names}
    lines = [names, ["--:" if numeric[name] else ":--" for name in names]]
    lines += [[_shown(row[name]) for name in names] for row in rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _shown(value: Any) -> str:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,.0f}"
        if isinstance(value, int | float)
        else str(value)
    )
