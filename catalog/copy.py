"""Binary COPY from numpy columns: the bytes of many rows are laid out at once, without a Python loop over rows.

PostgreSQL's format per row: int16 number of fields, then per field int32 length (-1 for NULL) and the big-endian value.
Fixed-width columns give every row the same layout, so a chunk is one (rows, bytes) uint8 matrix; the value bytes of
NULLs are cut out by a mask. Columns of text make rows of different length and go through psycopg's row writer.
"""

from collections.abc import Mapping
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
        columns: one 1-D array per column of the table to fill; object arrays hold text, bytes or JSON text.
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
            for start in range(0, n_rows, CHUNK_ROWS):
                rows = slice(start, start + CHUNK_ROWS)
                copy.write(encode([(values[rows], kind) for values, kind in zip(columns.values(), kinds, strict=True)]))
            copy.write(TRAILER)
        else:
            copy.set_types(kinds)
            for row in zip(*(_python_values(values) for values in columns.values()), strict=True):
                copy.write_row(row)
    return n_rows


def column_types(connection: psycopg.Connection[Any], table: str, names: list[str]) -> list[str]:
    """PostgreSQL's type names of these columns, in order."""
    rows = connection.execute(
        """SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
           WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped""",
        [table],
    ).fetchall()
    found = dict(rows)
    return [found[name] for name in names]


def encode(columns: list[tuple[np.ndarray, str]]) -> bytes:
    """The rows of fixed-width columns in COPY's binary format, without header and trailer."""
    n_rows = len(columns[0][0])
    fields: list[tuple[str, Any]] = [("fields", ">i2")]
    for i, (_, kind) in enumerate(columns):
        fields += [(f"length{i}", ">i4"), (f"value{i}", WIRE_TYPES[kind])]
    layout = np.dtype(fields)
    rows = np.zeros(n_rows, dtype=layout)
    rows["fields"] = len(columns)
    keep = np.ones((n_rows, layout.itemsize), dtype=bool)
    any_null = False
    for i, (values, kind) in enumerate(columns):
        missing = _missing(values)
        _check_fits(values, kind)
        rows[f"value{i}"] = np.ma.filled(values, 0) if missing is not None else values
        rows[f"length{i}"] = np.dtype(WIRE_TYPES[kind]).itemsize
        if missing is not None:
            any_null = True
            rows[f"length{i}"][missing] = -1
            offset = layout.fields[f"value{i}"][1]  # type: ignore[index]
            keep[missing, offset : offset + np.dtype(WIRE_TYPES[kind]).itemsize] = False
    raw = rows.view(np.uint8).reshape(n_rows, layout.itemsize)
    return raw[keep].tobytes() if any_null else raw.tobytes()


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
