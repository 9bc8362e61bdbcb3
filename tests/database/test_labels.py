"""The rules of SPEC 6.6, applied by SQL to what is stored; thresholds that change without computing anything."""

import pytest

from catalog import api, labels, rules
from catalog.errors import InputError, NotFoundError
from tests.database.helpers import execute, one, rows
from tests.published import D_MLP, MODELS, publish_small_family

LETTER_NEURON = D_MLP + 10
NEWEST = 3
"""The version of the rules that the newest migration brings."""


@pytest.fixture
def run(engine):
    """A published run; its id."""
    return publish_small_family(engine)


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
    labels.relabel(engine)
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
    labels.relabel(engine)
    assert labels_of(engine, neuron) == ([("alphabet", "s", round(score, 3))] if expected else [])


def test_an_alphabet_neuron_is_a_unigram_neuron_if_that_rule_holds_as_well(engine, run):
    assert labels_of(engine, neuron_id(engine, LETTER_NEURON)) == [("alphabet", "s", 0.8), ("unigram", "s", 0.8)]


def test_the_evidence_says_what_the_rule_looked_at(engine, run):
    neuron = neuron_id(engine, 5)
    explain(engine, run, neuron, ("is_digit", "current", 0.75), ("contains_comma", "previous", 0.25))
    labels.relabel(engine)
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
    for flat, span in ((5, "[[1, 30, \"high\"], [31, 40, \"low\"], [41, 50, \"high\"]]"), (6, "[[25, 35, \"high\"]]")):
        execute(
            engine,
            """UPDATE position_statistics SET pattern = 'oscillatory', strength = 'strong', runs = CAST(:runs AS jsonb)
               WHERE neuron_id = :neuron""",
            neuron=neuron_id(engine, flat), runs=span,
        )  # fmt: skip
    assert rows(engine, "SELECT model, layer, neurons, covered, positions FROM position_teams") == [(MODELS[0], 0, 2, 45, 63)]


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
    labels.relabel(engine)
    assert labels_of(engine, neuron) == []

    assert store.set_rule("alphabet.min_variance_reduction", 0.3) == NEWEST + 1
    assert store.set_rule("unigram.min_variance_reduction", 0.9) == NEWEST + 1
    listed = store.list_rules()
    assert set(listed["status"][listed["rule_version"] == NEWEST + 1]) == {"draft"}
    assert one(engine, "SELECT DISTINCT rule_version FROM labels") == NEWEST
    assert labels_of(engine, neuron) == []

    counts = store.relabel()
    assert counts[run]["alphabet"] == len(MODELS) + 1 and counts[run]["unigram"] == 0
    assert labels_of(engine, neuron) == [("alphabet", "s", 0.3)]
    assert one(engine, "SELECT DISTINCT rule_version FROM labels") == NEWEST + 1
    listed = store.list_rules()
    assert set(listed["status"]) == {"published"}
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
        rules.set_rule(connection, "previous_token.min_variance_reduction", 0.9)
    publish_small_family(engine, "second")
    monkeypatch.setattr(labels, "RULES", (*labels.RULES[:3], labels.Rule("none", "vocabulary", "SELECT 1 / (:run_id - 2)")))
    with pytest.raises(Exception, match="division by zero"):
        labels.relabel(engine)
    assert rows(engine, "SELECT * FROM labels WHERE run_id = :run ORDER BY neuron_id, family", run=run) == before
    assert one(engine, "SELECT count(*) FROM rule_versions WHERE published_at IS NULL") == 1


def test_relabelling_needs_no_activations(engine, run):
    """Everything but what the rules read is gone; the labels come out the same."""
    before = rows(engine, "SELECT neuron_id, family, subtype, score FROM labels ORDER BY 1, 2")
    for table in ("activation_statistics", "pairs", "top_tokens", "token_counts", "universality_by_model", "feature_tokens"):
        execute(engine, f"TRUNCATE {table}")
    labels.relabel(engine)
    assert rows(engine, "SELECT neuron_id, family, subtype, score FROM labels ORDER BY 1, 2") == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_threshold_is_a_finite_number(store, value):
    with pytest.raises(InputError, match="give a finite number"):
        store.set_rule("alphabet.min_variance_reduction", value)


def test_an_unknown_rule_lists_those_that_exist(store):
    with pytest.raises(NotFoundError, match=r"no rule 'alphabet\.colour'; the rules are alphabet\.min_variance_reduction, "):
        store.set_rule("alphabet.colour", 1.0)
