"""A worker: takes jobs of queued runs from the database, does them, and publishes a run after its last job.

Jobs may be delivered twice and workers may die at any moment. A job is done when its results are in the ledger, and only
then; whoever finds it done goes on to what waits for it. A worker that was not heard of for a while (by the database's
clock) is given up: any other worker puts its jobs back into the queue.
"""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import torch
from procrastinate import App, exceptions
from procrastinate.jobs import Job as QueuedJob
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.worker import Worker as QueueWorker
from psycopg_pool import PoolTimeout
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from catalog import jobs, runs
from catalog.engine import check_schema, writer_engine
from catalog.errors import DatabaseError, JobTaken, RunEnded, RunError, WorkerRefusal
from ingest.compute import JobStopped, run_job
from ingest.device import resolve_device
from ingest.inline import worker_name
from ingest.plan import Job
from ingest.progress import Progress
from ingest.queue import FINISH_TASK, JOB_TASK, QUEUE, Queue, open_queue, worker_connector
from ingest.run_context import RunContext, WorkerSettings, open_run
from ingest.run_work import RunWork
from ingest.sums_files import check_writable

MOST_ATTEMPTS = 6
LONGEST_WAIT = 60
SECONDS_UNTIL_TAKEN_IS_TRIED = 2
LOST = (exceptions.ConnectorException, psycopg.OperationalError, PoolTimeout, DBAPIError, DatabaseError, OSError)
"""What a lost connection or a stopped server looks like, from any of the libraries."""


class Retry(BaseRetryStrategy):
    """Back to the queue at once when the worker stops, later when another process is at it, else with growing waits."""

    def get_retry_decision(self, *, exception: BaseException, job: QueuedJob) -> RetryDecision | None:
        """None ends the delivery for good."""
        if isinstance(exception, JobStopped | WorkerRefusal):
            return RetryDecision(retry_in={"seconds": 0})
        if isinstance(exception, JobTaken):
            return RetryDecision(retry_in={"seconds": SECONDS_UNTIL_TAKEN_IS_TRIED})
        if isinstance(exception, RunEnded) or job.attempts >= MOST_ATTEMPTS:
            return None
        return RetryDecision(retry_in={"seconds": min(LONGEST_WAIT, 2**job.attempts)})


class Worker:
    """The work of one process, whatever the number of its connections to the queue."""

    def __init__(self, engine: Engine, queue: Queue, settings: WorkerSettings, progress: Progress) -> None:
        self.engine = engine
        self.queue = queue
        self.settings = settings
        self.progress = progress
        self.stopping = threading.Event()
        self.refusal: WorkerRefusal | None = None
        self._idle: list[RunContext] = []
        self._opening = threading.Lock()

    # --- tasks; each runs in a thread ---

    def do_job(self, run_id: int, number: int, attempts: int) -> None:
        """One delivery of one job."""
        with self._telling(run_id, number, attempts), self._run(run_id) as context:
            job = context.planned.plan.jobs[number]
            self._check_fits(context, job)
            check_writable(context.jobs.store.folder)
            name = worker_name(context.inputs.device)
            with jobs.claim(self.engine, run_id, number, name, context.identity) as claim:
                if claim is not None:
                    total = context.planned.plan.tokens(job)
                    unit = "tokens" if total else ""
                    self.progress.phase(f"run {run_id}, job {number} ({job.kind})", total or None, unit)
                    run_job(context.jobs, job, claim, self._advance)
            self._what_follows(run_id, number)

    def finish(self, run_id: int, attempts: int) -> None:
        """Publish a run whose jobs are all done."""
        with self._telling(run_id, None, attempts), self._run(run_id) as context:
            handle = runs.take_queued(self.engine, run_id)
            if handle is None:
                return
            with handle:
                RunWork(self.engine, handle, context.settings, context.inputs, context.planned.parts).run(self.progress)
            self.progress.say(f"run {run_id} is published")

    def _advance(self, tokens: int) -> None:
        self.progress.advance(tokens)
        if self.stopping.is_set():
            raise JobStopped

    def _what_follows(self, run_id: int, number: int) -> None:
        """Put into the queue what waited for this job alone."""
        with self.engine.connect() as connection:
            states = jobs.states(connection, run_id)
        ready = set(jobs.ready(states))
        self.queue.put(run_id, [state.job for state in states if state.job in ready and number in state.after])
        if all(state.done for state in states):
            self.queue.put_finish(run_id)

    def _check_fits(self, context: RunContext, job: Job) -> None:
        needed, have = context.planned.plan.bytes_needed(job), context.inputs.memory_bytes
        if needed > have:
            raise WorkerRefusal(
                f"job {job.number} of run {context.run_id} needs {needed / 2**30:.3g} GiB for its sums, and this worker has "
                f"{have / 2**30:.3g}; give it a larger --memory, or plan the run with a smaller one."
            )

    @contextmanager
    def _run(self, run_id: int) -> Iterator[RunContext]:
        """A run nobody else in this process is using; the models stay open for the next job."""
        with self._opening:
            found = next((context for context in self._idle if context.run_id == run_id), None)
            if found is not None:
                self._idle.remove(found)
            else:
                self._idle.clear()
                found = open_run(self.engine, run_id, self.settings, self.progress)
        try:
            yield found
        finally:
            self._idle.append(found)

    @contextmanager
    def _telling(self, run_id: int, number: int | None, attempts: int) -> Iterator[None]:
        """Write down why a delivery failed, and end the run if it was the last attempt."""
        try:
            yield
        except (JobStopped, JobTaken):
            raise
        except RunEnded as error:
            self.progress.say(str(error))
        except WorkerRefusal as error:
            self.refusal = error
            self._note(run_id, number, str(error))
            raise
        except RunError as error:
            self._note(run_id, number, str(error))
            self._again(run_id)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            self.progress.say(f"run {run_id}, job {number}: {reason}")
            self._note(run_id, number, reason)
            if attempts + 1 >= MOST_ATTEMPTS:
                runs.end_run(self.engine, run_id, reason)
            elif number is None:
                runs.requeue_run(self.engine, run_id)
            raise

    def _again(self, run_id: int) -> None:
        """Sums of an earlier job were damaged: have all that is ready done, whoever was to do it."""
        with self.engine.connect() as connection:
            self.queue.put(run_id, jobs.ready(jobs.states(connection, run_id)))

    def _note(self, run_id: int, number: int | None, reason: str) -> None:
        if number is None:
            return
        with self.engine.begin() as connection:
            connection.execute(
                text("UPDATE run_jobs SET error = :error WHERE run_id = :run_id AND job = :job"),
                {"error": reason[:2000], "run_id": run_id, "job": number},
            )


