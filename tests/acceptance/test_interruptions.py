"""Faults in every phase: readers keep what they had, the next process completes with the same result, nothing is left.

The faults are those of `make faults`, which strikes each of them many times.
"""

import random
import signal

import pytest

from bench.faults import KINDS, Usual, deliver_twice, fill_disk, kill_half_way, strike_once
from bench.place import Place, wait_for
from tests.acceptance.places import a_place

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


def test_a_kill_half_way_leaves_what_was_done(place: Place, usual: Usual) -> None:
    half = kill_half_way(place, usual.views, random.Random(0))
    assert not half.problem and half.left < 0.6


def test_termination_says_so_and_marks_the_run(place: Place) -> None:
    place.reset()
    process = place.start(*place.ingest)
    wait_for(process, "accumulate")
    process.signal(signal.SIGTERM)
    assert process.wait() == 143
    assert "nothing was published; the same command resumes" in process.said and "Traceback" not in process.said
    assert place.rows("SELECT status FROM runs") == [("failed",)] and not place.half_visible()


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
