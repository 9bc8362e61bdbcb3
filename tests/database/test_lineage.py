"""What models begin with stays right, whatever is published, named otherwise or deleted, and in whatever order."""

import json
from itertools import permutations

import pytest
from sqlalchemy import Engine

from catalog import aliases
from catalog.aliases import KnownModel
from catalog.api import connect_rows
from catalog.lineage import place_of
from catalog.rows import TensorRow
from catalog.runs import deletion, life
from catalog.verify.checks import verify
from tests.database.helpers import execute, one, rows
from tests.published import identified, spec_of, stage_small_family, tensors_of, weights_of


def publish_steps(engine: Engine, *revisions: str, name: str = "gpt", tensors: dict[str, list[TensorRow]] | None = None) -> int:
    """Publish steps of a training, in one run; its id."""
    with life.begin_run(engine, spec_of(f"{name} {revisions}")) as handle:
        publication = stage_small_family(handle, [f"{name}@{revision}" for revision in revisions])
        held = {ids.model_id: (tensors or {}).get(revision) or tensors_of(f"{name} {revision}")
                for (_, ids), revision in zip(publication.models, revisions, strict=True)}  # fmt: skip
        models = []
        for (row, ids), revision in zip(publication.models, revisions, strict=True):
            place = place_of(name, revision)
            placed = row._replace(name=name, revision=revision, seed=3, weights_sha256=weights_of(held[ids.model_id]))
            models.append((identified(placed._replace(**place._asdict()) if place else placed), ids))
        handle.publish(type(publication)(**{**vars(publication), "models": models, "tensors": held, "groups": []}))
        return handle.run_id


def beginnings(engine: Engine) -> dict[str, str | None]:
    """The revision of the model that each revision begins with."""
    found = rows(engine, "SELECT m.revision, i.revision FROM models m LEFT JOIN models i ON i.id = m.init_of ORDER BY m.id")
    return {revision: init for revision, init in found}


def of_models(engine: Engine, run: int) -> set[str]:
    """What `catalog verify` finds of the models of a run; the family is not made to be published one by one."""
    subjects = ("models", "model_tensors")
    found = {finding.subject: finding.status for finding in verify(engine, run)}
    return {found[subject] for subject in subjects}


@pytest.mark.parametrize("order", list(permutations(("step0", "step8", "main"))))
def test_whichever_is_published_first(engine: Engine, order: tuple[str, ...]) -> None:
    runs = {revision: publish_steps(engine, revision) for revision in order}
    publish_steps(engine, "step8-seed1", "step9-seed1")
    publish_steps(engine, "step8", name="other")
    seen = {**dict.fromkeys(order), "step8-seed1": None, "step9-seed1": None, "step8": None}
    found = rows(engine, "SELECT name, revision, init_of IS NOT NULL FROM models WHERE init_of IS NOT NULL")
    assert set(beginnings(engine)) == set(seen) and found == [("gpt", "step8", True)]
    assert one(engine, "SELECT i.revision FROM models m JOIN models i ON i.id = m.init_of") == "step0"
    for run in rows(engine, "SELECT id FROM runs"):
        assert of_models(engine, *run) == {"ok"}
    deletion.delete_run(engine, runs["step0"])
    assert one(engine, "SELECT count(*) FROM models WHERE init_of IS NOT NULL") == 0
    publish_steps(engine, "step0")
    assert one(engine, "SELECT count(*) FROM models WHERE init_of IS NOT NULL") == 1


def test_one_run_has_all_steps_and_other_seeds_are_other_trainings(engine: Engine) -> None:
    publish_steps(engine, "step10", "step0", "step2")
    assert beginnings(engine) == {"step10": "step0", "step0": None, "step2": "step0"}
    execute(engine, "UPDATE models SET seed = 4 WHERE revision = 'step10'")
    publish_steps(engine, "step12")
    assert beginnings(engine) == {"step10": None, "step0": None, "step2": "step0", "step12": "step0"}
    assert rows(engine, "SELECT step, seed, previous_step FROM lineages ORDER BY step") == [
        (0, 3, None), (2, 3, 0), (10, 4, None), (12, 3, 2),
    ]  # fmt: skip


def test_another_name_of_a_model_may_be_the_step_that_others_begin_with(engine: Engine) -> None:
    publish_steps(engine, "step1", "step5")
    ((key, identity),) = rows(engine, "SELECT id, identity FROM models WHERE revision = 'step1'")
    assert aliases.record(engine, {"gpt@step0": KnownModel(key, identity, "gpt", "step1", "gpt@step1")}) == []
    assert beginnings(engine) == {"step1": "step1", "step5": "step1"}
    assert rows(engine, "SELECT step, checkpoint, model, previous_model, share_equal, init FROM lineages ORDER BY step") == [
        (0, "gpt@step0", "gpt@step1", None, None, "gpt@step1"),
        (1, "gpt@step1", "gpt@step1", "gpt@step1", 1.0, "gpt@step1"),
        (5, "gpt@step5", "gpt@step5", "gpt@step1", 0.0, "gpt@step1"),
    ]
    assert {finding.status for finding in verify(engine, 1)} == {"ok"}


def test_a_lineage_says_which_share_of_tensors_stayed(engine: Engine) -> None:
    def kept(*values: int) -> list[TensorRow]:
        return [TensorRow(f"t{place}", (20,), f"hash {value}", 20) for place, value in enumerate(values)]

    steps = {"step0": kept(1, 2, 3, 3), "step1": kept(1, 4, 5, 6), "step2": kept(6, 4, 1, 7)}
    publish_steps(engine, *steps, tensors=steps)
    expected = [("gpt@step0", None, 3, None), ("gpt@step1", 1, 4, 0.25), ("gpt@step2", 3, 4, 0.75)]
    for schema in ("public", "history"):
        found = rows(engine, f"SELECT model, n_equal, n_tensors, share_equal FROM {schema}.lineages ORDER BY step")
        assert found == expected
    named = rows(
        engine, "SELECT other_model, n_shared, n_tensors, names FROM shared_tensors WHERE model = 'gpt@step2' ORDER BY 1"
    )
    assert named == [("gpt@step0", 1, 4, ["t2"]), ("gpt@step1", 3, 4, ["t0", "t1", "t2"])]
    execute(engine, "DELETE FROM model_tensors WHERE model_id = (SELECT id FROM models WHERE step = 1)")
    assert rows(engine, "SELECT n_equal, n_tensors FROM lineages ORDER BY step") == [(None, 3), (None, None), (None, 4)]
    assert {finding.subject for finding in verify(engine, 1) if finding.status == "differs"} == {"model_tensors"}


def test_a_changed_hash_is_found(engine: Engine) -> None:
    publish_steps(engine, "step0")
    execute(engine, "UPDATE model_tensors SET sha256 = md5(sha256) WHERE name = 'matrix'")
    assert {finding.subject for finding in verify(engine, 1) if finding.status == "differs"} == {"model_tensors"}


def test_models_show_their_step(engine: Engine, database_url: str) -> None:
    publish_steps(engine, "main", "step7")
    with connect_rows(database_url) as store:
        shown = [(row["model"], row["step"]) for row in store.models().records()]
    assert json.loads(json.dumps(shown)) == [["gpt@main", None], ["gpt@step7", 7]]
