"""What is left for workers: by the ledger, which knows what there is to do, and by the queue, which may have lost some of it.

A worker looks every second. What may begin and was missing in the queue at two looks in a row is put there again: between
the end of a job and the delivery of what follows there is a moment.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

from catalog.errors import WorkerRefusal
from catalog.runs import jobs
from catalog.runs.jobs import Due
from ingest.jobs.queue import QUEUE, SCHEMA, Queue, lock_of

_DELIVERIES = text(
    f"SELECT queueing_lock FROM {SCHEMA}.procrastinate_jobs WHERE queue_name = :queue AND status IN ('todo', 'doing')"
)
_WORKERS = text(
    f"""SELECT count(*) FROM {SCHEMA}.procrastinate_workers
        WHERE last_heartbeat > now() - make_interval(secs => :stalled)"""
)


@dataclass(frozen=True)
class Outlook:
    """One look at the ledger and the queue, at one moment."""

    due: Sequence[Due]
    """What may begin, or has begun and is not done."""
    missing: frozenset[Due]
    """What of it nobody is going to deliver."""
    empty: bool
    """The queue has no deliveries, of runs that have ended neither."""
    workers: int
    """Those that take from the queue and were heard of lately, by the database's clock."""


def look(engine: Engine, stalled_seconds: float) -> Outlook:
    """What there is to do now."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        due = jobs.due(connection)
        deliveries = set(connection.execute(_DELIVERIES, {"queue": QUEUE}).scalars())
        workers = connection.execute(_WORKERS, {"stalled": stalled_seconds}).scalar_one()
    missing = frozenset(item for item in due if lock_of(item.run_id, item.job) not in deliveries)
    return Outlook(due, missing, not deliveries, workers)


class Refill:
    """Puts into the queue what it has lost."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._before: frozenset[Due] = frozenset()

    def put(self, outlook: Outlook) -> None:
        """Whatever was missing at the look before as well."""
        lost = sorted(outlook.missing & self._before)
        for item in lost:
            if item.job is None:
                self._queue.put_finish(item.run_id)
            else:
                self._queue.put(item.run_id, [item.job])
        self._before = outlook.missing


class Refusals:
    """What this worker cannot do: whole runs, or single jobs; it tries none again unless the run is asked for anew."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int | None], WorkerRefusal] = {}
        self._asked: dict[int, datetime] = {}
        self._lock = threading.Lock()

    def add(self, run_id: int, job: int | None, error: WorkerRefusal) -> bool:
        """Remember a refusal; returns whether it is new.

        Args:
            job: None for everything of the run, its publication included.
        """
        with self._lock:
            new = (run_id, job) not in self._found
            self._found[run_id, job] = error
            return new

    def of(self, run_id: int, job: int | None) -> WorkerRefusal | None:
        """Why the worker does not do this; None if it does."""
        with self._lock:
            return self._found.get((run_id, None)) or self._found.get((run_id, job))

    def only(self, due: Sequence[Due]) -> WorkerRefusal | None:
        """Why nothing of this is for the worker; None if something is, or if there is nothing."""
        refusals = [self.of(item.run_id, item.job) for item in due]
        return refusals[0] if refusals and None not in refusals else None

    def keep_current(self, due: Sequence[Due]) -> None:
        """Forget runs that have ended, or have another plan than at the look before."""
        asked = {item.run_id: item.asked_at for item in due}
        with self._lock:
            stale = {run for run, _ in self._found if run not in asked or self._asked.get(run, asked[run]) != asked[run]}
            self._found = {key: error for key, error in self._found.items() if key[0] not in stale}
            self._asked = asked
