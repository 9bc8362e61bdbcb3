"""What is kept beside the rows for the sake of speed always equals what the rows say."""

import pytest
from sqlalchemy import Engine

from catalog import api
from catalog.publishing.summaries import summarise
from catalog.rows import Definition
from catalog.runs import deletion, life
from tests.database.helpers import execute, one, rows
from tests.published import publish_small_family, spec_of, stage_small_family
from tests.published_rows import MODELS

# Each pair: what is kept, and what the rows say.
DEFINITIONS = {
    "place of universality": (
        'SELECT run_id, neuron_id, model_id, layer, "index" FROM universality',
        'SELECT u.run_id, n.id, n.model_id, n.layer, n."index" FROM universality u JOIN neurons n ON n.id = u.neuron_id',
    ),
    "place and excess of labels": (
        'SELECT run_id, neuron_id, family, subtype, model_id, layer, "index", excess_corr, universal FROM labels',
        """SELECT l.run_id, n.id, l.family, l.subtype, n.model_id, n.layer, n."index", u.excess_corr,
                  COALESCE(u.universal, 'no')
           FROM labels l JOIN neurons n ON n.id = l.neuron_id LEFT JOIN universality u USING (run_id, neuron_id)""",
    ),
    "universality": (
        "SELECT run_id, neuron_id, universal FROM universality",
        """SELECT run_id, neuron_id, CASE WHEN excess_corr IS NULL OR excess_corr + 1.96 * excess_se <= 0.5 THEN 'no'
                                         WHEN excess_corr - 1.96 * excess_se > 0.5 THEN 'yes' ELSE 'undecided' END
             FROM universality""",
    ),
    "counts of labels": (
        """SELECT run_id, model_id, family, subtype, layer, labels::bigint, universal_labels::bigint,
                  undecided_labels::bigint
           FROM label_totals WHERE labels > 0""",
        """SELECT l.run_id, n.model_id, l.family, l.subtype, n.layer, count(*), count(*) FILTER (WHERE u.universal = 'yes'),
                  count(*) FILTER (WHERE u.universal = 'undecided')
           FROM labels l JOIN neurons n ON n.id = l.neuron_id LEFT JOIN universality u USING (run_id, neuron_id)
           GROUP BY 1, 2, 3, 4, 5""",
    ),
    "counts of neurons per family": (
        """SELECT run_id, model_id, family, layer, sum(neurons), sum(universal_neurons), sum(undecided_neurons)
             FROM label_totals
           WHERE labels > 0 GROUP BY 1, 2, 3, 4""",
        """SELECT l.run_id, n.model_id, l.family, n.layer, count(DISTINCT n.id),
                  count(DISTINCT n.id) FILTER (WHERE u.universal = 'yes'),
                  count(DISTINCT n.id) FILTER (WHERE u.universal = 'undecided')
           FROM labels l JOIN neurons n ON n.id = l.neuron_id LEFT JOIN universality u USING (run_id, neuron_id)
           GROUP BY 1, 2, 3, 4""",
    ),
    "layers": (
        """SELECT run_id, model, layer, n_neurons::bigint, n_universal::bigint, n_undecided::bigint, n_degenerate::bigint,
                  median_excess_corr, median_sparsity, median_kurt, median_l2_penalty, median_vocab_kurt
             FROM history.layer_profiles""",
        """SELECT run_id, model, layer, count(*), count(*) FILTER (WHERE universal = 'yes'),
                  count(*) FILTER (WHERE universal = 'undecided'), count(*) FILTER (WHERE degenerate),
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY excess_corr),
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY sparsity), percentile_cont(0.5) WITHIN GROUP (ORDER BY kurt),
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY l2_penalty),
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY vocab_kurt)
           FROM history.neuron_profiles GROUP BY 1, 2, 3""",
    ),
    "depth": (
        "SELECT run_id, model, layer, other_layer, round(fraction::numeric, 12) FROM history.depth_matrix",
        """WITH best AS (SELECT v.run_id, v.model, v.layer, v.other_model, v.other_layer FROM
                         history.neuron_universality_by_model v WHERE v.other_neuron IS NOT NULL),
                sizes AS (SELECT run_id, model, layer, other_model, count(*) AS n FROM best GROUP BY 1, 2, 3, 4)
           SELECT s.run_id, s.model, s.layer, o.layer,
                  round(avg((SELECT count(*) FROM best b WHERE (b.run_id, b.model, b.layer, b.other_model, b.other_layer)
                             = (s.run_id, s.model, s.layer, s.other_model, o.layer))::double precision / s.n)::numeric, 12)
           FROM sizes s JOIN history.model_names names ON names.model = s.other_model
           JOIN models m ON m.id = names.model_id CROSS JOIN LATERAL generate_series(0, m.n_layers - 1) AS o(layer)
           GROUP BY 1, 2, 3, 4""",
    ),
}
SLOW = ("depth",)
"""Definitions that are too plain for a catalog of any size."""


