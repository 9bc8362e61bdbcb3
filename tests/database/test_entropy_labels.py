"""The rule of entropy neurons: both changes of one sign, above the floor, and more than other directions would do by chance."""

import json
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from catalog.api import connect_rows
from catalog.labels.labelling import label_run
from catalog.parts import rule_of
from catalog.publishing.relabel import relabel
from catalog.questions.findings import FindingsFilter, findings
from catalog.questions.queries import LabelFilter
from catalog.questions.why_empty import labels as why_no_labels
from catalog.verify.checks import checks
from tests.database.helpers import execute, one, rows
from tests.every_role import ENTROPY
from tests.published_rows import MODELS

SIGNS = {1: [("entropy",)], -1: [("anti_entropy",)], 0: []}
Q = Fraction(1, 20)
FLOOR = 0.05


def neuron_id(engine, flat: int, model: str = MODELS[0]) -> int:
    place = """SELECT n.id FROM neurons n JOIN models m ON m.id = n.model_id
               WHERE m.name = :model AND n.layer * m.d_mlp + n."index" = :flat"""
    return one(engine, place, model=model, flat=flat)


@pytest.fixture
def neuron(published_every_family, engine):
    """A candidate by its weights, whose controls change entropy by -0.3 to 0.1; its opposite and that one's do nothing."""
    found = neuron_id(engine, ENTROPY)
    execute(engine, "UPDATE interventions SET entropy_delta = 0, scale_delta = 0 WHERE neuron_id <> :neuron", neuron=found)
    execute(engine, "UPDATE entropy_controls SET entropy_delta = 0, scale_delta = 0.1 WHERE along_neuron_id <> neuron_id")
    itself = "UPDATE entropy_controls SET entropy_delta = 0, scale_delta = 0 WHERE along_neuron_id = neuron_id AND {}"
    execute(engine, itself.format("neuron_id <> :neuron"), neuron=found)
    own = "UPDATE entropy_controls SET entropy_delta = {} WHERE neuron_id = :neuron AND along_neuron_id <> neuron_id"
    extreme = "AND along_neuron_id = (SELECT {}(along_neuron_id) FROM entropy_controls)"
    execute(engine, own.format("0.1"), neuron=found)
    execute(engine, f"{own.format('-0.3, scale_delta = -0.1')} {extreme.format('min')}", neuron=found)
    execute(engine, f"{own.format('NULL')} {extreme.format('max')}", neuron=found)
    return found


def hold(engine, neuron: int, entropy: float | None, scale: float | None) -> None:
    changes = "entropy_delta = :entropy, scale_delta = :scale"
    statement = f"UPDATE interventions SET {changes} WHERE neuron_id = :neuron AND value = 6"
    itself = f"UPDATE entropy_controls SET {changes} WHERE neuron_id = :neuron AND along_neuron_id = neuron_id"
    for each in (statement, itself):
        execute(engine, each, neuron=neuron, entropy=entropy, scale=scale)


def signs(engine, neuron: object) -> list[tuple]:
    relabel(engine)
    found = "SELECT family FROM labels WHERE neuron_id = :neuron AND family IN ('entropy', 'anti_entropy')"
    return rows(engine, found, neuron=neuron)


@pytest.mark.parametrize(
    ("entropy", "scale", "expected"),
    [
        (0.5, 0.1, 1), (-0.5, -0.1, -1), (0.5, -0.1, 0), (-0.5, 0.1, 0), (0.1, 0.1, 0), (0.09, 0.1, 0), (None, 0.1, 0),
        (0.5, None, 0),
        (-0.25, -0.1, -1),  # one of 93 controls falls further: p = 2 / 94, of two candidates
    ],
)  # fmt: skip
def test_a_sign_needs_both_changes_and_more_than_chance(engine, neuron, entropy, scale, expected):
    hold(engine, neuron, entropy, scale)
    assert signs(engine, neuron) == SIGNS[expected]


