"""Nothing that is printed is wider than the terminal, nothing is left out in silence, and a pipe gets all of it."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli import output
from cli.excerpts import Excerpt, show_excerpts
from cli.main import app
from cli.output import Format, Section
from cli.tables import draw_table
from cli.widths import cut, cut_front, width_of, wrapped
from tests.commands import Answer, run_catalog, use_published_family
from tests.published_rows import MODELS

settings = use_published_family
catalog = run_catalog

ELSEWHERE = {"ablate", "intervene", "plan", "relabel", "verify", "doctor", "similar"}
"""Commands that compute, or read what this family has not; they print by the same functions."""
ROWS = {
    "find": ("find",),
    "universal": ("universal",),
    "families": ("families",),
    "matches": ("matches", MODELS[0], "1.10"),
    "groups": ("groups",),
    "layers": ("layers",),
    "depth": ("depth",),
    "models": ("models",),
    "runs list": ("runs", "list"),
    "rules list": ("rules", "list"),
    "sql": ("sql", "SELECT *, repeat('long ', 60) AS words, repeat('語', 50) AS wide FROM neuron_profiles"),
}
PAGES = {"show": ("show", MODELS[0], "1.10"), "runs show": ("runs", "show", "1"), "report": ("report",)}
SEPARATOR = "=-=-="

PROGRAM = f"""
import json, sys
from cli.main import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, arguments
    print("{SEPARATOR}")
    print("{SEPARATOR}", file=sys.stderr)
