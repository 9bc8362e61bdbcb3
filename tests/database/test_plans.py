"""Every question of the command line answers from indexes, whatever the size of the catalog: what the planner decides
for two million pairs, with statistics and without any switch. Of every family, `find` gives what the cookbook's SQL gives."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import event, text

from bench.scale.big_catalog import Plan, build
from bench.scale.synthetic import D_MLP
from catalog import answers, api, parts
from catalog.labels.totals import total_labels
from catalog.questions.neuron_page import NeuronRef
from catalog.questions.queries import LabelFilter
from catalog.questions.universal import UniversalFilter
from catalog.server.engine import writer_engine
from tests.conftest import database
from tests.database.helpers import one, rows
from tests.database.test_summaries import differences

FIRST, LAST = (0, 1, 2, 3, 4), (3, 4, 5, 6, 7)
PLANS = (
    Plan("first", FIRST, k=10),
    Plan("first", FIRST, k=10, vocabulary=True),
    Plan("last", LAST, k=10, vocabulary=True),
)
"""Three runs of five models, one of them superseded."""

LARGE = 10_000
MODEL = "synthetic-d"
NEURON = NeuronRef(MODEL, 7, 11)


@pytest.fixture(scope="module")
def engine(server, template):
    """Two million pairs."""
    with database(server, template) as url:
        made = writer_engine(url)
        build(made, scale=139 / D_MLP, plans=PLANS)
        stand_in(made)
        yield made
        made.dispose()


STAND_IN = """INSERT INTO labels (run_id, neuron_id, family, subtype, score, rule_version, evidence, model_id, layer, "index",
                                   excess_corr, universal, sort_key)
    SELECT run_id, neuron_id, :family, subtype, score, rule_version, evidence, model_id, layer, "index", excess_corr, universal,
           CASE WHEN :lowest THEN score ELSE -score END
      FROM labels WHERE family = 'token_class' AND neuron_id % 20 = 0"""


def stand_in(engine) -> None:
    """Labels for rules whose statistics the synthetic catalog does not have, so that no new rule goes untried."""
    with engine.begin() as connection:
        there = {family for (family,) in rows(engine, FAMILIES)}
        for rule in (rule for rule in parts.rules() if rule.family not in there):
            connection.execute(text(STAND_IN), {"family": rule.family, "lowest": rule.lowest_is_best})
        for (run,) in rows(engine, "SELECT id FROM runs"):
            total_labels(connection, run)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) labels, label_totals"))


FAMILIES = "SELECT DISTINCT family FROM labels"
QUESTIONS = {
    "find": lambda store: find(store, LabelFilter()),
    "find, second page": lambda store: find(store, LabelFilter(offset=50)),
    "find by family": lambda store: find(store, LabelFilter(family="token_class")),
    "find a rare family": lambda store: find(store, LabelFilter(family="previous_token")),
    "find by subtype": lambda store: find(store, LabelFilter(family="alphabet", subtype="b")),
    "find by model": lambda store: find(store, LabelFilter(model=MODEL)),
    "find by excess": lambda store: find(store, LabelFilter(min_excess=0.3)),
    "find most universal": lambda store: find(store, LabelFilter(min_excess=0.6, sort="excess")),
    "find universal": lambda store: find(store, LabelFilter(universal="yes")),
    "find by layers": lambda store: find(store, LabelFilter(layers=(3, 9))),
    "find by one layer": lambda store: find(store, LabelFilter(layers=(20, 20), model=MODEL, family="unigram")),
    "find by score": lambda store: find(store, LabelFilter(min_score=0.9)),
    "find in order": lambda store: find(store, LabelFilter(sort="neuron")),
    "find in a run": lambda store: find(store, LabelFilter(family="unigram", run=2)),
    "show": lambda store: store.neuron(NEURON),
    "show in a run": lambda store: store.neuron(NEURON, run=1),
    "matches": lambda store: store.neuron_matches(NEURON),
    "matches in a run": lambda store: store.neuron_matches(NEURON, run=1, other_model="synthetic-a"),
    "universal": lambda store: store.universal_neurons(UniversalFilter()),
    "universal, undecided": lambda store: store.universal_neurons(UniversalFilter(state="undecided")),
    "not universal": lambda store: store.universal_neurons(UniversalFilter(state="no")),
    "universal in order": lambda store: store.universal_neurons(UniversalFilter(sort="neuron", layers=(2, 8), model=MODEL)),
    "families": lambda store: store.family_counts(),
    "families by model": lambda store: store.family_counts(by="model"),
    "families of a model": lambda store: store.family_counts(MODEL),
    "groups": lambda store: store.groups(),
    "groups of a model": lambda store: store.groups(5, MODEL),
    "layers": lambda store: store.layer_profiles(),
    "depth": lambda store: store.depth_matrix(),
    "models": lambda store: store.models(),
    "runs": lambda store: store.runs(),
}


def find(store: api.Catalog, wanted: LabelFilter) -> None:
    store.find_labels(wanted)
    store.count_labels(wanted)


def test_every_question_answers_from_indexes(engine):
    """No sequential scan of a table with more than 10,000 rows, and one partition of `pairs` at most."""
    assert one(engine, "SELECT count(*) FROM pairs") >= 2_000_000
    large = {name for (name,) in rows(engine, f"SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > {LARGE}")}
    assert {"labels", "explanations", "universality", "universality_by_model_run_1", "neurons", "pairs_run_1"} <= large
    store, wrong, answered = api.Catalog(engine), {}, set()
    for question, ask in QUESTIONS.items():
        for plan in plans_of(engine, lambda ask=ask: ask(store)):
            scans = [node for node in nodes(plan) if "Relation Name" in node]
            read = [node["Relation Name"] for node in scans if node["Node Type"] == "Seq Scan"]
            partitions = {node["Relation Name"] for node in scans if node["Relation Name"].startswith("pairs_run_")}
            answered |= {node["Relation Name"] for node in scans}
            if set(read) & large or len(partitions) > 1:
                wrong[question] = (sorted(set(read) & large), sorted(partitions))
    assert wrong == {}
    assert {"labels", "label_totals", "universality", "pairs_run_1", "explanations", "layer_summaries"} <= answered
    assert differences(engine) == {}


def plans_of(engine, ask) -> list[dict[str, Any]]:
    """The plan of every statement that a question sends."""
    sent = []

    def keep(connection, cursor, statement, parameters, *_):
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    ask()
    event.remove(engine, "before_cursor_execute", keep)
    found = []
    with engine.connect() as connection:
        for statement, parameters in sent:
            answer = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
            found.append((json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"])
    assert found
    return found


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan's nodes."""
    return [plan, *(node for below in plan.get("Plans", []) for node in nodes(below))]


