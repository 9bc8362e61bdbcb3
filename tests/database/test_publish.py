"""Readers see all of a run or nothing of it, whatever happens to the process that publishes."""

import os
import signal
import threading
import time
from contextlib import nullcontext
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from catalog.errors import InputError, RunError
from catalog.rows import Definition
from catalog.runs import deletion, life
from tests.database.helpers import HERE, execute, one, rows, visible
from tests.published import PARTS, TOKENIZER, identified, publish_small_family, spec_of, stage_small_family
from tests.published_rows import D_MLP, MODELS, N

PLACES = ("begun", "staged", "enter_tokenizer", "enter_features", "_move_staged", "_groups", "label_run", "_mark")


@pytest.fixture
def kill_at(launcher, database_url, tmp_path):
    """`kill_at(place)` publishes in a process that is killed there."""

    def kill(place: str) -> None:
        process = launcher.call("tests.database.stopping:main", [database_url, place], os.environ, tmp_path / "log")
        while process.poll() is None and process.said != HERE:
            time.sleep(0.01)
        process.signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.said

    return kill


@pytest.mark.parametrize("place", PLACES)
def test_a_killed_process_leaves_nothing_visible_and_the_next_takes_over(engine, kill_at, place):
    before = visible(engine)
    kill_at(place)
    assert visible(engine) == before
    assert rows(engine, "SELECT status, published_at FROM runs") == [("running", None)]

    with life.begin_run(engine, spec_of("killed")) as handle:
        assert handle.resumed
        assert rows(engine, "SELECT id, status FROM runs") == [(handle.run_id, "running")]
        assert one(engine, "SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'") == 0
        handle.publish(stage_small_family(handle))
    assert rows(engine, "SELECT status FROM runs") == [("published",)]
    assert one(engine, "SELECT count(*) FROM neuron_profiles") == len(MODELS) * N


def test_the_result_after_a_kill_is_that_of_an_undisturbed_run(engine, kill_at):
    kill_at("_move_staged")
    publish_small_family(engine, "killed")
    disturbed = views_without_keys(engine)
    deletion.delete_run(engine, one(engine, "SELECT id FROM runs"))
    publish_small_family(engine, "undisturbed")
    assert views_without_keys(engine) == disturbed


def views_without_keys(engine):
    views = ["neuron_profiles", "neuron_matches", "neuron_labels", "neuron_explanations", "family_counts", "depth_matrix"]
    keys = "- 'run_id' - 'neuron_id' - 'other_neuron_id'"
    return [rows(engine, f"SELECT to_jsonb(v) {keys} FROM {view} v ORDER BY (to_jsonb(v) {keys})::text") for view in views]


def test_a_failure_is_recorded_and_leaves_nothing_else(engine):
    before = visible(engine)
    with pytest.raises(ZeroDivisionError), life.begin_run(engine, spec_of("failing")) as handle:
        stage_small_family(handle)
        raise ZeroDivisionError("a fault")
    assert visible(engine) == before
    assert rows(engine, "SELECT status, error FROM runs") == [("failed", "ZeroDivisionError: a fault")]
    assert one(engine, "SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'") == 0


@pytest.mark.parametrize(
    ("error", "told"),
    [(KeyboardInterrupt(), "Ctrl-C"), (SystemExit(143), "SIGTERM"), (SystemExit(0), "the end of its process")],
    ids=["Ctrl-C", "SIGTERM", "exit"],
)
@pytest.mark.parametrize("hidden", [False, True], ids=["as it is", "as the error of a library"])
def test_an_interruption_is_no_failure(engine, error, told, hidden):
    with pytest.raises((type(error), psycopg.ProgrammingError)), life.begin_run(engine, spec_of("stopped")):
        try:
            raise error
        finally:
            if hidden:
                raise psycopg.ProgrammingError("can't change 'autocommit' now")
    assert rows(engine, "SELECT status, error FROM runs") == [("interrupted", told)]
    with life.begin_run(engine, spec_of("stopped")) as handle:
        assert handle.resumes == f"run 1 was interrupted ({told})"
        handle.publish(stage_small_family(handle))
    assert rows(engine, "SELECT status, error FROM runs") == [("published", None)]


