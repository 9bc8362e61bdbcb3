"""A run's life: begun under a lock, staged, published at once, or left behind without a trace for readers. Later attempts may
add parts to a published run, or measure some of them again, in the same way: readers see it as it was until they are done.

The lock is an advisory one of the handle's own session: a killed process gives it back, and whoever asks for the same
run next finds the row, sees that nobody holds the lock, and takes it over.
"""

import json
import platform
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata as installed
from typing import Any

from sqlalchemy import Connection, Engine, text

from catalog import endings, locks
from catalog.errors import JobTaken, RunError, no_such_run
from catalog.publishing import staging
from catalog.rows import Definition, RunSpec
from catalog.runs.handle import RunHandle
from catalog.server.engine import driver_of, give_back, lock_session

TAKE_OVER_SECONDS = 3.0
"""How long a lock may outlive the process that held it: the server takes a moment to see that it is gone."""

LIBRARIES = ("torch", "transformers", "numpy", "psycopg")


@dataclass(frozen=True)
class RunRecord:
    """A published run."""

    id: int
    parts: dict[str, Definition]
    """What the numbers of each part follow."""
    published_at: datetime


def published_run(engine: Engine, identity: str) -> RunRecord | None:
    """The newest published run with this identity."""
    with engine.connect() as connection:
        row = connection.execute(
            text(
                """SELECT id, published_at FROM runs WHERE identity = :identity AND published_at IS NOT NULL
                   AND NOT superseded ORDER BY published_at DESC, id DESC LIMIT 1"""
            ),
            {"identity": identity},
        ).first()
        if row is None:
            return None
        parts = connection.execute(
            text("SELECT part, definition_version, settings FROM run_parts WHERE run_id = :run_id"), {"run_id": row.id}
        )
        return RunRecord(row.id, {part: Definition(version, settings) for part, version, settings in parts}, row.published_at)


def begin_run(engine: Engine, spec: RunSpec) -> RunHandle:
    """Begin a run, or take over one that failed, was interrupted or was cancelled.

    Raises:
        JobTaken: another process is at work on the same run.
        RunError: it is left to workers.
    """
    connection = _locked_connection(engine, spec.identity)
    clean_up(connection)
    row = connection.execute(
        text("SELECT id, status, error FROM runs WHERE identity = :identity AND published_at IS NULL"),
        {"identity": spec.identity},
    ).first()
    _check_not_queued(connection, row)
    values = _record(spec)
    if row is None:
        statement = """INSERT INTO runs (identity, status, phase, model_family, settings, definition_versions,
                                         code_version, device, host, asked)
                       VALUES (:identity, 'running', 'tokenise', :model_family, CAST(:settings AS jsonb),
                               CAST(:versions AS jsonb), :code_version, :device, CAST(:host AS jsonb),
                               CAST(:asked AS jsonb)) RETURNING id"""
    else:
        values["run_id"] = row.id
        statement = """UPDATE runs SET status = 'running', phase = 'tokenise', started_at = now(), finished_at = NULL,
                              error = NULL, model_family = :model_family, settings = CAST(:settings AS jsonb),
                              definition_versions = CAST(:versions AS jsonb), code_version = :code_version,
                              device = :device, host = CAST(:host AS jsonb), left_to_workers = false,
                              asked = CAST(:asked AS jsonb)
                       WHERE id = :run_id RETURNING id"""
    run_id = connection.execute(text(statement), values).scalar_one()
    return _begun(engine, connection, run_id, spec, row)


def begin_parts(engine: Engine, run_id: int, spec: RunSpec) -> RunHandle:
    """Begin to measure parts of a published run, which readers see as it is all the time.

    Raises:
        JobTaken: another process is at work on the same run.
        RunError: it is left to workers, or was deleted.
    """
    connection = _locked_connection(engine, spec.identity)
    clean_up(connection)
    values = {"run_id": run_id}
    row = connection.execute(text("SELECT id, status, error FROM runs WHERE id = :run_id"), values).first()
    if row is None:
        give_back(connection)
        raise RunError(f"run {run_id} was deleted meanwhile; repeat the command.")
    _check_not_queued(connection, row)
    statement = """UPDATE runs SET status = 'running', phase = 'tokenise', started_at = now(), finished_at = NULL,
                          error = NULL, left_to_workers = false, asked = CAST(:asked AS jsonb) WHERE id = :run_id"""
    connection.execute(text(statement), values | {"asked": json.dumps(spec.asked)})
    return _begun(engine, connection, run_id, spec, row)


def _check_not_queued(connection: Connection, row: Any) -> None:
    """Raises:
    RunError: the run is left to workers.
    """
    if row is None or row.status != "queued":
        return
    give_back(connection)
    raise RunError(
        f"run {row.id} is queued for workers; `catalog runs watch {row.id}` shows how far it is, and "
        f"`catalog runs cancel {row.id}` takes it back."
    )


def _begun(engine: Engine, connection: Connection, run_id: int, spec: RunSpec, before: Any) -> RunHandle:
    """A run that nobody else is at.

    Args:
        before: its row as an earlier attempt left it, if there was one.
    """
    staging.drop(driver_of(connection), run_id)
    ended = before is not None and before.status in endings.WORDS
    return RunHandle(engine, connection, run_id, spec, endings.ended(run_id, before.status, before.error) if ended else None)


