"""The rules of SPEC 6.6, applied by SQL to what is stored; thresholds that change without computing anything."""

from dataclasses import replace

import pytest

from catalog import api, parts
from catalog.errors import InputError, NotFoundError
from catalog.labels import thresholds
from catalog.publishing.relabel import relabel
from catalog.questions.queries import LabelFilter
from catalog.questions.universal import UniversalFilter
from catalog.verify.checks import verify
from tests.database.helpers import execute, one, rows
from tests.every_role import write_roles
from tests.published import D_MLP, MODELS, publish_small_family

LETTER_NEURON = D_MLP + 10
NEWEST = 1
"""The version of the rules that the newest migration brings."""


@pytest.fixture
def run(published_family):
    """A published run; its id."""
    return published_family


@pytest.fixture
def store(engine, run):
    return api.Catalog(engine)


def neuron_id(engine, flat: int, model: str = MODELS[0]) -> object:
    return one(
        engine,
        """SELECT n.id FROM neurons n JOIN models m ON m.id = n.model_id
           WHERE m.name = :name AND layer = :layer AND "index" = :i""",
        name=model,
        layer=flat // D_MLP,
        i=flat % D_MLP,
    )


def explain(engine, run: int, neuron: object, *found: tuple[str, str, float]) -> None:
    """Store (feature, shift, variance reduction) as the ranked explanations of a neuron."""
    execute(engine, "DELETE FROM explanations WHERE neuron_id = :neuron", neuron=neuron)
    for rank, (feature, shift, score) in enumerate(found, start=1):
        execute(
            engine,
            """INSERT INTO explanations SELECT :run, :neuron, id, :shift, :score, 500, 11500, 2.5, 0.25, 1.5, :rank
               FROM features WHERE name = :feature""",
            run=run, neuron=neuron, feature=feature, shift=shift, score=score, rank=rank,
        )  # fmt: skip


def score_letter(engine, neuron: object, score: float, means: tuple[float | None, float | None, float | None]) -> None:
    execute(
        engine,
        """UPDATE letter_scores SET variance_reduction = :score, mean_a = :a, mean_b = :b, mean_c = :c
           WHERE neuron_id = :neuron""",
        neuron=neuron, score=score, a=means[0], b=means[1], c=means[2],
    )  # fmt: skip


def labels_of(engine, neuron: object) -> list[tuple]:
    statement = "SELECT family, subtype, round(score::numeric, 3)::float FROM labels WHERE neuron_id = :neuron ORDER BY 1, 2"
    return rows(engine, statement, neuron=neuron)


BEST_FEATURE = [
    # the best feature decides, by its family and its shift; thresholds are reached, not passed
    ([("s_unigram", "current", 0.5)], [("unigram", "s", 0.5)]),
    ([("s_unigram", "current", 0.4999)], []),
    ([("is_digit", "current", 0.5)], [("token_class", "is_digit", 0.5)]),
    ([("is_digit", "current", 0.4999)], []),
    ([("contains_comma", "previous", 0.2)], [("previous_token", "contains_comma", 0.2)]),
    ([("contains_comma", "previous", 0.1999)], []),
    # a unigram of the previous token is what rule 4 is about, too
    ([("s_unigram", "previous", 0.3)], [("previous_token", "s_unigram", 0.3)]),
    # the second best feature gives no label, however good it is
    ([("is_digit", "current", 0.9), ("s_unigram", "current", 0.8)], [("token_class", "is_digit", 0.9)]),
    ([("is_digit", "current", 0.3), ("contains_comma", "previous", 0.29)], []),
    ([], []),
]


@pytest.mark.parametrize(("found", "expected"), BEST_FEATURE)
def test_the_best_feature_gives_the_label(engine, run, found, expected):
    neuron = neuron_id(engine, 5)
    explain(engine, run, neuron, *found)
    relabel(engine)
    assert labels_of(engine, neuron) == expected


LETTERS = [
    (0.37, (3.0, 2.0, 1.0), True),
    (0.3699, (3.0, 2.0, 1.0), False),
    (0.8, (3.0, 2.0, 2.5), False),  # words that start with the letter come below the rest
    (0.8, (2.0, 3.0, 1.0), False),  # words that start with the letter come above the letter
    (0.8, (3.0, 2.0, 2.0), False),  # equal means are not ordered
    (0.8, (3.0, None, 1.0), True),  # no such words: nothing contradicts
    (0.8, (1.0, None, 3.0), False),
    (0.8, (3.0, 2.0, None), True),
    (0.8, (2.0, 3.0, None), False),
    (0.8, (None, 2.0, 1.0), False),
]


