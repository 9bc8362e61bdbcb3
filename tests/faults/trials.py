"""One fault at a random time within a phase of a real ingest, and what is left after recovery.

A trial starts from an empty catalog, starts the real processes, waits until the wanted phase has begun, sleeps a random
part of the phase's usual length, strikes, recovers as a user would, and compares the contract views with those of an
undisturbed run. Nothing may be left behind.
"""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sqlalchemy import make_url

from catalog.runs.handle import PHASES
from ingest.jobs import sums_files
from ingest.jobs.queue import open_queue
from tests.acceptance.ingests import assert_same
from tests.faults.launcher import Process
from tests.faults.place import Place, Together, lengths, phase_of, wait_for
from tests.faults.report import HalfWay, Outcome

MOST_MIB = 6
"""Largest size of the small staging disk: the sums that each of four jobs leaves need 5 MiB, and so does a checkpoint."""


class Usual:
    """What an undisturbed run publishes, and how long its phases take; inline and by a worker."""

    def __init__(self, place: Place) -> None:
        place.reset()
        self.inline = lengths(place.start(*place.ingest))
        self.views: dict[str, pd.DataFrame] = place.contract()
        assert not place.leftovers(), place.leftovers()
        place.reset()
        place.run(*place.ingest, "--enqueue")
        worker = place.start(*place.worker)
        self.worker = lengths(worker)
        assert not place.rows("SELECT FROM run_jobs WHERE failures > 0"), worker.said
        assert_same(place.contract(), self.views)
        assert not place.leftovers(), place.leftovers()

    def wait(self, process: Process | Together, by_worker: bool, phase: str, chance: random.Random) -> str:
        """Until a random moment of the phase; returns the phase that it became, for no two runs take equally long."""
        taken = self.worker if by_worker else self.inline
        wait_for(process, phase)
        time.sleep(chance.uniform(0, taken[phase]))
        struck = PHASES[phase_of(process.said) or 0]
        if struck != phase:
            taken[phase] *= 0.7
        return struck


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    name: str
    by_worker: bool
    strike: Callable[[Place, Process], None]
    ended: Callable[[Process], str]
    """Waits for the process that was struck; says what is wrong with how it ended."""
    recovers_itself: bool = False


def kill(place: Place, process: Process) -> None:
    process.signal(signal.SIGKILL)


def terminate(place: Place, process: Process) -> None:
    process.signal(signal.SIGTERM)


def shut_down(place: Place, process: Process) -> None:
    place.shut_down()


def cut(place: Place, process: Process) -> None:
    place.cut()


def killed(process: Process) -> str:
    code = process.wait()
    return "" if code in (-signal.SIGKILL, 0) else f"exit code {code}: {process.said}"


def terminated(process: Process) -> str:
    code, said = process.wait(), process.said
    told = "Traceback" not in said and (code == 0 or (code == 143 and "the same command resumes" in said))
    return "" if told else f"exit code {code}: {said}"


def one_sentence(process: Process) -> str:
    code, said = process.wait(), process.said
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    told = "Traceback" not in said and (code == 0 or (code == 1 and len(errors) == 1))
    return "" if told else f"exit code {code}: {said}"


def goes_on(process: Process) -> str:
    code, said = process.wait(), process.said
    return "" if code == 0 and "Traceback" not in said else f"exit code {code}: {said}"


KINDS = (
    Kind("SIGKILL of the inline ingest", False, kill, killed),
    Kind("SIGTERM of the inline ingest", False, terminate, terminated),
    Kind("SIGKILL of a worker", True, kill, killed),
    Kind("immediate shutdown, inline", False, shut_down, one_sentence),
    Kind("immediate shutdown, worker", True, shut_down, goes_on, recovers_itself=True),
    Kind("lost connection, inline", False, cut, one_sentence),
    Kind("lost connection, worker", True, cut, goes_on, recovers_itself=True),
)
FULL_DISK, TWICE, HALF_WAY = "full staging disk", "the same job delivered twice", "SIGKILL half-way"
NAMES = [*(kind.name for kind in KINDS), FULL_DISK, TWICE, HALF_WAY]


