"""What each view shows: newest runs in `public`, all of them in `history`, and numbers that plain Python gets as well."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from catalog.labels.labelling import decide_universal
from catalog.publishing.summaries import summarise
from catalog.rows import Definition
from catalog.runs import life
from catalog.views import overview
from tests.database.helpers import execute, one, rows
from tests.published import publish_small_family, spec_of, stage_small_family
from tests.published_rows import D_MLP, DEAD, MODELS, N_LAYERS, UNIVERSAL, N

PROMISED = {
    "neuron_profiles": "model layer neuron mean var skew kurt sparsity w_in_norm w_out_norm input_bias in_out_sim l2_penalty "
    "vocab_mean vocab_var vocab_skew vocab_kurt max_corr mean_corr min_corr max_baseline mean_baseline min_baseline "
    "excess_corr n_models w_gate_norm gate_bias gate_out_sim gate_in_sim",
    "universal_neurons": "model layer neuron excess_corr",
    "neuron_matches": "model layer neuron other_model other_layer other_neuron correlation rank mutual_best",
    "neuron_labels": "model layer neuron family subtype score rule_version",
    "neuron_explanations": "model layer neuron feature shift variance_reduction n_in n_out mean_in mean_out cohen_d rank",
    "family_counts": "model family neurons universal_neurons",
    "family_counts_by_layer": "model layer family neurons universal_neurons",
    "depth_matrix": "model layer other_layer fraction",
    "neuron_universality_by_model": "model layer neuron other_model max_corr other_layer other_neuron baseline diag_corr",
    "neuron_substitutions": "model layer neuron kind other_model other_layer other_neuron alpha beta beta_se "
    "ablated_loss_delta ablated_loss_delta_se loss_delta loss_delta_se restored restored_se n_tokens neuron_id other_neuron_id",
    "substitution_summary": "model universal kind replacements ablated_loss_delta ablated_loss_delta_se loss_delta restored "
    "restored_se",
    "neuron_group_members": "group_id size lowest_corr model layer neuron",
    "layer_profiles": "model layer n_neurons share_universal",
    "neuron_next_tokens": "model layer neuron feature n_in n_out mean_in mean_out freq_in freq_out cohen_d",
    "topics": "model ordinal topic machine_named n_tokens tokens",
    "position_neurons": "model layer neuron mutual_information mutual_information_se pattern strength alternations coverage",
    "position_teams": "model layer neurons covered positions share",
    "ngram_coverage": "model layer neuron cover_1 cover_2 cover_3 bucket_1 bucket_2 bucket_3 activations n_tokens",
    "ngram_coverage_by_half": "model half n bucket neurons",
    "token_detectors": "model layer neuron n tokens share suppressing",
    "covered_tokens_by_layer": "model layer covered new_overall new_vs_previous cumulative",
    "dead_neurons": "model layer neuron activations n_tokens upper_bound n_documents upper_bound_documents",
    "bos_neurons": "model layer neuron bos_activation ratio",
    "neuron_subsets": "model layer neuron subset n_tokens mean sparsity variance_reduction",
    "neuron_examples": "model layer neuron kind rank value subset row position token before after",
    "neuron_gates": "model layer neuron frequency_open_positive post_mean_open_positive share_open_positive",
    "io_classes": "model layer neuron class in_out_sim gate_out_sim gate_in_sim mismatched_class",
    "io_class_counts": "model layer class neurons expected_by_chance mismatched_neurons",
    "prediction_neurons": "model layer neuron class vocab_kurt vocab_skew vocab_var feature high_vocab_var",
    "neuron_logit_explanations": "model layer neuron feature rank variance_reduction mean_difference welch_t n_in n_out",
    "logit_ensembles": "model feature layer neuron class sign mean_difference",
    "prediction_activity": "model layer neuron class feature n_in n_out freq_in freq_out mean_in mean_out cohen_d",
    "prediction_profiles": "model layer statistic n p5 p10 p50 p90 p95",
    "prediction_profiles_over_seeds": "family layer statistic percentile models mean lowest highest",
    "neuron_interventions": "model layer neuron together kind value purpose n_tokens scale entropy loss rank recip_rank "
    "logit_var kl delta_entropy entropy_standard_error",
    "entropy_neurons": "model layer neuron sign delta_entropy delta_scale p adjusted_p controls largest_control candidates",
    "entropy_candidates": "model layer neuron sign value delta_entropy delta_scale p adjusted_p controls candidates",
    "neuron_confidence": "model layer neuron null_share frequency_cosine total_effect total_effect_se norm_share "
    "frequency_share divergence_delta n_tokens",
    "model_confidence": "model null_dimensions vocabulary pseudo_count n_tokens loss divergence",
    "token_frequency_candidates": "model layer neuron promotes frequency_effect frequency_share p adjusted_p controls",
    "token_frequency_neurons": "model layer neuron promotes frequency_effect frequency_share p adjusted_p controls",
    "attention_neurons": "model layer neuron head_layer head h correlation class",
    "neuron_head_scores": "model layer neuron head_layer head h h_sd h_scaled head_rank multiple_of_chance",
    "head_summaries": "model head_layer head chance_max_abs_h bos_norm_ratio",
    "neuron_head_compositions": "model layer neuron head_layer head q k v o",
    "neuron_path_ablations": "model layer neuron head_layer head n_tokens delta_p_bos x y pearson spearman slope intercept",
    "neuron_similarities": "model layer neuron kind opposite rank other_layer other_neuron cosine mutual",
    "antipodal_pairs": "model layer neuron other_layer other_neuron cosine mutual",
    "duplicate_neurons": "model layer neuron other_layer other_neuron cosine mutual",
    "universal_neuron_properties": "model layer neuron sparsity_percentile l2_penalty_percentile vocab_kurt_percentile",
    "cosine_frequency": "model neurons correlation",
    "redundancy_universality": "model kind opposite correlation",
    "shared_tensors": "model other_model n_shared n_tensors names",
    "lineages": "training seed step checkpoint model previous_step previous_model n_equal n_tensors share_equal init",
}

FAMILY_VIEWS = ("family_counts", "family_counts_by_layer")


@pytest.mark.parametrize("schema", ["public", "history"])
@pytest.mark.parametrize("view", PROMISED)
def test_views_have_the_columns_that_other_tools_read(engine, schema, view):
    found = rows(
        engine,
        "SELECT column_name FROM information_schema.columns WHERE table_schema = :schema AND table_name = :view",
        schema=schema,
        view=view,
    )
    assert {*PROMISED[view].split(), "run_id"} <= {name for (name,) in found}
    assert {view.name for view in overview.views()} == set(PROMISED)


def test_nothing_undefined_is_a_number(published_family, engine):
    """NULL, never NaN and never zero, for the neuron that never changes."""
    ((skew, corr, excess, universal, degenerate),) = rows(
        engine,
        """SELECT skew, mean_corr, excess_corr, universal, degenerate FROM neuron_profiles
           WHERE model = :m AND layer = 0 AND neuron = :n""",
        m=MODELS[0],
        n=DEAD,
    )
    assert (skew, corr, excess, universal, degenerate) == (None, None, None, "no", True)


def test_universal_neurons_are_strictly_above_a_half(published_family, engine):
    execute(engine, "UPDATE universality SET excess_se = 0")
    assert one(engine, "SELECT count(*) FROM universal_neurons") == len(MODELS) * len(UNIVERSAL)
    set_excess(engine, "0.5", "excess_corr > 0.5")
    assert one(engine, "SELECT count(*) FROM universal_neurons") == 0
    assert one(engine, "SELECT sum(universal_neurons) FROM family_counts") == 0
    set_excess(engine, "0.5 + 1e-12", "excess_corr = 0.5")
    assert one(engine, "SELECT count(*) FROM universal_neurons") == len(MODELS) * len(UNIVERSAL)


def set_excess(engine, value: str, condition: str) -> None:
    """Change what was measured, and what follows from it."""
    execute(engine, f"UPDATE universality SET excess_corr = {value} WHERE {condition}")
    follow(engine)


def follow(engine) -> None:
    with engine.begin() as connection:
        for (run,) in rows(engine, "SELECT id FROM runs"):
            decide_universal(connection, run, 1)
            summarise(connection, run)


def test_each_model_is_shown_by_its_newest_run(engine):
    first = publish_small_family(engine, "a and b", MODELS[:2])
    second = publish_small_family(engine, "b and c", MODELS[1:])
    newest = "SELECT DISTINCT model, run_id FROM {} ORDER BY 1"
    expected = [(MODELS[0], first), (MODELS[1], second), (MODELS[2], second)]
    for view in ("neuron_profiles", "neuron_matches", "neuron_labels", "layer_profiles", "depth_matrix", *FAMILY_VIEWS):
        assert rows(engine, newest.format(view)) == expected, view
    assert len(rows(engine, newest.format("history.neuron_profiles"))) == 4
    others = rows(engine, "SELECT DISTINCT model, other_model FROM neuron_matches ORDER BY 1")
    assert others == [(MODELS[0], MODELS[1]), (MODELS[1], MODELS[2]), (MODELS[2], MODELS[1])]


def test_a_run_that_is_not_published_is_in_no_view(engine):
    with life.begin_run(engine, spec_of("unpublished")) as handle:
        stage_small_family(handle)
        for schema in ("public", "history"):
            for view in PROMISED:
                assert one(engine, f"SELECT count(*) FROM {schema}.{view}") == 0


def test_revisions_of_one_name_are_told_apart(engine):
    with life.begin_run(engine, spec_of("revisions")) as handle:
        publication = stage_small_family(handle)
        models = [
            (row._replace(name="gpt", revision=revision), ids)
            for (row, ids), revision in zip(publication.models, ("", "step1", "step2"), strict=True)
        ]
        handle.publish(type(publication)(**{**vars(publication), "models": models}))
    names = rows(engine, "SELECT DISTINCT model FROM neuron_profiles ORDER BY 1")
    assert names == [("gpt",), ("gpt@step1",), ("gpt@step2",)]
    assert one(engine, "SELECT count(DISTINCT other_model) FROM neuron_matches WHERE model = 'gpt'") == 2


def test_one_revision_alone_goes_by_its_name(engine):
    with life.begin_run(engine, spec_of("revision")) as handle:
        publication = stage_small_family(handle)
        models = [(row._replace(revision="main"), ids) for row, ids in publication.models]
        handle.publish(type(publication)(**{**vars(publication), "models": models}))
    assert rows(engine, "SELECT DISTINCT model FROM neuron_profiles ORDER BY 1") == [(name,) for name in MODELS]


def test_the_depth_matrix_is_the_mean_over_other_models_of_shares_of_a_layer(published_family, engine):
    """Against counting in Python, after the best matches have been shuffled over the layers."""
    generator = np.random.default_rng(0)
    matches = rows(engine, "SELECT run_id, neuron_id, other_model_id, other_neuron_id FROM universality_by_model ORDER BY 2, 3")
    ids = defaultdict(list)
    for neuron, model in rows(engine, "SELECT id, model_id FROM neurons ORDER BY id"):
        ids[model].append(neuron)
    for _, neuron, other_model, _ in matches:
        execute(
            engine,
            """UPDATE universality_by_model SET other_neuron_id = :other
               WHERE neuron_id = :neuron AND other_model_id = :model""",
            other=int(generator.choice(ids[other_model])),
            neuron=neuron,
            model=other_model,
        )
    follow(engine)
    layer_of = dict(rows(engine, "SELECT id, layer FROM neurons"))
    model_of = dict(rows(engine, "SELECT id, model_id FROM neurons"))
    counts: dict[tuple, Counter] = defaultdict(Counter)
    for neuron, other_model, other in rows(
        engine, "SELECT neuron_id, other_model_id, other_neuron_id FROM universality_by_model WHERE other_neuron_id IS NOT NULL"
    ):
        counts[model_of[neuron], layer_of[neuron], other_model][layer_of[other]] += 1
    expected = {}
    for model in ids:
        for layer in range(N_LAYERS):
            shares = [counts[model, layer, other] for other in ids if other != model]
            for other_layer in range(N_LAYERS):
                expected[model, layer, other_layer] = np.mean([c[other_layer] / sum(c.values()) for c in shares])
    found = rows(
        engine,
        """SELECT m.id, d.layer, d.other_layer, d.fraction FROM depth_matrix d JOIN models m ON m.name = d.model""",
    )
    assert len(found) == len(expected) == len(MODELS) * N_LAYERS**2
    for *key, fraction in found:
        assert fraction == pytest.approx(expected[tuple(key)], abs=1e-12)
    sums = rows(engine, "SELECT sum(fraction) FROM depth_matrix GROUP BY model, layer")
    assert [value for (value,) in sums] == pytest.approx([1.0] * len(MODELS) * N_LAYERS)


def test_layer_profiles_count_and_take_medians(published_family, engine):
    for model, layer, n, universal, share, median in rows(
        engine, "SELECT model, layer, n_neurons, n_universal, share_universal, median_excess_corr FROM layer_profiles"
    ):
        excess = rows(
            engine,
            """SELECT excess_corr FROM neuron_profiles
               WHERE model = :model AND layer = :layer AND excess_corr IS NOT NULL""",
            model=model,
            layer=layer,
        )
        assert (n, universal) == (D_MLP, sum(k // D_MLP == layer for k in UNIVERSAL))
        assert share == universal / n
        assert median == pytest.approx(np.median([value for (value,) in excess]))


def test_weights_alone_make_profiles_without_activations(engine):
    """`--only weights` needs no corpus: the other columns are NULL."""
    parts = {"weights": Definition()}
    with life.begin_run(engine, spec_of("weights", parts)) as handle:
        publication = stage_small_family(handle)
        for table in ("activation_statistics", "pairs", "universality", "universality_by_model", "explanations"):
            execute(engine, f"DROP TABLE staging.run_{handle.run_id}_{table}")
        changes = {"corpus": None, "groups": [], "pair_run_of": {}, "parts": parts}
        handle.publish(type(publication)(**{**vars(publication), **changes}))
    assert rows(engine, "SELECT count(*), count(w_in_norm), count(mean), count(excess_corr) FROM neuron_profiles") == [
        (len(MODELS) * N, len(MODELS) * N, 0, 0)
    ]
    assert one(engine, "SELECT count(*) FROM labels") == 0


def test_coverage_falls_into_the_buckets_of_the_paper(published_family, engine):
    run = published_family
    cases = [
        (1, 20, "1-5"), (5, 20, "1-5"), (6, 20, "6-10"), (200, 200, "51-200"), (1000, 1000, "201-1k"), (1001, 1001, "1k-2k"),
        (2001, 9999, "2k-50k"), (60_000, 99_999, "2k-50k"), (3, 19, "too_rare"), (None, 0, None),
    ]  # fmt: skip
    for neuron, (cover, activations, _) in enumerate(cases):
        execute(
            engine,
            """UPDATE ngram_statistics SET cover_1 = :cover, activations_1 = :activations
               WHERE neuron_id IN (SELECT id FROM neurons WHERE layer = 0 AND "index" = :neuron)""",
            cover=cover, activations=activations, neuron=neuron,
        )  # fmt: skip
    statement = "SELECT cover_1, activations, bucket_1 FROM ngram_coverage WHERE model = :model AND layer = 0 ORDER BY neuron"
    found = rows(engine, statement, model=MODELS[0])
    assert found[: len(cases)] == cases
    assert rows(engine, "SELECT DISTINCT bucket_2, bucket_3 FROM ngram_coverage") == [("1-50", "1-50")]
    halves = rows(
        engine,
        "SELECT run_id, half, neurons FROM ngram_coverage_by_half WHERE model = :model AND n = 1 AND bucket = '6-10'",
        model=MODELS[0],
    )
    # a cover of ten is what the others have
    assert sorted(halves) == [(run, "bottom", D_MLP - len(cases) + 1), (run, "top", D_MLP)]
    assert one(engine, "SELECT sum(neurons) FROM ngram_coverage_by_half WHERE n = 2") == len(MODELS) * N


def test_covered_tokens_are_new_below_and_new_overall(published_family, engine):
    """Layers detect {2, 3}, {3, 4} (twice 3) and, in the third, {2, 4, 5}; the fourth nothing."""
    run = published_family
    execute(engine, "UPDATE models SET n_layers = 4")
    execute(engine, "TRUNCATE labels, detected_ngrams")
    execute(engine, "UPDATE neurons SET layer = 3 WHERE layer = 1")
    execute(engine, 'UPDATE neurons SET layer = "index" / 4 WHERE layer = 0 AND "index" < 12')
    for neuron, tokens in {0: [2, 3], 4: [3], 5: [3, 4], 8: [2], 9: [4, 5]}.items():
        for rank, token in enumerate(tokens, start=1):
            execute(
                engine,
                """INSERT INTO detected_ngrams SELECT :run, id, 1, :rank, ARRAY[:token], 20, 20, 0, 0, 50
                   FROM neurons WHERE layer = :layer AND "index" = :neuron""",
                run=run, rank=rank, token=token, layer=neuron // 4, neuron=neuron,
            )  # fmt: skip
    execute(
        engine,
        """INSERT INTO labels (run_id, neuron_id, family, subtype, score, sort_key, rule_version, model_id, layer, "index",
                               universal, evidence)
           SELECT DISTINCT d.run_id, n.id, 'token_detector', '', 1, -1, 1, n.model_id, n.layer, n."index", 'no',
                  jsonb_build_object('n', 1, 'min_count', 10, 'min_probability', 0.95)
             FROM detected_ngrams d JOIN neurons n ON n.id = d.neuron_id""",
    )
    # too rare for the rule, and active too rarely
    execute(engine, "INSERT INTO detected_ngrams SELECT run_id, neuron_id, 1, 99, '{7}', 9, 9, 0, 0, 50 FROM labels")
    execute(engine, "INSERT INTO detected_ngrams SELECT run_id, neuron_id, 1, 98, '{8}', 20, 18, 0, 0, 50 FROM labels")
    found = rows(
        engine,
        "SELECT layer, covered, new_overall, new_vs_previous, cumulative FROM covered_tokens_by_layer WHERE model = :model",
        model=MODELS[1],
    )
    assert found == [(0, 2, 2, 2, 2), (1, 2, 1, 1, 3), (2, 3, 1, 2, 4), (3, 0, 0, 0, 4)]
