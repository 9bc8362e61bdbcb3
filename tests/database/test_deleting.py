"""What goes: runs that are deleted, and what a killed process staged."""

import pytest

from catalog.errors import RunError
from catalog.runs import deletion, life
from tests.database.helpers import one, rows, visible
from tests.published import TOKENIZER, identified, publish_small_family, spec_of, stage_small_family


def test_deleting_a_run_takes_all_its_rows_and_gives_its_names_away(engine):
    empty = visible(engine)
    run_id = publish_small_family(engine)
    with pytest.raises(RunError, match="there is no run 77"):
        deletion.delete_run(engine, 77)
    deletion.delete_run(engine, run_id)
    after = visible(engine)
    assert {name for name in after if after[name] != empty[name]} <= {
        f"public.{table}"
        for table in ("models", "model_tensors", "neurons", "tokenizers", "tokens", "features", "feature_tokens")
    } | {"history.model_names"}
    assert rows(engine, "SELECT * FROM runs") == []
    with life.begin_run(engine, spec_of("new weights")) as handle:
        models = [identified(row._replace(weights_sha256="other")) for row, _ in stage_small_family(handle).models]
        assert all(ids.is_new for ids in handle.reserve(models, TOKENIZER.sha256))


def test_a_run_at_work_is_not_deleted(engine):
    with life.begin_run(engine, spec_of("busy")) as handle:
        with pytest.raises(RunError, match="is being worked on"):
            deletion.delete_run(engine, handle.run_id)


def test_what_orphans_staged_is_cleared_by_the_next_run(engine):
    with life.begin_run(engine, spec_of("orphan")) as handle:
        stage_small_family(handle)
        handle.close()  # as if the process had been killed
    with life.begin_run(engine, spec_of("next")):
        staged = "SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'"
        assert one(engine, staged) == 0
        ended = rows(engine, "SELECT status, error FROM runs WHERE identity = 'orphan'")
        assert ended == [("interrupted", "its process is gone")]
