"""How long work reports on itself, without knowing who looks on."""

import time
from typing import Protocol


class Progress(Protocol):
    """One phase at a time; `advance` moves its bar."""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin the phase `name`, which takes `total` units, if that is known."""

    def advance(self, amount: int) -> None:
        """Add `amount` units to the phase."""

    def say(self, text: str) -> None:
        """Tell one sentence."""


class Silent:
    """A progress that nobody watches; remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Nothing to show."""

    def advance(self, amount: int) -> None:
        """Nothing to show."""

    def say(self, text: str) -> None:
        self.said.append(text)


class Stopwatch(Silent):
    """A progress that keeps the seconds of each phase; a phase lasts until the next one or the end."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self._began: tuple[str, float] | None = None

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """End the phase before, and begin this one."""
        self.end()
        self._began = name, time.perf_counter()

    def end(self) -> None:
        """End the phase that runs."""
        if self._began is not None:
            name, began = self._began
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        self._began = None
