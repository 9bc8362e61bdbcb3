"""Progress goes to stderr and says how fast, and how long still."""

import io
from types import SimpleNamespace

from rich.console import Console

from cli import progress
from cli.progress import Bars, Lines


def test_lines_say_phase_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 5.0, 20.0, 30.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with Lines(seconds_between=10) as lines:
        lines.phase("accumulate", 4000, "tokens")
        lines.advance(500)
        lines.advance(500)
        lines.say("half a word")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "accumulate: 4,000 tokens …",
        "accumulate: 1,000 of 4,000 tokens, 50/s, 1:00 left",
        "half a word",
        "accumulate done in 0:30",
    ]


def test_a_phase_of_unknown_length_has_no_time_left(capsys, monkeypatch):
    clock = iter([0.0, 4000.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    lines = Lines(seconds_between=10)
    lines.phase("stage")
    lines.advance(8000)
    assert capsys.readouterr().err.splitlines() == ["stage …", "stage: 8,000, 2/s"]


def test_an_error_does_not_call_its_phase_done(capsys):
    try:
        with Lines() as lines:
            lines.phase("merge")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert capsys.readouterr().err == "merge …\n"


def test_bars_show_the_phase(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console",
        lambda **options: Console(file=screen, force_terminal=True, width=120, highlight=options["highlight"]),
    )
    with Bars() as bars:
        bars.phase("tokenise", 10, "rows")
        bars.advance(10)
        bars.say("[not] markup")
        bars.phase("publish")
    shown = screen.getvalue()
    assert "tokenise" in shown and "10/10" in shown and "publish" in shown and "[not] markup" in shown
