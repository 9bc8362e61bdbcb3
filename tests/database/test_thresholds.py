"""Thresholds: changed by drafts, read by labels and views alike, refused where nothing stored answers them."""

from dataclasses import replace

import pytest

from catalog import parts
from catalog.errors import InputError, NotFoundError
from catalog.labels import thresholds
from catalog.publishing.relabel import relabel
from catalog.questions.queries import LabelFilter
from catalog.questions.universal import UniversalFilter
from catalog.verify.checks import verify
from tests.database.helpers import execute, one, rows
from tests.database.labelled import NEWEST, catalog_of_the_run, labels_of, neuron_id, published_run, score_letter
from tests.every_role import write_roles
from tests.published import publish_small_family
from tests.published_rows import MODELS

run = published_run
store = catalog_of_the_run


def test_thresholds_change_by_a_draft_that_relabelling_publishes(engine, run, store):
    neuron = neuron_id(engine, 5)
    score_letter(engine, neuron, 0.3, (3.0, 2.0, 1.0))
    relabel(engine)
    assert labels_of(engine, neuron) == []

    assert store.set_rule("alphabet.min_variance_reduction", 0.3) == NEWEST + 1
    assert store.set_rule("unigram.min_variance_reduction", 0.9) == NEWEST + 1
    listed = store.list_rules(all_versions=True)
    assert set(listed["status"][listed["rule_version"] == NEWEST + 1]) == {"draft"}
    in_force = store.list_rules()
    assert set(in_force["rule_version"]) == {NEWEST} and in_force["rule"].is_unique
    drafted = store.drafted_rules()
    assert drafted[["rule", "drafted"]].values.tolist() == [
        ["alphabet.min_variance_reduction", 0.3],
        ["unigram.min_variance_reduction", 0.9],
    ]
    assert one(engine, "SELECT DISTINCT rule_version FROM labels") == NEWEST
    assert labels_of(engine, neuron) == []

    counts = store.relabel()
    assert counts[run]["alphabet"] == len(MODELS) + 1 and counts[run]["unigram"] == 0
    assert labels_of(engine, neuron) == [("alphabet", "s", 0.3)]
    assert one(engine, "SELECT DISTINCT rule_version FROM labels") == NEWEST + 1
    listed = store.list_rules()
    assert set(listed["status"]) == {"published"} and set(listed["rule_version"]) == {NEWEST + 1}
    assert store.drafted_rules().empty
    assert listed["rule"][listed["value"] == 0.9].tolist() == ["unigram.min_variance_reduction"]
    assert store.set_rule("unigram.min_variance_reduction", 0.5) == NEWEST + 2


def test_a_new_run_gets_the_published_rules_and_not_the_draft(engine, store):
    store.set_rule("alphabet.min_variance_reduction", 0.99)
    second = publish_small_family(engine, "second")
    assert one(engine, "SELECT count(*) FROM labels WHERE family = 'alphabet' AND run_id = :run", run=second) == len(MODELS)
    assert rows(engine, "SELECT DISTINCT rule_version FROM labels") == [(NEWEST,)]


def test_relabelling_is_one_transaction(engine, run, monkeypatch):
    before = rows(engine, "SELECT * FROM labels ORDER BY neuron_id, family")
    with engine.begin() as connection:
        thresholds.set_rule(connection, "previous_token.min_variance_reduction", 0.9)
    publish_small_family(engine, "second")
    broken = replace(parts.part_named("vocabulary").rules[0], select="SELECT 1, '', 1 / (:run_id - 2), '{}'::jsonb")
    monkeypatch.setattr(parts, "rules", lambda: (broken,))
    with pytest.raises(Exception, match="division by zero"):
        relabel(engine)
    assert rows(engine, "SELECT * FROM labels WHERE run_id = :run ORDER BY neuron_id, family", run=run) == before
    assert one(engine, "SELECT count(*) FROM rule_versions WHERE published_at IS NULL") == 1


