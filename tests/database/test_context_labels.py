"""Labels of kinds of text, topics and syntax: by what a neuron is active in, and what is left when the token is known."""

import pytest

from catalog.questions.evidence import in_words
from catalog.questions.neuron_page import NeuronRef
from catalog.questions.queries import LabelFilter
from tests.database.helpers import execute, one, rows
from tests.database.labelled import INSIDE, catalog_of_the_run, explain, labels_of, neuron_id, published_run
from tests.published_rows import MODELS

run = published_run
store = catalog_of_the_run

SILENT = {
    "frequency_in": 0.01, "frequency_out": 0.1, "rectified_in": 0.1, "rectified_out": 0.5, "partial_effect": -0.9,
    "partial_variance_reduction": 0.1, "overlap": 0.5,
}  # fmt: skip
ADDED = "INSERT INTO features (name, family, ordinal, definition) VALUES (:name, :family, 9000, 'made up')"
NAME = "subset_code"
CONTEXTS = [
    ([(NAME, 0.05)], INSIDE, [("context", "code", 0.05)]),
    ([(NAME, 0.0499)], INSIDE, []),
    # a subset need not be the best of all features
    ([("contains_comma", 0.2), (NAME, 0.19)], INSIDE, [("context", "code", 0.19)]),
    # the mean of post says nothing of the direction: frequency and rectified mean do, and have to agree
    ([(NAME, 0.2)], {**INSIDE, "frequency_in": 0.05}, []),
    ([(NAME, 0.2)], {**INSIDE, "rectified_in": 0.4}, []),
    ([(NAME, 0.2)], {**INSIDE, "frequency_in": 0.1}, []),
    # what tokens explain is not of the subset
    ([(NAME, 0.2)], {**INSIDE, "partial_effect": 0.199}, []),
    ([(NAME, 0.2)], {**INSIDE, "partial_effect": -0.9}, []),
    ([(NAME, 0.2)], {**INSIDE, "partial_variance_reduction": 0.0249}, []),
    ([(NAME, 0.2)], {**INSIDE, "partial_effect": None, "partial_variance_reduction": None}, []),
    ([(NAME, 0.2)], {**INSIDE, "overlap": 0.099}, []),
    ([(NAME, 0.2)], SILENT, [("context_off", "code", 0.2)]),
    ([(NAME, 0.0499)], SILENT, []),
    ([(NAME, 0.2)], {**SILENT, "partial_effect": 0.9}, []),
    ([(NAME, 0.2)], {**SILENT, "overlap": 0.099}, []),
    # the best subset speaks for the neuron
    ([(NAME, 0.3), ("subset_prose", 0.2)], INSIDE, [("context", "code", 0.3)]),
    ([("subset_prose", 0.3), (NAME, 0.2)], INSIDE, [("context", "prose", 0.3)]),
]


@pytest.mark.parametrize(("found", "given", "expected"), CONTEXTS)
def test_a_context_neuron_is_active_in_a_subset_on_the_same_tokens_too(engine, run, store, found, given, expected):
    neuron = neuron_id(engine, 5)
    for name in (NAME, "subset_prose"):
        execute(engine, ADDED, name=name, family="subset")
    explain(engine, run, neuron, *((name, "current", score) for name, score in found), **given)
    store.relabel()
    assert labels_of(engine, neuron) == expected
    assert store.find_labels(LabelFilter(family="context"))["neuron"].tolist() == [
        5 for family, *_ in expected if family == "context"
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({**INSIDE, "partial_effect": -0.9}, "context"),
        ({**INSIDE, "partial_effect": 0.9}, "context"),
        ({**INSIDE, "partial_effect": -0.199}, None),
        ({**SILENT, "partial_effect": 0.9}, "context_off"),
        (SILENT, "context_off"),
        ({**INSIDE, "frequency_in": 0.05}, None),
    ],
)
def test_gates_say_where_a_gated_neuron_is_active_and_post_may_have_either_sign(engine, run, store, given, expected):
    neuron = neuron_id(engine, 5)
    execute(engine, "UPDATE models SET gated = true")
    execute(engine, ADDED, name=NAME, family="subset")
    explain(engine, run, neuron, (NAME, "current", 0.2), **given)
    store.relabel()
    assert labels_of(engine, neuron) == ([(expected, "code", 0.2)] if expected else [])


