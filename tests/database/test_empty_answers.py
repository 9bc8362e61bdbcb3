"""Answers without rows say why, and neurons without labels say which rule they do not pass; families are never mixed."""

import pytest

import catalog
from catalog import LabelFilter, NeuronRef, UniversalFilter
from catalog.errors import InputError
from catalog.questions import why_empty
from tests.database.helpers import execute, one, rows
from tests.published_rows import DEAD, MODELS

A, B, C = MODELS


@pytest.fixture
def store(published_family, engine):
    opened = catalog.Catalog(engine)
    yield opened
    opened.close()


def said(store, **wanted) -> str:
    asked = LabelFilter(**wanted)
    assert len(store.find_labels(asked)) == 0
    return store.why(why_empty.labels, asked)


def test_nothing_ingested_names_the_command(engine):
    store = catalog.Catalog(engine)
    for reason in (
        store.why(why_empty.nothing), store.why(why_empty.labels, LabelFilter()), store.why(why_empty.counts),
        store.why(why_empty.universal, UniversalFilter()), store.why(why_empty.groups), store.why(why_empty.depth),
    ):  # fmt: skip
        assert reason == "the catalog has no published run yet; `catalog ingest` or `make demo` makes one"


def test_a_layer_that_no_model_has_says_the_range(store):
    assert said(store, model=A, layers=(7, 7)) == f"there is no layer 7: model {A} has layers 0 to 1"
    assert said(store, layers=(2, 9)) == "there is no layer 2 to 9: the models have layers 0 to 1"
    reason = store.why(why_empty.universal, UniversalFilter(layers=(4, 4)))
    assert reason == "there is no layer 4: the models have layers 0 to 1"


def test_a_subtype_that_no_label_has_names_the_nearest(store):
    assert said(store, family="unigram", subtype="S") == (
        "no label of the family unigram has the subtype 'S' (did you mean s?); there are s"
    )
    assert "(did you mean contains_comma?)" in said(store, subtype="contains_coma")


def test_a_part_that_was_never_measured_names_the_option(store, engine):
    assert said(store, family="duplicate") == (
        "never measured: run 1 has no labels of the family duplicate; repeat its `catalog ingest` with --only redundancy"
    )
    for table in ("examples", "ngram_statistics"):
        execute(engine, f"DELETE FROM {table}")
    execute(engine, "DELETE FROM run_parts WHERE part = 'examples'")
    reasons = store.why(why_empty.page, store.neuron(NeuronRef(A, 1, 10)))
    assert any("run 1 has no" in reason and "examples" in reason and "--only" in reason for reason in reasons)
    assert any(reason.startswith("looked for, and none found: ") and "ngrams" in reason for reason in reasons)
    assert store.why(why_empty.examples, NeuronRef(A, 1, 10)) == (
        "never measured: run 1 has no examples; repeat its `catalog ingest` with --only examples"
    )
    execute(engine, "DELETE FROM run_parts WHERE part = 'correlations'")
    execute(engine, "UPDATE universality SET excess_corr = NULL, excess_se = NULL, universal = 'no'")
    assert store.why(why_empty.universal, UniversalFilter()).endswith("with --only correlations")


def test_what_was_looked_for_and_not_found_says_so(store):
    assert said(store, family="unigram", min_score=2.0) == (
        "looked for, and none found: no label of run 1 meets --family unigram --min-score 2.0"
    )
    assert said(store, offset=40) == "--offset 40 is past the last of 12 rows"
    highest = store.universal_neurons(UniversalFilter(limit=1))["excess_corr"][0]
    reason = store.why(why_empty.universal, UniversalFilter(min_excess=0.99))
    assert reason.startswith("looked for, and none found: no excess correlation of run 1 is of at least 0.99; ")
    assert reason.endswith(f"the largest is {highest:.3g} ± 0.0057")
    assert " is perhaps above 0.5; " in store.why(why_empty.universal, UniversalFilter(state="undecided"))
    assert store.why(why_empty.groups, 4).endswith("no group with run 1 has 4 members or more; 3 are smaller")
    assert "too small for a correlation" in store.why(why_empty.matches, NeuronRef(A, 0, DEAD))


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.find_labels(LabelFilter(layers=(3, 1))),
        lambda store: store.find_labels(LabelFilter(min_score=float("nan"))),
        lambda store: store.find_labels(LabelFilter(universal="yes", min_excess=0.3)),
        lambda store: store.universal_neurons(UniversalFilter(min_excess=float("inf"))),
        lambda store: store.universal_neurons(UniversalFilter(min_excess=0.3, state="yes")),
        lambda store: store.universal_neurons(UniversalFilter(state="perhaps")),
        lambda store: store.find_labels(LabelFilter(universal="perhaps")),
        lambda store: store.universal_neurons(UniversalFilter(layers=(-1, 1))),
        lambda store: store.groups(min_size=1),
        lambda store: store.neuron_matches(NeuronRef(A, 1, 10), limit=-1),
        lambda store: store.neuron_matches(NeuronRef(A, 1, 10), other_model=A),
        lambda store: store.examples(NeuronRef(A, 1, 10), limit=-1),
        lambda store: store.examples(NeuronRef(A, 1, 10), kind="bottom"),
    ],
)
def test_arguments_that_cannot_act_are_refused(store, ask):
    with pytest.raises(InputError):
        ask(store)


