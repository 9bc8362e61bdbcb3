"""Controls: in no view of models, beside every count that chance can give, and the measure of positions."""

import math

import pytest
from scipy.stats import chi2

from catalog import LabelFilter, NeuronRef, api
from catalog.errors import NotFoundError, RunError
from catalog.rows import Definition
from catalog.runs import deletion
from catalog.runs.controls import controls_of, has_controls, record_control
from catalog.verify.checks import verify
from catalog.views import overview
from tests.database.helpers import execute, one, rows
from tests.published import publish_small_family
from tests.published_control import CONTROLLED, publish_control
from tests.published_rows import D_MLP, MODELS, N

SHOWN = "SELECT neurons, expected_by_chance, chance_ratio, chance_ratio_upper, control FROM family_counts"


@pytest.fixture(name="store")
def catalog_of_the_run(engine):
    return api.Catalog(engine)


def neurons(engine, run: int, *flat: int) -> list[int]:
    """Ids of neurons of the first model of a run."""
    statement = """SELECT n.id FROM run_models rm JOIN neurons n ON n.model_id = rm.model_id
                   WHERE rm.run_id = :run AND rm.ordinal = 0 ORDER BY n.layer, n."index" """
    ids = [key for (key,) in rows(engine, statement, run=run)]
    return [ids[place] for place in flat]


def kill(engine, run: int, *flat: int) -> None:
    """Neurons that are never active."""
    execute(engine, "UPDATE activation_statistics SET sparsity = 0.5 WHERE run_id = :run", run=run)
    statement = "UPDATE activation_statistics SET sparsity = 0 WHERE run_id = :run AND neuron_id = ANY(:ids)"
    execute(engine, statement, run=run, ids=neurons(engine, run, *flat))


def counted(engine, family: str, model: str = MODELS[0]) -> tuple:
    (found,) = rows(engine, f"{SHOWN} WHERE model = :model AND family = :family", model=model, family=family)
    return found


def upper(k: int) -> float:
    """The upper limit of a Poisson number, one-sided at 95 %."""
    return float(chi2.ppf(0.95, 2 * (k + 1)) / 2)


def test_no_view_shows_a_control(engine, published_family, store):
    before = {f"{schema}.{view.name}": rows(engine, f"SELECT * FROM {schema}.{view.name}")
              for schema in ("public", "history") for view in overview.views()}  # fmt: skip
    control = publish_control(engine, published_family)
    for name, shown in before.items():
        if "family_counts" not in name:
            assert sorted(map(str, rows(engine, f"SELECT * FROM {name}"))) == sorted(map(str, shown)), name
    assert rows(engine, "SELECT * FROM history.members WHERE run_id = :run", run=control) == []
    assert store.models()["model"].tolist() == list(MODELS)
    assert not store.find_labels(LabelFilter(limit=0))["model"].str.contains("~").any()
    with pytest.raises(NotFoundError, match=f"there is no model '{MODELS[0]}~1'"):
        store.find_labels(LabelFilter(model=f"{MODELS[0]}~1"))
    assert store.find_labels(LabelFilter(run=control)).empty
    assert one(engine, "SELECT count(*) FROM labels WHERE run_id = :run", run=control) > 0, "its labels are kept"


def test_what_chance_gives_stands_beside_what_there_is(engine, published_family, store):
    assert counted(engine, "dead")[1:] == (None, None, None, "no control")
    control = publish_control(engine, published_family)
    kill(engine, published_family, *range(10))
    kill(engine, control, 3)
    store.relabel()
    neurons_found, expected, ratio, ratio_upper, told = counted(engine, "dead")
    assert (neurons_found, expected, ratio, told) == (10, 1.0, 0.1, "above 5 %")
    assert ratio_upper == pytest.approx(upper(1) / 10, rel=0.01)
    assert store.chance_of("dead", MODELS[0]) == "1 neurons expected by chance, 10 % of those found, at most 47 %"
    assert store.chance_of("dead", MODELS[1]) == "1 neurons expected by chance", "of none that are there"
    kill(engine, control)
    store.relabel()
    assert counted(engine, "dead")[1:3] == (0.0, 0.0) and counted(engine, "dead")[4] == "at most 5 %"
    assert counted(engine, "dead")[3] == pytest.approx(upper(0) / 10, rel=0.01) and upper(0) == pytest.approx(-math.log(0.05))
    assert store.chance_of("dead", MODELS[0]) == "0 neurons expected by chance, 0 % of those found, at most 30 %"
    kill(engine, published_family, 1)
    kill(engine, control, *range(12))
    store.relabel()
    told = store.chance_of("dead", MODELS[0])
    assert told == f"12 neurons expected by chance, 12 times as many as found, at most {upper(12):.0f} times"
    assert store.chance_of("prediction") == "no control of this kind" and store.chance_of("syntax") == "no control"
    assert counted(engine, "prediction")[1:] == (None, None, None, "no control of this kind")
    assert counted(engine, "unexplained")[4] == "no control of this kind"