def strike_once(place: Place, usual: Usual, kind: Kind, phase: str, chance: random.Random) -> Outcome:
    """One trial of one kind of fault."""
    place.reset()
    if kind.by_worker:
        place.run(*place.ingest, "--enqueue")
    command = place.worker if kind.by_worker else place.ingest
    process = place.start(*command)
    wait_for(process, phase)
    struck = usual.wait(process, kind.by_worker, phase, chance)
    began = time.monotonic()
    kind.strike(place, process)
    wrong = kind.ended(process)
    place.run("db", "start")  # which a process that had done its work already leaves to the next command
    if not kind.recovers_itself:
        wrong = wrong or " and ".join(place.half_visible())
        place.run(*command)
    seconds = time.monotonic() - began
    return Outcome(kind.name, struck, wrong or remains(place, usual), seconds)


def remains(place: Place, usual: Usual, staging: Path | None = None) -> str:
    """What is wrong after recovery: rows that differ, or anything left behind."""
    try:
        assert_same(place.contract(), usual.views)
    except AssertionError as error:
        return f"other rows: {str(error)[:500]}"
    return "; ".join(place.leftovers(staging))


def fill_disk(place: Place, usual: Usual, chance: random.Random, most_mib: int = MOST_MIB) -> Outcome:
    """A staging disk that is too small, and then is not."""
    place.reset()
    mib = chance.randint(1, most_mib)
    with small_disk(place.home.parent / "disk", mib) as (folder, file_limit):
        # jobs over a range of rows leave their sums, however quick they are
        command = [*place.ingest, "--jobs", "4", "--staging", str(folder)]
        process = place.start(*command, file_limit=file_limit)
        wrong = one_sentence(process)
        struck = PHASES[phase_of(process.said) or 0]
        errors = [line for line in process.said.splitlines() if line.startswith("error:")]
        if not wrong and not (errors and str(folder) in errors[0]):
            wrong = f"the folder is not named: {process.said}"
        began = time.monotonic()
        if not file_limit:
            subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
        place.run(*command)
        seconds = time.monotonic() - began
        return Outcome(FULL_DISK, struck, wrong or remains(place, usual, folder), seconds)


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[tuple[Path, int]]:
    """A file system of so many MiB and 0; or a folder, and the size of files that stands for it, where none may be mounted."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield folder, 0 if mounted else mib * 2**19
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def deliver_twice(place: Place, usual: Usual, phase: str, chance: random.Random) -> Outcome:
    """Two workers, and every job that has begun is put into the queue again, as often as time allows."""
    place.reset()
    place.run(*place.ingest, "--enqueue")
    workers = [place.start(*place.worker) for _ in range(2)]
    struck = usual.wait(Together(workers), True, phase, chance)
    began = time.monotonic()
    url = make_url(place.url).set(drivername="postgresql+psycopg")
    begun = [job for (job,) in place.rows("SELECT job FROM run_jobs WHERE attempts > 0")]
    with open_queue(url) as queue:
        queue.put(1, begun)
        if PHASES.index(struck) > 1:
            queue.put_finish(1)
    wrong = "; ".join(filter(None, map(goes_on, workers)))
    place.run(*place.worker)  # for what came into the queue after they had left
    seconds = time.monotonic() - began
    return Outcome(TWICE, struck, wrong or remains(place, usual), seconds)


def kill_half_way(place: Place, views: dict[str, pd.DataFrame], chance: random.Random) -> HalfWay:
    """Kill one long job when half of its tokens, and up to a tenth more, are done."""
    place.reset()
    process = place.start(*place.ingest)
    wait_for(process, "accumulate")
    ledger = "SELECT job, tokens, tokens_done FROM run_jobs ORDER BY tokens DESC LIMIT 1"
    share = chance.uniform(0.5, 0.6)
    job, tokens, done = 0, 1, 0
    while done < share * tokens and process.poll() is None:
        time.sleep(0.05)
        job, tokens, done = next(iter(place.rows(ledger)), (0, 1, 0))
    process.signal(signal.SIGKILL)
    wrong = killed(process)
    ((folder, context),) = place.rows("SELECT staging_folder, CAST(settings->>'context' AS int) FROM runs")
    checkpoint = Path(folder) / f"checkpoint-{job}.npz"
    _, next_row = next(sums_files.read(checkpoint))
    place.run(*place.ingest)
    try:
        assert_same(place.contract(), views)
    except AssertionError as error:
        wrong = wrong or str(error)[:500]
    return HalfWay(tokens, done, int(next_row) * context, wrong or "; ".join(place.leftovers()))
