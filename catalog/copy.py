"""Binary COPY from numpy columns: the bytes of many rows are laid out at once, without a Python loop over rows.

PostgreSQL's format per row: int16 number of fields, then per field int32 length (-1 for NULL) and the big-endian value.
Fixed-width columns give every row the same layout, so a chunk is one (rows, bytes) uint8 matrix; the value bytes of
NULLs are cut out by a mask. Columns of text make rows of different length and go through psycopg's row writer.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

HEADER = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
TRAILER = b"\xff\xff"
CHUNK_ROWS = 65_536

WIRE_TYPES = {"int2": ">i2", "int4": ">i4", "int8": ">i8", "float4": ">f4", "float8": ">f8", "bool": "u1"}
"""PostgreSQL's name of each fixed-width type, and its bytes."""


def copy_columns(connection: psycopg.Connection[Any], table: str, columns: Mapping[str, np.ndarray]) -> int:
    """COPY columns of equal length into a table; NaN and masked entries become NULL.

    Args:
        table: qualified name, `schema.table`.
        columns: one 1-D array per column of the table to fill; object arrays hold text, bytes, lists for arrays or JSON, and
            None for NULL.
    Returns:
        The number of rows.
    """
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"columns of {table} differ in length: {sorted(lengths)}")
    n_rows = lengths.pop()
    kinds = column_types(connection, table, list(columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(*table.split(".")), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor().copy(statement) as copy:
        if all(kind in WIRE_TYPES for kind in kinds):
            copy.write(HEADER)
            for chunk in _chunks(list(columns.values()), kinds):
                copy.write(chunk)
            copy.write(TRAILER)
        else:
            copy.set_types(kinds)
            for row in zip(*(_python_values(values) for values in columns.values()), strict=True):
                copy.write_row(row)
    return n_rows


def _chunks(columns: list[np.ndarray], kinds: list[str]) -> Iterator[memoryview]:
    """The rows in pieces; the next piece is laid out in a thread while the caller sends this one."""
    n_rows = len(columns[0])
    layouts = [Layout(kinds, min(n_rows, CHUNK_ROWS)) for _ in range(2 if n_rows > CHUNK_ROWS else 1)]

    def piece(number: int) -> memoryview:
        rows = slice(number * CHUNK_ROWS, (number + 1) * CHUNK_ROWS)
        return layouts[number % len(layouts)].encode([values[rows] for values in columns])

    last = -(-n_rows // CHUNK_ROWS) - 1
    if last <= 0:
        yield from (piece(number) for number in range(last + 1))
        return
    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(piece, 0)
        for number in range(last + 1):
            ready = ahead.result()
            if number < last:
                ahead = thread.submit(piece, number + 1)
            yield ready


def column_types(connection: psycopg.Connection[Any], table: str, names: list[str]) -> list[str]:
    """PostgreSQL's type names of these columns, in order."""
    rows = connection.execute(
        """SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
           WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped""",
        [table],
    ).fetchall()
    found = dict(rows)
    # an array type is named _element, which the driver does not know
    return [found[name][1:] + "[]" if found[name].startswith("_") else found[name] for name in names]


class Layout:
    """The bytes of one chunk of rows of fixed-width columns; what is the same in every chunk is written once."""

    def __init__(self, kinds: Sequence[str], n_rows: int) -> None:
        """Args:
        kinds: type name of each column, a key of WIRE_TYPES.
        n_rows: rows of the longest chunk.
        """
        self._kinds = [(kind, np.dtype(WIRE_TYPES[kind])) for kind in kinds]
        fields: list[tuple[str, Any]] = [("fields", ">i2")]
        for i, (_, wire) in enumerate(self._kinds):
            fields += [(f"length{i}", ">i4"), (f"value{i}", wire)]
        self._rows = np.zeros(n_rows, dtype=np.dtype(fields))
        self._rows["fields"] = len(kinds)
        for i, (_, wire) in enumerate(self._kinds):
            self._rows[f"length{i}"] = wire.itemsize

    def encode(self, columns: Sequence[np.ndarray]) -> memoryview:
        """The rows in COPY's binary format, without header and trailer; valid until the next call."""
        n_rows = len(columns[0])
        rows = self._rows[:n_rows]
        raw = rows.view(np.uint8).reshape(n_rows, rows.dtype.itemsize)
        keep: np.ndarray | None = None
        for i, (values, (kind, wire)) in enumerate(zip(columns, self._kinds, strict=True)):
            missing = _missing(values)
            _check_fits(values, kind)
            if missing is None:
                rows[f"value{i}"] = np.ma.getdata(values)
                continue
            keep = np.ones(raw.shape, dtype=bool) if keep is None else keep
            rows[f"value{i}"] = np.ma.filled(values, 0)
            rows[f"length{i}"] = np.where(missing, -1, wire.itemsize)
            offset = rows.dtype.fields[f"value{i}"][1]  # type: ignore[index]
            keep[missing, offset : offset + wire.itemsize] = False
        if keep is None:
            return raw.reshape(-1).data
        chosen = raw[keep]
        for i, (_, wire) in enumerate(self._kinds):
            rows[f"length{i}"] = wire.itemsize
        return chosen.data


def encode(columns: list[tuple[np.ndarray, str]]) -> bytes:
    """The rows of fixed-width columns in COPY's binary format, without header and trailer."""
    return bytes(Layout([kind for _, kind in columns], len(columns[0][0])).encode([values for values, _ in columns]))


def _check_fits(values: np.ndarray, kind: str) -> None:
    """Raises:
    OverflowError: an integer would wrap around on its way into the narrower column.
    TypeError: the column holds another kind of number.
    """
    target = np.dtype(WIRE_TYPES[kind])
    if kind != "bool" and not np.can_cast(values.dtype, target, "same_kind"):
        raise TypeError(f"values of {values.dtype} do not fit a column of {kind}")
    if values.dtype.kind in "iu" and target.kind == "i" and not np.can_cast(values.dtype, target) and len(values):
        limits, least, most = np.iinfo(target), values.min(), values.max()
        if least is not np.ma.masked and (least < limits.min or most > limits.max):
            raise OverflowError(f"values from {least} to {most} do not fit a column of {kind}")


def _missing(values: np.ndarray) -> np.ndarray | None:
    """bool (rows,) where the value is NULL; None if nowhere."""
    missing = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    if values.dtype.kind == "f":
        nan = np.isnan(np.ma.getdata(values))
        missing = nan if missing is None else missing | nan
    return missing if missing is not None and missing.any() else None


def _python_values(values: np.ndarray) -> list[Any]:
    missing = _missing(values)
    items = np.ma.getdata(values).tolist()
    return items if missing is None else [None if gone else item for item, gone in zip(items, missing, strict=True)]