def test_thresholds_of_contexts_act_on_what_is_stored(engine, run, store):
    neuron = neuron_id(engine, 5)
    execute(engine, ADDED, name=NAME, family="subset")
    explain(engine, run, neuron, (NAME, "current", 0.2), **{**INSIDE, "overlap": 0.05})
    shown = "SELECT partial_effect, partial_variance_reduction, overlap FROM neuron_explanations WHERE neuron_id = :neuron"
    store.relabel()
    assert labels_of(engine, neuron) == [] and rows(engine, shown, neuron=neuron) == [(None, None, 0.05)]
    store.set_rule("context.min_overlap", 0.05)
    store.relabel()
    assert labels_of(engine, neuron) == [("context", "code", 0.2)] and rows(engine, shown, neuron=neuron) == [(0.9, 0.1, 0.05)]
    for rule, value in (("partial_effect", 0.91), ("partial_variance_reduction", 0.11), ("variance_reduction", 0.21)):
        store.set_rule(f"context.min_{rule}", value)
        store.relabel()
        assert labels_of(engine, neuron) == []
        store.set_rule(f"context.min_{rule}", 0.05)
        store.relabel()
        assert labels_of(engine, neuron) == [("context", "code", 0.2)]


def test_what_is_told_of_a_context(engine, run, store):
    neuron = neuron_id(engine, 5)
    execute(engine, ADDED, name=NAME, family="subset")
    explain(engine, run, neuron, (NAME, "current", 0.2), **SILENT)
    store.relabel()
    said = in_words("context_off", one(engine, "SELECT evidence FROM labels WHERE neuron_id = :neuron", neuron=neuron))
    assert "active on 10 % outside, 1 % inside" in said and "given the token -0.9 standard deviations" in said


@pytest.mark.parametrize(
    ("name", "family", "subtype", "machine_named"),
    [
        ("topic_politics#0123abcd", "topic", "politics", False),
        ("topic_court+judge#1+law#0123abcd", "machine_topic", "court+judge#1+law", True),
    ],
)
def test_a_topic_is_a_class_of_tokens(engine, run, store, name, family, subtype, machine_named):
    neuron = neuron_id(engine, 5)
    execute(engine, ADDED, name=name, family=family)
    comma = ("contains_comma", "current", 0.2)
    for found, given, expected in (
        ([(name, "current", 0.499)], INSIDE, []),
        ([(name, "current", 0.5)], INSIDE, [("token_class", subtype, 0.5)]),
        ([(name, "current", 0.5)], SILENT, []),
        ([(name, "previous", 0.21), comma], {}, [("previous_token", subtype, 0.21)]),
    ):
        explain(engine, run, neuron, *found, **given)
        store.relabel()
        assert labels_of(engine, neuron) == expected
    explain(engine, run, neuron, (name, "current", 0.6), **INSIDE)
    store.relabel()
    ((evidence,),) = rows(engine, "SELECT evidence FROM labels WHERE neuron_id = :n", n=neuron)
    assert evidence["machine_named"] is machine_named and evidence["feature"] == name
    assert ("machine-named" in in_words("token_class", evidence)) == bool(machine_named)


def test_a_neuron_of_syntax_is_active_there(engine, run, store):
    neuron = neuron_id(engine, 5)
    execute(engine, "INSERT INTO run_parts (run_id, part, definition_version) VALUES (:run, 'syntax', 1)", run=run)
    execute(engine, ADDED, name="spacy_pos_verb", family="spacy_pos")
    for given, expected in ((INSIDE, [("syntax", "pos_verb", 0.4)]), (SILENT, [])):
        explain(engine, run, neuron, ("spacy_pos_verb", "current", 0.4), **given)
        store.relabel()
        assert labels_of(engine, neuron) == expected
    explain(engine, run, neuron, ("spacy_pos_verb", "current", 0.4), **{**INSIDE, "overlap": None})
    execute(engine, "DELETE FROM labels")
    assert store.neuron(NeuronRef(MODELS[0], 0, 5)).identity["no_label"].endswith("but the family syntax was not looked for")
    explain(engine, run, neuron, ("spacy_pos_verb", "current", 0.4), **SILENT)
    assert store.neuron(NeuronRef(MODELS[0], 0, 5)).identity["no_label"].endswith("but the neuron is not more active there")
