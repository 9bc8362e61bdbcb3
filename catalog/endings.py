"""How runs end that are not published: what is recorded of it, and the words for it."""

from sqlalchemy import Connection, text

from catalog.errors import TERMINATED, interruption_in

WORDS = {"failed": "has failed", "interrupted": "was interrupted", "cancelled": "was cancelled"}
"""What a run did that ended in this status; the same ingest resumes it, whichever it is."""

CTRL_C, SIGTERM, KILLED = "Ctrl-C", "SIGTERM", "its process is gone"
MOST_CHARACTERS = 2000
"""Of an error, as the run's row keeps it."""


def record_end(connection: Connection, run_id: int, status: str, error: str | None) -> None:
    """Say that a run which is queued or running is so no longer, and why."""
    connection.execute(
        text(
            """UPDATE runs SET status = :status, error = :error, finished_at = now()
               WHERE id = :run_id AND status IN ('queued', 'running')"""
        ),
        {"status": status, "error": None if error is None else error[:MOST_CHARACTERS], "run_id": run_id},
    )


def interruption(ending: BaseException) -> str | None:
    """What interrupted the process, if that is what the exception means; None for an error."""
    error = interruption_in(ending)
    if isinstance(error, KeyboardInterrupt):
        return CTRL_C
    if isinstance(error, SystemExit):
        return SIGTERM if error.code == TERMINATED else "the end of its process"
    return None


def ended(run_id: int, status: str, error: str | None) -> str:
    """The beginning of a sentence: `run 3 was interrupted (Ctrl-C)`."""
    return f"run {run_id} {WORDS[status]}" + (f" ({error})" if error else "")
