"""Rows as an aligned table for a person: numbers to the right, text to the left, a rule below the header.

Where there is too little room, texts are shortened, the longest first, and then columns are left out. A number is never
cut, and a text only as far as it still differs from the others of its column.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

from catalog.parts.words import with_error
from cli.widths import cut, printable, width_of

UNDEFINED = "–"
"""How a table shows a value that is not defined."""

ERROR = "_se"
"""How the name of a column ends that has the standard errors of the column of the same name without it."""

GAP = 2
LEAST_TEXT = 8
"""Columns of a terminal below which no text is cut."""
MOST_NEEDED = 24
"""Columns that are enough for any text, whether or not it differs from others by them."""


class Measured(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


class Table(NamedTuple):
    """A table as text, and the names of what it does not show in full."""

    text: str
    left_out: Sequence[str] = ()
    shortened: Sequence[str] = ()


class _Column(NamedTuple):
    head: str
    texts: Sequence[str]
    numeric: bool
    width: int
    """Columns of a terminal that its widest cell takes."""

    @property
    def least(self) -> int:
        """The width below which it says too little."""
        if self.numeric:
            return self.width
        needed = max(width_of(self.head), LEAST_TEXT, _until_different(self.texts))
        return min(self.width, needed, MOST_NEEDED)


def joined_errors(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows with each standard error in the cell of its number, instead of in a column of its own."""
    errors = {name.removesuffix(ERROR): place for place, name in enumerate(columns) if name.endswith(ERROR)}
    errors = {name: place for name, place in errors.items() if name in columns}
    kept = [(place, errors.get(name)) for place, name in enumerate(columns) if place not in errors.values()]
    return [columns[place] for place, _ in kept], [[_joined(row, *places) for places in kept] for row in rows]


def _joined(row: Sequence[Any], place: int, error: int | None) -> Any:
    value, of_it = row[place], None if error is None else row[error]
    return Measured(value, of_it) if isinstance(value, int | float) and isinstance(of_it, int | float) else value


def draw_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], room: int | None = None) -> Table:
    """Rows of plain values, by position, as an aligned table; nothing if there are none.

    Args:
        room: most columns of a terminal that a line may take; None for any number.
    """
    if not rows:
        return Table("")
    drawn = [_column(name, values) for name, values in zip(columns, zip(*rows, strict=True), strict=True)]
    widths: list[int | None] = [column.width for column in drawn] if room is None else _fit(drawn, room)
    kept = [(column, width) for column, width in zip(drawn, widths, strict=True) if width is not None]
    lines = zip(*(_lines(column, width) for column, width in kept), strict=True)
    return Table(
        "".join((" " * GAP).join(line).rstrip() + "\n" for line in lines),
        [column.head for column, width in zip(drawn, widths, strict=True) if width is None],
        [column.head for column, width in kept if width < column.width],
    )


def cell_text(value: Any, decimals: int | None = None) -> str:
    """One value as a person reads it: a float with so many decimals or three figures, no control characters."""
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Measured):
        return with_error(*value)
    if isinstance(value, float):
        return f"{value:.3g}" if decimals is None else f"{value:.{decimals}f}"
    if isinstance(value, (dict, list)):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(str(value))


def _column(name: str, values: Sequence[Any]) -> _Column:
    decimals = _decimals(values)
    kinds = {type(value) for value in values if value is not None}
    head, texts = printable(name), [cell_text(value, decimals) for value in values]
    return _Column(head, texts, bool(kinds) and kinds <= {int, float, Measured}, max(map(width_of, (head, *texts))))


def _decimals(values: Iterable[Any]) -> int | None:
    """Decimals that suit every float of a column: 4, or 2 for larger numbers; None where neither would show them all."""
    sizes = [abs(value) for value in values if isinstance(value, float) and value]
    if sizes and (max(sizes) >= 1e5 or min(sizes) < 1e-4):
        return None
    if sizes and max(sizes) >= 10:
        return 2 if min(sizes) >= 1e-2 else None
    return 4


def _fit(columns: Sequence[_Column], room: int) -> list[int | None]:
    """The width of each column, None for one that is left out: from the left as many as fit when all are at their least."""
    full = [column.width for column in columns]
    if sum(full) + GAP * (len(full) - 1) <= room:
        return [*full]
    least = [column.least for column in columns]
    if not columns[0].numeric:
        least[0] = max(1, min(least[0], room))
    kept, taken = [0], least[0]
    for place in range(1, len(columns)):
        if taken + GAP + least[place] <= room:
            kept.append(place)
            taken += GAP + least[place]
    free = room - GAP * (len(kept) - 1)

    def widths(most: int) -> list[int]:
        return [max(least[place], min(full[place], most)) for place in kept]

    most = next((most for most in range(room, 0, -1) if sum(widths(most)) <= free), 0)
    chosen = dict(zip(kept, widths(most), strict=True))
    return [chosen.get(place) for place in range(len(columns))]


def _until_different(texts: Sequence[str]) -> int:
    """The width at which different texts are still seen to be different: what any two have in common, one more, an ellipsis."""
    different = sorted(set(texts))
    return max((width_of(_in_common(*pair)) + 2 for pair in pairwise(different)), default=0)


def _in_common(one: str, other: str) -> str:
    """The beginning that two texts share."""
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _lines(column: _Column, width: int) -> list[str]:
    """The cells of a column, header and rule included, all of one width."""
    lines = []
    for text in (column.head, "─" * width, *column.texts):
        shown = cut(text, width)
        space = " " * (width - width_of(shown))
        lines.append(space + shown if column.numeric else shown + space)
    return lines
