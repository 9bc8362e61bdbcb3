"""Questions through the Python interface: the rows they promise, in a total order, and errors that help."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import percentileofscore
from sqlalchemy import event

import catalog
from catalog import LabelFilter, NeuronRef, UniversalFilter
from catalog.errors import InputError, NotFoundError
from catalog.labels.totals import total_labels
from tests.database.helpers import ROOT, execute, rows
from tests.published import publish_small_family
from tests.published_rows import BASELINE_SE, CORR_SE, D_MLP, DEAD, MODELS, N_LAYERS, UNIVERSAL, N

A, B, C = MODELS


@pytest.fixture
def store(published_family, engine):
    opened = catalog.Catalog(engine)
    yield opened
    opened.close()


@pytest.fixture
def empty(engine):
    return catalog.Catalog(engine)


def test_importing_the_catalog_loads_neither_torch_nor_typer_nor_pandas():
    program = "import catalog, sys; print([m for m in ('torch', 'typer', 'transformers', 'pandas') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_asking_loads_no_torch(database_url):
    program = f"""
import sys, catalog
with catalog.connect({database_url!r}) as store:
    store.find_labels(catalog.LabelFilter())
print('torch' in sys.modules, 'typer' in sys.modules)"""
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "False False\n"


def test_find_is_the_same_question_as_sql_through_the_views(store, engine):
    found = store.find_labels(LabelFilter(family="alphabet"))
    by_sql = rows(
        engine,
        """SELECT l.model, l.layer, l.neuron, l.family, l.subtype, l.score, p.excess_corr, p.universal
           FROM neuron_labels l JOIN neuron_profiles p USING (run_id, model, layer, neuron)
           WHERE l.family = 'alphabet' ORDER BY l.score DESC, l.model, l.layer, l.neuron""",
    )
    assert list(found.itertuples(index=False, name=None)) == by_sql
    assert [row[:5] for row in by_sql] == [(model, 1, 10, "alphabet", "s") for model in MODELS]


FILTERS = [
    (LabelFilter(), 4 * len(MODELS)),
    (LabelFilter(family="unigram"), 3),
    (LabelFilter(family="unigram", subtype="s"), 3),
    (LabelFilter(model=B), 4),
    (LabelFilter(layers=(0, 0)), 3),
    (LabelFilter(layers=(1, 1)), 9),
    (LabelFilter(layers=(0, 1)), 12),
    (LabelFilter(layers=(2, 9)), 0),
    (LabelFilter(min_score=0.6), 9),
    (LabelFilter(min_score=0.61), 6),
    (LabelFilter(min_excess=0.7), 12),
    (LabelFilter(min_excess=0.71), 0),
    (LabelFilter(universal="yes"), 12),
    (LabelFilter(universal="no"), 0),
    (LabelFilter(universal="undecided"), 0),
    (LabelFilter(model=A, family="previous_token", layers=(1, 1), min_score=0.4, universal="yes"), 1),
]


@pytest.mark.parametrize(("wanted", "number"), FILTERS)
def test_filters_of_find(store, wanted, number):
    assert len(store.find_labels(wanted)) == store.count_labels(wanted) == number


@pytest.mark.parametrize("sort", ["score", "excess", "neuron"])
def test_pages_of_find_are_the_whole_in_pieces(store, sort):
    whole = store.find_labels(LabelFilter(sort=sort, limit=0))
    pages = [store.find_labels(LabelFilter(sort=sort, limit=5, offset=offset)) for offset in range(0, len(whole), 5)]
    pd.testing.assert_frame_equal(pd.concat(pages, ignore_index=True), whole)
    assert store.count_labels(LabelFilter(limit=5, offset=5)) == len(whole)


def test_orders_of_find(store):
    whole = store.find_labels(LabelFilter(limit=0))
    assert whole["family"].is_monotonic_increasing
    assert all(labels["score"].is_monotonic_decreasing for _, labels in whole.groupby("family"))
    by_neuron = store.find_labels(LabelFilter(sort="neuron", limit=0))[["model", "layer", "neuron"]]
    assert by_neuron.equals(by_neuron.sort_values(["model", "layer", "neuron"], ignore_index=True))


def test_an_unknown_family_lists_those_that_exist_with_counts(store):
    with pytest.raises(NotFoundError) as caught:
        store.find_labels(LabelFilter(family="alpha"))
    said = str(caught.value)
    assert "'alpha'" in said
    for family, count in (("alphabet", 3), ("previous_token", 3), ("token_class", 3), ("unigram", 3)):
        assert f"{family} ({count} neurons)" in said


def test_a_family_that_a_rule_makes_is_known_without_labels(engine):
    assert len(catalog.Catalog(engine).find_labels(LabelFilter(family="alphabet"))) == 0


def test_what_does_not_exist_says_what_does(store):
    with pytest.raises(NotFoundError, match=f"no model 'gpt2'; the catalog has {A}, {B}, {C}"):
        store.find_labels(LabelFilter(model="gpt2"))
    with pytest.raises(NotFoundError, match=r"no published run 9"):
        store.find_labels(LabelFilter(run=9))
    for layer, index in ((2, 0), (0, D_MLP), (99, 99)):
        with pytest.raises(NotFoundError, match=rf"no neuron {layer}\.{index}; .*0 to {N_LAYERS - 1}.*0 to {D_MLP - 1}"):
            store.neuron(NeuronRef(A, layer, index))
        with pytest.raises(NotFoundError):
            store.neuron_matches(NeuronRef(A, layer, index))
    with pytest.raises(NotFoundError, match="no model 'x'"):
        store.neuron_matches(NeuronRef(A, 0, 0), other_model="x")
    with pytest.raises(InputError, match="--sort 'colour' is no order"):
        store.find_labels(LabelFilter(sort="colour"))
    with pytest.raises(InputError, match="neither may be negative"):
        store.find_labels(LabelFilter(limit=-1))


def test_an_empty_catalog_answers_or_says_how_to_fill_it(empty):
    for answer in (empty.models(), empty.runs(), empty.find_labels(LabelFilter()), empty.family_counts()):
        assert len(answer) == 0 and len(answer.columns) > 0
    with pytest.raises(NotFoundError, match="`catalog ingest` or `make demo`"):
        empty.neuron(NeuronRef(A, 0, 0))


def test_universal_neurons(store):
    found = store.universal_neurons(UniversalFilter())
    expected = [(model, k // D_MLP, k % D_MLP) for model in MODELS for k in UNIVERSAL]
    assert list(found[["model", "layer", "neuron"]].itertuples(index=False, name=None)) == expected
    assert (found["excess_corr"] > 0.5).all() and (found["universal"] == "yes").all()
    np.testing.assert_allclose(found["excess_se"], np.hypot(CORR_SE, BASELINE_SE / np.sqrt(2)))
    assert store.universal_neurons(UniversalFilter(state="undecided")).empty
    assert len(store.universal_neurons(UniversalFilter(state="no", limit=0))) == len(MODELS) * (N - len(UNIVERSAL))
    assert len(store.universal_neurons(UniversalFilter(min_excess=0.71))) == 0
    assert len(store.universal_neurons(UniversalFilter(model=A, layers=(1, 1)))) == 2
    assert len(store.universal_neurons(UniversalFilter(limit=2, offset=8, sort="neuron"))) == 1


def test_families_count_each_neuron_once(store, engine):
    execute(
        engine,
        """INSERT INTO labels SELECT run_id, neuron_id, family, 'another', score, rule_version, '{}', model_id, layer, index,
                                     excess_corr, universal, sort_key
           FROM labels WHERE family = 'unigram'""",
    )
    with engine.begin() as connection:
        total_labels(connection, rows(engine, "SELECT id FROM runs")[0][0])
    found = store.family_counts(model=A, by="model")
    assert found.set_index("family")[["neurons", "universal_neurons"]].loc["unigram"].tolist() == [1, 1]
    assert (store.family_counts(by="model")["neurons"] > 0).sum() == 4 * len(MODELS)
    assert (store.family_counts()["neurons"] > 0).sum() == 4 * len(MODELS)


def test_matches_are_in_order_of_rank_with_their_standard_error(store):
    found = store.neuron_matches(NeuronRef(A, 1, 10))
    assert found["rank"].tolist() == [1, 1, 2, 2]
    assert found["other_model"][:2].tolist() == [B, C]
    assert found[["other_layer", "other_neuron"]][:2].to_numpy().tolist() == [[1, 10]] * 2
    np.testing.assert_allclose(found["correlation_se"], CORR_SE, rtol=1e-6)
    assert len(store.neuron_matches(NeuronRef(A, 1, 10), other_model=C)) == 2
    assert len(store.neuron_matches(NeuronRef(A, 1, 10), limit=1)) == 1
    assert len(store.neuron_matches(NeuronRef(A, 1, 10), limit=0)) == 4
    assert len(store.neuron_matches(NeuronRef(A, 0, DEAD))) == 0


def test_groups_come_whole_and_once(store):
    found = store.groups()
    assert found.groupby("group_id").size().tolist() == [3, 3, 3]
    assert set(found["size"]) == {3}
    assert len(store.groups(limit=1)) == 3
    assert len(store.groups(min_size=4)) == 0
    assert len(store.groups(model=B)) == 9


def test_percentiles_are_those_of_the_specification(store, engine):
    """SPEC 3.7: the percentile rank with ties averaged, among the defined values of the layer."""
    values = [1.0, 2.0, 2.0, 3.0, 10.0] + [None] * (D_MLP - 5)
    for index, value in enumerate(values):
        execute(
            engine,
            """UPDATE activation_statistics s SET skew = :value FROM neurons n, models m
               WHERE n.id = s.neuron_id AND m.id = n.model_id AND m.name = :model AND layer = 0 AND "index" = :index""",
            value=value, model=A, index=index,
        )  # fmt: skip

    def shown(index):
        table = store.neuron(NeuronRef(A, 0, index)).statistics.set_index("statistic")
        return table.loc["skew", "percentile"]

    assert [shown(index) for index in range(5)] == [20, 50, 50, 80, 100]
    assert [shown(index) for index in range(5)] == [percentileofscore(values[:5], value, "rank") for value in values[:5]]
    assert np.isnan(shown(5))


def test_the_page_of_a_neuron(store):
    page = store.neuron(NeuronRef(A, 1, 10))
    assert {key: page.identity[key] for key in ("model", "layer", "neuron", "universal", "degenerate")} == {
        "model": A, "layer": 1, "neuron": 10, "universal": "yes", "degenerate": False,
    }  # fmt: skip
    assert page.best_matches[["other_model", "other_layer", "other_neuron"]].to_numpy().tolist() == [[B, 1, 10], [C, 1, 10]]
    assert page.labels[["family", "subtype"]].to_numpy().tolist() == [["alphabet", "s"], ["unigram", "s"]]
    assert page.explanations["feature"].tolist() == ["s_unigram"]
    assert page.letter["letter"].tolist() == ["s"]
    assert page.top_tokens["token"].tolist() == [" s", "s", "\n", "\\x00", "\\xe2\\x82"]
    assert page.promoted["effect"].is_monotonic_decreasing and page.suppressed["effect"].is_monotonic_increasing
    spread = np.linspace(0.1, 1.0, N)[D_MLP + 10]
    assert page.quantiles["percent"].tolist() == [0.1, 1, 5, 25, 50, 75, 95, 99, 99.9]
    assert page.quantiles[["pre", "post"]].to_numpy() == pytest.approx(spread)
    assert page.bos.to_numpy().tolist() == [pytest.approx([spread, spread])]
    assert page.position[["pattern", "strength", "alternations", "runs", "curve"]].isna().all(axis=None), "no label, no pattern"
    assert page.position.loc[0, "mutual_information"] == pytest.approx(spread / 100)
    assert page.subsets[["subset", "n_tokens"]].to_numpy().tolist() == [["code", 3000], ["prose", 9000]]
    assert page.subsets[["sparsity", "mean"]].to_numpy() == pytest.approx(spread)
    assert page.ngrams.to_numpy().tolist() == [[n, 10 * n, 2000, 12000] for n in (1, 2, 3)]
    dead = store.neuron(NeuronRef(A, 0, DEAD))
    assert dead.identity["degenerate"] and dead.identity["universal"] == "no" and len(dead.best_matches) == 0


def test_parts_that_a_run_lacks_leave_their_tables_of_a_page_empty(store, engine):
    for table in ("distribution_statistics", "position_statistics", "subset_statistics", "ngram_statistics"):
        execute(engine, f"DELETE FROM {table}")
    page = store.neuron(NeuronRef(A, 1, 10))
    for name in ("quantiles", "bos", "position", "subsets", "ngrams"):
        table = getattr(page, name)
        assert len(table) == 0 and len(table.columns) >= 2


def test_a_page_costs_a_fixed_number_of_queries(store, engine):
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    store.neuron(NeuronRef(A, 1, 10))
    for_a_page = len(statements)
    statements.clear()
    store.find_labels(LabelFilter(family="alphabet", model=A, limit=0))
    assert for_a_page <= 28 and len(statements) <= 5, (for_a_page, len(statements))


def test_layers_and_models_and_runs(store):
    layers = store.layer_profiles()
    assert layers[["model", "layer", "n_neurons", "n_universal", "n_undecided", "n_degenerate"]].to_numpy().tolist() == [
        row for model in MODELS for row in ([model, 0, D_MLP, 1, 0, 1], [model, 1, D_MLP, 2, 0, 0])
    ]
    models = store.models()
    assert models["model"].tolist() == list(MODELS) and set(models["neurons"]) == {N}
    runs = store.runs()
    assert runs["status"].tolist() == ["published"] and runs["models"].tolist() == [3]
    assert store.run(int(runs["run"][0]))["models"] == ", ".join(MODELS)
    with pytest.raises(NotFoundError):
        store.run(99)


def test_one_question_sees_one_state_of_the_catalog(store, engine):
    """A run published in the middle of a page does not mix into it."""
    seen = []

    def publish_in_between(connection, cursor, statement, *_):
        if "logit_effects" in statement and not seen:
            seen.append(statement)
            publish_small_family(engine, "in between")

    event.listen(engine, "before_cursor_execute", publish_in_between)
    page = store.neuron(NeuronRef(A, 1, 10))
    assert seen and page.identity["run_id"] == 1 and len(page.suppressed) == 5
    assert store.neuron(NeuronRef(A, 1, 10)).identity["run_id"] == 2
