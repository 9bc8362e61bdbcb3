"""What earlier runs know is found exactly when models, tokens, settings and definitions are the same."""

import numpy as np
import pytest

from catalog.errors import RunError
from catalog.rows import Definition, ModelKey
from catalog.runs import deletion, life
from catalog.runs.reuse import best_matches, known_results, run_of_weights
from tests.database.helpers import execute, rows
from tests.published import PARTS, TOKENIZER, spec_of, stage_small_family
from tests.published_rows import BASELINE_SE, DEAD, MODELS, WITHOUT_BLOCKS, N

SAME = {"token_sha256": "e" * 64, "settings": {"seed": 0}, "definitions": PARTS, "except_run": 0}
"""What the published family was computed with."""


@pytest.fixture
def keys(published_family, engine):
    """The models of a published family as they would be named again, and its run."""
    found = rows(engine, """SELECT m.identity, m.name, m.revision, t.sha256 FROM models m
                            JOIN tokenizers t ON t.id = m.tokenizer_id ORDER BY m.id""")
    return [ModelKey(*row) for row in found]


def test_everything_is_known_of_the_same_models(engine, keys):
    known = known_results(engine, keys, **SAME)
    shas = [key.identity for key in keys]
    assert known.models == dict.fromkeys(shas, 1)
    assert known.pairs == {(a, b): 1 for a in shas for b in shas if a < b}


@pytest.mark.parametrize(
    "change",
    [
        {"token_sha256": "f" * 64},
        {"settings": {"seed": 1}},
        {"settings": {"seed": 0, "precision": "bf16"}},
        {"definitions": {**PARTS, "correlations": Definition(2)}},
        {"definitions": {**PARTS, "correlations": Definition(1, {"top_k": 5})}},
        {"definitions": {**PARTS, "syntax": Definition()}},
        {"except_run": 1},
    ],
    ids=["tokens", "setting", "one more setting", "definition", "setting of a part", "one more part", "the run itself"],
)
def test_nothing_is_known_when_anything_differs(engine, keys, change):
    known = known_results(engine, keys, **(SAME | change))
    assert (known.models, known.pairs) == ({}, {})


def test_another_model_costs_only_its_own_pairs(engine, keys):
    sixth = ModelKey("weights of a sixth", "sixth", "", TOKENIZER.sha256)
    known = known_results(engine, [*keys, sixth], **SAME)
    assert len(known.models) == len(known.pairs) == len(MODELS)
    assert not [pair for pair in known.pairs if sixth.identity in pair]


def test_other_weights_another_name_and_another_tokenizer_are_unknown(engine, keys):
    changes = ({"identity": "other"}, {"name": "other"}, {"tokenizer_sha256": "other"})
    for stranger in (keys[0]._replace(**change) for change in changes):
        known = known_results(engine, [stranger, keys[1]], **SAME)
        assert list(known.models) == [keys[1].identity] and known.pairs == {}


def test_a_run_that_is_not_published_is_not_used(engine, keys):
    execute(engine, "UPDATE runs SET status = 'failed', published_at = NULL")
    assert known_results(engine, keys, **SAME).models == {}
    assert run_of_weights(engine, keys, {"weights": Definition(1)}) is None


def test_weights_are_found_whatever_else_the_run_has(engine, keys):
    wanted = {"weights": Definition()}
    assert run_of_weights(engine, keys, wanted) == run_of_weights(engine, keys[:1], wanted) == 1
    assert run_of_weights(engine, keys, {"weights": Definition(2)}) is None
    assert run_of_weights(engine, keys, {"weights": Definition(1, {"context": 8})}) is None
    assert run_of_weights(engine, [keys[0]._replace(tokenizer_sha256="other")], wanted) is None
    assert run_of_weights(engine, [*keys, ModelKey("x", "x", "", TOKENIZER.sha256)], wanted) is None


def test_best_matches_come_back_in_flat_order(engine, keys):
    ids = [model for (model,) in rows(engine, "SELECT id FROM models ORDER BY id")]
    corr, other, baseline, _, baseline_se, layer, without, baseline_without = best_matches(engine, 1, ids[0], ids[1])
    alive = np.arange(N) != DEAD
    assert len(corr) == alive.sum()
    assert other.tolist() == np.flatnonzero(alive).tolist()
    np.testing.assert_allclose(without, np.tile(WITHOUT_BLOCKS, (len(corr), 1)), rtol=1e-6)
    assert baseline_without.shape == without.shape and not baseline_without.any()
    np.testing.assert_allclose(baseline_se, BASELINE_SE, rtol=1e-6)
    assert set(layer.tolist()) == {0} and set(baseline.round(3).tolist()) == {0.2}


def test_a_run_that_is_deleted_in_the_meantime_is_not_half_used(engine, keys):
    with life.begin_run(engine, spec_of("late")) as handle:
        deletion.delete_run(engine, 1)
        ids = [own for _, own in stage_small_family(handle).models]
        with pytest.raises(RunError, match="run 1, whose results were to be used again, is deleted"):
            handle.stage_from_run("activation_statistics", 1, "activations", model=ids[0])


def test_a_run_in_use_is_not_deleted_under_the_hands_of_another(engine, keys):
    """Deleting waits for the publication that copies from it, and here gives up first."""
    with life.begin_run(engine, spec_of("copying")) as handle:
        stage_small_family(handle)
        with engine.connect() as connection:
            connection.exec_driver_sql("SET lock_timeout = '200ms'")
            with pytest.raises(Exception, match="lock timeout"):
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('neuron-catalog publish'))")
