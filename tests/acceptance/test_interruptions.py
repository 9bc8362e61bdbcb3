"""Faults in every phase: readers keep what they had, the next process completes with the same result, nothing is left.

The faults are those of `make faults`, which strikes each of them many times.
"""

import random
import signal
from pathlib import Path

import pytest

from ingest.pipeline.main_path import ingest
from ingest.progress import Silent
from ingest.settings import IngestSettings
from tests.acceptance.ingests import SUMS, small_corpus, tiny_family
from tests.acceptance.places import a_place
from tests.faults.place import Place, wait_for
from tests.faults.trials import KINDS, Usual, deliver_twice, fill_disk, strike_once

place = a_place

BY_NAME = {kind.name: kind for kind in KINDS}
STRIKES = [
    ("SIGKILL of the inline ingest", "tokenise"),
    ("SIGKILL of the inline ingest", "accumulate"),
    ("SIGKILL of the inline ingest", "stage"),
    ("SIGKILL of the inline ingest", "merge"),
    ("SIGKILL of the inline ingest", "publish"),
    ("SIGTERM of the inline ingest", "stage"),
    ("SIGKILL of a worker", "accumulate"),
    ("SIGKILL of a worker", "publish"),
    ("immediate shutdown, inline", "publish"),
    ("immediate shutdown, worker", "accumulate"),
    ("lost connection, inline", "accumulate"),
    ("lost connection, inline", "merge"),
    ("lost connection, worker", "stage"),
]


@pytest.fixture(scope="module")
def usual(place: Place) -> Usual:
    """What an ingest publishes that nobody interrupts."""
    return Usual(place)


@pytest.mark.parametrize(("name", "phase"), STRIKES)
def test_nothing_is_lost_and_nothing_is_left(place: Place, usual: Usual, name: str, phase: str) -> None:
    outcome = strike_once(place, usual, BY_NAME[name], phase, random.Random(f"{name} {phase}"))
    assert not outcome.problem


def test_a_full_staging_disk_is_one_sentence(place: Place, usual: Usual) -> None:
    outcome = fill_disk(place, usual, random.Random(0), most_mib=1)
    assert not outcome.problem and outcome.phase == "accumulate"


def test_jobs_that_are_delivered_twice_are_done_once(place: Place, usual: Usual) -> None:
    outcome = deliver_twice(place, usual, "accumulate", random.Random(0))
    assert not outcome.problem


class OnTheWay(Silent):
    """Interrupts the accumulation when a share of all tokens is done, and remembers with how many it began."""

    def __init__(self, stop: float | None = None) -> None:
        super().__init__()
        self.stop, self.total, self.first, self.done = stop, 0, 0, 0
        self.accumulating = False

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.accumulating = name == "accumulate"
        if self.accumulating:
            self.total = total or 0

    def advance(self, amount: int) -> None:
        if self.accumulating:
            self.first = self.first or amount
            self.done += amount
            if self.stop is not None and self.done >= self.total * self.stop:
                raise KeyboardInterrupt


@pytest.mark.parametrize("share", [0.25, 0.75], ids=["first reading", "second reading"])
def test_a_job_goes_on_from_its_checkpoint(database_url: str, tmp_path: Path, share: float) -> None:
    """The second half of all tokens are those that are read again for the errors of correlations."""
    models, corpus = tiny_family(tmp_path, "ab"), small_corpus(tmp_path)
    settings = IngestSettings(
        models=tuple(map(str, models)),
        corpus=str(corpus),
        only=SUMS,
        controls=0,
        database_url=database_url,
        batch_tokens=1024,
        checkpoint_minutes=1e-9,
    )
    before = OnTheWay(stop=share)
    with pytest.raises(KeyboardInterrupt):
        ingest(settings, before)
    after = OnTheWay()
    assert ingest(settings, after).resumed
    done_before = before.total - after.total
    assert done_before == (0 if share < 0.5 else before.total / 2), "a job that is done is not begun"
    assert share - 0.06 < (done_before + after.first) / before.total < share + 0.06, "what was done is not done again"
    assert after.done == after.total


@pytest.mark.parametrize(
    ("number", "code", "said", "told"),
    [(signal.SIGINT, 130, "interrupted", "Ctrl-C"), (signal.SIGTERM, 143, "terminated", "SIGTERM")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_interruption_is_called_so_everywhere_and_says_how_to_go_on(
    place: Place, number: signal.Signals, code: int, said: str, told: str
) -> None:
    place.reset()
    process = place.start(*place.ingest)
    wait_for(process, "accumulate")
    process.signal(number)
    assert process.wait() == code, process.said
    assert f"{said}; nothing more was published; the same command resumes" in process.said and "Traceback" not in process.said
    assert place.rows("SELECT status, error FROM runs") == [("interrupted", told)] and not place.half_visible()
    assert place.run("runs", "list") == "the same `catalog ingest` resumes run 1\n"
    assert f"run 1 was interrupted ({told}); the same `catalog ingest` resumes it" in place.run("runs", "show", "1")
    watching = place.start("runs", "watch", "1")
    assert watching.wait() == 1 and f"run 1 was interrupted ({told}); the same" in watching.said
    again = place.run(*place.ingest)
    assert f"run 1 was interrupted ({told}) before and goes on" in again and "run 1 is published, after " in again


def test_two_processes_do_not_work_on_one_run(place: Place) -> None:
    place.reset()
    process = place.start(*place.ingest)
    wait_for(process, "accumulate")
    process.signal(signal.SIGSTOP)
    second = place.start(*place.ingest)
    assert second.wait() == 1
    process.signal(signal.SIGKILL)
    process.wait()
    assert "another process is at work on this very run" in second.said and "Traceback" not in second.said
