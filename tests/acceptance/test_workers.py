"""Workers: the same result as an ingest in one process, and a sentence for everything that they will not do."""

import signal
import time
from collections.abc import Callable

import pandas as pd
import pytest

from tests.acceptance.ingests import BUT_SYNTAX, assert_same
from tests.acceptance.places import a_place
from tests.commands import Answer, run_catalog, use_published_family
from tests.faults.place import Place, wait_for

place = a_place
settings = use_published_family
catalog = run_catalog


@pytest.fixture(scope="module")
def inline(place: Place) -> dict[str, pd.DataFrame]:
    """What one process publishes."""
    place.reset()
    place.run(*place.ingest)
    return place.contract()


def enqueue(place: Place) -> str:
    place.reset()
    return place.run(*place.ingest, "--enqueue", "--jobs", "4")


def test_two_workers_equal_one_process_in_every_part(place: Place) -> None:
    topics = place.home.parent / "topics.csv"
    topics.write_text("token_id,topic\n7,law\n9,law\n11,sport\n")
    every_part = [*place.ingest, "--only", ",".join(BUT_SYNTAX), "--topics", str(topics)]
    place.reset()
    place.run(*every_part)
    inline = place.contract()
    place.reset()
    assert "run 1 is queued as" in place.run(*every_part, "--enqueue", "--jobs", "4")
    watching = place.start("runs", "watch", "1", "--every", "0.1")
    workers = [place.start(*place.worker) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert watching.wait() == 0
    (n_jobs,) = place.rows("SELECT count(*) FROM run_jobs")[0]
    assert f"{n_jobs} of {n_jobs}; by" in watching.said and watching.said.endswith("run 1 is published\n")
    assert sum(worker.said.count("run 1 is published") for worker in workers) == 1
    assert place.rows("SELECT job, failures FROM run_jobs WHERE failures > 0") == [], workers[0].said + workers[1].said
    assert_same(place.contract(), inline)
    assert not place.leftovers()
    assert "run 1 has it all, published" in place.run(*every_part, "--enqueue")
    assert place.run(*place.worker) == "", "a worker without work has nothing to say"


def test_a_queued_run_is_not_taken_from_the_workers(place: Place) -> None:
    enqueue(place)
    second = place.start(*place.ingest)
    assert second.wait() == 1
    assert "run 1 is queued for workers; `catalog runs watch 1`" in second.said


def test_a_cancelled_run_stops_and_goes_on(place: Place, inline: dict[str, pd.DataFrame]) -> None:
    enqueue(place)
    worker = place.start(*place.worker)
    wait_for(worker, "accumulate")
    worker.signal(signal.SIGSTOP)  # however fast it is, it has not done all when it hears of it
    place.run("runs", "cancel", "1")
    worker.signal(signal.SIGCONT)
    assert worker.wait() == 0
    assert "run 1 was cancelled; the same `catalog ingest` resumes it." in worker.said
    assert place.rows("SELECT status, error FROM runs") == [("cancelled", None)] and not place.half_visible()
    watching = place.start("runs", "watch", "1")
    assert watching.wait() == 1 and "run 1 was cancelled; the same" in watching.said
    place.run(*place.ingest)
    place.run(*place.worker)
    assert_same(place.contract(), inline)
    assert not place.leftovers()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "jsonb_set(plan, '{definitions,weights,0}', '99')",
            "planned with definition 99 of weights, and this worker computes 2",
        ),
        ("jsonb_set(plan, '{models,0}', to_jsonb(repeat('f', 64)))", "holds another model here"),
    ],
)
def test_a_worker_refuses_what_it_would_do_otherwise(place: Place, change: str, said: str) -> None:
    enqueue(place)
    ((plan,),) = place.rows("SELECT plan::text FROM runs")
    with place.connection() as connection:
        connection.execute(f"UPDATE runs SET plan = {change}".encode())
        worker = place.start(*place.worker)
        assert worker.wait() == 1
        errors = [line for line in worker.said.splitlines() if line.startswith("error:")]
        assert len(errors) == 1 and said in errors[0] and "Traceback" not in worker.said
        assert place.rows("SELECT status FROM runs") == [("queued",)], "another worker may do it"
        connection.execute("UPDATE runs SET plan = %s::jsonb", [plan])
    place.run(*place.worker)
    assert place.rows("SELECT status FROM runs") == [("published",)] and not place.leftovers()


def test_tokens_that_differ_are_refused(place: Place) -> None:
    enqueue(place)
    with place.connection() as connection:
        connection.execute("UPDATE runs SET settings = jsonb_set(settings, '{token_sha256}', to_jsonb(repeat('f', 64)))")
    worker = place.start(*place.worker)
    assert worker.wait() == 1 and "gives other tokens here" in worker.said


def test_a_job_too_large_for_a_worker_is_left_to_others(place: Place) -> None:
    enqueue(place)
    small = place.start(*place.worker, "--memory", "0.0001")
    assert small.wait() == 1 and "give it a larger --memory" in small.said
    place.run(*place.worker)
    assert not place.leftovers()


LOSE = b"TRUNCATE queue.procrastinate_jobs, queue.procrastinate_workers, queue.procrastinate_events CASCADE"
HEARD_OF = b"INSERT INTO queue.procrastinate_workers (last_heartbeat) VALUES (now() + interval '1 hour')"
"""A worker that is alive and busy elsewhere, as far as anybody can tell."""


