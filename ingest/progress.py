"""How long work reports on itself, without knowing who looks on."""

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
