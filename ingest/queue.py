"""The queue of jobs that workers take from: procrastinate's tables, in their own schema of the same database."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from procrastinate import App, BaseConnector, PsycopgConnector, SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued
from sqlalchemy import URL

from catalog.engine import address

SCHEMA = "queue"
QUEUE = "catalog"
JOB_TASK = "catalog.job"
FINISH_TASK = "catalog.finish"


def connection_arguments(url: URL) -> dict[str, Any]:
    """What procrastinate's connectors need to reach the queue of a catalog."""
    return {
        "conninfo": address(url, hide_password=False),
        "kwargs": {"options": f"-c search_path={SCHEMA}", "application_name": "neuron-catalog queue"},
        "min_size": 1,
        "max_size": 4,
        "timeout": 10.0,
    }


def worker_connector(url: URL) -> BaseConnector:
    """For the event loop of a worker."""
    return PsycopgConnector(**connection_arguments(url))


class Queue:
    """Puts jobs of runs into the queue."""

    def __init__(self, app: App) -> None:
        self._app = app

    def put(self, run_id: int, numbers: Iterable[int]) -> None:
        """Jobs that may begin; one that waits in the queue already is left as it is."""
        for number in numbers:
            self._defer(JOB_TASK, f"run-{run_id}-job-{number}", run_id=run_id, job=number)

    def put_finish(self, run_id: int) -> None:
        """The publication of a run whose jobs are all done."""
        self._defer(FINISH_TASK, f"run-{run_id}-finish", run_id=run_id)

    def _defer(self, task: str, lock: str, **arguments: int) -> None:
        with suppress(AlreadyEnqueued):
            self._app.configure_task(task, queue=QUEUE, queueing_lock=lock).defer(**arguments)


@contextmanager
def open_queue(url: URL) -> Iterator[Queue]:
    """The queue of a catalog, from outside an event loop."""
    app = App(connector=SyncPsycopgConnector(**connection_arguments(url)))
    with app.open():
        yield Queue(app)