def test_what_the_rule_looked_at_is_told(engine, neuron):
    hold(engine, neuron, -0.25, -0.1)
    assert signs(engine, neuron) == SIGNS[-1]
    evidence = one(engine, "SELECT evidence FROM labels WHERE neuron_id = :neuron AND family = 'anti_entropy'", neuron=neuron)
    assert (evidence["controls"], evidence["candidates"], evidence["largest_control"]) == (93, 2, -0.3)
    assert evidence["p"] == pytest.approx(2 / 94) and evidence["adjusted_p"] == pytest.approx(4 / 94)
    rule = rule_of("anti_entropy")
    assert rule is not None
    assert rule.words(evidence) == (
        "held at 6, entropy -0.25 nats (standard error 0.001, floor 0.05) and scale -0.1; both along 93 other directions of "
        "its layer: at most -0.3, p 0.0213, 0.0426 among 2 candidates; loss +0.01"
    )
    assert " of its layer on 1,024 of the tokens: at most" in rule.words(evidence | {"compared_tokens": 1024})
    shown = """SELECT sign, p, adjusted_p, controls, candidates FROM entropy_candidates WHERE neuron_id = :neuron ORDER BY 1"""
    found = rows(engine, shown, neuron=neuron)
    assert [(row[0], row[3], row[4]) for row in found] == [("anti_entropy", 93, 2), ("entropy", 93, 2)]
    assert [row[1] for row in found] == [pytest.approx(2 / 94), 1], "its scale does not rise"
    with connect_rows(engine.url) as store:
        page = store.neuron(ref(engine, neuron)).tables["interventions"].records()
    assert [(row["value"], row["p"], row["controls"]) for row in page] == [(0, None, None), (6, pytest.approx(2 / 94), 93)]


def ref(engine, neuron: int):
    from catalog import NeuronRef

    (place,) = rows(engine, 'SELECT layer, "index" FROM neurons WHERE id = :neuron', neuron=neuron)
    return NeuronRef(MODELS[0], *place)


@pytest.mark.parametrize("family", ["entropy", "anti_entropy"])
def test_a_floor_and_a_rate_are_rules(engine, neuron, family):
    sign = 1 if family == "entropy" else -1
    changed = "UPDATE entropy_controls SET entropy_delta = 0, scale_delta = :scale WHERE along_neuron_id <> neuron_id"
    execute(engine, changed, scale=sign * 0.1)
    with connect_rows(engine.url) as store:
        for delta, floor, expected in ((0.051, 0.05, sign), (0.049, 0.05, 0), (0.049, 0.04, sign), (0.051, 0.06, 0)):
            store.set_rule(f"{family}.min_delta", floor)
            hold(engine, neuron, sign * delta, sign * 0.1)
            assert signs(engine, neuron) == SIGNS[expected], (delta, floor)
        # five controls of 94 are as extreme: p = 6 / 95, of two candidates
        five = "along_neuron_id IN (SELECT DISTINCT along_neuron_id FROM entropy_controls ORDER BY 1 LIMIT 5)"
        own = f"UPDATE entropy_controls SET entropy_delta = :delta WHERE neuron_id = :neuron AND {five}"
        execute(engine, own, delta=sign * 0.5, neuron=neuron)
        hold(engine, neuron, sign * 0.5, sign * 0.1)
        for q, expected in ((0.05, 0), (0.12, 0), (0.13, sign)):
            store.set_rule(f"{family}.q", q)
            assert signs(engine, neuron) == SIGNS[expected], q


@pytest.mark.parametrize(
    "change", ["DELETE FROM entropy_controls", "UPDATE entropy_controls SET entropy_delta = NULL"], ids=["none", "undefined"]
)
def test_without_controls_there_is_no_sign(engine, neuron, change):
    hold(engine, neuron, 1, 1)
    assert signs(engine, neuron) == SIGNS[1]
    execute(engine, change)
    assert signs(engine, neuron) == SIGNS[0]
    counted = one(engine, "SELECT count(*) FROM label_totals WHERE family = 'entropy'")
    with engine.connect() as connection:
        said = why_no_labels(connection, LabelFilter(family="entropy"))
    if change.startswith("DELETE"):
        assert counted == 0 and said == (
            "the family entropy was not looked for in run 1: its candidates have no controls; repeat its `catalog ingest` with "
            "--only entropy"
        )
    else:
        assert counted > 0 and said.startswith("looked for, and none found: no label")


