"""What a worker does with one delivery from the queue: the job, or the publication, and what becomes of one that failed.

Jobs may be delivered twice and workers may die at any moment. A job is done when its results are in the ledger, and only
then; whoever finds it done goes on to what waits for it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from procrastinate import exceptions
from psycopg_pool import PoolTimeout
from sqlalchemy import Engine, text
from sqlalchemy.exc import InterfaceError, OperationalError

from catalog import jobs, runs
from catalog.errors import CatalogError, DatabaseError, JobTaken, RunEnded, RunError, WorkerRefusal
from ingest.compute import JobStopped, run_job
from ingest.inline import worker_name
from ingest.plan import Job
from ingest.progress import Progress
from ingest.queue import Queue
from ingest.run_context import RunContext, is_current, open_run
from ingest.run_work import RunWork
from ingest.staging_folder import check_writable
from ingest.worker_settings import WorkerSettings

MOST_ATTEMPTS = 6
LONGEST_WAIT = 60
SECONDS_UNTIL_NEXT_TRY = 2
"""For a job that another process is at, or that this worker refuses."""
LOST = (exceptions.ConnectorException, psycopg.OperationalError, PoolTimeout, OperationalError, InterfaceError, DatabaseError)
"""What a lost connection or a stopped server looks like, from any of the libraries."""


class Worker:
    """The work of one process, whatever the number of its connections to the queue."""

    def __init__(self, engine: Engine, queue: Queue, settings: WorkerSettings, progress: Progress) -> None:
        self.engine = engine
        self.queue = queue
        self.settings = settings
        self.progress = progress
        self.stopping = threading.Event()
        """Jobs are to save what they have and end."""
        self.done = False
        """There is nothing left to do, or a signal came."""
        self.refusal: WorkerRefusal | None = None
        self._idle: list[RunContext] = []
        self._opening = threading.Lock()

    # --- tasks; each runs in a thread ---

    def do_job(self, run_id: int, number: int, attempt: int) -> None:
        """One delivery of one job."""
        with self._delivered(run_id, number, attempt), self._run(run_id) as context:
            job = context.planned.plan.jobs[number]
            if not self._is_ready(run_id, number):
                return
            self._check_fits(context, job)
            name = worker_name(context.inputs.device)
            with jobs.claim(self.engine, run_id, number, name, context.identity) as claim:
                if claim is not None:
                    # not before: the folder of a run that was published meanwhile would come back
                    check_writable(context.jobs.store.folder)
                    total = context.planned.plan.tokens(job)
                    unit = "tokens" if total else ""
                    self.progress.phase(f"run {run_id}, job {number} ({job.kind})", total or None, unit)
                    run_job(context.jobs, job, claim, self._advance)
            self._what_follows(run_id, number)

    def finish(self, run_id: int, attempt: int) -> None:
        """Publish a run whose jobs are all done."""
        with self._delivered(run_id, None, attempt), self._run(run_id) as context:
            handle = runs.take_queued(self.engine, run_id)
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
            if found is None or not is_current(self.engine, found):
                self._idle.clear()
                found = open_run(self.engine, run_id, self.settings, self.progress)
        try:
            yield found
        finally:
            self._idle.append(found)

    @contextmanager
    def _delivered(self, run_id: int, number: int | None, attempt: int) -> Iterator[None]:
        """Decide what becomes of a delivery that failed; `LOST` alone is left to procrastinate."""
        try:
            yield
        except JobStopped:
            self._put_back(run_id, number, attempt, 0)
        except JobTaken:
            self._put_back(run_id, number, attempt, SECONDS_UNTIL_NEXT_TRY)
        except RunEnded as error:
            runs.tidy(self.engine)
            self.progress.say(str(error))
        except WorkerRefusal as error:
            self.refusal = error
            self._note(run_id, number, str(error))
            self._put_back(run_id, number, attempt, SECONDS_UNTIL_NEXT_TRY)
        except RunError as error:
            self.progress.say(str(error))
            self._note(run_id, number, str(error))
            self._again(run_id)
        except LOST:
            raise
        except Exception as error:
            self._failed(run_id, number, attempt + 1, reason_of(error))

    def _failed(self, run_id: int, number: int | None, attempts: int, reason: str) -> None:
        """Say it, and try again later; the last attempt ends the run."""
        self.progress.say(f"run {run_id}, {'publication' if number is None else f'job {number}'}: {reason}")
        self._note(run_id, number, reason)
        if attempts >= MOST_ATTEMPTS:
            runs.end_run(self.engine, run_id, reason)
            return
        if number is None:
            runs.requeue_run(self.engine, run_id)
        self._put_back(run_id, number, attempts, min(LONGEST_WAIT, 2**attempts))

    def _put_back(self, run_id: int, number: int | None, attempt: int, wait: float) -> None:
        if number is None:
            self.queue.put_finish(run_id, attempt, wait)
        else:
            self.queue.put(run_id, [number], attempt, wait)

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


def reason_of(error: Exception) -> str:
    """An error in one line, with its kind unless it was made for people."""
    return str(error) if isinstance(error, CatalogError) else f"{type(error).__name__}: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """What the first cause of an error says, without the statement that SQLAlchemy appends."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
