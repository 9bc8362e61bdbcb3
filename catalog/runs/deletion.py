"""Runs are deleted with all that is theirs alone."""

import shutil

from sqlalchemy import Connection, Engine, text

from catalog import locks, parts
from catalog.errors import RunError, no_such_run
from catalog.lineage import begin_anew
from catalog.publishing import partitions, staging
from catalog.runs import controls
from catalog.server.engine import driver_of


def delete_run(engine: Engine, run_id: int) -> None:
    """Delete a run with all its rows, and its controls that are those of no other run, in one transaction. Models stay as names
    without a published run.

    Raises:
        RunError: it is running, or the control of another run; or there is no such run.
    """
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({locks.PUBLISH})"))
        controls.check_no_control(connection, run_id)
        statement = "SELECT control_run_id FROM run_controls WHERE run_id = :id ORDER BY 1"
        of_run = connection.execute(text(statement), {"id": run_id}).scalars().all()
        folders = [_delete(connection, run_id)]
        for control in of_run:
            shared = text("SELECT 1 FROM run_controls WHERE control_run_id = :id LIMIT 1")
            if connection.execute(shared, {"id": control}).first() is None:
                folders.append(_delete(connection, control))
        connection.execute(text("DELETE FROM corpora c WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.corpus_id = c.id)"))
        begin_anew(connection)
    for folder in folders:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _delete(connection: Connection, run_id: int) -> str | None:
    """Delete the rows of one run; returns its folder of sums and checkpoints, if it has one.

    Raises:
        RunError: it is running; or there is no such run.
    """
    row = connection.execute(text("SELECT identity, staging_folder FROM runs WHERE id = :id"), {"id": run_id}).first()
    if row is None:
        raise RunError(no_such_run(run_id))
    free = connection.execute(text(f"SELECT pg_try_advisory_xact_lock({locks.RUN})"), {"identity": row.identity}).scalar_one()
    if not free:
        raise RunError(f"run {run_id} is being worked on; stop that process first.")
    staging.drop(driver_of(connection), run_id)
    partitions.drop(driver_of(connection), run_id, parts.partitioned())
    connection.execute(text("DELETE FROM runs WHERE id = :id"), {"id": run_id})
    folder: str | None = row.staging_folder
    return folder