UNLESS = "no neuron of the last two layers has both weights among the largest"


def test_no_candidates_are_told(engine, neuron):
    """As what the search had, and not as neurons that failed."""
    execute(engine, "DELETE FROM entropy_controls; DELETE FROM interventions")
    assert signs(engine, neuron) == SIGNS[0]
    with engine.connect() as connection:
        assert why_no_labels(connection, LabelFilter(family="entropy")).startswith(
            f"looked for, and none found: 0 candidates in {', '.join(MODELS)}: {UNLESS}"
        )
        (family,) = findings(connection, FindingsFilter("anti_entropy")).families
        assert family.nothing_to_measure.startswith(f"0 candidates in {', '.join(MODELS)}: {UNLESS}")
    with connect_rows(engine.url) as store:
        (said,) = store.without_candidates()
        assert said.startswith(f"entropy, anti_entropy: 0 candidates in {', '.join(MODELS)}: {UNLESS}")
        (said,) = store.without_candidates(model=MODELS[1])
        assert said.startswith(f"entropy, anti_entropy: 0 candidates in {MODELS[1]}: ")


def test_models_without_candidates_are_named_beside_one_that_has_some(engine, neuron):
    hold(engine, neuron, 0.01, 0.1)
    assert signs(engine, neuron) == SIGNS[0]
    with connect_rows(engine.url) as store:
        (said,) = store.without_candidates()
        assert said.startswith(f"entropy, anti_entropy: 0 candidates in {', '.join(MODELS[1:])}: ")
        assert store.without_candidates(model=MODELS[0]) == []
    with engine.connect() as connection:
        assert "0 candidates" not in why_no_labels(connection, LabelFilter(family="entropy"))
        (family,) = findings(connection, FindingsFilter("entropy")).families
        assert (family.closest[0]["controls"], family.closest[0]["candidates"]) == (93, 2)


def test_controls_of_no_candidate_or_of_another_layer_are_found(engine, neuron):
    """Those of this family stand in for the layer's; with none of them, what is left is as it should be."""
    wrong = "controls are along neurons of a candidate's layer, and itself, on the same tokens"
    own = """DELETE FROM entropy_controls c USING neurons a, neurons o WHERE a.id = c.neuron_id AND o.id = c.along_neuron_id
             AND (a.model_id, a.layer) <> (o.model_id, o.layer)"""
    changes = {
        own: False,
        "DELETE FROM entropy_controls WHERE along_neuron_id = neuron_id": True,
        "UPDATE entropy_controls SET n_tokens = 5 WHERE ctid = (SELECT min(ctid) FROM entropy_controls)": True,
        "UPDATE entropy_controls SET value = 5 WHERE ctid = (SELECT min(ctid) FROM entropy_controls)": True,
        "UPDATE interventions SET purpose = 'asked'": True,
    }
    with engine.connect() as connection:
        assert wrong in differing(connection)
        connection.execute(text(own))
        for change, expected in changes.items():
            nested = connection.begin_nested()
            connection.execute(text(change))
            assert (wrong in differing(connection)) == expected, change
            nested.rollback()


def differing(connection: Connection) -> set[str]:
    return {finding.subject for finding in checks(connection, 1) if finding.status == "differs"}


Deltas = tuple[float, float]
"""Of entropy and scale."""
Held = tuple[Deltas, list[Deltas]]
"""The changes by a candidate, and those by its controls."""

DELTAS = st.tuples(st.integers(-8, 8).map(lambda number: number / 8), st.sampled_from([-0.5, 0.0, 0.5, 0.5]))
HELD = st.lists(st.tuples(DELTAS, st.lists(DELTAS, min_size=0, max_size=30)), min_size=1, max_size=12)


def benjamini_hochberg(p: Sequence[Fraction], q: Fraction) -> list[bool]:
    """Which are rejected: all up to the largest p(k) that is at most k q / m."""
    at_most = [(rank + 1) * q / len(p) for rank in range(len(p))]
    passed = [value for value, most in zip(sorted(p), at_most, strict=True) if value <= most]
    return [value <= max(passed, default=Fraction(-1)) for value in p]


