"""Tables of docs/evidence.md: what was measured by the tests that `make evidence` runs and `make test` does not."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

PAGE = "EVIDENCE_PAGE"
"""Names the page to write; without it nothing is written."""


@dataclass
class Compared:
    """How far numbers that were computed in two ways are apart, by what they are."""

    numbers: dict[str, int] = field(default_factory=dict)
    furthest: dict[str, float] = field(default_factory=dict)

    def note(self, what: str, one: ArrayLike, other: ArrayLike) -> None:
        """Remember the largest absolute difference; what is undefined in both has none."""
        apart = np.abs(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64))
        self.numbers[what] = self.numbers.get(what, 0) + apart.size
        self.furthest[what] = max(self.furthest.get(what, 0.0), float(np.nanmax(apart, initial=0.0)))

    def rows(self) -> list[Sequence[object]]:
        """What, how many numbers, and the largest difference."""
        return [(what, f"{n:,}", f"{self.furthest[what]:.1e}") for what, n in self.numbers.items()]


def write_table(section: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Put a table into the page, in place of the former one of the same section or after all others.

    Args:
        section: its heading.
        head: names of the columns.
    """
    if not os.environ.get(PAGE):
        return
    page = Path(os.environ[PAGE])
    begin, end = f"## {section}\n", "<!-- end -->\n"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "spacy"))
    told = f"On {date.today()} ({platform.system()}, Python {platform.python_version()}, {versions})."
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)]
    before, found, rest = page.read_text().partition(begin)
    after = rest.partition(end)[2] if found else ""
    if not found:
        before = before.rstrip("\n") + "\n\n"
    page.write_text(before + begin + "\n" + told + "\n\n" + "\n".join(lines) + "\n" + end + after)
