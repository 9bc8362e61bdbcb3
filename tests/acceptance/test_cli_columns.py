"""Columns keep their places, whatever they are called: SQL may give several one name."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.answers import Rows
from catalog.errors import InputError
from cli.output import Format, show_rows
from tests.commands import run_catalog, use_published_family
from tests.published_rows import MODELS, N

settings = use_published_family
catalog = run_catalog

TWICE = "SELECT 1 AS a, 2 AS a, 3 AS b"
COUNTED = "SELECT count(*), count(*) FILTER (WHERE universal = 'yes') FROM neuron_profiles"
UNNAMED = "SELECT 1, 2 WHERE false"
COUNTS = [len(MODELS) * N, 3 * len(MODELS)]


def test_a_table_and_csv_show_columns_of_one_name_by_position(catalog):
    assert catalog("sql", TWICE).out.splitlines() == ["a  a  b", "─  ─  ─", "1  2  3"]
    assert catalog("sql", TWICE, "--format", "csv").out == "a,a,b\n1,2,3\n"
    assert [int(count) for count in catalog("sql", COUNTED).out.splitlines()[2].split()] == COUNTS
    assert catalog("sql", COUNTED, "--format", "csv").out.splitlines()[1] == ",".join(map(str, COUNTS))


@pytest.mark.parametrize("format", ["json", "jsonl"])
@pytest.mark.parametrize(("statement", "name"), [(TWICE, "'a'"), (COUNTED, "'count'"), (UNNAMED, "'?column?'")])
def test_json_refuses_columns_of_one_name_and_says_how_to_name_them(catalog, format, statement, name):
    answer = catalog("sql", statement, "--format", format)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"error: more than one column is called {name}, ") and "AS n" in answer.err
    assert answer.err.count("\n") == 1


NAMES = st.lists(st.sampled_from(["a", "b", "count", "?column?", "", "A"]), min_size=1, max_size=6)
VALUES = st.none() | st.integers(-99, 99) | st.booleans() | st.text("xyz ,\"\n", min_size=1)


@given(names=NAMES, data=st.data())
def test_every_value_is_printed_in_its_place_or_nothing_is(names, data):
    rows = data.draw(st.lists(st.tuples(*[VALUES] * len(names)), max_size=4))
    answer = Rows(tuple(names), (25,) * len(names), tuple(rows))
    unique = len(set(names)) == len(names)
    printed = _printed(answer, Format.CSV)
    as_text = [["" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for v in row] for row in rows]
    assert list(csv.reader(io.StringIO(printed))) == [names, *as_text]
    for format in (Format.JSON, Format.JSONL):
        if not unique:
            with pytest.raises(InputError, match="more than one column"):
                _printed(answer, format)
            continue
        printed = _printed(answer, format)
        found = json.loads(printed) if format is Format.JSON else [json.loads(line) for line in printed.split("\n")[:-1]]
        assert [tuple(row.items()) for row in found] == [tuple(zip(names, row, strict=True)) for row in rows]
    if unique:
        assert [tuple(record.values()) for record in answer.records()] == rows
    else:
        with pytest.raises(ValueError, match="one name"):
            answer.records()


def _printed(answer: Rows, format: Format) -> str:
    with pytest.MonkeyPatch.context() as patch:
        stream = io.StringIO()
        patch.setattr("sys.stdout", stream)
        show_rows(answer, format)
    return stream.getvalue()
