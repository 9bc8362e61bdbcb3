"""The only place that prints: data on stdout as a table, JSON, JSON Lines or CSV; talk on stderr."""

import csv
import io
import json
import math
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from catalog.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

PIPE_CLOSED = 141
"""What a shell reports of a program whose reader went away: 128 + SIGPIPE."""

UNDEFINED = "–"
"""How a table shows a value that is not defined."""

Row = Mapping[str, Any]
Rows = list[list[Any]]
"""Plain values, by position: several columns may have one name."""


@dataclass(frozen=True)
class Section:
    """One table of a page."""

    name: str
    """Its key in JSON."""
    title: str
    columns: Sequence[str]
    records: Sequence[Row]


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


def show_count(shown: int, total: int, noun: str) -> None:
    """Say how many rows of how many were printed, and how to see the rest."""
    more = "; --limit 0 prints all" if shown < total else ""
    talk(f"{shown} of {total} {noun}{more}")


def show_rows(frame: "pd.DataFrame", format: Format) -> None:
    """Print a frame's rows, in the order of its columns, of which several may have one name.

    Without rows a table and JSON Lines are empty, JSON is `[]` and CSV its header.

    Raises:
        InputError: JSON is asked for, which has one value for each name, and two columns share one.
    """
    columns = [str(column) for column in frame.columns]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None and format in (Format.JSON, Format.JSONL):
        raise InputError(
            f"--format {format.value} has one value for each name and two columns are called {twice!r}; name each column with "
            "AS, or ask for table or csv."
        )
    rows = [[plain_value(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    write(_FORMATTERS[format](columns, rows))


def records_of(frame: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    """A frame's rows as records, with None for whatever is undefined; its columns have different names."""
    columns = [str(column) for column in frame.columns]
    return (dict(zip(columns, map(plain_value, row), strict=True)) for row in frame.itertuples(index=False, name=None))


def show_records(columns: Sequence[str], records: Iterable[Row], format: Format) -> None:
    """Print records whose keys are `columns`, in that order."""
    write(_FORMATTERS[format](columns, [[plain_value(record[column]) for column in columns] for record in records]))


def show_object(value: Row, format: Format) -> None:
    """Print one object as JSON, over several lines, or on one line for JSON Lines."""
    indent = 2 if format is Format.JSON else None
    write(json.dumps(plain_value(value), ensure_ascii=False, indent=indent) + "\n")


def show_page(title: str, identity: Row, sections: Sequence[Section], format: Format) -> None:
    """Print one thing of which several tables are known: JSON as one object, CSV with one line per value."""
    tables = [replace(section, records=_plain(section.columns, section.records)) for section in sections]
    if format is Format.TABLE:
        write(_page_text(title, identity, tables))
    elif format is Format.CSV:
        show_records(("section", "row", "column", "value"), _long(identity, tables), format)
    else:
        show_object({"identity": identity} | {table.name: table.records for table in tables}, format)


def show_heading(text: str) -> None:
    """Print a heading over the table that follows."""
    write(f"{text}\n{'=' * _width(text)}\n")


def table_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as an aligned table: numbers to the right, text to the left, a rule below the header."""
    if not rows:
        return ""
    values = list(zip(*rows, strict=True))
    decimals = [_decimals(column) for column in values]
    cells = [[cell_text(value, places) for value, places in zip(row, decimals, strict=True)] for row in rows]
    widths = [max(map(_width, texts)) for texts in zip(columns, *cells, strict=True)]
    numeric = [_is_numeric(column) for column in values]
    lines = [list(columns), ["─" * width for width in widths], *cells]
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


def plain_value(value: Any) -> Any:
    """A value as JSON knows it: numpy and pandas scalars become Python's, everything undefined becomes None."""
    # Named, not imported: pandas takes longer to import than most commands take altogether.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    if hasattr(value, "tolist"):
        return plain_value(value.tolist())
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    return str(value)


def _plain(columns: Sequence[str], records: Iterable[Row]) -> list[dict[str, Any]]:
    return [{column: plain_value(record[column]) for column in columns} for record in records]


def _page_text(title: str, identity: Row, tables: Sequence[Section]) -> str:
    names = max(map(_width, identity), default=0)
    facts = "".join(f"  {name:<{names}}  {cell_text(plain_value(value))}\n" for name, value in identity.items())
    shown = [(table.title, table.columns, [list(record.values()) for record in table.records]) for table in tables]
    parts = [f"{title}\n{table_text(columns, rows)}" for title, columns, rows in shown if rows]
    return "\n".join([f"{printable(title)}\n{facts}", *parts])


def _long(identity: Row, tables: Sequence[Section]) -> Iterator[Row]:
    everything = [("identity", [identity]), *((table.name, table.records) for table in tables)]
    for section, records in everything:
        for row, record in enumerate(records, start=1):
            for column, value in record.items():
                yield {"section": section, "row": row, "column": column, "value": value}


def _json(columns: Sequence[str], rows: Rows) -> str:
    lines = ",\n".join("  " + json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n" if rows else "[]\n"


def _jsonl(columns: Sequence[str], rows: Rows) -> str:
    return "".join(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) + "\n" for row in rows)


def _csv(columns: Sequence[str], rows: Rows) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_value(value) for value in row] for row in rows)
    return buffer.getvalue()


_FORMATTERS: dict[Format, Callable[[Sequence[str], Rows], str]] = {
    Format.TABLE: table_text,
    Format.JSON: _json,
    Format.JSONL: _jsonl,
    Format.CSV: _csv,
}


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value


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
        space = " " * (width - _width(cell))
        padded.append(space + cell if right else cell + space)
    return "  ".join(padded).rstrip() + "\n"


def _width(text: str) -> int:
    """Columns of a terminal: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _escape(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape").decode("ascii")
    return character
