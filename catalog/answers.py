"""What a question is answered with: rows by position, as light as what the driver read.

Names may come twice, so a value is told by its place. What is missing is None, and nothing else is: NULL crosses the border
here, once. Whoever wants a DataFrame asks for it, and only then is pandas loaded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

if TYPE_CHECKING:
    import pandas as pd

FLOAT8, TEXT = 701, 25
"""PostgreSQL's numbers of types."""

Values = dict[str, Any]
"""Named values that a statement binds, or one row by name."""


@dataclass(frozen=True)
class Rows:
    """Rows with their column names and PostgreSQL type numbers; NULL is None."""

    names: tuple[str, ...]
    types: tuple[int, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def column(self, name: str) -> list[Any]:
        """The values of the column of that name."""
        place = self._place(name)
        return [row[place] for row in self.rows]

    def select(self, *names: str) -> "Rows":
        """These columns alone, in this order."""
        places = [self._place(name) for name in names]
        chosen = tuple(tuple(row[place] for place in places) for row in self.rows)
        return Rows(names, tuple(self.types[place] for place in places), chosen)

    def where(self, name: str, accepts: Callable[[Any], bool]) -> "Rows":
        """The rows whose value in the column of that name is accepted."""
        place = self._place(name)
        return Rows(self.names, self.types, tuple(row for row in self.rows if accepts(row[place])))

    def as_text(self, name: str, write: Callable[[Any], str]) -> "Rows":
        """The rows with the values of one column written as text; NULL stays."""
        place = self._place(name)
        types = (*self.types[:place], TEXT, *self.types[place + 1 :])
        written = ((row, None if row[place] is None else write(row[place])) for row in self.rows)
        return Rows(self.names, types, tuple((*row[:place], text, *row[place + 1 :]) for row, text in written))

    def records(self) -> list[Values]:
        """Each row by name.

        Raises:
            ValueError: a name comes twice, so that a value would be lost.
        """
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"columns of one name: {', '.join(self.names)}")
        return [dict(zip(self.names, row, strict=True)) for row in self.rows]

    def frame(self) -> "pd.DataFrame":
        """The rows as a DataFrame, see `catalog.frames`."""
        from catalog.frames import typed_frame

        return typed_frame(self.names, self.types, self.rows)

    def _place(self, name: str) -> int:
        (place,) = (at for at, known in enumerate(self.names) if known == name)
        return place


def ask(connection: Connection, statement: str, values: Mapping[str, Any] | None = None) -> Rows:
    """The rows of a statement with bound values."""
    result = connection.execute(text(statement), values or {})
    assert result.cursor is not None
    return from_driver(result.cursor.description, result.all())


def from_driver(description: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Rows:
    """Rows as a cursor of the driver described and fetched them."""
    names, types = (tuple(column[place] for column in description) for place in (0, 1))
    return Rows(names, types, tuple(map(tuple, rows)))
