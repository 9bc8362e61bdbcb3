"""The rules of SPEC 6.6, applied by SQL to what is stored."""

import pytest

from catalog.publishing.relabel import relabel
from catalog.questions.evidence import in_words
from tests.database.helpers import execute, one, rows
from tests.database.labelled import (
    LETTER_NEURON,
    catalog_of_the_run,
    explain,
    labels_of,
    neuron_id,
    published_run,
    score_letter,
)
from tests.published_rows import MODELS

run = published_run
store = catalog_of_the_run

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
        "feature": "is_digit", "shift": "current", "variance_reduction": 0.75, "variance_reduction_se": None,
        "held_out_variance_reduction": 0.75, "held_out_variance_reduction_se": None, "chosen_variance_reduction": 0.75,
        "n_in": 500, "n_out": 11500, "mean_in": 2.5, "mean_in_se": None, "mean_out": 0.25, "mean_out_se": None, "cohen_d": 1.5,
        "threshold": 0.5, "runner_up": "contains_comma", "runner_up_shift": "previous", "runner_up_variance_reduction": 0.25,
        "runner_up_within_error": None,
    }  # fmt: skip


@pytest.mark.parametrize(("second", "within"), [(0.71, True), (0.69, False)])
def test_a_runner_up_within_its_error_is_told(engine, run, second, within):
    neuron = neuron_id(engine, 5)
    found = (("is_digit", "current", 0.75), ("contains_comma", "previous", second))
    explain(engine, run, neuron, *found, held_out_variance_reduction_se=0.05)
    relabel(engine)
    evidence = one(engine, "SELECT evidence FROM labels WHERE neuron_id = :neuron", neuron=neuron)
    assert evidence["runner_up_within_error"] is within
    said = in_words("token_class", evidence)
    assert ("is_digit, or contains_comma of the previous token, of the token explains 75 ± 5 %" in said) == within
    assert "next best contains_comma of the previous token" in said


def test_documents_that_did_not_choose_decide(engine, run):
    """The score of the half that chose, and that of all, give no label."""
    neuron = neuron_id(engine, 5)
    explain(engine, run, neuron, ("is_digit", "current", 0.9), ("s_unigram", "current", 0.8))
    statement = "UPDATE explanations SET held_out_variance_reduction = :held_out WHERE neuron_id = :neuron AND rank = 1"
    for held_out, expected in ((None, []), (0.49, []), (0.5, [("token_class", "is_digit", 0.5)])):
        execute(engine, statement, held_out=held_out, neuron=neuron)
        relabel(engine)
        assert labels_of(engine, neuron) == expected


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
    assert shown["mutual_information_se"] == pytest.approx((0.1 + 0.9 * 5 / 31) / 1000)
    assert shown["threshold"] == 0.05 and shown["runs"] == [[1, 30, "high"], [31, 63, "low"]]
    found = rows(engine, "SELECT run_id, layer, neuron, pattern FROM position_neurons")
    assert found == [(run, 0, 5, "both_extremes")]


def test_teams_cover_the_positions_at_which_one_of_them_is_active(engine, run, store):
    for flat, span in ((5, '[[1, 30, "high"], [31, 40, "low"], [41, 50, "high"]]'), (6, '[[25, 35, "high"]]')):
        execute(
            engine,
            """UPDATE position_statistics SET pattern = 'oscillatory', strength = 'strong', runs = CAST(:runs AS jsonb),
                      mutual_information = 0.04 WHERE neuron_id = :neuron""",
            neuron=neuron_id(engine, flat), runs=span,
        )  # fmt: skip
    teams = "SELECT model, layer, neurons, covered, positions FROM position_teams"
    store.relabel()
    assert rows(engine, teams) == [], "they tell too little of the position"
    execute(engine, "UPDATE position_statistics SET mutual_information = 0.3 WHERE pattern = 'oscillatory'")
    store.relabel()
    assert rows(engine, teams) == [(MODELS[0], 0, 2, 45, 63)]


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
    bounds = (3 / n_tokens, 80, 3 / 80)
    numbers = "upper_bound::float, n_documents, upper_bound_documents::float"
    found = rows(engine, f"SELECT neuron, activations, n_tokens, {numbers} FROM dead_neurons")
    assert found == ([(5, activations, n_tokens, *map(pytest.approx, bounds))] if expected else [])
    for (evidence,) in rows(engine, "SELECT evidence FROM labels WHERE family IN ('dead', 'near_dead')"):
        assert (evidence["upper_bound"], evidence["n_documents"], evidence["upper_bound_documents"]) == pytest.approx(bounds)
