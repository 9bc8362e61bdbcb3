"""Examples as readers see them: the text around a token, the rows of the corpus that hold it, an index that answers."""

import pytest

import catalog
from catalog import api
from catalog.errors import InputError, NotFoundError
from catalog.questions.neuron_page import NeuronRef
from catalog.runs import life
from catalog.text import escape
from tests.database.helpers import execute, one, rows
from tests.database.test_plans import nodes, plans_of
from tests.published import publish_small_family, spec_of, stage_small_family
from tests.published_corpus import TOKENS, corpus_tokens
from tests.published_rows import EXAMPLES, MODELS, N

NEURON = NeuronRef(MODELS[0], 1, 10)


@pytest.fixture
def run(published_family):
    return published_family


@pytest.fixture
def store(engine, run):
    return catalog.Catalog(engine)


def text_of(row: int, first: int, end: int) -> str:
    return "".join(escape(TOKENS[token]) for token in corpus_tokens()[row][max(first, 0) : end])


def test_an_example_has_twenty_tokens_before_and_five_after_within_its_row(store):
    found = store.examples(NEURON)
    names = {0: "top", 50: "quantile_25_50"}
    assert len(found) == len(EXAMPLES)
    for (kind, rank, value, row, position), shown in zip(EXAMPLES, found.itertuples(), strict=True):
        assert (shown.kind, shown.rank, shown.value, shown.row, shown.position) == (names[kind], rank, value, row, position)
        assert shown.token == text_of(row, position, position + 1)
        assert shown.before == text_of(row, position - 20, position)
        assert shown.after == text_of(row, position + 1, position + 6)
        assert shown.subset == ("prose" if row < 150 else "code")
    assert found["before"][1] == "<bos>" and found["after"][2] == ""
    assert found["quantile"].isna().tolist() == [True, True, True, False]


def test_what_is_asked_for(store):
    assert store.examples(NEURON, kind="top")["rank"].tolist() == [1, 2, 3]
    assert store.examples(NEURON, limit=1)["kind"].tolist() == ["top", "quantile_25_50"]
    assert len(store.examples(NEURON, kind="quantile_99_100")) == 0
    assert len(store.examples(NEURON, run=1)) == len(store.neuron(NEURON).examples) == len(EXAMPLES)
    with pytest.raises(InputError, match="'best' is no kind of example; choose from top, lowest, quantile_0_25"):
        store.examples(NEURON, kind="best")
    with pytest.raises(NotFoundError, match=r"no neuron 1\.99"):
        store.examples(NeuronRef(MODELS[0], 1, 99))


def test_rows_of_the_corpus_are_stored_once_and_go_with_it(engine, store, run):
    stored = "SELECT row, subset, cardinality(tokens) FROM corpus_rows ORDER BY row"
    expected = [(3, "prose", 64), (7, "prose", 64), (150, "code", 64)]
    assert rows(engine, stored) == expected
    second = publish_small_family(engine, "second")
    assert rows(engine, stored) == expected
    assert rows(engine, "SELECT run_id, count(*) FROM neuron_examples GROUP BY 1") == [
        (second, len(MODELS) * N * len(EXAMPLES))
    ]
    store.delete_run(run)
    assert rows(engine, stored) == expected
    store.delete_run(second)
    assert rows(engine, stored) == []


def test_a_corpus_without_subsets_has_examples_without_one(engine):
    with life.begin_run(engine, spec_of("plain")) as handle:
        made = stage_small_family(handle)
        read = made.corpus.read_rows
        corpus = made.corpus._replace(subsets={}, read_rows=lambda numbers: read(numbers)._replace(subsets=None))
        handle.publish(type(made)(**{**vars(made), "corpus": corpus}))
    assert rows(engine, "SELECT DISTINCT subset FROM neuron_examples") == [(None,)]


def test_a_neuron_s_examples_are_answered_from_indexes(engine, run):
    """Without a sequential scan of a table of more than 10,000 rows, by the question and by the documented SQL."""
    execute(
        engine,
        """INSERT INTO examples (run_id, neuron_id, kind, rank, value, row, position, token_id)
           SELECT :run, n.id, 0, g, -g, g % 200 + 200 * (n.id % 100), 5, 2 FROM neurons n, generate_series(4, 203) g""",
        run=run,
    )
    execute(
        engine,
        """INSERT INTO corpus_rows SELECT c.id, g, 'prose', array_fill(2, ARRAY[64])
             FROM corpora c, generate_series(200, 20199) g ON CONFLICT DO NOTHING""",
    )
    execute(
        engine,
        """INSERT INTO tokens SELECT id, g, 'x', 'x' FROM tokenizers, generate_series(100, 20000) g""",
    )
    execute(engine, "ANALYZE")
    large = {"examples_run_1", "corpus_rows", "tokens"}
    for table in large:
        assert one(engine, f"SELECT count(*) FROM {table}") > 10_000
    store = api.Catalog(engine)

    def documented():
        statement = (
            "SELECT * FROM neuron_examples WHERE model = :model AND layer = 1 AND neuron = 10 AND kind = 'top' AND rank <= 50"
        )
        assert len(rows(engine, statement, model=MODELS[0])) == 50 - 3 + 3

    for ask in (lambda: store.examples(NEURON), lambda: store.neuron(NEURON), documented):
        plans = plans_of(engine, ask)
        scans = [node for plan in plans for node in nodes(plan) if "Relation Name" in node]
        assert large <= {node["Relation Name"] for node in scans}
        assert [n["Relation Name"] for n in scans if n["Node Type"] == "Seq Scan" and n["Relation Name"] in large] == []