@pytest.mark.parametrize(("score", "means", "expected"), LETTERS)
def test_the_alphabet_rule(engine, run, score, means, expected):
    neuron = neuron_id(engine, 5)
    score_letter(engine, neuron, score, means)
    relabel(engine)
    assert labels_of(engine, neuron) == ([("alphabet", "s", round(score, 3))] if expected else [])


def test_an_alphabet_neuron_is_a_unigram_neuron_if_that_rule_holds_as_well(engine, run):
    assert labels_of(engine, neuron_id(engine, LETTER_NEURON)) == [("alphabet", "s", 0.8), ("unigram", "s", 0.8)]


def test_the_evidence_says_what_the_rule_looked_at(engine, run):
    neuron = neuron_id(engine, 5)
    explain(engine, run, neuron, ("is_digit", "current", 0.75), ("contains_comma", "previous", 0.25))
    relabel(engine)
    evidence = one(engine, "SELECT evidence FROM labels WHERE neuron_id = :neuron", neuron=neuron)
    assert evidence == {
        "feature": "is_digit", "shift": "current", "variance_reduction": 0.75, "n_in": 500, "n_out": 11500,
        "mean_in": 2.5, "mean_out": 0.25, "cohen_d": 1.5, "threshold": 0.5, "runner_up": "contains_comma",
        "runner_up_shift": "previous", "runner_up_variance_reduction": 0.25,
    }  # fmt: skip


def test_a_positional_neuron_is_labelled_by_its_pattern(engine, run, store):
    neuron = neuron_id(engine, 5)
    statement = """UPDATE position_statistics SET mutual_information = :nats, pattern = 'both_extremes', strength = 'strong',
                   runs = '[[1, 30, "high"], [31, 63, "low"]]', coverage = 1, alternations = 1 WHERE neuron_id = :neuron"""
    execute(engine, statement, neuron=neuron, nats=0.05)
    store.relabel()
    assert labels_of(engine, neuron) == []
    execute(engine, statement, neuron=neuron, nats=0.3)
    store.relabel()
    assert labels_of(engine, neuron) == [("position", "both_extremes", 0.3)]
    ((shown,),) = rows(engine, "SELECT evidence FROM labels WHERE neuron_id = :neuron", neuron=neuron)
    assert shown["threshold"] == 0.05 and shown["runs"] == [[1, 30, "high"], [31, 63, "low"]]
    found = rows(engine, "SELECT run_id, layer, neuron, pattern FROM position_neurons")
    assert found == [(run, 0, 5, "both_extremes")]


def test_teams_cover_the_positions_at_which_one_of_them_is_active(engine, run):
    for flat, span in ((5, '[[1, 30, "high"], [31, 40, "low"], [41, 50, "high"]]'), (6, '[[25, 35, "high"]]')):
        execute(
            engine,
            """UPDATE position_statistics SET pattern = 'oscillatory', strength = 'strong', runs = CAST(:runs AS jsonb)
               WHERE neuron_id = :neuron""",
            neuron=neuron_id(engine, flat), runs=span,
        )  # fmt: skip
    assert rows(engine, "SELECT model, layer, neurons, covered, positions FROM position_teams") == [(MODELS[0], 0, 2, 45, 63)]


def change_ngrams(engine, neuron: object, **columns: object) -> None:
    changes = ", ".join(f"{name} = :{name}" for name in columns)
    execute(engine, f"UPDATE ngram_statistics SET {changes} WHERE neuron_id = :neuron", neuron=neuron, **columns)


DETECTORS = [
    ({"cover_1": 5}, {}, True),
    ({"cover_1": 6}, {}, False),
    ({"cover_1": 5}, {"token_detector.max_cover": 4}, False),
    ({"cover_1": 6}, {"token_detector.max_cover": 6}, True),
    # 1,980 activations are on its tokens
    ({"cover_1": 5, "activations_1": 2084}, {}, True),
    ({"cover_1": 5, "activations_1": 2085}, {}, False),
    ({"cover_1": 5, "activations_1": 2085}, {"token_detector.min_share": 0.9}, True),
    # one of them is active on 980 of 1,000 only
    ({"cover_1": 5}, {"token_detector.min_probability": 0.98}, True),
    ({"cover_1": 5}, {"token_detector.min_probability": 0.981}, False),
    ({"cover_1": 5}, {"token_detector.min_count": 1001}, False),
    ({"cover_1": 5}, {"token_detector.min_activations": 2001}, False),
    ({"cover_1": 5, "activations_1": 19}, {}, False),
]


