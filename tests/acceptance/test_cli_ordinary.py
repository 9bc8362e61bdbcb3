"""Every command that reads, on ordinary catalogs: no subsets, no syntax, one model, one layer, weights alone."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from catalog import parts
from cli.widths import width_of
from tests import factories
from tests.acceptance.ingests import OF_ONE, ROLES, SUMS, run_ingest, tiny_family
from tests.commands import Answer, run_catalog
from tests.conftest import database

catalog = run_catalog

CATALOGS: dict[str, tuple[str, dict[str, int], tuple[str, ...]]] = {
    "two models": ("ab", {}, SUMS),
    "one model": ("a", {}, tuple(part for part in OF_ONE if part not in ROLES)),
    "one layer": ("ab", {"n_layers": 1}, SUMS),
    "one model of one layer": ("a", {"n_layers": 1}, OF_ONE),
    "activations alone": ("a", {}, ("activations",)),
    "weights alone": ("a", {}, ("weights",)),
}
"""Names of models, their shape, and the parts; the corpus has no subsets."""

COMMANDS = (
    "find", "find --universal yes", "find --family dead", "universal", "families", "families --by model", "matches tiny-a 0.1",
    "groups", "layers", "depth", "models", "runs list", "rules list", "similar tiny-a 0.1",
)  # fmt: skip
PAGES = ("show tiny-a 0.1", "show tiny-a 0.1 --examples 1", "show tiny-a 0.1 --examples 0", "runs show 1")


@pytest.fixture(scope="module", params=CATALOGS)
def ordinary(request: pytest.FixtureRequest, server: URL, template: str, tmp_path_factory) -> Iterator[tuple[str, str]]:
    """The name of a catalog of `CATALOGS`, and its URL."""
    folder: Path = tmp_path_factory.mktemp("ordinary")
    names, shape, asked = CATALOGS[request.param]
    with database(server, template) as url:
        corpus = factories.write_jsonl(folder / "corpus.jsonl", [{"text": text} for text in factories.random_texts(60)])
        models = tiny_family(folder, names, **shape)
        run_ingest(url, models, None if asked == ("weights",) else corpus, only=asked)
        yield request.param, url


@pytest.fixture
def settings(ordinary: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("CATALOG_DATABASE_URL", ordinary[1])
    return monkeypatch


def asked(catalog: Callable[..., Answer], words: str, *more: str) -> str:
    """What a command prints; `similar` alone may have nothing to compare, which it says."""
    answer = catalog(*words.split(), *more)
    if words.startswith("similar") and answer.code:
        assert "--only redundancy" in answer.err
        return ""
    assert (answer.code, "Traceback" in answer.err) == (0, False), f"{words}: {answer.err}"
    return answer.out


def test_every_command_answers_in_every_format(catalog, ordinary):
    for words in COMMANDS:
        printed = {format: asked(catalog, words, "--format", format) for format in ("table", "json", "jsonl", "csv")}
        if printed["json"]:
            rows = json.loads(printed["json"])
            assert [json.loads(line) for line in printed["jsonl"].splitlines()] == rows
            assert len(list(csv.DictReader(io.StringIO(printed["csv"])))) == len(rows)
            assert len(printed["table"].splitlines()) == (len(rows) + 2 if rows else 0)
        assert not {"nan", "NaT", "None", "<NA>"} & set(printed["table"].split()), words
    assert asked(catalog, "report").count("=====") >= 4


def test_no_answer_is_wider_than_the_terminal(catalog, ordinary, settings):
    settings.setattr("sys.stdout.isatty", lambda: True)
    settings.setenv("NO_COLOR", "1")
    for columns in (80, 50):
        settings.setenv("COLUMNS", str(columns))
        for words in (*COMMANDS, *PAGES, "report"):
            lines = re.sub(r"\x1b\[[0-9;]*m", "", asked(catalog, words)).splitlines()
            assert not [line for line in lines if width_of(line) > columns], words


def test_every_page_answers_in_every_format(catalog, ordinary):
    for words in PAGES:
        printed = {format: asked(catalog, words, "--format", format) for format in ("table", "json", "jsonl", "csv")}
        assert json.loads(printed["json"]) == json.loads(printed["jsonl"])
        assert not {"nan", "NaT", "None", "<NA>"} & set(printed["table"].split()), words
        assert "NaN" not in printed["json"] and ",nan\n" not in printed["csv"]


def test_every_family_has_its_evidence_or_the_reason_why_not(catalog, ordinary):
    shown, found = asked(catalog, "findings"), json.loads(asked(catalog, "findings --format json"))
    assert {rule.family for rule in parts.rules()} == {family["family"] for family in found["families"]}
    for family in found["families"]:
        section = shown.split(f"# {family['family']}\n")[1].partition("\n#")[0]
        assert bool(family["best"]) == bool(family["counts"]) == ("catalog find --family" in section)
        assert family["counts"] or ("ooked for" in section and family["looked_for"] != bool(family["not_looked_for"]))
    assert not {"nan", "None"} & set(re.findall(r"\w+", shown)) and "NaN" not in json.dumps(found)


def test_examples_without_subsets_have_their_texts_alone(catalog, ordinary):
    name, _ = ordinary
    found = json.loads(asked(catalog, "show tiny-a 0.1", "--format", "json"))["examples"]
    assert {row["subset"] for row in found} <= {None}
    lines = asked(catalog, "show tiny-a 0.1 --examples 1").partition("Examples: ")[2].splitlines()[2:]
    assert bool(lines) == bool(found) == (name not in ("weights alone", "activations alone"))
    shown = [row for row in found if row["rank"] == 1]
    assert [line.split()[0] for line in lines if "⟦" in line] == [f"{row['value']:.4f}" for row in shown]
