"""The queue of jobs that workers take from: procrastinate's tables, in their own schema of the same database."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from procrastinate import App, BaseConnector, PsycopgConnector, SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from psycopg_pool import PoolTimeout
from sqlalchemy import URL

from catalog.errors import DatabaseError
from catalog.server.engine import address

SCHEMA = "queue"
QUEUE = "catalog"
JOB_TASK = "catalog.job"
FINISH_TASK = "catalog.finish"
SECONDS_TO_CONNECT = 3.0
"""A worker whose server is gone waits so long for each of its last words."""


def lock_of(run_id: int, job: int | None) -> str:
    """What waits in the queue once at most: a job, or a run's publication."""
    return f"run-{run_id}-finish" if job is None else f"run-{run_id}-job-{job}"


def connection_arguments(url: URL) -> dict[str, Any]:
    """What procrastinate's connectors need to reach the queue of a catalog."""
    return {
        "conninfo": address(url, hide_password=False),
        "kwargs": {"options": f"-c search_path={SCHEMA}", "application_name": "neuron-catalog queue"},
        "min_size": 1,
        "max_size": 4,
        "timeout": SECONDS_TO_CONNECT,
    }


def worker_connector(url: URL) -> BaseConnector:
    """For the event loop of a worker."""
    return PsycopgConnector(**connection_arguments(url))


class Queue:
    """Puts jobs of runs into the queue."""

    def __init__(self, app: App) -> None:
        self._app = app

    def put(self, run_id: int, numbers: Iterable[int], wait: float = 0.0) -> None:
        """Jobs that may begin, in `wait` seconds; one that waits in the queue already is left as it is."""
        for number in numbers:
            self._defer(JOB_TASK, lock_of(run_id, number), wait, run_id=run_id, job=number)

    def put_finish(self, run_id: int, wait: float = 0.0) -> None:
        """The publication of a run whose jobs are all done."""
        self._defer(FINISH_TASK, lock_of(run_id, None), wait, run_id=run_id)

    def _defer(self, task: str, lock: str, wait: float, **arguments: int) -> None:
        options: dict[str, Any] = {"queue": QUEUE, "queueing_lock": lock}
        if wait:
            options["schedule_at"] = self._in(wait)
        with suppress(AlreadyEnqueued):
            self._app.configure_task(task, **options).defer(**arguments)

    def _in(self, seconds: float) -> datetime:
        """A moment by the database's clock, which decides when a job is due; ours may be another one."""
        connector = self._app.connector.get_sync_connector()
        row = connector.execute_query_one("SELECT now() + make_interval(secs => %(seconds)s) AS moment", seconds=seconds)
        moment: datetime = row["moment"]
        return moment


@contextmanager
def open_queue(url: URL) -> Iterator[Queue]:
    """The queue of a catalog, from outside an event loop.

    Raises:
        DatabaseError: the connection is lost.
    """
    app = App(connector=SyncPsycopgConnector(**connection_arguments(url)))
    try:
        with app.open():
            yield Queue(app)
    except (ConnectorException, PoolTimeout) as error:
        raise DatabaseError(f"the queue in the database is lost ({error.__cause__ or error}); repeat the command.") from error