@pytest.mark.parametrize(("columns", "values", "expected"), DETECTORS)
def test_a_detector_is_active_on_its_tokens_and_nearly_nowhere_else(engine, run, store, columns, values, expected):
    neuron = neuron_id(engine, LETTER_NEURON)
    before = labels_of(engine, neuron)
    change_ngrams(engine, neuron, **columns)
    for rule, value in values.items():
        store.set_rule(rule, value)
    store.relabel()
    share = round(1980 / columns.get("activations_1", 2000), 3)
    assert labels_of(engine, neuron) == sorted([*before, *([("token_detector", "s", share)] if expected else [])])


def test_a_detector_shows_its_tokens_and_whether_it_suppresses_them(engine, run, store):
    neuron = neuron_id(engine, LETTER_NEURON)
    change_ngrams(engine, neuron, cover_1=2)
    store.relabel()
    statement = """SELECT run_id, layer, neuron, n, tokens, share, suppressing, mean_effect, mean_effect_raw, share_negative,
                   lowest_percentile, cover, activations FROM token_detectors"""
    assert rows(engine, statement) == [(run, 1, 10, 1, ["s", " s"], 0.99, True, -0.25, -1.0, 0.5, 25.0, 2, 2000)]
    store.set_rule("token_detector.min_probability", 0.985)
    store.set_rule("token_detector.min_share", 0.5)
    store.relabel()
    ((*_, tokens, share, suppressing),) = rows(engine, "SELECT tokens, share, suppressing FROM token_detectors")
    assert (tokens, share, suppressing) == (["s"], 0.5, True)


def test_a_trigram_detector_has_trigrams(engine, run, store):
    neuron = neuron_id(engine, 5)
    execute(
        engine,
        """INSERT INTO detected_ngrams VALUES (:run, :neuron, 3, 1, '{2,3,4}', 410, 400, 0.5, 0.5, 90),
                                              (:run, :neuron, 3, 2, '{4,5,6}', 10, 9, -1, -1, 1)""",
        run=run, neuron=neuron,
    )  # fmt: skip
    change_ngrams(engine, neuron, cover_3=50, activations_3=420)
    store.relabel()
    assert labels_of(engine, neuron) == [("ngram_detector", "trigram", 0.952)]
    assert rows(engine, "SELECT n, tokens, suppressing FROM token_detectors") == [(3, ["s s the"], False)]
    change_ngrams(engine, neuron, cover_3=51)
    store.relabel()
    assert labels_of(engine, neuron) == []


def test_a_bos_neuron_is_above_the_multiple_of_its_other_activations(engine, run, store):
    neuron = neuron_id(engine, 5)
    statement = "UPDATE distribution_statistics SET bos_activation = :c, bos_ratio = :ratio WHERE neuron_id = :neuron"
    for c, ratio, expected in ((0.9, 3.0, []), (0.9, 3.5, [("bos", "bos", 3.5)]), (-0.9, 3.5, [])):
        execute(engine, statement, neuron=neuron, c=c, ratio=ratio)
        store.relabel()
        assert labels_of(engine, neuron) == expected
        found = rows(engine, "SELECT neuron, ratio FROM bos_neurons")
        assert found == [(5, ratio) for _, _, ratio in expected], "the view shows those that the rule labels"


@pytest.mark.parametrize(
    ("name", "family", "subtype", "machine_named"),
    [
        ("subset_code", "subset", "code", False),
        ("subset_subset_a#0123abcd", "subset", "subset_a#0123abcd", False),
        ("topic_law#0123abcd", "topic", "law", False),
        ("topic_subset_of#0123abcd", "topic", "subset_of", False),
        ("topic_court+judge#1+law#0123abcd", "machine_topic", "court+judge#1+law", True),
    ],
)
def test_a_context_neuron_is_explained_best_by_a_subset_or_a_topic(engine, run, store, name, family, subtype, machine_named):
    neuron = neuron_id(engine, 5)
    insert = "INSERT INTO features (name, family, ordinal, definition) VALUES (:name, :family, 9000, 'made up')"
    execute(engine, insert, name=name, family=family)
    comma = ("contains_comma", "current", 0.2)
    for found, expected in (
        ([(name, "current", 0.0499)], []),
        ([(name, "current", 0.05)], [("context", subtype, 0.05)]),
        ([comma, (name, "current", 0.19)], []),
        ([(name, "current", 0.21), comma], [("context", subtype, 0.21)]),
        ([(name, "previous", 0.21), comma], [("previous_token", subtype, 0.21)]),
    ):
        explain(engine, run, neuron, *found)
        store.relabel()
        assert labels_of(engine, neuron) == expected
    explain(engine, run, neuron, (name, "current", 0.6))
    store.relabel()
    ((evidence,),) = rows(engine, "SELECT evidence FROM labels WHERE neuron_id = :n", n=neuron)
    assert evidence["machine_named"] is machine_named and evidence["feature"] == name


