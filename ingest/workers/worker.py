"""A worker: takes jobs of queued runs from the database, does them, and publishes a run after its last job.

The ledger says what there is to do, and the queue who does it: what the queue has lost is put there again. A worker that was
not heard of for a while (by the database's clock) is given up: any other puts its jobs back into the queue. A database that
goes away is waited for, and started if it is the embedded one.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import torch
from procrastinate import App, exceptions
from procrastinate.jobs import Job as QueuedJob
from procrastinate.jobs import Status
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.worker import Worker as QueueWorker
from sqlalchemy import Engine

from catalog.errors import DatabaseError
from catalog.server.engine import check_schema, writer_engine
from ingest.device import resolve_device
from ingest.jobs.queue import FINISH_TASK, JOB_TASK, QUEUE, open_queue, worker_connector
from ingest.progress import Progress
from ingest.workers.delivery import LONGEST_WAIT, LOST, Worker, first_line
from ingest.workers.outlook import Refill, Refusals
from ingest.workers.settings import WorkerSettings

NOISY = ("procrastinate", "psycopg.pool", "asyncio")
"""Loggers of libraries that print tracebacks of what is told here in one sentence."""
AT_ONCE = datetime(2000, 1, 1, tzinfo=UTC)
"""A time that is past whatever the clock says."""


class OnceLost(BaseRetryStrategy):
    """A delivery fails only where the database was lost before it could be put back: then it is delivered again."""

    def get_retry_decision(self, *, exception: BaseException, job: QueuedJob) -> RetryDecision:
        return RetryDecision(retry_at=AT_ONCE)


def work(settings: WorkerSettings, progress: Progress) -> None:
    """Work until nothing is left, if asked to, or until a signal; a database that goes away is waited for.

    Raises:
        InputError: a setting is outside its range, or the device is not there.
        DatabaseError: the catalog cannot be reached at the start.
        WorkerRefusal: this worker cannot do what is left, and there is no other.
    """
    settings.validate()
    resolve_device(settings.device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with _catalog(settings):
        """What is wrong from the start is told at once."""
    wait, refusals = 1.0, Refusals()
    worker: Worker | None = None
    while worker is None or not worker.done:
        began = time.monotonic()
        try:
            with _catalog(settings) as engine, open_queue(engine.url) as queue:
                worker = Worker(engine, queue, settings, refusals, progress)
                asyncio.run(_serve(worker))
        except LOST as error:
            if worker is not None and worker.done:
                return
            wait = 1.0 if time.monotonic() - began > LONGEST_WAIT else min(2 * wait, 30.0)
            progress.say(f"the database is lost ({first_line(error)}); trying again in {wait:.0f} s")
            time.sleep(wait)


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
    """Take jobs, and stand by while there are only jobs for others, until there is no more to do or a signal comes.

    Raises:
        DatabaseError: the connection was lost.
        WorkerRefusal: this worker cannot do what is left, and there is no other.
    """
    app = _app(worker)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.end)
    async with app.open_async():
        while not worker.done:
            await _take_jobs(app, worker)
            if not worker.done:
                await _stand_by(worker)


async def _take_jobs(app: App, worker: Worker) -> None:
    """Take from the queue until there is no more to do, only jobs for others are left, or a signal comes.

    Raises:
        DatabaseError: the connection was lost.
    """
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
    worker.when_ending(queue_worker.stop)
    watch = asyncio.create_task(_watch(app, worker, queue_worker))

    def left_off(watch: asyncio.Task[None]) -> None:
        if watch.cancelled() or watch.exception() is not None:
            worker.stopping.set()
        queue_worker.stop()

    watch.add_done_callback(left_off)
    try:
        await queue_worker.run()
    finally:
        over = watch.done()
        watch.cancel()
        (failure,) = await asyncio.gather(watch, return_exceptions=True)
    if not worker.done and (isinstance(failure, Exception) or not over):
        # procrastinate ends its work without an error when a connection of its own is gone
        raise DatabaseError(first_line(failure) if isinstance(failure, Exception) else "a connection was closed")


async def _watch(app: App, worker: Worker, queue_worker: QueueWorker) -> None:
    """Put back what the queue or another worker has lost; ends when there is no more to do, or only jobs for others."""
    settings, refill = worker.settings, Refill(worker.queue)
    while True:
        await _keep_registered(app, queue_worker, settings.stalled_seconds)
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=settings.stalled_seconds):
            worker.progress.say(f"a worker is gone; its job {job.task_kwargs} goes back into the queue")
            await _put_back(app, job)
        outlook = await worker.look()
        if not outlook.due and outlook.empty and settings.until_empty:
            worker.end()
        if worker.done or worker.refusals.only(outlook.due) is not None:
            return
        await asyncio.to_thread(refill.put, outlook)
        await asyncio.sleep(worker.seconds_between_looks)


async def _keep_registered(app: App, queue_worker: QueueWorker, stalled_seconds: float) -> None:
    """A worker whose place among the workers was lost takes another: without one it can be given no job."""
    known = await app.connector.execute_query_all_async("SELECT id FROM procrastinate_workers")
    if queue_worker.worker_id is not None and queue_worker.worker_id not in {row["id"] for row in known}:
        queue_worker.worker_id = await app.job_manager.register_worker()


async def _stand_by(worker: Worker) -> None:
    """Wait, while there are only jobs that this worker leaves to others. It takes from the queue no longer, so that two
    workers that refuse the same do not wait for each other.

    Raises:
        WorkerRefusal: there are no others.
    """
    while not worker.done:
        outlook = await worker.look()
        refusal = worker.refusals.only(outlook.due)
        if refusal is None:
            return
        if worker.settings.until_empty and not outlook.workers:
            raise refusal
        await asyncio.sleep(worker.seconds_between_looks)


async def _put_back(app: App, job: QueuedJob) -> None:
    try:
        await app.job_manager.retry_job(job, retry_at=AT_ONCE)
    except exceptions.UniqueViolation:
        # It waits in the queue a second time already.
        await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)
    except exceptions.ConnectorException:
        # Another worker was quicker; a lost connection shows itself with the next question.
        return


def _app(worker: Worker) -> App:
    app = App(connector=worker_connector(worker.engine.url))

    @app.task(name=JOB_TASK, retry=OnceLost())
    def do_job(run_id: int, job: int) -> None:
        worker.do_job(run_id, job)

    @app.task(name=FINISH_TASK, retry=OnceLost())
    def finish(run_id: int) -> None:
        worker.finish(run_id)

    return app