def test_a_cancelled_run_is_called_so_by_whoever_publishes_or_resumes_it(engine):
    with pytest.raises(RunError, match="run 1 was cancelled meanwhile"), life.begin_run(engine, spec_of("cancelled")) as handle:
        publication = stage_small_family(handle)
        life.cancel_run(engine, handle.run_id)
        handle.publish(publication)
    assert rows(engine, "SELECT status, error FROM runs") == [("cancelled", None)]
    with pytest.raises(RunError, match="run 1 is cancelled; only a queued or running run"):
        life.cancel_run(engine, 1)
    with life.begin_run(engine, spec_of("cancelled")) as handle:
        assert handle.resumes == "run 1 was cancelled"


def test_an_error_inside_the_publication_undoes_all_of_it(engine):
    before = visible(engine)
    with pytest.raises(KeyError), life.begin_run(engine, spec_of("failing")) as handle:
        publication = stage_small_family(handle)
        publication.statistics_run_of.clear()
        handle.publish(publication)
    assert visible(engine) == before


def test_a_database_that_goes_away_in_the_middle_is_an_error_and_no_partial_run(engine):
    before = visible(engine)
    with pytest.raises(OperationalError), life.begin_run(engine, spec_of("cut off")) as handle:
        publication = stage_small_family(handle)
        execute(
            engine,
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()""",
        )
        handle.set_phase("publish")
        handle.publish(publication)
    assert visible(engine) == before
    with life.begin_run(engine, spec_of("cut off")) as handle:
        assert handle.resumed
        handle.publish(stage_small_family(handle))


def test_the_same_run_cannot_be_begun_twice_at_once(engine, monkeypatch):
    monkeypatch.setattr(life, "TAKE_OVER_SECONDS", 0.2)
    with life.begin_run(engine, spec_of("same")):
        with pytest.raises(RunError, match="another process is at work on this very run"):
            life.begin_run(engine, spec_of("same"))
        with life.begin_run(engine, spec_of("different")) as other:
            assert not other.resumed
    with life.begin_run(engine, spec_of("same")) as handle:
        assert handle.resumed


def test_two_publications_follow_each_other(engine):
    order = []

    def second():
        with life.begin_run(engine, spec_of("second")) as handle:
            publication = stage_small_family(handle, ("d", "e"))
            order.append("second staged")
            handle.publish(publication)

    with life.begin_run(engine, spec_of("first")) as handle:
        publication = stage_small_family(handle)
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.5)
        order.append("first published")
        handle.publish(publication)
    thread.join(timeout=30)
    assert order == ["first published", "second staged"]
    assert one(engine, "SELECT count(*) FROM members") == 5


def test_done_again_a_run_supersedes_the_former(engine):
    first, second = publish_small_family(engine, "again"), publish_small_family(engine, "again")
    assert rows(engine, "SELECT id, status, superseded FROM runs ORDER BY id") == [
        (first, "published", True),
        (second, "published", False),
    ]
    assert rows(engine, "SELECT DISTINCT run_id FROM neuron_profiles") == [(second,)]
    assert rows(engine, "SELECT DISTINCT run_id FROM history.neuron_profiles ORDER BY 1") == [(first,), (second,)]
    record = life.published_run(engine, "again")
    assert record is not None and (record.id, record.parts) == (second, PARTS)


def test_parts_that_come_to_a_superseded_run_do_not_supersede_the_newer_one(engine):
    first = publish_small_family(engine, "again")
    second = publish_small_family(engine, "again")
    newer = {part: Definition(2) for part in PARTS}
    with life.begin_parts(engine, first, spec_of("again", newer)) as handle:
        handle.publish(replace(stage_small_family(handle), parts=newer))
    assert rows(engine, "SELECT id, superseded FROM runs ORDER BY id") == [(first, True), (second, False)]
    record = life.published_run(engine, "again")
    assert record is not None and (record.id, record.parts) == (second, PARTS)


@pytest.mark.parametrize("end", [RuntimeError("a fault"), KeyboardInterrupt(), None], ids=["error", "Ctrl-C", "workers"])
def test_readers_see_a_published_run_whatever_becomes_of_what_is_added(engine, end):
    run_id = publish_small_family(engine, "parts")
    before = views_without_keys(engine)
    newer = {part: Definition(1, {"min_count": 3}) for part in PARTS}
    seen = "SELECT DISTINCT run_id FROM members"

    def attempt() -> None:
        with life.begin_parts(engine, run_id, spec_of("parts", newer)) as handle:
            stage_small_family(handle)
            assert rows(engine, "SELECT status FROM runs") == [("running",)] and rows(engine, seen) == [(run_id,)]
            if end is not None:
                raise end
            handle.queue()

    with pytest.raises(type(end)) if end is not None else nullcontext():
        attempt()
    ended = {RuntimeError: "failed", KeyboardInterrupt: "interrupted", type(None): "queued"}[type(end)]
    assert rows(engine, "SELECT status, published_at IS NOT NULL FROM runs") == [(ended, True)]
    assert rows(engine, seen) == [(run_id,)] and views_without_keys(engine) == before
    if end is None:
        with pytest.raises(RunError, match=f"run {run_id} is queued for workers"):
            attempt()
        life.cancel_run(engine, run_id)
    life.leave_as_published(engine, run_id)
    assert rows(engine, "SELECT status, error FROM runs") == [("published", None)]
    record = life.published_run(engine, "parts")
    assert record is not None and record.parts == PARTS


def test_a_part_of_another_definition_is_replaced_in_place(engine):
    run_id = publish_small_family(engine, "parts")
    before = views_without_keys(engine)
    newer = {part: Definition(2) for part in PARTS}
    with life.begin_parts(engine, run_id, spec_of("parts", newer)) as handle:
        publication = stage_small_family(handle)
        handle.publish(type(publication)(**{**vars(publication), "parts": newer}))
        assert handle.run_id == run_id
    record = life.published_run(engine, "parts")
    assert record is not None and record.parts == newer
    assert views_without_keys(engine) == before


def test_models_keep_their_keys_and_names_are_not_given_twice(engine):
    publish_small_family(engine, "first")
    before = rows(engine, "SELECT * FROM neurons ORDER BY id")
    publish_small_family(engine, "second")
    assert rows(engine, "SELECT * FROM neurons ORDER BY id") == before
    with life.begin_run(engine, spec_of("other")) as handle:
        models = [row for row, _ in stage_small_family(handle).models]
        with pytest.raises(InputError, match=r"another model named 'pocket-gpt2-a' with other weights; .*NEWNAME="):
            handle.reserve([identified(models[0]._replace(weights_sha256="other"))], TOKENIZER.sha256)
        moved = identified(models[0]._replace(activation_function="silu"))
        with pytest.raises(InputError, match=r"with another config \(activation_function gelu_new, not silu\); .*NEWNAME="):
            handle.reserve([moved], TOKENIZER.sha256)
        with pytest.raises(InputError, match=r"with another tokenizer; .*NEWNAME="):
            handle.reserve([models[0]], "other")


def test_rows_of_an_earlier_run_are_taken_over(engine):
    first = publish_small_family(engine, "first")
    with life.begin_run(engine, spec_of("second")) as handle:
        publication = stage_small_family(handle)
        ids = [own for _, own in publication.models]
        for table in ("activation_statistics", "pairs"):
            execute(engine, f"TRUNCATE staging.run_{handle.run_id}_{table}")
        for own in ids:
            assert handle.stage_from_run("activation_statistics", first, "activations", model=own) == N
        pairs = [handle.stage_from_run("pairs", first, "correlations", pairs_of=(a, b)) for a, b in publication.pair_run_of]
        handle.publish(publication)
    # two ranks in both directions of each pair of models, the dead neuron apart
    assert pairs == [4 * (2 * D_MLP - 1)] * 3
    for table in ("activation_statistics", "pairs"):
        columns = "to_jsonb(t) - 'run_id'"
        old, new = (
            rows(engine, f"SELECT {columns} FROM {table} t WHERE run_id = :run ORDER BY ({columns})::text", run=run)
            for run in (first, handle.run_id)
        )
        assert old == new and old