def test_scores_of_different_families_are_never_interleaved(store, engine):
    """The best label of a family comes first: of unexplained and near_dead that is the one with the lowest score."""
    execute(
        engine,
        """INSERT INTO labels SELECT run_id, neuron_id, f.family, 'x', score / 10 + layer, rule_version, '{}', model_id, layer,
                                     index, excess_corr, universal,
                                     (score / 10 + layer) * CASE f.family WHEN 'bos' THEN -1 ELSE 1 END
             FROM labels, unnest(ARRAY['near_dead', 'unexplained', 'bos']) AS f(family) WHERE labels.family = 'unigram'
                OR labels.family = 'token_class'""",
    )
    found = store.find_labels(LabelFilter(limit=0))
    assert found["family"].tolist() == sorted(found["family"])
    for family, labels in found.groupby("family"):
        scores = labels["score"].tolist()
        assert scores == sorted(scores, reverse=family not in ("near_dead", "unexplained"))
        alone = store.find_labels(LabelFilter(family=family, limit=0))
        assert alone.to_numpy().tolist() == labels.to_numpy().tolist()
    assert one(engine, "SELECT count(*) FROM labels") == len(found)


def test_a_page_without_labels_names_the_best_explanation_and_its_threshold(store, engine):
    key = rows(engine, "SELECT run_id, neuron_id FROM labels WHERE family = 'token_class' ORDER BY neuron_id LIMIT 1")[0]
    model, layer, index = rows(
        engine, "SELECT m.name, n.layer, n.index FROM neurons n JOIN models m ON m.id = n.model_id WHERE n.id = :id", id=key[1]
    )[0]
    ref = NeuronRef(model, layer, index)
    assert store.neuron(ref).identity["no_label"] is None
    execute(engine, "DELETE FROM labels WHERE neuron_id = :id", id=key[1])
    execute(
        engine, "UPDATE explanations SET held_out_variance_reduction = 0.12345 WHERE neuron_id = :id AND rank = 1", id=key[1]
    )
    version, least = rows(
        engine,
        """SELECT rule_version, value FROM rules WHERE family = 'token_class' AND parameter = 'min_variance_reduction'
           ORDER BY rule_version DESC LIMIT 1""",
    )[0]
    execute(engine, "UPDATE rules SET value = 0.5 WHERE family = 'token_class' AND parameter = 'min_variance_reduction'")
    assert store.neuron(ref).identity["no_label"] == (
        f"best explanation is_digit at 0.123, below its threshold 0.5 (token_class.min_variance_reduction of rules {version}); "
        "universal, but not unexplained, which takes less than 0.05"
    )
    assert least > 0
    assert store.neuron(NeuronRef(A, 0, DEAD)).identity["no_label"]


def test_the_words_of_the_family_unexplained_say_what_it_is(engine):
    comments = rows(
        engine,
        """SELECT c.relname, col_description(a.attrelid, a.attnum) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE c.relname IN ('labels', 'neuron_labels') AND a.attname = 'family'""",
    )
    assert len(comments) == 3
    for _, comment in comments:
        assert comment.endswith("a universal neuron without any label need not be one.")
    described = one(engine, "SELECT description FROM rules WHERE family = 'unexplained' ORDER BY rule_version DESC LIMIT 1")
    assert "if no rule of position, bos, prediction" in described
