"""Progress on stderr: a bar with rate and time left on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cli.output import talk

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0


def watch() -> "Lines | Bars":
    """What shows progress here; to be used as a context manager."""
    return Bars() if sys.stderr.isatty() else Lines()


class Lines:
    """One line when a phase begins, every ten seconds, and when it ends."""

    def __init__(self, seconds_between: float = SECONDS_BETWEEN_LINES) -> None:
        self._seconds_between = seconds_between
        self._name, self._unit = "", ""
        self._total: int | None = None
        self._done, self._began, self._told = 0, 0.0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._end()

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin the phase `name`, which takes `total` units, if that is known."""
        self._end()
        self._name, self._total, self._unit, self._done = name, total, unit, 0
        self._began = self._told = time.monotonic()
        size = "" if total is None else f": {total:,} {unit}".rstrip()
        talk(f"{name}{size} …")

    def advance(self, amount: int) -> None:
        """Add `amount` units to the phase."""
        self._done += amount
        now = time.monotonic()
        if now - self._told >= self._seconds_between:
            self._told = now
            talk(self._state(now - self._began))

    def say(self, text: str) -> None:
        """Tell one sentence."""
        talk(text)

    def _state(self, seconds: float) -> str:
        rate = self._done / max(seconds, 1e-9)
        text = f"{self._name}: {self._done:,}" + (f" of {self._total:,}" if self._total else "") + f" {self._unit}"
        text = f"{text.rstrip()}, {rate:,.0f}/s"
        if self._total and rate:
            text += f", {_clock(max(0, self._total - self._done) / rate)} left"
        return text

    def _end(self) -> None:
        if self._name:
            talk(f"{self._name} done in {_clock(time.monotonic() - self._began)}")
        self._name = ""


class Bars:
    """A bar of the running phase, for a terminal; finished phases stay as lines."""

    def __init__(self) -> None:
        self._bars: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]} {task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
        )
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._end()
        self._running.stop()

    @property
    def _running(self) -> "RichProgress":
        if self._bars is None:
            raise RuntimeError("progress is shown only inside its `with` block")
        return self._bars

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin the phase `name`, which takes `total` units, if that is known."""
        self._end()
        self._task = self._running.add_task(name, total=total, unit=unit, rate="")

    def advance(self, amount: int) -> None:
        """Add `amount` units to the phase."""
        if self._task is None:
            return
        speed = self._running.tasks[-1].speed
        self._running.update(self._task, advance=amount, rate=f"{speed:,.0f}/s" if speed else "")

    def say(self, text: str) -> None:
        """Tell one sentence, above the bar."""
        self._running.console.print(text, markup=False)

    def _end(self) -> None:
        if self._task is not None:
            task = self._running.tasks[-1]
            self._running.update(self._task, total=task.completed or 1, completed=task.completed or 1)
        self._task = None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
