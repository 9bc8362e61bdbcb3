"""The four shapes of output, and that nothing but data reaches stdout."""

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest
import typer

from catalog.answers import Rows
from cli import output
from cli.output import Format

ROWS = Rows(
    ("model", "neuron", "score", "universal", "token"),
    (25, 23, 701, 16, 25),
    (("a", 7, 0.5, True, " the\n"), ("b", 10, None, False, "x\x1b[2J")),
)


def test_table_is_aligned_and_shows_what_is_undefined(capsys):
    output.show_rows(ROWS, Format.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model  neuron   score  universal  token"
    assert lines[2] == "a           7  0.5000  yes         the\\n"
    assert lines[3] == "b          10       –  no         x\\x1b[2J"


def test_json_and_jsonl_hold_the_same_objects(capsys):
    output.show_rows(ROWS, Format.JSON)
    objects = json.loads(capsys.readouterr().out)
    output.show_rows(ROWS, Format.JSONL)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == objects
    assert objects[0] == {"model": "a", "neuron": 7, "score": 0.5, "universal": True, "token": " the\n"}
    assert objects[1]["score"] is None


def test_csv_reads_back(capsys):
    output.show_rows(ROWS, Format.CSV)
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["token"] for row in read] == [" the\n", "x\x1b[2J"]
    assert [row["score"] for row in read] == ["0.5", ""]


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (Format.TABLE, ""),
        (Format.JSONL, ""),
        (Format.JSON, "[]\n"),
        (Format.CSV, "model,neuron,score,universal,token\n"),
    ],
)
def test_no_rows(capsys, format, expected):
    output.show_rows(replace(ROWS, rows=()), format)
    assert capsys.readouterr().out == expected


def test_wide_and_combining_characters_keep_columns_aligned():
    lines = output.draw_table(["token", "n"], [("語", 1), ("e\u0301", 2)]).text.splitlines()
    assert lines[2] == "語     1"
    assert lines[3] == "e\u0301      2"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("0.5"), 0.5),
        (float("inf"), None),
        (float("nan"), None),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02 03:04:05"),
        ((1, None), [1, None]),
        ({"a": Decimal("NaN")}, {"a": None}),
        (b"\x00\xff", "00ff"),
    ],
)
def test_plain_values(value, expected):
    assert output.plain_value(value) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.12345, -1.0], ["0.0000", "0.1235", "-1.0000"]),
        ([5.46875, 42.1875], ["5.47", "42.19"]),
        ([42.0, 0.00123], ["42", "0.00123"]),
        ([1e-5, 0.5], ["1e-05", "0.5"]),
        ([123456.0], ["1.23e+05"]),
    ],
)
def test_numbers_of_a_column_have_equal_decimals_where_that_shows_them_all(values, expected):
    lines = output.draw_table(["n"], [[value] for value in values]).text.splitlines()
    assert [line.strip() for line in lines[2:]] == expected


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.15312, 0.00412, "0.153 ± 0.004"),
        (-0.15312, 0.00152, "-0.1531 ± 0.0015"),
        (12345.6, 234.0, "12346 ± 234"),
        (3.0, 0.0, "3 ± 0"),
        (1e-9, 2.5e-10, "1e-09 ± 2.5e-10"),
        (0.5, None, "0.5000"),
        (None, 0.5, "–"),
    ],
)
def test_standard_errors_stand_beside_their_numbers_for_people_alone(capsys, value, error, expected):
    """A column whose name ends otherwise, or that no number belongs to, is left as it is."""
    rows = Rows(("corr", "n", "corr_se", "kl_se"), (701, 23, 701, 701), ((value, 5, error, 0.25),))
    output.show_rows(rows, Format.TABLE)
    head, _, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["corr", "n", "kl_se"]
    assert line.strip().startswith(f"{expected}  ")
    output.show_page("page", {}, [output.Section("one", "One", rows.names, rows.rows)], Format.TABLE)
    assert capsys.readouterr().out.splitlines()[-1] == line
    output.show_rows(rows, Format.TABLE, as_asked=True)
    assert capsys.readouterr().out.split()[:4] == list(rows.names)
    output.show_rows(rows, Format.JSONL)
    assert list(json.loads(capsys.readouterr().out)) == list(rows.names)


def test_a_number_with_its_error_is_not_cut():
    table = output.draw_table(*output.joined_errors(["text", "n", "n_se"], [("x" * 30, 0.5, 0.25)]), 25)
    assert table.text.splitlines()[2].endswith("…  0.5 ± 0.2") and table.shortened == ["text"]


def test_page_in_every_format(capsys):
    section = output.Section("labels", "Labels", ["family", "score"], [("alphabet", 0.5)])
    empty = output.Section("top_tokens", "Tokens", ["token"], [])
    output.show_page("a 1.10", {"model": "a", "layer": 1}, [section, empty], Format.TABLE)
    text = capsys.readouterr().out
    assert text.startswith("a 1.10\n  model  a\n  layer  1\n\nLabels\n")
    assert "Tokens" not in text
    output.show_page("a 1.10", {"model": "a", "layer": 1}, [section, empty], Format.JSON)
    whole = json.loads(capsys.readouterr().out)
    assert whole == {
        "identity": {"model": "a", "layer": 1},
        "labels": [{"family": "alphabet", "score": 0.5}],
        "top_tokens": [],
    }
    output.show_page("a 1.10", {"model": "a", "layer": 1}, [section, empty], Format.JSONL)
    assert json.loads(capsys.readouterr().out) == whole
    output.show_page("a 1.10", {"model": "a", "layer": 1}, [section, empty], Format.CSV)
    assert "labels,1,score,0.5\n" in capsys.readouterr().out


def test_a_reader_that_goes_away_ends_the_command_in_silence():
    program = "from cli import output; output.show_records(['n'], ({'n': n} for n in range(300000)), 'jsonl')"
    writer = subprocess.Popen(
        [sys.executable, "-c", f"import sys, typer\ntry:\n {program}\nexcept typer.Exit as e: sys.exit(e.exit_code)"],
        # Unbuffered, Python loses the rest of a write that was cut short, and never sees the error.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert writer.stdout is not None and writer.stderr is not None
    writer.stdout.readline()
    writer.stdout.close()
    talk = writer.stderr.read()
    writer.stderr.close()
    assert (writer.wait(), talk) == (output.PIPE_CLOSED, b"")


def test_a_closed_pipe_is_an_exit(monkeypatch):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(typer.Exit) as exit:
            output.write("x")
    assert exit.value.exit_code == output.PIPE_CLOSED


def test_talk_goes_to_stderr_without_control_characters(capsys):
    output.talk("a\x1b[2Jb")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "a\\x1b[2Jb\n")


@pytest.mark.parametrize(
    ("shown", "total", "expected"), [(2, 2, "2 of 2 labels\n"), (50, 70, "50 of 70 labels; --limit 0 prints all\n")]
)
def test_counts(capsys, shown, total, expected):
    output.show_count(shown, total, "labels")
    assert capsys.readouterr().err == expected