def work(settings: WorkerSettings, progress: Progress) -> None:
    """Work until the queue is empty, if asked to, or until a signal; a database that goes away is waited for.

    Raises:
        InputError: the device is not there.
        DatabaseError: the catalog cannot be reached at the start.
        WorkerRefusal: a job cannot be done by this worker; it is back in the queue.
    """
    resolve_device(settings.device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    engine = writer_engine(settings.database_url)
    try:
        check_schema(engine)
        _reconnecting(engine, settings, progress)
    finally:
        engine.dispose()


def _reconnecting(engine: Engine, settings: WorkerSettings, progress: Progress) -> None:
    wait = 1.0
    while True:
        began = time.monotonic()
        try:
            with open_queue(engine.url) as queue:
                worker = Worker(engine, queue, settings, progress)
                asyncio.run(_serve(worker))
            if worker.refusal is not None:
                raise worker.refusal
            return
        except WorkerRefusal:
            raise
        except LOST as error:
            wait = 1.0 if time.monotonic() - began > LONGEST_WAIT else min(2 * wait, 30.0)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            progress.say(f"the database is lost ({reason}); trying again in {wait:.0f} s")
            time.sleep(wait)


async def _serve(worker: Worker) -> None:
    """Take jobs until there is no more to do, or a signal comes."""
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

        def stop() -> None:
            worker.stopping.set()
            queue_worker.stop()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        rescue = asyncio.create_task(_rescue(app, worker, stop))
        try:
            await queue_worker.run()
        finally:
            rescue.cancel()
            await asyncio.gather(rescue, return_exceptions=True)
        if rescue.done() and not rescue.cancelled() and rescue.exception() is not None:
            raise rescue.exception()  # type: ignore[misc]


async def _rescue(app: App, worker: Worker, stop: "object") -> None:
    """Put jobs of workers that are gone back into the queue, and notice when there is nothing left to do."""
    assert callable(stop)
    settings = worker.settings
    while True:
        stalled = await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=settings.stalled_seconds)
        for job in stalled:
            worker.progress.say(f"a worker is gone; its job {job.task_kwargs} goes back into the queue")
            await app.job_manager.retry_job(job)
        if worker.refusal is not None or (settings.until_empty and await _is_empty(app)):
            stop()
            return
        await asyncio.sleep(min(1.0, settings.stalled_seconds / 3))


async def _is_empty(app: App) -> bool:
    for status in ("todo", "doing"):
        if list(await app.job_manager.list_jobs_async(queue=QUEUE, status=status)):
            return False
    return True


def _app(worker: Worker) -> App:
    app = App(connector=worker_connector(worker.engine.url))

    @app.task(name=JOB_TASK, pass_context=True, retry=Retry())
    def do_job(context: object, run_id: int, job: int) -> None:
        worker.do_job(run_id, job, context.job.attempts)  # type: ignore[attr-defined]

    @app.task(name=FINISH_TASK, pass_context=True, retry=Retry())
    def finish(context: object, run_id: int) -> None:
        worker.finish(run_id, context.job.attempts)  # type: ignore[attr-defined]

    return app