def test_relabelling_needs_no_activations(engine, run):
    """Everything but what the rules read is gone; the labels come out the same."""
    before = rows(engine, "SELECT neuron_id, family, subtype, score FROM labels ORDER BY 1, 2")
    for table in ("activation_statistics", "pairs", "top_tokens", "token_counts", "universality_by_model", "feature_tokens"):
        execute(engine, f"TRUNCATE {table}")
    relabel(engine)
    assert rows(engine, "SELECT neuron_id, family, subtype, score FROM labels ORDER BY 1, 2") == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_threshold_is_a_finite_number(store, value):
    with pytest.raises(InputError, match="give a finite number"):
        store.set_rule("alphabet.min_variance_reduction", value)


def test_an_unknown_rule_lists_those_that_exist(store):
    with pytest.raises(NotFoundError, match=r"no rule 'alphabet\.colour'; the rules are alphabet\.min_variance_reduction, "):
        store.set_rule("alphabet.colour", 1.0)


def test_universality_is_a_threshold_like_the_others(engine, run, store):
    """What is universal, what is shown of it and what follows from it changes by the rules alone."""
    highest = max(store.universal_neurons(UniversalFilter(limit=0))["excess_corr"])
    shown, summed = "SELECT count(*) FROM universal_neurons", "SELECT sum(n_universal) FROM layer_profiles"
    assert one(engine, shown) == one(engine, summed) > 0
    written = "SELECT DISTINCT xmin::text FROM depth_summaries"
    before = rows(engine, written)
    store.set_rule("universal.min_excess", highest)
    store.relabel()
    assert rows(engine, written) == before, "what does not depend on the rules is not summed up again"
    assert one(engine, shown) == 0, "above, not at"
    assert store.universal_neurons(UniversalFilter()).empty
    assert set(store.find_labels(LabelFilter(limit=0))["universal"]) == {"undecided"}, "they are at it"
    undecided = len(store.universal_neurons(UniversalFilter(state="undecided", limit=0)))
    assert one(engine, "SELECT sum(n_undecided) FROM layer_profiles") == undecided > 0
    assert one(engine, summed) == 0
    assert one(engine, "SELECT sum(universal_neurons) FROM family_counts") == 0
    assert {finding.status for finding in verify(engine, run)} == {"ok"}
    store.set_rule("universal.min_excess", -1.0)
    store.relabel()
    defined = one(engine, "SELECT count(excess_corr) FROM neuron_profiles")
    assert one(engine, shown) == len(store.universal_neurons(UniversalFilter(limit=0))) == defined


def test_a_view_shows_what_the_rule_labels(engine, run, store):
    statement = "UPDATE position_statistics SET mutual_information = 0.04, pattern = 'one_extreme', strength = 'strong'"
    execute(engine, f"{statement} WHERE neuron_id = {neuron_id(engine, 5)}")
    for least, expected in ((0.05, []), (0.03, [(5,)])):
        store.set_rule("position.min_mutual_information", least)
        store.relabel()
        assert rows(engine, f"SELECT neuron FROM position_neurons WHERE model = '{MODELS[0]}'") == expected


@pytest.mark.parametrize(
    ("rule", "value", "told"),
    [
        ("token_detector.max_cover", 21, "give 20 at most"),
        ("ngram_detector.min_count", 4, "give 5 at least"),
        ("ngram_detector.min_probability", 0.4, "give 0.5 at least"),
        ("entropy.q", 0.04, "give 0.05 at least"),
        ("anti_entropy.q", 1.5, "give 1 at most"),
    ],
)
def test_a_threshold_that_the_stored_measurements_cannot_answer_is_refused(engine, store, rule, value, told):
    with pytest.raises(InputError, match=f"{rule} {value:g} cannot be answered from what is stored: .*; {told}"):
        store.set_rule(rule, value)
    assert one(engine, "SELECT count(*) FROM rule_versions") == 1


def test_entropy_is_asked_at_a_value_that_has_controls(engine, run, store):
    assert store.set_rule("entropy.value", 7) == NEWEST + 1, "nothing was measured yet, so that anything can be"
    write_roles(engine, run)
    with pytest.raises(InputError, match=r"entropy.value 7 cannot be answered .* measured at it; choose from 6\."):
        store.set_rule("entropy.value", 7)