def test_a_universal_neuron_without_feature_or_other_cause_is_unexplained(engine, run, store):
    neuron = neuron_id(engine, 3)
    for score, expected in ((0.06, []), (0.03, [("unexplained", "universal", 0.03)])):
        explain(engine, run, neuron, ("contains_comma", "current", score))
        store.relabel()
        assert labels_of(engine, neuron) == expected
    ((shown,),) = rows(engine, "SELECT evidence FROM labels WHERE family = 'unexplained' AND neuron_id = :n", n=neuron)
    causes = {"position", "bos", "prediction", "suppression", "partition"}
    assert set(shown["evaluated"]) == causes and shown["threshold"] == 0.05
    execute(engine, "UPDATE position_statistics SET mutual_information = NULL, pattern = NULL, strength = NULL")
    store.relabel()
    ((shown,),) = rows(engine, "SELECT evidence FROM labels WHERE family = 'unexplained' AND neuron_id = :n", n=neuron)
    assert set(shown["evaluated"]) == causes - {"position"}, "too few rows tell nothing of positions"
    statement = "UPDATE distribution_statistics SET bos_activation = 9, bos_ratio = 9 WHERE neuron_id = :neuron"
    execute(engine, statement, neuron=neuron)
    store.relabel()
    assert labels_of(engine, neuron) == [("bos", "bos", 9.0)]
    ordinary = neuron_id(engine, 5)
    explain(engine, run, ordinary, ("contains_comma", "current", 0.01))
    store.relabel()
    assert labels_of(engine, ordinary) == [], "it is not universal"


@pytest.mark.parametrize(
    ("activations", "n_tokens", "expected"),
    [
        (0, 12_000, [("dead", "provisional", 0.0)]),
        (0, 20_000_000, [("dead", "dead", 0.0)]),
        (19, 20_000_000, [("near_dead", "near_dead", 0.0)]),
        (20, 20_000_000, []),
        (1, 12_000, []),
    ],
)
def test_a_neuron_is_dead_only_on_enough_tokens(engine, run, store, activations, n_tokens, expected):
    neuron = neuron_id(engine, 5)
    execute(
        engine,
        "UPDATE activation_statistics SET n_tokens = :n, sparsity = :share WHERE neuron_id = :neuron",
        neuron=neuron, n=n_tokens, share=activations / n_tokens,
    )  # fmt: skip
    store.relabel()
    assert labels_of(engine, neuron) == expected
    found = rows(engine, "SELECT neuron, activations, n_tokens FROM dead_neurons")
    assert found == ([(5, activations, n_tokens)] if expected else [])


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
    assert store.universal_neurons(UniversalFilter()).empty and not store.find_labels(LabelFilter(limit=0))["universal"].any()
    assert one(engine, summed) == 0
    assert one(engine, "SELECT sum(universal_neurons) FROM family_counts") == 0
    assert {finding.status for finding in verify(engine, run)} == {"ok"}
    store.set_rule("universal.min_excess", -1.0)
    store.relabel()
    defined = one(engine, "SELECT count(excess_corr) FROM neuron_profiles")
    assert one(engine, shown) == len(store.universal_neurons(UniversalFilter(limit=0))) == defined


def test_a_view_shows_what_the_rule_labels(engine, run, store):
    statement = "UPDATE position_statistics SET mutual_information = 0.04, pattern = 'other', strength = 'weak'"
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
        ("entropy.min_controls", 21, "give 20 at most"),
    ],
)
def test_a_threshold_that_the_stored_measurements_cannot_answer_is_refused(engine, store, rule, value, told):
    with pytest.raises(InputError, match=f"{rule} {value:g} cannot be answered from what is stored: .*; {told}"):
        store.set_rule(rule, value)
    assert one(engine, "SELECT count(*) FROM rule_versions") == 1


def test_entropy_is_asked_at_a_value_that_neurons_were_held_at(engine, run, store):
    assert store.set_rule("entropy.value", 7) == NEWEST + 1, "nothing was held yet, so that anything can be"
    write_roles(engine, run)
    with pytest.raises(InputError, match=r"entropy.value 7 cannot be answered .* held at it; choose from 0, 6\."):
        store.set_rule("entropy.value", 7)