def test_a_queue_that_loses_everything_in_the_middle_of_a_run(place: Place, inline: dict[str, pd.DataFrame]) -> None:
    enqueue(place)
    with place.connection() as connection:
        connection.execute(LOSE)
        workers = [place.start(*place.worker) for _ in range(2)]
        for worker in workers:
            wait_for(worker, "accumulate")
        connection.execute(LOSE)
    assert [worker.wait() for worker in workers] == [0, 0]
    assert not [worker.said for worker in workers if "Traceback" in worker.said]
    assert_same(place.contract(), inline)
    assert not place.leftovers()


def test_a_publication_that_the_queue_has_lost(place: Place, inline: dict[str, pd.DataFrame]) -> None:
    enqueue(place)
    worker = place.start(*place.worker)
    wait_for(worker, "stage")
    worker.signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    with place.connection() as connection:
        connection.execute(LOSE)
    assert place.rows("SELECT status, left_to_workers FROM runs") == [("running", True)]
    assert "run 1 is published" in place.run(*place.worker)
    assert_same(place.contract(), inline)
    assert not place.leftovers()


def test_failures_are_counted_whatever_the_queue_forgets(place: Place) -> None:
    enqueue(place)
    with place.connection() as connection:
        connection.execute("UPDATE run_jobs SET failures = 5")
        connection.execute("UPDATE runs SET staging_folder = '/dev/null/sums'")
        connection.execute(LOSE)
    worker = place.start(*place.worker)
    assert worker.wait() == 0, "nothing is left to do"
    assert place.rows("SELECT max(failures) FROM run_jobs") == [(6,)]
    ((status, error),) = place.rows("SELECT status, error FROM runs")
    assert status == "failed" and "/dev/null/sums" in error


def test_a_worker_leaves_what_it_refuses_to_those_alive(place: Place) -> None:
    enqueue(place)
    with place.connection() as connection:
        connection.execute(HEARD_OF)
        small = place.start(*place.worker, "--memory", "0.0001")
        wait_until(lambda: "left to other workers: job" in small.said)
        place.run(*place.worker)
        assert place.rows("SELECT status FROM runs") == [("published",)]
        assert small.wait() == 0, small.said
        assert "error:" not in small.said and not place.leftovers()


def test_a_refused_run_that_is_cancelled_leaves_nothing(place: Place) -> None:
    enqueue(place)
    with place.connection() as connection:
        connection.execute(HEARD_OF)
        small = place.start(*place.worker, "--memory", "0.0001")
        wait_until(lambda: "left to other workers: job" in small.said)
        place.run("runs", "cancel", "1")
        assert small.wait() == 0 and place.rows("SELECT status FROM queue.procrastinate_jobs") == []


def test_workers_that_refuse_the_same_do_not_wait_for_each_other(place: Place) -> None:
    enqueue(place)
    small = [place.start(*place.worker, "--memory", "0.0001") for _ in range(2)]
    assert [worker.wait() for worker in small] == [1, 1]
    for worker in small:
        errors = [line for line in worker.said.splitlines() if line.startswith("error:")]
        assert len(errors) == 1 and "of run 1 needs" in errors[0] and "give it a larger --memory" in errors[0]
        assert worker.said.count("left to other workers: job") == len(set(told(worker.said))), "each job is refused once"
    place.run(*place.worker)
    assert not place.leftovers()


def told(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("left to other workers")]


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_staging_folder_that_cannot_be_written_is_not_kept(place: Place) -> None:
    place.reset()
    refused = place.start(*place.ingest, "--staging", "/dev/null/sums")
    assert refused.wait() == 1 and "Traceback" not in refused.said
    assert "the staging folder /dev/null/sums" in refused.said and "name another with --staging" in refused.said
    place.run(*place.ingest, "--enqueue", "--jobs", "4")
    accumulating = place.rows("SELECT count(*) FROM run_jobs WHERE kind = 'accumulate'")
    assert accumulating[0][0] >= 4, "a plan by which nothing was done is not kept either"
    place.run(*place.worker)
    assert not place.leftovers()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ingest", "a", "--only", "weights", "--enqueue"], "a"),
        (["ingest", "a", "b", "--corpus", "x", "--jobs", "0"], "--jobs 0 is too small; give 1 or more."),
        (["ingest", "a", "b", "--corpus", "x", "--checkpoint-minutes", "0"], "--checkpoint-minutes 0.0 is no interval"),
        (["ingest", "a", "b", "--corpus", "x", "--enqueue"], "a"),
        (["worker", "--device", "cuda:99"], "cuda:99"),
        (["worker", "--device", "abacus"], "abacus"),
        (["runs", "watch", "99"], "there is no run 99"),
        (["runs", "cancel", "99"], "there is no run 99"),
        (["runs", "cancel", "1"], "run 1 is published; only a queued or running run can be cancelled."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(catalog: Callable[..., Answer], arguments: list[str], said: str) -> None:
    answer = catalog(*arguments)
    errors = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert (answer.code, answer.out) == (1, "") and len(errors) == 1 and "Traceback" not in answer.err
    assert said in errors[0]
