"""The only place that prints: data on stdout as a table, JSON, JSON Lines or CSV; talk on stderr."""

import csv
import io
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from catalog.errors import InputError
from cli.tables import cell_text, printable, table_text, width_of

if TYPE_CHECKING:
    from catalog.answers import Rows

PIPE_CLOSED = 141
"""What a shell reports of a program whose reader went away: 128 + SIGPIPE."""

Record = Mapping[str, Any]
Cells = Sequence[Any]
"""The values of one row, by position."""


@dataclass(frozen=True)
class Section:
    """One table of a page."""

    name: str
    """Its key in JSON."""
    title: str
    columns: Sequence[str]
    rows: Sequence[Cells]


class Format(StrEnum):
    """The shapes in which rows are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def write(text: str) -> None:
    """Print `text` on stdout; a reader that went away (`| head`) ends the command without a word."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes stdout once more when it exits, and must find something to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(PIPE_CLOSED) from None


def talk(text: str) -> None:
    """Say one line to the person, on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def show_count(shown: int, total: int, noun: str, more: str = "--limit 0") -> None:
    """Say how many rows of how many were printed, and which option prints the rest."""
    rest = f"; {more} prints all" if shown < total else ""
    talk(f"{shown} of {total} {noun}{rest}")


def tell(shown: int, total: Callable[[], int], noun: str, why: Callable[[], str]) -> None:
    """Say why nothing was printed, or how many rows of how many, if not all were."""
    if not shown:
        talk(why())
    elif (known := total()) > shown:
        show_count(shown, known, noun)


def tell_why(shown: int, why: Callable[[], str]) -> None:
    """Say why nothing was printed, if nothing was."""
    if not shown:
        talk(why())


def show_rows(rows: "Rows", format: Format) -> None:
    """Print rows; where there are none a table and JSON Lines are empty, JSON is `[]` and CSV its header.

    Raises:
        InputError: JSON is asked for, and columns have one name.
    """
    _show(rows.names, rows, format)


def show_records(columns: Sequence[str], records: Iterable[Record], format: Format) -> None:
    """Print records whose keys are `columns`, in that order."""
    _show(columns, ([record[column] for column in columns] for record in records), format)


def _show(columns: Sequence[str], rows: Iterable[Cells], format: Format) -> None:
    write(_FORMATTERS[format](columns, _plain(rows)))


def show_object(value: Record, format: Format) -> None:
    """Print one object as JSON, over several lines, or on one line for JSON Lines."""
    indent = 2 if format is Format.JSON else None
    write(json.dumps(plain_value(value), ensure_ascii=False, indent=indent) + "\n")


def show_page(title: str, identity: Record, sections: Sequence[Section], format: Format) -> None:
    """Print one thing of which several tables are known: JSON as one object, CSV with one line per value."""
    tables = [replace(section, rows=_plain(section.rows)) for section in sections]
    if format is Format.TABLE:
        write(_page_text(title, identity, tables))
    elif format is Format.CSV:
        _show(("section", "row", "column", "value"), _long(identity, tables), format)
    else:
        show_object({"identity": identity} | {table.name: _records(table.columns, table.rows) for table in tables}, format)


def show_heading(text: str) -> None:
    """Print a heading over the table that follows."""
    write(f"{text}\n{'=' * width_of(text)}\n")


def plain_value(value: Any) -> Any:
    """A value as JSON knows it; a number that is not finite, which JSON lacks, becomes None."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    return str(value)


def _plain(rows: Iterable[Cells]) -> list[list[Any]]:
    return [[plain_value(value) for value in row] for row in rows]


def _page_text(title: str, identity: Record, tables: Sequence[Section]) -> str:
    names = max(map(width_of, identity), default=0)
    facts = "".join(f"  {name:<{names}}  {cell_text(plain_value(value))}\n" for name, value in identity.items())
    parts = [f"{table.title}\n{table_text(table.columns, table.rows)}" for table in tables if table.rows]
    return "\n".join([f"{printable(title)}\n{facts}", *parts])


def _long(identity: Record, tables: Sequence[Section]) -> Iterator[Cells]:
    everything = [("identity", list(identity), [list(identity.values())])]
    everything += [(table.name, list(table.columns), [list(row) for row in table.rows]) for table in tables]
    for section, columns, rows in everything:
        for number, row in enumerate(rows, start=1):
            for column, value in zip(columns, row, strict=True):
                yield section, number, column, value


def _records(columns: Sequence[str], rows: Iterable[Cells]) -> list[dict[str, Any]]:
    """Rows by name, as JSON has them.

    Raises:
        InputError: columns have one name, so that a value would be lost.
    """
    twice = [name for name, times in Counter(columns).items() if times > 1]
    if twice:
        raise InputError(
            f"more than one column is called {', '.join(map(repr, twice))}, and JSON tells values apart by name; give each a "
            "name of its own, as in SELECT count(*) AS n, or ask --format table or csv."
        )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _json(columns: Sequence[str], rows: list[list[Any]]) -> str:
    lines = ",\n".join("  " + json.dumps(record, ensure_ascii=False) for record in _records(columns, rows))
    return f"[\n{lines}\n]\n" if lines else "[]\n"


def _jsonl(columns: Sequence[str], rows: list[list[Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in _records(columns, rows))


def _csv(columns: Sequence[str], rows: list[list[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_value(value) for value in row] for row in rows)
    return buffer.getvalue()


_FORMATTERS: dict[Format, Callable[[Sequence[str], list[list[Any]]], str]] = {
    Format.TABLE: table_text,
    Format.JSON: _json,
    Format.JSONL: _jsonl,
    Format.CSV: _csv,
}


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
