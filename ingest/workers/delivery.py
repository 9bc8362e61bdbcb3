"""What a worker does with one delivery from the queue: the job, or the publication, and what becomes of one that failed.

Jobs may be delivered twice and workers may die at any moment. A job is done when its results are in the ledger, and only
then; whoever finds it done goes on to what waits for it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from procrastinate import exceptions
from psycopg_pool import PoolTimeout
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from catalog.errors import CatalogError, DatabaseError, JobTaken, RunEnded, RunError, WorkerRefusal
from catalog.runs import jobs, life
from ingest.jobs.context import JobStopped
from ingest.jobs.inline import phase_of, worker_name
from ingest.jobs.job import run_job
from ingest.jobs.queue import Queue
from ingest.jobs.staging_folder import check_writable
from ingest.pipeline.phases import RunWork
from ingest.plan.items import Job
from ingest.progress import Progress
from ingest.workers.opened_run import RunContext, check_left, is_current, open_run
from ingest.workers.outlook import Outlook, Refusals, look
from ingest.workers.settings import WorkerSettings

MOST_ATTEMPTS = 6
LONGEST_WAIT = 60
SECONDS_UNTIL_NEXT_TRY = 2
"""For a job that another process is at, or that is left to other workers."""
LOST = (exceptions.ConnectorException, psycopg.OperationalError, PoolTimeout, OperationalError, InterfaceError, DatabaseError)
"""What a lost connection or a stopped server looks like, from any of the libraries."""


class Worker:
    """The work of one process, whatever the number of its connections to the queue."""

    def __init__(self, engine: Engine, queue: Queue, settings: WorkerSettings, refusals: Refusals, progress: Progress) -> None:
        self.engine = engine
        self.queue = queue
        self.settings = settings
        self.refusals = refusals
        self.progress = progress
        self.stopping = threading.Event()
        """Jobs are to save what they have and end."""
        self.done = False
        """There is nothing left to do, or a signal came."""
        self._stop: Callable[[], None] | None = None
        self._idle: list[RunContext] = []
        self._opening = threading.Lock()

    @property
    def seconds_between_looks(self) -> float:
        """How often it looks what is left."""
        return min(1.0, self.settings.stalled_seconds / 3)

    async def look(self) -> Outlook:
        """What is left; refusals that are no longer true are forgotten."""
        outlook = await asyncio.to_thread(look, self.engine, self.settings.stalled_seconds)
        self.refusals.keep_current(outlook.due)
        return outlook

    def end(self) -> None:
        """Save what is at work and take no more."""
        self.done = True
        self.stopping.set()
        if self._stop is not None:
            self._stop()

    def when_ending(self, stop: Callable[[], None]) -> None:
        """Have `end` stop what takes from the queue."""
        self._stop = stop

    # --- tasks; each runs in a thread ---

    def do_job(self, run_id: int, number: int) -> None:
        """One delivery of one job."""
        with self._delivered(run_id, number), self._run(run_id, number) as context:
            job = context.planned.plan.jobs[number]
            if not self._is_ready(run_id, number):
                return
            self._check_fits(context, job)
            name = worker_name(context.inputs.device)
            with jobs.claim(self.engine, run_id, number, name, context.identity) as claim:
                if claim is not None:
                    # not before: the folder of a run that was published meanwhile would come back
                    check_writable(context.jobs.store.folder)
                    what, total, unit = phase_of(context.jobs, job)
                    self.progress.phase(f"run {run_id}, job {number} ({what})", total, unit)
                    run_job(context.jobs, job, claim, self._advance)
            self._what_follows(run_id, number)

    def finish(self, run_id: int) -> None:
        """Publish a run whose jobs are all done."""
        with self._delivered(run_id, None), self._run(run_id, None) as context:
            handle = life.take_queued(self.engine, run_id)
            if handle is None:
                return
            with handle:
                RunWork(self.engine, handle, context.settings, context.inputs, context.planned.parts).run(self.progress)
            self.progress.say(f"run {run_id} is published")

    def _is_ready(self, run_id: int, number: int) -> bool:
        """Whether the job may begin, or is done; another is put into the queue by the last that it waits for."""
        with self.engine.connect() as connection:
            states = jobs.states(connection, run_id)
        return states[number].done or number in jobs.ready(states)

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
            error = WorkerRefusal(
                f"job {job.number} of run {context.run_id} needs {needed / 2**30:.3g} GiB for its sums, and this worker has "
                f"{have / 2**30:.3g}; give it a larger --memory, or plan the run with a smaller one."
            )
            self._refuse(context.run_id, job.number, error)
            raise error

    def _refuse(self, run_id: int, number: int | None, error: WorkerRefusal) -> None:
        if self.refusals.add(run_id, number, error):
            self.progress.say(f"left to other workers: {error}")

    @contextmanager
    def _run(self, run_id: int, number: int | None) -> Iterator[RunContext]:
        """A run nobody else in this process is using; the models stay open for the next job.

        Raises:
            RunEnded: the run is gone, or no longer left to workers.
            WorkerRefusal: the job, or everything of the run, is for other workers.
        """
        refused = self.refusals.of(run_id, number)
        if refused is not None:
            with self.engine.connect() as connection:
                check_left(connection, run_id)
            raise refused
        with self._opening:
            opened = next((context for context in self._idle if context.run_id == run_id), None)
            if opened is not None:
                self._idle.remove(opened)
            if opened is None or not is_current(self.engine, opened):
                self._idle.clear()
                try:
                    opened = open_run(self.engine, run_id, self.settings, self.progress)
                except WorkerRefusal as error:
                    self._refuse(run_id, None, error)
                    raise
        try:
            yield opened
        finally:
            self._idle.append(opened)

    @contextmanager
    def _delivered(self, run_id: int, number: int | None) -> Iterator[None]:
        """Decide what becomes of a delivery that failed; `LOST` alone is left to procrastinate."""
        try:
            yield
        except JobStopped:
            self._put_back(run_id, number, 0)
        except JobTaken:
            self._put_back(run_id, number, SECONDS_UNTIL_NEXT_TRY)
        except RunEnded as error:
            life.tidy(self.engine)
            self.progress.say(str(error))
        except WorkerRefusal as error:
            self._note(run_id, number, str(error))
            self._put_back(run_id, number, SECONDS_UNTIL_NEXT_TRY)
        except RunError as error:
            self.progress.say(str(error))
            self._note(run_id, number, str(error))
            self._again(run_id)
        except LOST:
            raise
        except Exception as error:
            self._failed(run_id, number, reason_of(error))

    def _failed(self, run_id: int, number: int | None, reason: str) -> None:
        """Say it, and try again later; the last attempt ends the run."""
        self.progress.say(f"run {run_id}, {'publication' if number is None else f'job {number}'}: {reason}")
        with self.engine.begin() as connection:
            failures = jobs.count_failure(connection, run_id, number, reason)
        if failures >= MOST_ATTEMPTS:
            life.end_run(self.engine, run_id, reason)
            return
        self._put_back(run_id, number, min(LONGEST_WAIT, 2**failures))

    def _put_back(self, run_id: int, number: int | None, wait: float) -> None:
        if number is None:
            life.requeue_run(self.engine, run_id)
            self.queue.put_finish(run_id, wait)
        else:
            self.queue.put(run_id, [number], wait)

    def _again(self, run_id: int) -> None:
        """Sums of an earlier job were damaged: have all that is ready done, whoever was to do it."""
        life.requeue_run(self.engine, run_id)
        with self.engine.connect() as connection:
            self.queue.put(run_id, jobs.ready(jobs.states(connection, run_id)))

    def _note(self, run_id: int, number: int | None, reason: str) -> None:
        if number is None:
            return
        with self.engine.begin() as connection:
            jobs.note(connection, run_id, number, reason)


def reason_of(error: Exception) -> str:
    """An error in one line, with its kind unless it was made for people."""
    return str(error) if isinstance(error, CatalogError) else f"{type(error).__name__}: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """What the first cause of an error says, without the statement that SQLAlchemy appends."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