def test_several_controls_are_pooled(engine, published_family, store):
    for number, dead in ((1, (3,)), (2, (4, 5))):
        kill(engine, publish_control(engine, published_family, number), *dead)
    kill(engine, published_family, *range(30))
    store.relabel()
    found = counted(engine, "dead")
    assert found[:2] == (30, 1.5) and found[3] == pytest.approx(upper(3) / 2 / 30, rel=0.01)
    assert found[4] == "at most 5 %", "0.05 is not above"


def test_layers_have_what_chance_gives_in_them(engine, published_family, store):
    control = publish_control(engine, published_family)
    kill(engine, published_family, 0, 1, D_MLP)
    kill(engine, control, 5, D_MLP + 1, D_MLP + 2)
    store.relabel()
    counts = store.family_counts(model=MODELS[0])
    dead = counts[counts["family"] == "dead"].set_index("layer")
    assert dead["neurons"].tolist() == [2, 1] and dead["expected_by_chance"].tolist() == [1.0, 2.0]
    assert dead["chance_ratio"].tolist() == [0.5, 2.0]


def test_a_family_that_chance_alone_labels_is_marked(engine, published_family, store):
    kill(engine, publish_control(engine, published_family), 1)
    kill(engine, published_family)
    store.relabel()
    assert counted(engine, "dead") == (0, 1.0, None, None, "above 5 %")


def test_a_control_by_other_definitions_or_of_another_shape_does_not_count(engine, published_family):
    others = CONTROLLED | {"activations": Definition(1, {"min_count": 3})}
    control = publish_control(engine, published_family, parts=others)
    assert counted(engine, "dead")[4] == "no control" and counted(engine, "position")[4] != "no control"
    assert not has_controls_of(engine, published_family, CONTROLLED) and has_controls_of(engine, published_family, others)
    execute(engine, "UPDATE models SET d_model = d_model + 1 WHERE name LIKE '%~1'")
    assert counted(engine, "position")[4] == "no control"
    assert controls_of_run(engine, published_family) == [control]


def controls_of_run(engine, run: int) -> list[int]:
    with engine.connect() as connection:
        return controls_of(connection, run)


def has_controls_of(engine, run: int, definitions: dict[str, Definition], n: int = 1) -> bool:
    return has_controls(engine, run, n, "e" * 64, definitions)


def test_how_many_controls_a_run_has(engine, published_family):
    assert not has_controls_of(engine, published_family, CONTROLLED)
    publish_control(engine, published_family)
    assert [has_controls_of(engine, published_family, CONTROLLED, n) for n in (1, 2)] == [True, False]
    assert not has_controls(engine, published_family, 1, "f" * 64, CONTROLLED), "of other rows"


def a_pattern(engine, run: int, information: dict[int, float], pattern: str = "one_extreme", strength: str = "strong") -> None:
    """Neurons of the first model that tell so much of the position."""
    execute(engine, "UPDATE position_statistics SET mutual_information = 0.01 WHERE run_id = :run", run=run)
    for flat, value in information.items():
        execute(
            engine,
            """UPDATE position_statistics SET mutual_information = :value, pattern = :pattern, strength = :strength
               WHERE run_id = :run AND neuron_id = :neuron""",
            run=run, value=value, pattern=pattern, strength=strength, neuron=neurons(engine, run, flat)[0],
        )  # fmt: skip


def positions(engine) -> list[tuple]:
    statement = "SELECT layer * :d_mlp + neuron FROM position_neurons WHERE model = :model ORDER BY 1"
    return [flat for (flat,) in rows(engine, statement, model=MODELS[0], d_mlp=D_MLP)]


def test_position_asks_for_more_than_the_control_has(engine, published_family, store):
    a_pattern(engine, published_family, {3: 0.2, 4: 0.29, 5: 0.31, 6: 0.06, 7: 0.05})
    store.relabel()
    assert positions(engine) == [3, 4, 5, 6], "without a control the least alone decides"
    control = publish_control(engine, published_family)
    a_pattern(engine, control, {0: 0.2, 9: 0.1})
    store.relabel()
    assert positions(engine) == [5], "0.31 > 1.5 * 0.2"
    evidence = one(engine, "SELECT evidence FROM neuron_labels WHERE family = 'position' AND model = :m", m=MODELS[0])
    assert (evidence["largest_of_controls"], evidence["margin"], evidence["least"]) == (0.2, 1.5, 0.05)
    assert evidence["threshold"] == pytest.approx(0.3)
    store.set_rule("position.margin", 1.0)
    store.relabel()
    assert positions(engine) == [4, 5], "above, not at"
    assert one(engine, "SELECT count(*) FROM labels WHERE run_id = :run AND family = 'position'", run=control) == 0
    execute(engine, "UPDATE position_statistics SET mutual_information = NULL WHERE run_id = :run", run=control)
    store.relabel()
    assert positions(engine) == [3, 4, 5, 6], "a control of too few rows says nothing"


