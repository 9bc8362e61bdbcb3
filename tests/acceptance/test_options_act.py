"""No option is without effect: each changes the answer of a read command, or is refused with a sentence that names it."""

import pytest
from typer.main import get_command

from catalog import UniversalFilter, connect_rows
from catalog.questions.sql import run_reader_sql
from cli.main import app
from tests.acceptance.test_cli_options import NO_TWIN
from tests.commands import run_catalog, use_published_family
from tests.published_rows import MODELS

catalog, settings = run_catalog, use_published_family

A, B, C = MODELS
NEURON = (A, "1.10")
PAGED = {"--limit": ((), ("1",)), "--offset": ((), ("1",))}
OF_MODEL = {"--model": ((), (B,))}
ACTS: dict[tuple[str, ...], dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    ("find",): {
        **PAGED,
        **OF_MODEL,
        "--family": ((), ("unigram",)),
        "--subtype": ((), ("s",)),
        "--layer": ((), ("0",)),
        "--min-excess": ((), ("0.9",)),
        "--min-score": ((), ("0.61",)),
        "--universal": ((), ("no",)),
        "--min-restored": ((), ("-1",)),
        "--sort": ((), ("neuron",)),
    },
    ("universal",): {
        **PAGED,
        **OF_MODEL,
        "--layer": ((), ("0",)),
        "--min-excess": ((), ("-1",)),
        "--state": ((), ("no",)),
        "--sort": (("--min-excess", "-1"), ("neuron",)),
    },
    ("families",): {**OF_MODEL, "--by": ((), ("model",))},
    ("matches",): {"--other-model": (NEURON, (C,)), "--limit": (NEURON, ("1",))},
    ("groups",): {"--limit": ((), ("1",)), "--min-size": ((), ("4",))},
    ("layers",): OF_MODEL,
    ("depth",): OF_MODEL,
    ("show",): {"--examples": (NEURON, ("0",))},
    ("report",): {},
    ("findings",): {**OF_MODEL, "--family": ((), ("unigram",)), "--limit": ((), ("1",))},
    ("models",): {},
    ("runs", "list"): {},
    ("runs", "show"): {},
    ("rules", "list"): {},
    ("sql",): {},
}
"""By command: each option with the words beside which, and the value with which, it changes the answer.

The small family has no vectors, so that the options of `similar` are tried where there are some.
"""

REFUSED = {
    ("find", "--universal"): ("find", "--universal", "yes", "--min-excess", "0.3"),
    ("find", "--min-excess"): ("find", "--min-excess", "0.7", "--universal", "yes"),
    ("find", "--sort"): ("find", "--sort", "colour"),
    ("universal", "--limit"): ("universal", "--limit", "-1"),
    ("universal", "--state"): ("universal", "--state", "perhaps"),
    ("universal", "--min-excess"): ("universal", "--min-excess", "0.3", "--state", "yes"),
    ("findings", "--limit"): ("findings", "--limit", "0"),
    ("families", "--by"): ("families", "--by", "colour"),
    ("groups", "--min-size"): ("groups", "--min-size", "1"),
    ("groups", "--model"): ("groups", "--model", "nobody"),
    ("matches", "--other-model"): ("matches", *NEURON, "--other-model", A),
    ("show", "--run"): ("show", *NEURON, "--run", "9"),
}
"""Options that cannot act so."""

EVERYWHERE = {"--format", "--wide", "--run"}
"""The formats have tests of their own; with one run, `--run` refuses the others."""

SAME_HERE = {("groups", "--model"), ("rules list", "--all")}
"""In the small family every group has a neuron of each model, and there is one version of
the rules; `test_rules_in_force_are_listed_and_a_draft_is_told` has two."""


def options_of(words: tuple[str, ...]) -> set[str]:
    command = get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    return {
        parameter.opts[0]
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name not in NO_TWIN
    }


def test_every_option_of_a_read_command_is_tried():
    for words, tried in ACTS.items():
        same = {option for word, option in SAME_HERE if word == " ".join(words)}
        assert options_of(words) - EVERYWHERE - same == set(tried), words


@pytest.mark.parametrize(("words", "option"), [(words, option) for words, tried in ACTS.items() for option in tried], ids=str)
def test_an_option_changes_the_answer(catalog, words, option):
    beside, value = ACTS[words][option]
    without, given = (catalog(*words, *beside, *more, "--format", "json") for more in ((), (option, *value)))
    assert (without.code, given.code) == (0, 0), given.err
    assert without.out != given.out


@pytest.mark.parametrize("words", [words for words in ACTS if "--run" in options_of(words)], ids=str)
def test_a_run_that_is_not_there_is_refused(catalog, words):
    answer = catalog(*words, *(NEURON if words in (("show",), ("matches",)) else ()), "--run", "9")
    assert (answer.code, answer.out) == (1, "") and "there is no published run 9" in answer.err


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=" ".join)
def test_an_option_that_cannot_act_is_refused_in_one_sentence(catalog, arguments):
    answer = catalog(*arguments)
    assert answer.code in (1, 2) and answer.out == ""
    assert "Traceback" not in answer.err and answer.err.strip()


def test_a_least_excess_below_the_rules_own_acts(catalog):
    assert len(catalog("universal", "--format", "json").rows) == 9
    found = catalog("universal", "--min-excess", "-1", "--limit", "0", "--format", "json").rows
    by_sql = run_reader_sql("SELECT model, layer, neuron FROM neuron_profiles WHERE excess_corr >= -1").rows
    assert {(row["model"], row["layer"], row["neuron"]) for row in found} == set(by_sql)
    assert len(found) > 9
    with connect_rows() as store:
        assert store.count_universal(UniversalFilter(min_excess=-1)) == len(found)


def test_rows_that_are_cut_are_told_and_groups_are_counted_as_groups(catalog):
    assert catalog("universal", "--limit", "2").err == "2 of 9 neurons; --limit 0 prints all\n"
    assert catalog("groups", "--limit", "2").err == "2 of 3 groups; --limit 0 prints all\n"
    assert len(catalog("groups", "--limit", "2", "--format", "json").rows) == 6
    assert catalog("matches", *NEURON, "--limit", "1").err == "1 of 4 matches; --limit 0 prints all\n"
    assert "; --examples 3 prints all\n" in catalog("show", *NEURON, "--examples", "1").err
