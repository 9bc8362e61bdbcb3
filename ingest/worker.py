"""A worker: takes jobs of queued runs from the database, does them, and publishes a run after its last job.

A worker that was not heard of for a while (by the database's clock) is given up: any other worker puts its jobs back into
the queue. A database that goes away is waited for, and started if it is the embedded one.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import torch
from procrastinate import App, exceptions
from procrastinate.jobs import Job as QueuedJob
from procrastinate.jobs import Status
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.worker import Worker as QueueWorker
from sqlalchemy import Engine

from catalog.engine import check_schema, writer_engine
from catalog.errors import DatabaseError
from ingest.deliveries import LONGEST_WAIT, LOST, Worker, first_line
from ingest.device import resolve_device
from ingest.progress import Progress
from ingest.queue import FINISH_TASK, JOB_TASK, QUEUE, open_queue, worker_connector
from ingest.worker_settings import WorkerSettings

NOISY = ("procrastinate", "psycopg.pool", "asyncio")
"""Loggers of libraries that print tracebacks of what is told here in one sentence."""
AT_ONCE = datetime(2000, 1, 1, tzinfo=UTC)
"""A time that is past whatever the clock says."""


class OnceLost(BaseRetryStrategy):
    """A delivery fails only where the database was lost before it could be put back: then it is delivered again."""

    def get_retry_decision(self, *, exception: BaseException, job: QueuedJob) -> RetryDecision:
        return RetryDecision(retry_at=AT_ONCE)


def work(settings: WorkerSettings, progress: Progress) -> None:
    """Work until the queue is empty, if asked to, or until a signal; a database that goes away is waited for.

    Raises:
        InputError: a setting is outside its range, or the device is not there.
        DatabaseError: the catalog cannot be reached at the start.
        WorkerRefusal: a job cannot be done by this worker; it is back in the queue.
    """
    settings.validate()
    resolve_device(settings.device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with _catalog(settings):
        """What is wrong from the start is told at once."""
    wait = 1.0
    while True:
        began = time.monotonic()
        try:
            with _catalog(settings) as engine, open_queue(engine.url) as queue:
                worker = Worker(engine, queue, settings, progress)
                asyncio.run(_serve(worker))
        except LOST as error:
            wait = 1.0 if time.monotonic() - began > LONGEST_WAIT else min(2 * wait, 30.0)
            progress.say(f"the database is lost ({first_line(error)}); trying again in {wait:.0f} s")
            time.sleep(wait)
            continue
        if worker.refusal is not None:
            raise worker.refusal
        return


@contextmanager
def _catalog(settings: WorkerSettings) -> Iterator[Engine]:
    """The database; an embedded server that is down is started."""
    engine = writer_engine(settings.database_url)
    try:
        check_schema(engine)
        yield engine
    finally:
        engine.dispose()


async def _serve(worker: Worker) -> None:
    """Take jobs until there is no more to do, or a signal comes.

    Raises:
        DatabaseError: the connection was lost.
    """
    app = _app(worker)
    async with app.open_async():
        queue_worker = QueueWorker(
            app,
            queues=[QUEUE],
            concurrency=worker.settings.concurrency,
            fetch_job_polling_interval=1.0,
            install_signal_handlers=False,
            update_heartbeat_interval=worker.settings.heartbeat_seconds,
            stalled_worker_timeout=worker.settings.stalled_seconds,
            delete_jobs="always",
        )

        def leave(_: object = None) -> None:
            worker.stopping.set()
            queue_worker.stop()

        def end() -> None:
            worker.done = True
            leave()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        rescue = asyncio.create_task(_rescue(app, worker, end))
        rescue.add_done_callback(leave)
        try:
            await queue_worker.run()
        finally:
            rescue.cancel()
            (failure,) = await asyncio.gather(rescue, return_exceptions=True)
    if not worker.done:
        # procrastinate ends its work without an error when a connection of its own is gone
        raise DatabaseError(first_line(failure) if isinstance(failure, Exception) else "a connection was closed")


async def _rescue(app: App, worker: Worker, end: Callable[[], None]) -> None:
    """Put jobs of workers that are gone back into the queue, and notice when there is nothing left to do."""
    settings = worker.settings
    while True:
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=settings.stalled_seconds):
            worker.progress.say(f"a worker is gone; its job {job.task_kwargs} goes back into the queue")
            await _put_back(app, job)
        if worker.refusal is not None or (settings.until_empty and await _is_empty(app)):
            end()
            return
        await asyncio.sleep(min(1.0, settings.stalled_seconds / 3))


async def _put_back(app: App, job: QueuedJob) -> None:
    try:
        await app.job_manager.retry_job(job, retry_at=AT_ONCE)
    except exceptions.UniqueViolation:
        # It waits in the queue a second time already.
        await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)
    except exceptions.ConnectorException:
        # Another worker was quicker; a lost connection shows itself with the next question.
        return


async def _is_empty(app: App) -> bool:
    for status in ("todo", "doing"):
        if list(await app.job_manager.list_jobs_async(queue=QUEUE, status=status)):
            return False
    return True


def _app(worker: Worker) -> App:
    app = App(connector=worker_connector(worker.engine.url))

    @app.task(name=JOB_TASK, retry=OnceLost())
    def do_job(run_id: int, job: int, attempt: int = 0) -> None:
        worker.do_job(run_id, job, attempt)

    @app.task(name=FINISH_TASK, retry=OnceLost())
    def finish(run_id: int, attempt: int = 0) -> None:
        worker.finish(run_id, attempt)

    return app
