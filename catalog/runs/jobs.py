"""The ledger of a run's jobs: what there is to do, who is at it, and what was found.

A job is done when its row has `finished_at`, which is written in one transaction with its results. Whoever works on one
holds an advisory lock of its own session on it, and a shared one on the run: a killed process gives both back.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, text

from catalog import locks
from catalog.endings import WORDS, ended
from catalog.errors import JobTaken, RunEnded, RunError, no_such_run
from catalog.server.engine import give_back, lock_session, transaction

SECONDS_BETWEEN_BEATS = 2.0
"""How often a job says how far it is, and hears whether its run is cancelled."""
MOST_CHARACTERS = 2000
"""Of a reason, as the ledger keeps it."""


class JobRow(NamedTuple):
    """What is recorded of a job before it begins."""

    job: int
    kind: str
    after: list[int]
    tokens: int
    bytes: int
    flop: float


class JobState(NamedTuple):
    """How far a job is."""

    job: int
    kind: str
    after: list[int]
    tokens: int
    tokens_done: int
    done: bool
    attempts: int
    worker: str | None
    error: str | None


def record_plan(connection: Connection, run_id: int, plan: dict[str, Any], rows: Sequence[JobRow]) -> None:
    """Write a run's plan, in place of an earlier one, whose results go; within a transaction of the caller."""
    connection.execute(text("DELETE FROM run_job_results WHERE run_id = :run_id"), {"run_id": run_id})
    connection.execute(text("DELETE FROM run_jobs WHERE run_id = :run_id"), {"run_id": run_id})
    connection.execute(
        text("UPDATE runs SET plan = CAST(:plan AS jsonb) WHERE id = :run_id"), {"run_id": run_id, "plan": json.dumps(plan)}
    )
    for row in rows:
        connection.execute(
            text(
                """INSERT INTO run_jobs (run_id, job, kind, after, tokens, bytes, flop)
                   VALUES (:run_id, :job, :kind, :after, :tokens, :bytes, :flop)"""
            ),
            {"run_id": run_id, **row._asdict()},
        )


def plan_of(connection: Connection, run_id: int) -> dict[str, Any] | None:
    """The run's plan, if it has one."""
    document: dict[str, Any] | None = connection.execute(
        text("SELECT plan FROM runs WHERE id = :run_id"), {"run_id": run_id}
    ).scalar()
    return document


def states(connection: Connection, run_id: int) -> list[JobState]:
    """All jobs of a run, in order."""
    rows = connection.execute(
        text(
            """SELECT job, kind, after, tokens, tokens_done, finished_at IS NOT NULL, attempts, worker, error
               FROM run_jobs WHERE run_id = :run_id ORDER BY job"""
        ),
        {"run_id": run_id},
    )
    return [JobState(*row) for row in rows]


class Due(NamedTuple):
    """What may begin now of a run that is left to workers."""

    run_id: int
    asked_at: datetime
    """When the run was asked for last: another time means another plan."""
    job: int | None
    """None: the publication."""


def due(connection: Connection) -> list[Due]:
    """Jobs that are ready and publications whose jobs are done, of all runs that are left to workers.

    A run that is left to workers has at least one of them, until it is published, cancelled or given up.
    """
    rows = connection.execute(
        text(
            """SELECT r.id, r.started_at, j.job
               FROM runs r LEFT JOIN run_jobs j ON j.run_id = r.id AND j.finished_at IS NULL
               WHERE r.left_to_workers AND NOT EXISTS (
                   SELECT 1 FROM run_jobs o WHERE o.run_id = r.id AND o.job = ANY(j.after) AND o.finished_at IS NULL)
               ORDER BY r.id, j.job"""
        )
    )
    return [Due(*row) for row in rows]


def count_failure(connection: Connection, run_id: int, job: int | None, reason: str) -> int:
    """An attempt of workers ended in an error; returns how many did so since the run was left to them, 0 if it is gone.

    Args:
        job: None for the publication, whose reason the run's own row has.
    """
    table, key = ("runs", "id = :run_id") if job is None else ("run_jobs", "run_id = :run_id AND job = :job")
    told = "" if job is None else ", error = :reason"
    statement = f"UPDATE {table} SET failures = failures + 1{told} WHERE {key} RETURNING failures"
    values = {"run_id": run_id, "job": job, "reason": reason[:MOST_CHARACTERS]}
    return connection.execute(text(statement), values).scalar() or 0


def note(connection: Connection, run_id: int, job: int, reason: str) -> None:
    """Why a job was not done, where that is no failure of it."""
    connection.execute(
        text("UPDATE run_jobs SET error = :reason WHERE run_id = :run_id AND job = :job"),
        {"reason": reason[:MOST_CHARACTERS], "run_id": run_id, "job": job},
    )


class RunProgress(NamedTuple):
    """How far a run is."""

    status: str
    phase: str | None
    error: str | None
    jobs: list[JobState]


def run_progress(connection: Connection, run_id: int) -> RunProgress:
    """Status and jobs of a run.

    Raises:
        RunError: there is no such run.
    """
    row = connection.execute(text("SELECT status, phase, error FROM runs WHERE id = :id"), {"id": run_id}).first()
    if row is None:
        raise RunError(no_such_run(run_id))
    return RunProgress(row.status, row.phase, row.error, states(connection, run_id))


def ready(jobs: Sequence[JobState]) -> list[int]:
    """Jobs that are not done and wait for none that is not."""
    done = {job.job for job in jobs if job.done}
    return [job.job for job in jobs if not job.done and done.issuperset(job.after)]


