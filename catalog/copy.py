"""Binary COPY from numpy columns: the bytes of many rows are laid out at once, without a Python loop over rows.

PostgreSQL's format per row: int16 number of fields, then per field int32 length (-1 for NULL) and the big-endian value.
Fixed-width columns give every row the same layout, so a chunk is one (rows, bytes) uint8 matrix; the value bytes of
NULLs are cut out by a mask. So are columns whose values have one width in a call: (rows, d) arrays for halfvec and float4[],
and text of equal length (numpy's S). Other columns make rows of different length and go through psycopg's row writer.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from traceback import clear_frames
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

HEADER = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
TRAILER = b"\xff\xff"
CHUNK_ROWS = 65_536
CHUNK_VALUES = 4_194_304
"""Values of a vector column in a chunk."""

WIRE_TYPES = {"int2": ">i2", "int4": ">i4", "int8": ">i8", "float4": ">f4", "float8": ">f8", "bool": "u1"}
"""PostgreSQL's name of each fixed-width type, and its bytes."""

FLOAT4_OID = 700


def copy_columns(connection: psycopg.Connection[Any], table: str, columns: Mapping[str, np.ndarray]) -> int:
    """COPY columns of equal length into a table; NaN and masked entries become NULL.

    Args:
        table: qualified name, `schema.table`.
        columns: one 1-D array per column of the table to fill; object arrays hold text, bytes, lists for arrays or JSON, and
            None for NULL; S arrays text without NULL, of one length; 2-D arrays a vector per row, without NULL.
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
    wires = _wire_types(columns.values(), kinds)
    try:
        with connection.cursor().copy(statement) as copy:
            _send(copy, list(columns.values()), kinds, wires)
    except BaseException as error:
        # An interruption on the way into the block, or out of it, leaves psycopg's generator suspended, and with it the
        # connection's lock, for which the next statement would wait forever; only the traceback holds it.
        clear_frames(error.__traceback__)
        raise
    return n_rows


def _send(copy: psycopg.Copy, columns: list[np.ndarray], kinds: list[str], wires: list[np.dtype[Any]] | None) -> None:
    """All rows; `wires` is None where psycopg has to lay them out."""
    if wires is not None:
        copy.write(HEADER)
        for chunk in _chunks(columns, kinds, wires):
            copy.write(chunk)
        copy.write(TRAILER)
        return
    copy.set_types(kinds)
    for row in zip(*(_python_values(values) for values in columns), strict=True):
        copy.write_row(row)


def _chunks(columns: list[np.ndarray], kinds: list[str], wires: list[np.dtype[Any]]) -> Iterator[memoryview]:
    """The rows in pieces; the next piece is laid out in a thread while the caller sends this one."""
    n_rows = len(columns[0])
    step = max(1, min(CHUNK_ROWS, CHUNK_VALUES // max(math.prod(values.shape[1:]) for values in columns)))
    layouts = [Layout(kinds, wires, min(n_rows, step)) for _ in range(2 if n_rows > step else 1)]

    def piece(number: int) -> memoryview:
        rows = slice(number * step, (number + 1) * step)
        return layouts[number % len(layouts)].encode([values[rows] for values in columns])

    last = -(-n_rows // step) - 1
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
    types = dict(rows)
    # an array type is named _element, which the driver does not know
    return [types[name][1:] + "[]" if types[name].startswith("_") else types[name] for name in names]


class Layout:
    """The bytes of one chunk of rows of fixed-width columns; what is the same in every chunk is written once."""

    def __init__(self, kinds: Sequence[str], wires: Sequence[np.dtype[Any]], n_rows: int) -> None:
        """Args:
        kinds: type name of each column.
        wires: the bytes of a value of each column.
        n_rows: rows of the longest chunk.
        """
        self._kinds = list(zip(kinds, wires, strict=True))
        fields: list[tuple[str, Any]] = [("fields", ">i2")]
        for i, (_, wire) in enumerate(self._kinds):
            fields += [(f"length{i}", ">i4"), (f"value{i}", wire)]
        self._rows = np.zeros(n_rows, dtype=np.dtype(fields))
        self._rows["fields"] = len(kinds)
        for i, (kind, wire) in enumerate(self._kinds):
            self._rows[f"length{i}"] = wire.itemsize
            if wire.fields is not None:
                _write_heads(self._rows[f"value{i}"], kind, wire["values"].shape[0])

    def encode(self, columns: Sequence[np.ndarray]) -> memoryview:
        """The rows in COPY's binary format, without header and trailer; valid until the next call."""
        n_rows = len(columns[0])
        rows = self._rows[:n_rows]
        raw = rows.view(np.uint8).reshape(n_rows, rows.dtype.itemsize)
        keep: np.ndarray | None = None
        for i, (values, (kind, wire)) in enumerate(zip(columns, self._kinds, strict=True)):
            if wire.fields is not None:
                numbers = rows[f"value{i}"]["values"]
                (numbers if numbers.dtype.fields is None else numbers["number"])[...] = values
                continue
            missing = _missing(values)
            if kind in WIRE_TYPES:
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
    arrays, kinds = [values for values, _ in columns], [kind for _, kind in columns]
    wires = _wire_types(arrays, kinds)
    assert wires is not None, kinds
    return bytes(Layout(kinds, wires, len(arrays[0])).encode(arrays))


def _wire_types(columns: Iterable[np.ndarray], kinds: Sequence[str]) -> list[np.dtype[Any]] | None:
    """The bytes of a value of each column; None if those of some column differ in length."""
    types = [_wire_type(kind, values) for kind, values in zip(kinds, columns, strict=True)]
    wires = [wire for wire in types if wire is not None]
    return wires if len(wires) == len(types) else None


def _wire_type(kind: str, values: np.ndarray) -> np.dtype[Any] | None:
    """The bytes of one value of a column, if all of its values have equally many.

    Raises:
        ValueError: text of several lengths, or a vector with NaN.
    """
    if kind in WIRE_TYPES:
        return np.dtype(WIRE_TYPES[kind])
    if kind == "text" and values.dtype.kind == "S":
        if len(values) and np.char.str_len(values).min() < values.dtype.itemsize:
            raise ValueError("text as an S array must have one length")
        return values.dtype
    if kind not in ("halfvec", "float4[]") or values.ndim != 2:
        return None
    if np.isnan(values).any():
        raise ValueError(f"a vector for {kind} holds NaN; leave such rows out")
    if kind == "halfvec":
        return np.dtype([("head", ">i2", (2,)), ("values", ">f2", (values.shape[1],))])
    heads = 5 if values.shape[1] else 3  # an empty array has no dimension
    return np.dtype([("head", ">i4", (heads,)), ("values", [("size", ">i4"), ("number", ">f4")], (values.shape[1],))])


def _write_heads(rows: np.ndarray, kind: str, width: int) -> None:
    """What stands before the numbers of a vector, and before each number of an array."""
    if kind == "halfvec":
        rows["head"] = (width, 0)
        return
    rows["head"] = (1, 0, FLOAT4_OID, width, 1) if width else (0, 0, FLOAT4_OID)
    rows["values"]["size"] = 4


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
