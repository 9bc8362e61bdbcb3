"""What is left for workers is derived from the ledger; the queue may lose deliveries, and gets each back once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from catalog.errors import RunEnded, WorkerRefusal
from catalog.runs import deletion, jobs, life
from catalog.runs.handle import RunHandle
from catalog.runs.jobs import Due
from ingest.jobs.queue import open_queue
from ingest.workers.opened_run import check_left
from ingest.workers.outlook import Outlook, Refill, Refusals, look
from tests.database.helpers import execute, one, rows
from tests.published import spec_of, stage_small_family

LOSE = "TRUNCATE queue.procrastinate_jobs, queue.procrastinate_workers, queue.procrastinate_events CASCADE"
LOCKS = "SELECT queueing_lock FROM queue.procrastinate_jobs ORDER BY queueing_lock"
ASKED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def handle(engine: Engine) -> Iterator[RunHandle]:
    """A run of three jobs that is left to workers: the last waits for the other two."""
    begun = life.begin_run(engine, spec_of("left"))
    with engine.begin() as connection:
        made = [("pivots", []), ("accumulate", []), ("combine", [0, 1])]
        ledger = [jobs.JobRow(job, kind, after, 0, 0, 0.0) for job, (kind, after) in enumerate(made)]
        jobs.record_plan(connection, begun.run_id, {}, ledger)
    begun.queue()
    yield begun
    begun.close()


def finish(engine: Engine, run_id: int, *numbers: int) -> None:
    for number in numbers:
        with jobs.claim(engine, run_id, number, "one") as claim:
            assert claim is not None
            claim.finish({}, None)


def due(engine: Engine) -> list[int | None]:
    with engine.connect() as connection:
        return [item.job for item in jobs.due(connection)]


def refill(engine: Engine, times: int = 2) -> Outlook:
    """As a worker looks `times` times."""
    with open_queue(engine.url) as queue:
        mender = Refill(queue)
        for _ in range(times):
            found = look(engine, stalled_seconds=30)
            mender.put(found)
    return found


def test_the_ledger_alone_says_what_may_begin(engine: Engine, handle: RunHandle) -> None:
    assert due(engine) == [0, 1]
    finish(engine, handle.run_id, 0)
    assert due(engine) == [1]
    finish(engine, handle.run_id, 1)
    assert due(engine) == [2]
    finish(engine, handle.run_id, 2)
    assert due(engine) == [None], "the publication"
    handle.publish(stage_small_family(handle))
    assert due(engine) == []


def test_a_lost_delivery_is_put_back_once_whoever_looks(engine: Engine, handle: RunHandle) -> None:
    with open_queue(engine.url) as queue:
        queue.put(handle.run_id, [0, 1])
    assert refill(engine).missing == frozenset() and len(rows(engine, LOCKS)) == 2, "nothing is lost"
    execute(engine, LOSE)
    assert look(engine, 30).empty
    refill(engine, times=1)
    assert rows(engine, LOCKS) == [], "at the first look it may still be on its way"
    with open_queue(engine.url) as one_queue, open_queue(engine.url) as other_queue:
        menders = [Refill(one_queue), Refill(other_queue)]
        looks = [look(engine, 30), look(engine, 30)]
        for outlook in looks:
            for mender in menders:
                mender.put(outlook)
    assert rows(engine, LOCKS) == [("run-1-job-0",), ("run-1-job-1",)]
    execute(engine, "SET LOCAL search_path = queue; UPDATE procrastinate_jobs SET status = 'doing' WHERE id % 2 = 0")
    assert refill(engine).missing == frozenset(), "whoever is at a job has its delivery"


def test_a_worker_killed_before_it_delivered_what_follows(engine: Engine, handle: RunHandle) -> None:
    """The ledger has its job as done, and nothing was put into the queue."""
    finish(engine, handle.run_id, 0, 1)
    refill(engine)
    assert rows(engine, LOCKS) == [("run-1-job-2",)]
    execute(engine, LOSE)
    finish(engine, handle.run_id, 2)
    refill(engine)
    assert rows(engine, LOCKS) == [("run-1-finish",)], "a publication is a delivery, too"


def test_a_publication_that_broke_off_is_still_left_to_workers(engine: Engine, handle: RunHandle) -> None:
    finish(engine, handle.run_id, 0, 1, 2)
    handle.close()
    with pytest.raises(ZeroDivisionError):
        taken = life.take_queued(engine, handle.run_id)
        assert taken is not None
        with taken:
            raise ZeroDivisionError
    assert one(engine, "SELECT status FROM runs") == "failed" and due(engine) == [None]
    with engine.connect() as connection:
        check_left(connection, handle.run_id)
    life.requeue_run(engine, handle.run_id)
    assert one(engine, "SELECT status FROM runs") == "queued"
    execute(engine, "UPDATE runs SET status = 'running'")
    life.tidy(engine)
    assert rows(engine, "SELECT status, error FROM runs") == [("interrupted", "its process is gone")] and due(engine) == [None]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda engine, run: life.cancel_run(engine, run), "run 1 was cancelled; the same"),
        (lambda engine, run: life.end_run(engine, run, "no luck"), "run 1 has failed \\(no luck\\); the same"),
        (lambda engine, run: deletion.delete_run(engine, run), "is deleted"),
        (lambda engine, run: execute(engine, "UPDATE runs SET left_to_workers = false"), "is no longer left to workers"),
    ],
    ids=["cancelled", "given up", "deleted", "taken back"],
)
def test_a_run_that_ended_is_not_put_back(
    engine: Engine, handle: RunHandle, end: Callable[[Engine, int], None], said: str
) -> None:
    handle.close()
    end(engine, handle.run_id)
    assert not refill(engine).due and rows(engine, LOCKS) == []
    assert life.take_queued(engine, handle.run_id) is None
    with engine.connect() as connection, pytest.raises(RunEnded, match=said):
        check_left(connection, handle.run_id)


def test_failures_outlive_the_queue_until_the_run_is_queued_again(engine: Engine, handle: RunHandle) -> None:
    def fail(job: int | None) -> int:
        with engine.begin() as connection:
            return jobs.count_failure(connection, handle.run_id, job, "no luck")

    assert [fail(1), fail(1), fail(None)] == [1, 2, 1]
    execute(engine, LOSE)
    refill(engine)
    assert [fail(1), fail(None), fail(0)] == [3, 2, 1]
    assert rows(engine, "SELECT error FROM run_jobs WHERE failures > 0") == [("no luck",)] * 2
    handle.queue()
    assert [fail(1), fail(None)] == [1, 1]
    with engine.begin() as connection:
        assert jobs.count_failure(connection, 99, None, "no luck") == 0


def test_only_workers_that_were_heard_of_lately_count(engine: Engine) -> None:
    execute(engine, "INSERT INTO queue.procrastinate_workers (last_heartbeat) VALUES (now()), (now() - interval '20 s')")
    assert [look(engine, stalled_seconds=seconds).workers for seconds in (10, 30)] == [1, 2]


def test_refusals_hold_until_the_run_is_asked_for_anew() -> None:
    refusals, whole, job = Refusals(), WorkerRefusal("other weights"), WorkerRefusal("too large")
    items = [Due(1, ASKED, 0), Due(1, ASKED, 1), Due(2, ASKED, None)]
    refusals.keep_current(items)
    assert refusals.only(items) is None
    assert refusals.add(1, 1, job) and not refusals.add(1, 1, job)
    assert refusals.of(1, 1) is job and refusals.of(1, 0) is None
    assert refusals.only(items[1:2]) is job and refusals.only(items) is None and refusals.only([]) is None
    refusals.add(2, None, whole)
    assert refusals.of(2, None) is refusals.of(2, 5) is whole
    again = Due(1, ASKED.replace(month=2), 1)
    refusals.keep_current([again, items[2]])
    assert refusals.of(1, 1) is None and refusals.of(2, None) is whole
    refusals.keep_current([again])
    assert refusals.of(2, None) is None, "it has ended"