"""


class Screen:
    """What commands, in one new process, wrote on a terminal of so many columns, and on stderr."""

    def __init__(self, folder: Path, columns: int, commands: Sequence[Sequence[str]], **environment: str) -> None:
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        parts: list[bytes] = []
        reader = threading.Thread(target=_read, args=(leader, parts))
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        with (folder / "talk").open("w+") as talk:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps(commands)],
                stdout=follower,
                stderr=talk,
                env=inherited | environment,
            )
            os.close(follower)
            reader.start()
            code = process.wait()
            reader.join()
            os.close(leader)
            talk.seek(0)
            told = talk.read()
        assert code == 0, told
        shown = re.sub(r"\x1b\[[0-9;]*m", "", b"".join(parts).decode().replace("\r\n", "\n"))
        self.shown = [part.removeprefix("\n") for part in shown.split(SEPARATOR)[:-1]]
        self.told = [part.removeprefix("\n") for part in told.split(SEPARATOR)[:-1]]


def _read(leader: int, parts: list[bytes]) -> None:
    try:
        while part := os.read(leader, 65536):
            parts.append(part)
    except OSError:
        """The other end is closed."""


def told_names(told: str, what: str) -> list[str]:
    """The names that stderr lists as left out, or as shortened."""
    found = re.search(rf"{what}: ([^;]+)", told)
    return found[1].split(", ") if found else []


def test_the_walk_has_every_command_that_prints_rows() -> None:
    found = set()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for words, leaf in {name: command, **{f"{name} {word}": leaf for word, leaf in _children(command).items()}}.items():
            if any(parameter.name == "wide" for parameter in leaf.params):
                found.add(words)
    assert found == {*ROWS, *PAGES, *ELSEWHERE}


def _children(command: object) -> dict[str, object]:
    return getattr(command, "commands", {})


@pytest.mark.parametrize("columns", [80, 40])
def test_no_line_is_wider_than_the_terminal_and_what_is_missing_is_told(
    settings: pytest.MonkeyPatch, tmp_path: Path, columns: int
) -> None:
    commands = [*ROWS.values(), *PAGES.values()]
    screen = Screen(tmp_path, columns, commands)
    whole = Screen(tmp_path, columns, [[*words, "--wide"] for words in commands])
    names = [*ROWS, *PAGES]
    cut_somewhere = 0
    for name, shown, told, full, said in zip(names, screen.shown, screen.told, whole.shown, whole.told, strict=True):
        wide = [line for line in shown.splitlines() if width_of(line) > columns]
        assert not wide, f"{name}: {wide}"
        assert shown, name
        assert ("…" in shown) == ("shortened" in told), f"{name}: {told}"
        assert not {"left out", "shortened"} & {word for word in ("left out", "shortened") if word in said}, name
        cut_somewhere += "--wide prints all" in told
        if name in ROWS:
            _check_columns(shown, told, full)
    assert cut_somewhere > 4


def _check_columns(shown: str, told: str, full: str) -> None:
    every = full.splitlines()[0].split()
    heads = shown.splitlines()[0].split()
    left_out = told_names(told, "left out")
    assert len(heads) + len(left_out) == len(every)
    assert [name for name in every if name in left_out] == left_out
    for head, name in zip(heads, [name for name in every if name not in left_out], strict=True):
        assert name.startswith(head.removesuffix("…"))
    assert len(shown.splitlines()) == len(full.splitlines())


def test_the_long_values_of_a_run_go_on_below_each_other(settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    screen = Screen(tmp_path, 80, [PAGES["runs show"], [*PAGES["runs show"], "--wide"]])
    narrow, wide = (shown.splitlines() for shown in screen.shown)
    assert len(narrow) > len(wide) and max(map(len, wide)) > 80
    place = next(line.index("published") for line in narrow if line.split()[:1] == ["status"])
    goes_on = [line for line in narrow[1:] if not line[:place].strip()]
    assert goes_on and all(line[place] != " " for line in goes_on)
    squeezed = ("".join("".join(lines).split()) for lines in (narrow, wide))
    assert len(set(squeezed)) == 1, "no character is lost"


def test_columns_says_how_wide_a_terminal_is(settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    screen = Screen(tmp_path, 80, [ROWS["sql"]], COLUMNS="50")
    assert 40 < max(map(width_of, screen.shown[0].splitlines())) <= 50


def test_a_pipe_gets_every_value_whole_whatever_columns_says(
    settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    output.show_records(["words"], [{"words": "long " * 100}], Format.TABLE)
    captured = capsys.readouterr()
    assert (captured.out.splitlines()[2], captured.err) == (("long " * 100).rstrip(), "")


def test_wide_is_refused_where_nothing_is_cut(catalog: Callable[..., Answer]) -> None:
    code, out, err = catalog("models", "--wide", "--format", "json")
    assert (code, out) == (1, "") and err.startswith("error: --wide is for tables")
    assert "--wide" in catalog("models", "--help").out


def test_the_report_has_the_same_answers_in_every_format(catalog: Callable[..., Answer]) -> None:
    text = catalog("report").out
    found = catalog("report", "--format", "json").rows
    assert list(found) == ["layers", "most_universal", "families", "alphabet"]
    assert catalog("report", "--format", "jsonl").rows == found
    for record in found["most_universal"]:
        line = next(line for line in text.splitlines() if line.startswith(f"{_word(record)} "))
        matches = ", ".join(f"{_word(match)} ({match['correlation']:.2f})" for match in record["best_matches"])
        assert matches and line.endswith(matches) and f"{record['excess_corr']:.4f}" in line
    lines = list(csv.DictReader(io.StringIO(catalog("report", "--format", "csv").out)))
    values = {section: sum(len(record) for record in records) for section, records in found.items()}
    assert {section: sum(line["section"] == section for line in lines) for section in found} == values


def _word(neuron: dict[str, Any]) -> str:
    return f"{neuron['model']} {neuron['layer']}.{neuron['neuron']}"


# --- the rules of fitting ---


def test_numbers_are_never_cut_and_the_longest_text_is_cut_first() -> None:
    rows = [("abcdefgh", "x" * 60, 123456789), ("ijklmnop", "y" * 30, 2)]
    table = draw_table(["short", "long", "number"], rows, 40)
    assert (table.left_out, table.shortened) == ([], ["long"])
    lines = table.text.splitlines()
    assert lines[2].startswith("abcdefgh  xxx") and lines[2].endswith("…  123456789")
    assert {width_of(line) for line in lines} == {40}


def test_different_texts_stay_different_or_are_left_out() -> None:
    names = [(f"{'a' * 14}-{letter}-{'b' * 30}",) for letter in "xyz"]
    shown = draw_table(["name"], names, 20).text.splitlines()[2:]
    assert len(set(shown)) == 3
    table = draw_table(["n", "name"], [(1, *name) for name in names], 15)
    assert table.left_out == ["name"] and "aaa" not in table.text


def test_a_narrow_column_behind_a_wide_one_is_kept() -> None:
    table = draw_table(["a", "wide_number", "b"], [(1, 10**30, 2)], 20)
    assert (table.text.split(), table.left_out) == (["a", "b", "─", "─", "1", "2"], ["wide_number"])


@pytest.mark.parametrize("room", range(1, 30))
@pytest.mark.parametrize(
    "text", ["plain words here", "語語語 語語語語", "e\u0301" * 12, "हिन्दी में पाठ है", "x" * 25, "", "❤\ufe0f❤\ufe0f"]
)
def test_cut_and_wrapped_text_fits_and_loses_nothing_in_silence(text: str, room: int) -> None:
    for shown in (cut(text, room), cut_front(text, room)):
        assert width_of(shown) <= room and (shown == text or "…" in shown)
    lines = wrapped(text, room)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    if room > 1:
        assert all(width_of(line) <= room for line in lines)


@pytest.mark.parametrize(
    ("text", "columns"), [("語", 2), ("e\u0301", 1), ("ก\u0e31", 1), ("नि", 1), ("한", 2), ("\u1112\u1161", 2), ("…", 1)]
)
def test_widths_of_scripts(text: str, columns: int) -> None:
    assert width_of(text) == columns


def test_the_token_of_an_example_is_kept_in_the_middle(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    show_excerpts("Examples", [Excerpt("top", 1.0, "", "before " * 20, "token", " after" * 20)])
    captured = capsys.readouterr()
    line = re.sub(r"\x1b\[[0-9;]*m", "", captured.out.splitlines()[-1])
    assert width_of(line) == 40 and re.fullmatch(r"1\.0000  ….*before token after.*…", line)
    assert "--wide prints all" in captured.err


def test_what_pages_leave_out_is_told_by_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    output.show_page("page", {"key": "v" * 40}, [Section("one", "One", ["n", "text"], [(10**15, "t" * 30)])], Format.TABLE)
    captured = capsys.readouterr()
    assert all(width_of(line) <= 20 for line in captured.out.splitlines())
    assert captured.err == "1 column left out: one.text; --wide prints all\n"
