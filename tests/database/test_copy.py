"""Binary COPY from columns of numpy: every value arrives, and what is undefined arrives as NULL."""

from contextlib import _GeneratorContextManager

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.copy import CHUNK_ROWS, copy_columns, encode

NUMBERS = {
    "int2": np.int16,
    "int4": np.int32,
    "int8": np.int64,
    "float4": np.float32,
    "float8": np.float64,
    "bool": np.bool_,
}


@pytest.fixture
def connection(server):
    url = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as opened:
        columns = ", ".join(f"c_{kind} {kind}" for kind in NUMBERS)
        opened.execute(f"CREATE TEMPORARY TABLE mixed ({columns}, c_text text, c_bytea bytea, place int4)")
        yield opened


@pytest.mark.parametrize(("kind", "dtype"), [("halfvec", np.float16), ("float4[]", np.float32)])
@pytest.mark.parametrize("width", [1, 7, 300])
def test_vectors_arrive_whole_in_several_chunks(connection, monkeypatch, kind, dtype, width):
    monkeypatch.setattr("catalog.copy.CHUNK_VALUES", 1000)
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute(f"CREATE TEMPORARY TABLE vectors (place int4, name text, vector {kind})")
    vectors = np.random.default_rng(width).normal(size=(50, width)).astype(dtype)
    columns = {"place": np.arange(50, dtype=np.int32), "name": np.array([b"w_out"] * 50), "vector": vectors}
    assert copy_columns(connection, "pg_temp.vectors", columns) == 50
    found = connection.execute("SELECT place, name, vector::real[] FROM vectors ORDER BY place").fetchall()
    assert [row[:2] for row in found] == [(place, "w_out") for place in range(50)]
    assert np.array_equal(np.array([row[2] for row in found], dtype=dtype), vectors)


def test_an_empty_array_arrives_and_a_vector_with_nan_does_not(connection):
    connection.execute("CREATE TEMPORARY TABLE arrays (place int4, list float4[])")
    columns = {"place": np.arange(3, dtype=np.int32), "list": np.empty((3, 0), dtype=np.float32)}
    copy_columns(connection, "pg_temp.arrays", columns)
    assert connection.execute("SELECT DISTINCT list FROM arrays").fetchall() == [([],)]
    with pytest.raises(ValueError, match="NaN"):
        copy_columns(connection, "pg_temp.arrays", {**columns, "list": np.full((3, 2), np.nan, dtype=np.float32)})
    with pytest.raises(ValueError, match="one length"):
        copy_columns(connection, "mixed", {"c_text": np.array([b"a", b"bc"])})


def test_extreme_values_of_every_type_arrive(connection):
    columns = {"place": np.arange(4, dtype=np.int32)}
    for kind, dtype in NUMBERS.items():
        info = None if dtype is np.bool_ else np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
        values = [True, False, True, False] if info is None else [info.min, info.max, 0, 1]
        columns[f"c_{kind}"] = np.array(values, dtype=dtype)
    assert copy_columns(connection, "mixed", columns) == 4
    for name, values in columns.items():
        found = [row[0] for row in connection.execute(f"SELECT {name} FROM mixed ORDER BY place")]
        assert np.array_equal(np.array(found, dtype=values.dtype), values), name


@pytest.mark.parametrize("with_text", [False, True], ids=["matrix", "row by row"])
def test_nan_and_masked_values_become_null_where_they_stand(connection, with_text):
    columns = {
        "place": np.arange(5, dtype=np.int32),
        "c_float8": np.array([1.5, np.nan, -0.0, np.inf, np.nan]),
        "c_int4": np.ma.masked_array(np.arange(5, dtype=np.int32), mask=[True, False, False, False, True]),
        "c_float4": np.ma.masked_array(np.array([1, 2, np.nan, 4, 5], dtype=np.float32), mask=[False, True] + [False] * 3),
    }
    if with_text:
        columns["c_text"] = np.array(["a", "", "é語", "\\", "\n"], dtype=object)
    copy_columns(connection, "mixed", columns)
    found = connection.execute("SELECT c_float8, c_int4, c_float4, c_text FROM mixed ORDER BY place").fetchall()
    texts = ["a", "", "é語", "\\", "\n"] if with_text else [None] * 5
    assert [row[:3] for row in found] == [
        (1.5, None, 1.0), (None, 1, None), (-0.0, 2, None), (float("inf"), 3, 4.0), (None, None, 5.0),
    ]  # fmt: skip
    assert [row[3] for row in found] == texts