def by_definition(held: list[Held], keys: list[int], sign: int) -> dict[int, Fraction]:
    """p of each candidate that has controls: the share of extreme ones, counting itself."""

    def side(entropy: float, scale: float) -> float:
        return sign * entropy if sign * scale > 0 else -float("inf")

    return {
        key: Fraction(1 + sum(side(*control) >= side(*own) for control in controls), 1 + len(controls))
        for key, (own, controls) in zip(keys, held, strict=False)
        if controls
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=HELD, second=HELD, q=st.sampled_from([Q, Fraction(1, 8), Fraction(3, 10), Fraction(1)]))
def test_it_is_benjamini_and_hochbergs_procedure_over_the_candidates_of_each_model(
    engine, published_every_family, first: list[Held], second: list[Held], q: Fraction
):
    """Of two models at once, to either side, against the procedure as it is published, in fractions."""
    of_models = {MODELS[0]: first, MODELS[2]: second}
    ids = {model: [key for (key,) in rows(engine, IDS, model=model)] for model in of_models}
    expected, told = set(), {}
    for family, sign in (("entropy", 1), ("anti_entropy", -1)):
        for model, held in of_models.items():
            p = by_definition(held, ids[model], sign)
            # a p at the very threshold is decided by rounding
            assume(all(abs(value - (k + 1) * q / len(p)) > 1e-9 for value in p.values() for k in range(len(p))))
            told |= {(family, key): float(value) for key, value in p.items()}
            rejected = dict(zip(p, benjamini_hochberg([*p.values()], q), strict=True))
            changes = {key: own for key, (own, _) in zip(ids[model], held, strict=False)}
            expected |= {
                (family, key)
                for key, (entropy, scale) in changes.items()
                if rejected.get(key) and sign * entropy >= FLOOR and sign * scale > 0
            }
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM entropy_controls"))
        connection.execute(text("DELETE FROM interventions"))
        for model, held in of_models.items():
            for key, ((entropy, scale), controls) in zip(ids[model], held, strict=False):
                connection.execute(text(CANDIDATE), {"neuron": key, "entropy": entropy, "scale": scale})
                connection.execute(text(CONTROLS), {"neuron": key, "deltas": json.dumps(controls)})
        values = {"q": float(q), "version": connection.execute(text("SELECT max(version) FROM rule_versions")).scalar_one()}
        connection.execute(text("UPDATE rules SET value = :q WHERE parameter = 'q' AND rule_version = :version"), values)
        label_run(connection, 1, values["version"])
        found = connection.execute(text("SELECT family, neuron_id FROM labels WHERE family IN ('entropy', 'anti_entropy')"))
        assert {tuple(row) for row in found} == expected
        shown = connection.execute(text("SELECT sign, neuron_id, p, adjusted_p FROM history.entropy_candidates")).all()
        assert {(sign, key): p for sign, key, p, _ in shown} == pytest.approx(told)
        assert all(p <= adjusted + 1e-12 <= 1 + 2e-12 for *_, p, adjusted in shown)
        connection.rollback()


IDS = "SELECT n.id FROM neurons n JOIN models m ON m.id = n.model_id WHERE m.name = :model ORDER BY n.id"
CANDIDATE = """INSERT INTO interventions (run_id, neuron_id, together, kind, value, n_rows, n_tokens, purpose, entropy_delta,
                                          scale_delta)
               VALUES (1, :neuron, '{}', 'fix', 6, 100, 6000, 'candidate', :entropy, :scale)"""
CONTROLS = """INSERT INTO entropy_controls (run_id, neuron_id, value, along_neuron_id, entropy_delta, scale_delta, n_tokens)
              SELECT 1, :neuron, 6, o.id, (c.deltas -> 0)::double precision, (c.deltas -> 1)::double precision, 6000
                FROM jsonb_array_elements(CAST(:deltas AS jsonb)) WITH ORDINALITY AS c(deltas, place)
                JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM neurons WHERE id <> :neuron) o USING (place)
              UNION ALL
              SELECT run_id, neuron_id, value, neuron_id, entropy_delta, scale_delta, n_tokens
                FROM interventions WHERE neuron_id = :neuron"""