@pytest.mark.parametrize(("pattern", "strength"), [("other", "strong"), ("one_extreme", "weak"), ("other", "weak")])
def test_a_pattern_that_is_none_gives_no_label_and_no_words(engine, published_family, store, pattern, strength):
    a_pattern(engine, published_family, {3: 0.4}, pattern, strength)
    a_pattern_of_another = "UPDATE position_statistics SET pattern = 'oscillatory', strength = 'strong' WHERE neuron_id = :id"
    execute(engine, a_pattern_of_another, id=neurons(engine, published_family, 4)[0])
    store.relabel()
    assert positions(engine) == []
    for flat in (3, 4):
        page = store.neuron(ref_of(flat))
        assert page.position.loc[0, "mutual_information"] == (0.4 if flat == 3 else 0.01)
        assert page.position[["pattern", "strength", "alternations", "coverage", "runs"]].isna().all(axis=None)
    a_pattern(engine, published_family, {3: 0.4})
    store.relabel()
    assert store.neuron(ref_of(3)).position.loc[0, ["pattern", "strength"]].tolist() == ["one_extreme", "strong"]


def ref_of(flat: int) -> NeuronRef:
    return NeuronRef(MODELS[0], flat // D_MLP, flat % D_MLP)


def test_a_control_takes_effect_when_it_is_published_or_recorded(engine, store):
    """Its labels follow by themselves, in the transaction that publishes it."""
    run, other = publish_small_family(engine), publish_small_family(engine, "others", ["x", "y", "z"])
    a_pattern(engine, run, {5: 0.03})
    execute(engine, "UPDATE position_statistics SET pattern = 'one_extreme', strength = 'strong'")
    execute(engine, "UPDATE rules SET value = 0.005 WHERE (family, parameter) = ('position', 'min_mutual_information')")
    store.relabel()
    of_run = "SELECT count(*) FROM labels WHERE run_id = :run AND family = 'position'"
    assert one(engine, of_run, run=run) == 3 * N and one(engine, of_run, run=other) > 0
    control = publish_control(engine, run)
    execute(engine, "UPDATE position_statistics SET mutual_information = 0.01 WHERE run_id = :run", run=control)
    publish_control(engine, run, number=2)
    assert one(engine, of_run, run=run) < 3 * N, "labelled again"
    before = one(engine, of_run, run=other)
    record_control(engine, other, control)
    assert one(engine, of_run, run=other) <= before and controls_of_run(engine, other) == [control]
    assert {finding.status for finding in verify(engine, other) if "labels" in finding.subject} == {"ok"}


def test_a_control_of_other_tokens_takes_the_place_of_the_one_before(engine, published_family):
    first = publish_control(engine, published_family)
    execute(
        engine,
        """INSERT INTO corpora (name, source, tokenizer_id, context_length, n_rows, n_tokens, n_kept, token_sha256, has_subsets)
           SELECT name, source, tokenizer_id, context_length, 50, 3200, 3000, repeat('d', 64), has_subsets FROM corpora""",
    )
    execute(engine, "UPDATE runs SET corpus_id = (SELECT max(id) FROM corpora) WHERE id = :id", id=first)
    second = publish_control(engine, published_family, number=2)
    assert controls_of_run(engine, published_family) == [second]


def test_a_run_is_deleted_with_its_controls_and_no_control_alone(engine, published_family):
    control = publish_control(engine, published_family)
    with pytest.raises(RunError, match=f"run {control} is the control of run {published_family} and is deleted with it"):
        deletion.delete_run(engine, control)
    other = publish_small_family(engine, "others", ["x", "y", "z"])
    record_control(engine, other, control)
    deletion.delete_run(engine, published_family)
    assert rows(engine, "SELECT id FROM runs ORDER BY 1") == [(control,), (other,)], "another run needs it"
    deletion.delete_run(engine, other)
    assert rows(engine, "SELECT id FROM runs") == [] and one(engine, "SELECT count(*) FROM labels") == 0


def test_runs_say_whose_controls_they_are(engine, published_family, store):
    control = publish_control(engine, published_family)
    assert store.runs()["control_of"].fillna("").tolist() == [str(published_family), ""]
    assert store.run(published_family)["controls"] == str(control) and store.run(control)["control_of"] == "1"
    assert store.run(control)["models"] == f"{MODELS[0]}~1"
