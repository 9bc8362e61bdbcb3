"""Which neurons have an example at one token: answered from indexes among two million examples, as the cookbook asks it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from catalog.server.engine import writer_engine
from tests.conftest import database
from tests.database.helpers import one, rows
from tests.database.test_plans import LARGE, nodes, plans_of
from tests.published_corpus import TOKENS
from tests.published_rows import D_MLP, MODELS, N_LAYERS

EXAMPLES_EACH, LAYERS, WIDTH, VOCABULARY, ROWS, CONTEXT = 521, 10, 128, 12_000, 12_000, 64
NEURONS = LAYERS * WIDTH
"""Of each of the three models: 3,840 in all."""

INPUTS = (
    """INSERT INTO neurons (model_id, layer, "index")
       SELECT m.id, layer, place FROM models m, generate_series(0, :layers - 1) AS layer,
              generate_series(0, :width - 1) AS place
       ON CONFLICT DO NOTHING""",
    """INSERT INTO tokens SELECT t.id, g, 'word ' || g, convert_to('word ' || g, 'UTF8')
         FROM tokenizers t, generate_series(:known, :vocabulary - 1) AS g""",
    """INSERT INTO corpus_rows
       SELECT c.id, g, 'prose', ARRAY(SELECT (g * :context + p) % :vocabulary FROM generate_series(0, :context - 1) AS p)
         FROM corpora c, generate_series(0, :rows - 1) AS g
       ON CONFLICT (corpus_id, "row") DO UPDATE SET tokens = excluded.tokens""",
)
# half of a neuron's examples are in one row, the others all over the corpus
EXAMPLES = """INSERT INTO examples (run_id, neuron_id, kind, rank, value, row, position, token_id)
    SELECT r.id, n.id, 0, g, -g, place.row, place.position, (place.row * :context + place.position) % :vocabulary
      FROM runs r, neurons n, generate_series(1, :each) AS g
     CROSS JOIN LATERAL (SELECT (n.id * 7919 + g * (g % 2) * 104729) % :rows AS row, 1 + (n.id + g) % (:context - 1) AS position
                        ) AS place"""


def fill(connection: Connection) -> None:
    """Two million examples; keys that point elsewhere are not checked, indexes are built at the end: both take long."""
    values = {
        "layers": LAYERS, "width": WIDTH, "known": len(TOKENS), "vocabulary": VOCABULARY, "context": CONTEXT, "rows": ROWS,
        "each": EXAMPLES_EACH,
    }  # fmt: skip
    index = connection.execute(text("SELECT pg_get_indexdef('ix_examples_by_token'::regclass)")).scalar_one()
    key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'pk_examples'"
    primary = connection.execute(text(key)).scalar_one()
    for statement in (
        "SET LOCAL session_replication_role = replica",
        *INPUTS,
        "DELETE FROM examples",
        "ALTER TABLE examples DROP CONSTRAINT pk_examples",
        "DROP INDEX ix_examples_by_token",
        EXAMPLES,
        f"ALTER TABLE examples ADD CONSTRAINT pk_examples {primary}",
        index.replace(" ON ONLY ", " ON "),
        "ALTER INDEX examples_run_1_run_id_token_id_neuron_id_idx RENAME TO ix_examples_by_token_run_1",
    ):
        connection.execute(text(statement), values)


@pytest.fixture(scope="module")
def engine(server, family_template) -> Iterator[Engine]:
    with database(server, family_template) as url:
        made = writer_engine(url)
        with made.begin() as connection:
            fill(connection)
        with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM (ANALYZE) examples, tokens, corpus_rows, neurons"))
        yield made
        made.dispose()


def recipe() -> str:
    """The cookbook's statement."""
    book = (Path(__file__).parents[2] / "docs" / "cookbook.md").read_text(encoding="utf-8")
    found = re.search(r"^## \d+\. Which neurons have an example at one token\?$.*?^```sql\n(.*?);\n```$", book, re.M | re.S)
    assert found is not None
    assert found[1].count("token = ' the'") == 1
    return found[1]


ASKED = {
    "the cookbook's": recipe().replace("token = ' the'", "token = 'word 4321'"),
    "with their text": "SELECT model, layer, neuron, before, token, after FROM neuron_examples WHERE token = 'word 4321'",
    "of two tokens": "SELECT DISTINCT model, layer, neuron FROM neuron_examples WHERE token IN ('word 4321', 'word 321')",
    "of a model": f"SELECT neuron FROM neuron_examples WHERE token = 'word 4321' AND model = '{MODELS[1]}' AND kind = 'top'",
    "in all runs": "SELECT DISTINCT model, layer, neuron FROM history.neuron_examples WHERE token = 'word 4321'",
}


@pytest.mark.parametrize("statement", ASKED.values(), ids=ASKED)
def test_examples_of_a_token_are_answered_from_indexes(engine, statement):
    assert one(engine, "SELECT count(*) FROM examples") >= 2_000_000
    large = {name for (name,) in rows(engine, f"SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > {LARGE}")}
    assert {"examples_run_1", "tokens", "corpus_rows"} <= large
    (plan,) = plans_of(engine, lambda: rows(engine, statement))
    found = nodes(plan)
    assert [n["Relation Name"] for n in found if n["Node Type"] == "Seq Scan" and n["Relation Name"] in large] == []
    assert {"ix_examples_by_token_run_1", "ix_tokens_by_text"} <= {n.get("Index Name") for n in found}


def test_the_neurons_are_those_whose_example_is_at_the_token(engine):
    found = rows(engine, ASKED["in all runs"])
    expected = rows(
        engine,
        """SELECT DISTINCT m.name, n.layer, n."index" FROM examples e JOIN neurons n ON n.id = e.neuron_id
             JOIN models m ON m.id = n.model_id JOIN corpus_rows r ON r.row = e.row WHERE r.tokens[e.position + 1] = 4321""",
    )
    assert found and sorted(found) == sorted(expected)
    assert one(engine, "SELECT count(*) FROM neurons") >= len(MODELS) * NEURONS > len(MODELS) * N_LAYERS * D_MLP
