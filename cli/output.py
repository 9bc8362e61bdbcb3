"""The only place that prints: data on stdout as a table, JSON, JSON Lines or CSV; talk on stderr.

Tables and pages fit the terminal, and what they do not show is told. Elsewhere, and with `--wide`, every value is whole.
"""

import csv
import io
import json
import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from catalog.errors import InputError
from cli.tables import cell_text, draw_table, joined_errors
from cli.widths import printable, width_of, wrapped

if TYPE_CHECKING:
    from catalog.answers import Rows

PIPE_CLOSED = 141
"""What a shell reports of a program whose reader went away: 128 + SIGPIPE."""

LEAST_VALUE = 20
"""Columns of a terminal that a value of several lines needs beside its name."""

_WHOLE: ContextVar[bool] = ContextVar("_WHOLE", default=False)

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


@contextmanager
def whole_values(wide: bool) -> Iterator[None]:
    """Print in full what is printed in the block, if `wide`."""
    token = _WHOLE.set(wide)
    try:
        yield
    finally:
        _WHOLE.reset(token)


def room() -> int | None:
    """Columns of the terminal that stdout is, or of the variable COLUMNS; None where every value is to be whole."""
    if _WHOLE.get() or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


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


def tell_cut(left_out: Sequence[str], shortened: Sequence[str]) -> None:
    """Say what did not fit the terminal; nothing if all did."""
    count = len(left_out) or len(shortened)
    noun = "column" if count == 1 else "columns"
    told = []
    if left_out:
        told.append(f"{count} {noun} left out: {', '.join(left_out)}")
    if shortened:
        told.append(f"{len(shortened)}{'' if left_out else f' {noun}'} shortened: {', '.join(shortened)}")
    if told:
        talk("; ".join([*told, "--wide prints all"]))


def show_rows(rows: "Rows", format: Format, as_asked: bool = False) -> None:
    """Print rows; where there are none a table and JSON Lines are empty, JSON is `[]` and CSV its header.

    Args:
        as_asked: a table, too, has every column that there is; else standard errors stand beside their numbers, with ±.
    Raises:
        InputError: JSON is asked for, and columns have one name.
    """
    _show(rows.names, rows, format, as_asked)


def show_records(columns: Sequence[str], records: Iterable[Record], format: Format) -> None:
    """Print records whose keys are `columns`, in that order."""
    _show(columns, ([record[column] for column in columns] for record in records), format)


def _show(columns: Sequence[str], rows: Iterable[Cells], format: Format, as_asked: bool = False) -> None:
    plain = _plain(rows)
    if format is Format.TABLE:
        table = draw_table(*((columns, plain) if as_asked else joined_errors(columns, plain)), room())
        write(table.text)
        tell_cut(table.left_out, table.shortened)
    elif format is Format.CSV:
        write(_csv(columns, plain))
    else:
        write(_json(columns, plain) if format is Format.JSON else _jsonl(columns, plain))


def show_object(value: Record, format: Format) -> None:
    """Print one object as JSON, over several lines, or on one line for JSON Lines."""
    indent = 2 if format is Format.JSON else None
    write(json.dumps(plain_value(value), ensure_ascii=False, indent=indent) + "\n")


def show_page(title: str, identity: Record, sections: Sequence[Section], format: Format) -> None:
    """Print one thing of which several tables are known: JSON as one object, CSV with one line per value."""
    tables = [replace(section, rows=_plain(section.rows)) for section in sections]
    if format is Format.TABLE:
        told = [table for table in tables if table.rows]
        _show_tables([_facts(title, identity)], told, lambda title: f"{_in_lines(title)}\n")
    elif format is Format.CSV:
        facts = Section("identity", "", list(identity), _plain([list(identity.values())]))
        write(_long([facts, *tables]))
    else:
        show_object({"identity": identity} | _by_name(tables), format)


def show_sections(sections: Sequence[Section], format: Format) -> None:
    """Print several tables, each under a heading: JSON as one object, CSV with one line per value."""
    tables = [replace(section, rows=_plain(section.rows)) for section in sections]
    if format is Format.TABLE:
        _show_tables([], tables, _heading)
    elif format is Format.CSV:
        write(_long(tables))
    else:
        show_object(_by_name(tables), format)


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


def _show_tables(texts: list[str], tables: Sequence[Section], head: Callable[[str], str]) -> None:
    """Texts, then each table under its head; and, once, what did not fit of all of them."""
    left_out, shortened = [], []
    for section in tables:
        table = draw_table(*joined_errors(section.columns, section.rows), room())
        texts.append(head(section.title) + (table.text or "none\n"))
        left_out += [f"{section.name}.{column}" for column in table.left_out]
        shortened += [f"{section.name}.{column}" for column in table.shortened]
    write("\n".join(texts))
    tell_cut(left_out, shortened)


def _facts(title: str, identity: Record) -> str:
    """Values beside their names; one that is too long goes on below itself, or below its name where that leaves no room."""
    names = max(map(width_of, identity), default=0)
    lines = [_in_lines(title)]
    for name, value in identity.items():
        text, width = cell_text(plain_value(value)), room()
        name += " " * (names - width_of(name))
        if width is None or width_of(text) <= width - names - 4:
            lines.append(f"  {name}  {text}".rstrip())
            continue
        beside = width - names - 4 >= LEAST_VALUE
        space = " " * (names + 4 if beside else 4)
        parts = wrapped(text, max(1, width - len(space)))
        lines.append(f"  {name}  {parts.pop(0)}" if beside else f"  {name.rstrip()}")
        lines += [space + part for part in parts]
    return "".join(f"{line}\n" for line in lines)


def _in_lines(title: str) -> str:
    width = room()
    return "\n".join([printable(title)] if width is None else wrapped(printable(title), width))


def _heading(title: str) -> str:
    text = _in_lines(title)
    return f"{text}\n{'=' * max(map(width_of, text.splitlines()))}\n"


def _by_name(tables: Sequence[Section]) -> dict[str, Any]:
    return {table.name: _records(table.columns, table.rows) for table in tables}


def _long(tables: Sequence[Section]) -> str:
    """Several tables as CSV, with one line per value."""
    lines = [
        [table.name, number, column, value]
        for table in tables
        for number, row in enumerate(table.rows, start=1)
        for column, value in zip(table.columns, row, strict=True)
    ]
    return _csv(("section", "row", "column", "value"), lines)


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


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