def test_bytes_and_missing_text(connection):
    raw = np.empty(3, dtype=object)
    raw[:] = [b"\x00\xff", None, b""]
    copy_columns(connection, "mixed", {"place": np.arange(3, dtype=np.int32), "c_bytea": raw})
    found = connection.execute("SELECT c_bytea FROM mixed ORDER BY place").fetchall()
    assert [None if value is None else bytes(value) for (value,) in found] == [b"\x00\xff", None, b""]


@given(st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), st.floats(allow_nan=True, width=32)), max_size=50))
def test_the_layout_is_postgresqls(pairs):
    """Field count, then length and big-endian value of each field; -1 and nothing for NULL."""
    integers = np.array([integer for integer, _ in pairs], dtype=np.int32)
    floats = np.array([value for _, value in pairs], dtype=np.float32)
    expected = b"".join(
        (2).to_bytes(2)
        + (4).to_bytes(4)
        + int(integer).to_bytes(4, signed=True)
        + (b"\xff" * 4 if np.isnan(value) else (4).to_bytes(4) + np.array(value, dtype=">f4").tobytes())
        for integer, value in zip(integers, floats, strict=True)
    )
    assert encode([(integers, "int4"), (floats, "float4")]) == expected


@pytest.mark.parametrize("n", [0, 1, CHUNK_ROWS, CHUNK_ROWS + 1])
def test_any_number_of_rows(connection, n):
    place = np.arange(n, dtype=np.int32)
    values = np.where(place % 3 == 0, np.nan, place.astype(np.float64))
    assert copy_columns(connection, "mixed", {"place": place, "c_float8": values}) == n
    expected = (n, int(np.isfinite(values).sum()), float(np.nansum(values)) if n > 1 else None)
    assert connection.execute("SELECT count(*), count(c_float8), sum(c_float8) FROM mixed").fetchone() == expected


def test_columns_of_different_length_are_refused(connection):
    with pytest.raises(ValueError, match=r"columns of mixed differ in length: \[1, 2\]"):
        copy_columns(connection, "mixed", {"place": np.zeros(1, np.int32), "c_int4": np.zeros(2, np.int32)})


def test_a_number_that_does_not_fit_is_refused_and_not_wrapped(connection):
    with pytest.raises((OverflowError, ValueError)):
        copy_columns(connection, "mixed", {"place": np.array([2**40])})


@pytest.mark.parametrize("when", ["__enter__", "__exit__"])
def test_an_interruption_beside_the_rows_leaves_no_lock_behind(connection, monkeypatch, when):
    """As a signal between psycopg's block and ours: its generator is suspended then, and holds the connection's lock."""
    usual = getattr(_GeneratorContextManager, when)

    def interrupted(manager, *error):
        if manager.gen.__name__ == "copy":
            if when == "__enter__":
                usual(manager)
            raise SystemExit(143)
        return usual(manager, *error)

    monkeypatch.setattr(_GeneratorContextManager, when, interrupted)
    columns = {"place": np.arange(3, dtype=np.int32), "c_text": np.array(["a", "b", None], dtype=object)}
    with pytest.raises(SystemExit) as caught:
        copy_columns(connection, "mixed", columns)
    monkeypatch.undo()
    locked = connection.lock.locked()
    if locked:
        connection.close()  # the fixture would wait for it
    assert not locked, caught
    assert connection.execute("SELECT count(*) FROM mixed").fetchone() == (0,)