@dataclass
class Claim:
    """The right to work on one job; it says what it has to say on the session that holds the lock, and ends with it."""

    connection: Connection
    run_id: int
    job: int
    _told: float = 0.0

    def beat(self, tokens_done: int) -> None:
        """Say how far the job is; does something every `SECONDS_BETWEEN_BEATS` only.

        Raises:
            RunEnded: the run was cancelled or deleted.
        """
        if time.monotonic() - self._told < SECONDS_BETWEEN_BEATS:
            return
        self._told = time.monotonic()
        self.connection.execute(
            text("UPDATE run_jobs SET tokens_done = :done WHERE run_id = :run_id AND job = :job"),
            {"done": tokens_done, "run_id": self.run_id, "job": self.job},
        )
        check_alive(self.connection, self.run_id)

    def finish(self, results: Mapping[str, bytes], sums_file: str | None) -> None:
        """Write what the job found and that it is done, at once; a job that is done already stays as it is."""
        values = {"run_id": self.run_id, "job": self.job}
        with transaction(self.connection):
            check_alive(self.connection, self.run_id)
            row = self.connection.execute(
                text(
                    """UPDATE run_jobs SET finished_at = now(), tokens_done = tokens, sums_file = :sums_file, error = NULL
                       WHERE run_id = :run_id AND job = :job AND finished_at IS NULL"""
                ),
                {**values, "sums_file": sums_file},
            )
            if row.rowcount == 0:
                return
            for name, data in results.items():
                self.connection.execute(
                    text("INSERT INTO run_job_results VALUES (:run_id, :job, :name, :data)"),
                    {**values, "name": name, "data": data},
                )


def check_alive(connection: Connection, run_id: int) -> None:
    """Raises:
    RunEnded: the run is gone, or no longer wants its jobs done.
    """
    row = connection.execute(
        text("SELECT status, error, left_to_workers FROM runs WHERE id = :run_id"), {"run_id": run_id}
    ).first()
    if row is None:
        raise RunEnded(f"run {run_id} is deleted; nothing of it is left to do.")
    # a publication that workers are to try again has ended, too
    if row.status in WORDS and not row.left_to_workers:
        raise RunEnded(f"{ended(run_id, row.status, row.error)}; the same `catalog ingest` resumes it.")


@contextmanager
def claim(engine: Engine, run_id: int, job: int, worker: str, identity: str | None = None) -> Iterator[Claim | None]:
    """Take a job; None if it is done.

    Args:
        identity: of the run, where its lock is not held by this process: a share of it keeps others from taking the run.
    Raises:
        JobTaken: another process is at it, or holds the run.
        RunEnded: the run was cancelled or deleted.
    """
    connection = lock_session(engine)
    try:
        if not connection.execute(text(f"SELECT pg_try_advisory_lock({locks.JOB})"), {"run_id": run_id, "job": job}).scalar():
            raise JobTaken(f"another process is at job {job} of run {run_id}.")
        share = text(f"SELECT pg_try_advisory_lock_shared({locks.RUN})")
        if identity is not None and not connection.execute(share, {"identity": identity}).scalar():
            raise JobTaken(f"another process holds run {run_id}.")
        check_alive(connection, run_id)
        begun = connection.execute(
            text(
                """UPDATE run_jobs SET attempts = attempts + 1, worker = :worker, started_at = now(), tokens_done = 0
                   WHERE run_id = :run_id AND job = :job AND finished_at IS NULL"""
            ),
            {"run_id": run_id, "job": job, "worker": worker},
        )
        yield Claim(connection, run_id, job) if begun.rowcount else None
    finally:
        give_back(connection)


def results(connection: Connection, run_id: int, name: str) -> list[bytes]:
    """What jobs found under a name, which may end in %, in order of jobs."""
    rows = connection.execute(
        text("SELECT data FROM run_job_results WHERE run_id = :run_id AND name LIKE :name ORDER BY job, name"),
        {"run_id": run_id, "name": name},
    )
    return [bytes(data) for data in rows.scalars()]


def has_results(connection: Connection, run_id: int) -> bool:
    """Whether anything is kept that jobs found; a publication takes it all."""
    statement = text("SELECT EXISTS (SELECT 1 FROM run_job_results WHERE run_id = :run_id)")
    return bool(connection.execute(statement, {"run_id": run_id}).scalar_one())


def sums_files(connection: Connection, run_id: int, numbers: Sequence[int]) -> list[str]:
    """Files of the sums that these jobs left, in order of jobs."""
    rows = connection.execute(
        text(
            """SELECT sums_file FROM run_jobs WHERE run_id = :run_id AND job = ANY(:jobs) AND sums_file IS NOT NULL
               ORDER BY job"""
        ),
        {"run_id": run_id, "jobs": list(numbers)},
    )
    return list(rows.scalars())


def forget(connection: Connection, run_id: int, numbers: Sequence[int]) -> None:
    """Have jobs done again, because what they left cannot be read."""
    values = {"run_id": run_id, "jobs": list(numbers)}
    connection.execute(text("DELETE FROM run_job_results WHERE run_id = :run_id AND job = ANY(:jobs)"), values)
    connection.execute(
        text("UPDATE run_jobs SET finished_at = NULL, sums_file = NULL WHERE run_id = :run_id AND job = ANY(:jobs)"), values
    )