def leave_as_published(engine: Engine, run_id: int) -> None:
    """Parts of a published run that an attempt did not reach are no longer wanted: it is what its publication made it."""
    with engine.begin() as connection:
        statement = """UPDATE runs SET status = 'published', error = NULL WHERE id = :id AND published_at IS NOT NULL
                       AND status = ANY(:ended) AND NOT left_to_workers"""
        connection.execute(text(statement), {"id": run_id, "ended": list(endings.WORDS)})


def take_queued(engine: Engine, run_id: int) -> RunHandle | None:
    """Take a run that workers have computed, to publish it; None if it is not left to workers any more.

    Raises:
        JobTaken: another process is at it.
    """
    with engine.connect() as connection:
        identity = connection.execute(text("SELECT identity FROM runs WHERE id = :id"), {"id": run_id}).scalar()
    if identity is None:
        return None
    connection = _locked_connection(engine, identity)
    row = connection.execute(
        text(
            """UPDATE runs SET status = 'running', error = NULL WHERE id = :id AND left_to_workers
               RETURNING settings, definition_versions, code_version, device, model_family, asked"""
        ),
        {"id": run_id},
    ).first()
    if row is None:
        remove_folders(connection)
        give_back(connection)
        return None
    staging.drop(driver_of(connection), run_id)
    return RunHandle(engine, connection, run_id, RunSpec(identity, *row))


def cancel_run(engine: Engine, run_id: int) -> None:
    """End a run that is queued or running; whoever is at a job of it hears of it within seconds.

    Raises:
        RunError: there is no such run, or it has ended.
    """
    with engine.begin() as connection:
        row = connection.execute(text("SELECT status FROM runs WHERE id = :id FOR UPDATE"), {"id": run_id}).first()
        if row is None:
            raise RunError(no_such_run(run_id))
        if row.status not in ("queued", "running"):
            raise RunError(f"run {run_id} is {row.status}; only a queued or running run can be cancelled.")
        _end(connection, run_id, "cancelled", None)


def requeue_run(engine: Engine, run_id: int) -> None:
    """A publication that broke off is to be tried again; a run that workers have lost stays as it is."""
    with engine.begin() as connection:
        connection.execute(
            text(
                """UPDATE runs SET status = 'queued', finished_at = NULL
                   WHERE id = :id AND status IN ('failed', 'interrupted') AND left_to_workers"""
            ),
            {"id": run_id},
        )


def end_run(engine: Engine, run_id: int, reason: str) -> None:
    """A run that workers cannot compute is over until somebody asks for it again."""
    with engine.begin() as connection:
        _end(connection, run_id, "failed", reason)


def _end(connection: Connection, run_id: int, status: str, reason: str | None) -> None:
    endings.record_end(connection, run_id, status, reason)
    connection.execute(text("UPDATE runs SET left_to_workers = false WHERE id = :id"), {"id": run_id})


def tidy(engine: Engine) -> None:
    """Remove what processes that were killed have left, where no new run is begun that would do so."""
    connection = lock_session(engine)
    try:
        clean_up(connection)
    finally:
        give_back(connection)


def remove_folders(connection: Connection) -> None:
    """Remove the staging folders of published runs whose process was killed before it could."""
    rows = connection.execute(
        text("SELECT id, staging_folder FROM runs WHERE status = 'published' AND staging_folder IS NOT NULL")
    ).all()
    for run_id, folder in rows:
        shutil.rmtree(folder, ignore_errors=True)
        connection.execute(text("UPDATE runs SET staging_folder = NULL WHERE id = :id"), {"id": run_id})


def clean_up(connection: Connection) -> None:
    """Runs whose process is gone are marked as interrupted, and what they staged is dropped; their jobs' results stay."""
    remove_folders(connection)
    rows = connection.execute(
        text(
            """SELECT r.id, r.identity, r.status FROM runs r
               WHERE r.status = 'running' OR EXISTS (SELECT 1 FROM pg_tables t WHERE t.schemaname = 'staging'
                                                      AND starts_with(t.tablename, 'run_' || r.id || '_'))"""
        )
    ).all()
    for run_id, identity, status in rows:
        free = connection.execute(text(f"SELECT pg_try_advisory_lock({locks.RUN})"), {"identity": identity}).scalar_one()
        if not free:
            continue
        staging.drop(driver_of(connection), run_id)
        if status == "running":
            endings.record_end(connection, run_id, "interrupted", endings.KILLED)
        connection.execute(text(f"SELECT pg_advisory_unlock({locks.RUN})"), {"identity": identity})


def _locked_connection(engine: Engine, identity: str) -> Connection:
    connection = lock_session(engine)
    deadline = time.monotonic() + TAKE_OVER_SECONDS
    attempt = text(f"SELECT pg_try_advisory_lock({locks.RUN})")
    while not connection.execute(attempt, {"identity": identity}).scalar_one():
        if time.monotonic() > deadline:
            give_back(connection)
            raise JobTaken("another process is at work on this very run; wait for it, or stop it and repeat the command.")
        time.sleep(0.1)
    return connection


def _record(spec: RunSpec) -> dict[str, Any]:
    versions = {name: installed.version(name) for name in LIBRARIES}
    return {
        "identity": spec.identity,
        "model_family": spec.model_family,
        "settings": json.dumps(spec.settings),
        "asked": json.dumps(spec.asked),
        "versions": json.dumps(spec.definition_versions),
        "code_version": spec.code_version,
        "device": spec.device,
        "host": json.dumps({"platform": platform.platform(), "python": platform.python_version(), **versions}),
    }
