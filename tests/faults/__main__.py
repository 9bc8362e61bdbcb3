"""Faults at random times within each phase of a real ingest, many of each kind: `make faults`; see `tests.faults.trials`."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from catalog.runs.handle import PHASES
from tests.faults.launcher import Launcher
from tests.faults.place import Place
from tests.faults.report import HalfWay, Outcome, fault_rows, half_way_rows, write_tables
from tests.faults.trials import (
    FULL_DISK,
    HALF_WAY,
    KINDS,
    NAMES,
    TWICE,
    Usual,
    deliver_twice,
    fill_disk,
    kill_half_way,
    strike_once,
)

DOCUMENTS, WIDTH = 500, 150
"""So that an ingest takes ten seconds at most on two cores, half of them in the phase accumulate."""
LONG_DOCUMENTS = 3000


def trials(place: Place, usual: Usual, name: str, times: int, chance: random.Random) -> Iterator[Outcome]:
    """All trials of one kind; each aims at the phase that was struck least often."""
    kind = next((kind for kind in KINDS if kind.name == name), None)
    phases = ("accumulate",) if name == FULL_DISK else PHASES[1:] if name == TWICE else PHASES
    struck: Counter[str] = Counter()
    for _ in range(0 if name == HALF_WAY else times):
        phase = min(phases, key=lambda phase: struck[phase])
        try:
            if kind is not None:
                outcome = strike_once(place, usual, kind, phase, chance)
            else:
                outcome = fill_disk(place, usual, chance) if name == FULL_DISK else deliver_twice(place, usual, phase, chance)
        except (AssertionError, TimeoutError, psycopg.Error, SQLAlchemyError) as error:
            outcome = Outcome(name, phase, f"{type(error).__name__}: {error}", 0.0)
        struck[outcome.phase] += 1
        yield outcome


def half_ways(folder: Path, launcher: Launcher, times: int, chance: random.Random) -> Iterator[HalfWay]:
    """Kills of one job that takes half a minute."""
    place = Place(folder, launcher, LONG_DOCUMENTS, d_mlp=WIDTH)
    try:
        place.reset()
        place.run(*place.ingest)
        views = place.contract()
        for _ in range(times):
            yield kill_half_way(place, views, chance)
    finally:
        place.close()


def strike_all(asked: argparse.Namespace, folder: Path, launcher: Launcher) -> None:
    """Every kind that is asked for; the page is brought up to date after each."""
    place = Place(folder / "short", launcher, DOCUMENTS, d_mlp=WIDTH)
    try:
        usual = Usual(place)
        talk("undisturbed: " + ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in usual.inline.items()))
        for name in asked.only or NAMES:
            found: list[Outcome] = []
            try:
                for outcome in trials(place, usual, name, asked.times, random.Random(f"{asked.seed} {name}")):
                    found.append(outcome)
                    talk(f"{name} in {outcome.phase}: {outcome.problem or f'equal after {outcome.seconds:.1f} s'}")
            finally:
                note(asked, fault_rows(found, PHASES), [])
    finally:
        place.close()
    if HALF_WAY in (asked.only or NAMES):
        halves = list(half_ways(folder / "long", launcher, asked.times, random.Random(asked.seed)))
        note(asked, [], half_way_rows(halves, HALF_WAY))


def note(asked: argparse.Namespace, rows: list[str], half_rows: list[str]) -> None:
    """Show rows, and write them into the page."""
    print("\n".join([*rows, *half_rows]), flush=True)
    if asked.docs:
        write_tables(asked.docs, rows, half_rows, f"python -m tests.faults --seed {asked.seed}")


def talk(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="trials of each kind")
    parser.add_argument("--only", action="append", choices=NAMES, help="a kind of fault; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--docs", type=Path, help="page whose tables are brought up to date")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="catalog-faults-"))
    launcher = Launcher()
    try:
        strike_all(parser.parse_args(), folder, launcher)
    finally:
        launcher.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
