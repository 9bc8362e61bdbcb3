"""Jobs, claims and the run's store: who lost the lock writes nothing, a job counts once, damaged sums are computed again."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from catalog.errors import JobTaken, RunEnded, RunError
from catalog.runs import jobs, life
from catalog.runs.handle import RunHandle
from ingest.jobs.queue import open_queue
from ingest.jobs.store import RunStore
from ingest.plan.items import Job
from tests.database.helpers import execute, one, rows
from tests.published import spec_of, stage_small_family

CUT = """SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = {}
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
ONE_KEY, TWO_KEYS = 1, 2
"""How pg_locks tells a lock on a run from one on a job."""
GONE = (OperationalError, psycopg.OperationalError)
"""A connection that was cut."""
JOB = Job(1, "accumulate", (), 0, 8, (0,))


@pytest.fixture
def handle(engine: Engine) -> Iterator[RunHandle]:
    """A run of two jobs, the second of which waits for the first."""
    begun = life.begin_run(engine, spec_of("jobs"))
    with engine.begin() as connection:
        made = [jobs.JobRow(0, "pivots", [], 0, 0, 0.0), jobs.JobRow(1, "accumulate", [0], 256, 0, 0.0)]
        jobs.record_plan(connection, begun.run_id, {}, made)
    yield begun
    begun.close()


def test_a_job_counts_once(engine: Engine, handle: RunHandle) -> None:
    with jobs.claim(engine, handle.run_id, 0, "one") as claim:
        assert claim is not None
        with pytest.raises(JobTaken, match="another process is at job 0"), jobs.claim(engine, handle.run_id, 0, "two"):
            pass
        claim.finish({"pivots:0": b"first"}, None)
        claim.finish({"pivots:0": b"second"}, None)
    with jobs.claim(engine, handle.run_id, 0, "two") as claim:
        assert claim is None
    assert rows(engine, "SELECT name, data FROM run_job_results") == [("pivots:0", b"first")]
    with engine.connect() as connection:
        assert jobs.ready(jobs.states(connection, handle.run_id)) == [1]


@pytest.mark.parametrize("last_word", ["beat", "finish"])
def test_a_claim_that_lost_its_lock_writes_nothing(engine: Engine, handle: RunHandle, last_word: str) -> None:
    with jobs.claim(engine, handle.run_id, 0, "one") as claim:
        assert claim is not None
        execute(engine, CUT.format(TWO_KEYS))
        with pytest.raises(GONE):
            claim.beat(64) if last_word == "beat" else claim.finish({"pivots:0": b"late"}, None)
    assert rows(engine, "SELECT tokens_done, finished_at FROM run_jobs WHERE job = 0") == [(0, None)]
    assert one(engine, "SELECT count(*) FROM run_job_results") == 0


def test_a_run_that_lost_its_lock_is_not_published(engine: Engine, handle: RunHandle) -> None:
    publication = stage_small_family(handle)
    execute(engine, CUT.format(ONE_KEY))
    with life.begin_run(engine, spec_of("jobs")) as other:
        with pytest.raises(GONE):
            handle.publish(publication)
        assert not handle.published
        other.publish(stage_small_family(other))
    assert rows(engine, "SELECT id, status FROM runs") == [(handle.run_id, "published")]


def test_a_cancelled_run_ends_its_jobs(engine: Engine, handle: RunHandle) -> None:
    with jobs.claim(engine, handle.run_id, 0, "one") as claim:
        assert claim is not None
        life.cancel_run(engine, handle.run_id)
        for last_word in (lambda: claim.beat(64), lambda: claim.finish({"pivots:0": b"late"}, None)):
            with pytest.raises(RunEnded, match="cancelled"):
                last_word()
    assert one(engine, "SELECT count(*) FROM run_job_results") == 0


def test_damaged_sums_are_computed_again(engine: Engine, handle: RunHandle, tmp_path: Path) -> None:
    store = RunStore(engine, handle.run_id, tmp_path)
    with jobs.claim(engine, handle.run_id, 1, "one") as claim:
        assert claim is not None
        claim.finish({"moments:0": b"moments"}, store.leave(JOB, {"own:0:0/total": np.arange(4.0)}))
    ((name, values),) = store.sums([1])
    assert name == "own:0:0/total" and values.tolist() == [0, 1, 2, 3]
    (tmp_path / "sums-1.npz").write_bytes(b"damaged")
    with pytest.raises(RunError, match="repeat the command, which computes them again"):
        list(store.sums([1]))
    assert rows(engine, "SELECT finished_at, sums_file FROM run_jobs WHERE job = 1") == [(None, None)]
    assert store.results("moments:%") == []


def test_a_damaged_checkpoint_is_no_checkpoint(engine: Engine, handle: RunHandle, tmp_path: Path) -> None:
    store = RunStore(engine, handle.run_id, tmp_path / "run")
    assert store.resume(JOB) is None
    store.checkpoint(JOB, 3, {"tile/total": np.ones(2)})
    store.checkpoint(JOB, 5, {"tile/total": np.full(2, 7.0)})
    found = store.resume(JOB)
    assert found is not None and found[0] == 5
    assert [(name, values.tolist()) for name, values in found[1]] == [("tile/total", [7.0, 7.0])]
    file = tmp_path / "run" / "checkpoint-1.npz"
    file.write_bytes(file.read_bytes()[:-40])
    assert store.resume(JOB) is None
    store.drop_checkpoint(JOB)
    assert not list((tmp_path / "run").iterdir())


def test_what_a_kill_after_publication_left_is_tidied(
    published_family: int, engine: Engine, tmp_path: Path
) -> None:
    run_id = published_family
    left = tmp_path / "run-1"
    left.mkdir()
    execute(engine, "UPDATE runs SET staging_folder = :folder WHERE id = :id", folder=str(left), id=run_id)
    assert life.take_queued(engine, run_id) is None, "a publication that is delivered twice finds nothing to do"
    assert not left.exists() and one(engine, "SELECT staging_folder FROM runs") is None


def test_a_later_delivery_is_due_by_the_databases_clock(engine: Engine) -> None:
    with open_queue(engine.url) as queue:
        queue.put(7, [0, 1])
        queue.put(7, [1, 2], wait=60)
    due = """SELECT args->>'job', scheduled_at - now() BETWEEN interval '50 s' AND interval '60 s'
             FROM queue.procrastinate_jobs ORDER BY id"""
    assert rows(engine, due) == [("0", None), ("1", None), ("2", True)], "job 1 waits there already"
