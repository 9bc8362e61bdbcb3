"""Which runs are the controls of a run."""

from collections.abc import Mapping

from sqlalchemy import Connection, Engine, text

from catalog import locks
from catalog.errors import RunError
from catalog.publishing.controls import take_effect
from catalog.rows import Definition
from catalog.runs.reuse import serves


def controls_of(connection: Connection, run_id: int, token_sha256: str | None = None) -> list[int]:
    """The published controls of a run, in order.

    Args:
        token_sha256: those that read these rows; None: all.
    """
    controls = connection.execute(
        text(
            """SELECT c.id FROM run_controls k JOIN runs c ON c.id = k.control_run_id AND c.published_at IS NOT NULL
               JOIN corpora o ON o.id = c.corpus_id AND o.token_sha256 = COALESCE(:token_sha256, o.token_sha256)
               WHERE k.run_id = :run_id ORDER BY c.id"""
        ),
        {"run_id": run_id, "token_sha256": token_sha256},
    )
    return list(controls.scalars())


def has_controls(engine: Engine, run_id: int, n: int, token_sha256: str, definitions: Mapping[str, Definition]) -> bool:
    """Whether a run has so many published controls of these rows, with these parts by these definitions."""
    with engine.connect() as connection:
        controls = controls_of(connection, run_id, token_sha256)
        return sum(serves(connection, [control], definitions) for control in controls) >= n


def record_control(engine: Engine, run_id: int, control: int) -> None:
    """A run is the control of another; where it is published, labels follow at once."""
    values = {"run_id": run_id, "control": control}
    with engine.begin() as connection:
        made = connection.execute(text("INSERT INTO run_controls VALUES (:run_id, :control) ON CONFLICT DO NOTHING"), values)
        published = text("SELECT 1 FROM runs WHERE id = :control AND published_at IS NOT NULL")
        if made.rowcount and connection.execute(published, values).first() is not None:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({locks.PUBLISH})"))
            take_effect(connection, control)


def check_no_control(connection: Connection, run_id: int) -> None:
    """Raises:
    RunError: the run is the control of another, whose labels stand on it.
    """
    statement = "SELECT min(run_id) FROM run_controls WHERE control_run_id = :run_id"
    of_run = connection.execute(text(statement), {"run_id": run_id}).scalar()
    if of_run is not None:
        raise RunError(f"run {run_id} is the control of run {of_run} and is deleted with it; delete run {of_run}.")