def differences(engine: Engine, leave_out: tuple[str, ...] = SLOW) -> dict[str, object]:
    """Rows that are kept and wrong, or missing, by definition."""
    found = {}
    for name, (kept, said) in DEFINITIONS.items():
        if name not in leave_out:
            statement = f"SELECT count(*) FROM ((({kept}) EXCEPT ALL ({said})) UNION ALL (({said}) EXCEPT ALL ({kept}))) AS d"
            number = one(engine, statement)
            if number:
                found[name] = number
    return found


def assert_all_follows(engine: Engine) -> None:
    assert differences(engine, ()) == {}


@pytest.fixture
def run(engine):
    return publish_small_family(engine, "first")


def test_publication_keeps_what_the_rows_say(engine, run):
    assert_all_follows(engine)
    for table in ("label_totals", "layer_summaries", "depth_summaries"):
        assert one(engine, f"SELECT count(*) FROM {table}") > 0
    assert one(engine, "SELECT count(excess_corr) FROM labels") > 0


def test_a_difference_is_found(engine, run):
    execute(engine, "UPDATE universality SET excess_corr = 0.4, universal = 'no' WHERE universal = 'yes'")
    assert set(differences(engine, ())) == {
        "place and excess of labels", "counts of labels", "counts of neurons per family", "layers",
    }  # fmt: skip
    with engine.begin() as connection:
        summarise(connection, run)
    assert_all_follows(engine)


def test_superseding_and_deleting(engine, run):
    second, other = publish_small_family(engine, "first"), publish_small_family(engine, "other", MODELS[1:])
    assert_all_follows(engine)
    assert {key for (key,) in rows(engine, "SELECT DISTINCT run_id FROM label_totals")} == {run, second, other}
    deletion.delete_run(engine, second)
    assert_all_follows(engine)
    assert {key for (key,) in rows(engine, "SELECT DISTINCT run_id FROM depth_summaries")} == {run, other}


def test_relabelling(engine, run):
    store = api.Catalog(engine)
    store.set_rule("alphabet.min_variance_reduction", 0.01)
    store.relabel()
    assert_all_follows(engine)
    assert one(engine, "SELECT sum(labels) FROM label_totals WHERE family = 'alphabet'") > len(MODELS)


CORRELATION_TABLES = ("pairs", "universality", "universality_by_model")


def test_a_part_that_comes_later(engine):
    """Labels first, correlations afterwards: the labels learn the excess correlation."""
    with life.begin_run(engine, spec_of("parts")) as handle:
        rows_of_all = stage_small_family(handle)
        for table in CORRELATION_TABLES:
            execute(engine, f"DROP TABLE staging.run_{handle.run_id}_{table}")
        parts = {part: definition for part, definition in rows_of_all.parts.items() if part != "correlations"}
        handle.publish(type(rows_of_all)(**{**vars(rows_of_all), "groups": [], "pair_run_of": {}, "parts": parts}))
    assert_all_follows(engine)
    assert rows(engine, "SELECT count(*) > 0, count(excess_corr) FROM labels") == [(True, 0)]
    with life.begin_parts(engine, handle.run_id, spec_of("parts")) as handle:
        rows_of_all = stage_small_family(handle)
        for (table,) in rows(engine, "SELECT tablename FROM pg_tables WHERE schemaname = 'staging'"):
            if not table.endswith(tuple(f"_{name}" for name in CORRELATION_TABLES)):
                execute(engine, f"DROP TABLE staging.{table}")
        handle.publish(type(rows_of_all)(**{**vars(rows_of_all), "parts": {"correlations": Definition()}}))
    assert_all_follows(engine)
    assert one(engine, "SELECT count(*) FROM labels WHERE universal = 'yes'") > 0
    assert one(engine, "SELECT sum(universal_neurons) FROM family_counts") > 0