EVERY_FAMILY = [(rule.family, None) for rule in parts.rules()]
SUBTYPES = [
    ("position", "oscillatory"),
    ("syntax", "morph_plural"),
    ("context", "github"),
    ("dead", "dead"),
    ("unexplained", "universal"),
    ("ngram_detector", "trigram"),
]
ASKED = EVERY_FAMILY + SUBTYPES


def documented(family: str, subtype: str | None) -> str:
    """The cookbook's statement for every family, asked for this one."""
    text = (Path(__file__).parents[2] / "docs" / "cookbook.md").read_text(encoding="utf-8")
    found = re.search(r"^## \d+\. Every family in one statement$.*?^```sql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found
    statement = found[1]
    assert statement.count("'position'") == 1 and statement.count("-- AND l.subtype = 'oscillatory'") == 1
    if subtype is not None:
        statement = statement.replace("-- AND l.subtype = 'oscillatory'", f"AND l.subtype = '{subtype}'")
    return statement.replace("'position'", f"'{family}'")


@pytest.mark.parametrize(("family", "subtype"), ASKED)
def test_find_of_a_family_reads_an_index_of_labels(engine, family, subtype):
    large = {name for (name,) in rows(engine, f"SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > {LARGE}")}
    assert "labels" in large
    store, indexes = api.Catalog(engine), set()
    for plan in plans_of(engine, lambda: find(store, LabelFilter(family=family, subtype=subtype))):
        found = nodes(plan)
        scanned = [(n["Relation Name"], n.get("Filter")) for n in found if n["Node Type"] == "Seq Scan"]
        assert [(name, where) for name, where in scanned if name in large] == []
        read = [n for n in found if n.get("Relation Name") == "labels"]
        assert {n["Node Type"] for n in read} <= {"Index Scan", "Index Only Scan"}
        indexes |= {n["Index Name"] for n in read}
    assert indexes and all(name.startswith("ix_labels_") for name in indexes), indexes


@pytest.mark.parametrize(("family", "subtype"), ASKED)
def test_find_of_a_family_gives_the_rows_of_the_documented_statement(engine, family, subtype):
    store = api.Catalog(engine)
    with engine.connect() as connection:
        said = answers.ask(connection, documented(family, subtype)).frame()
    assert len(said) > 5, f"the synthetic catalog has no {family} {subtype}"
    everything = store.find_labels(LabelFilter(family=family, subtype=subtype, limit=0))
    pd.testing.assert_frame_equal(everything, said)
    assert store.count_labels(LabelFilter(family=family, subtype=subtype)) == len(said)
    first = store.find_labels(LabelFilter(family=family, subtype=subtype))
    pd.testing.assert_frame_equal(first, said.head(50))
