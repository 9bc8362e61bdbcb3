"""The cookbook's commands and statements run, as they stand there, where there is a neuron of every family."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.engine import writer_engine
from catalog.sql import run_reader_sql
from tests.commands import run_catalog
from tests.conftest import READER_PASSWORD, database
from tests.every_family import publish_every_family
from tests.published import MODELS

catalog = run_catalog

TEXT = (Path(__file__).parents[2] / "docs" / "cookbook.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^## (\d+\. .*?)$(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
SILENT = "catalog groups --min-size 5"
"""A command to which the small family has no answer: it has three models."""


def blocks(language: str) -> list[tuple[str, str]]:
    """Fenced blocks of one language, each with its question."""
    return [
        (title, block)
        for title, body in RECIPES
        for block in re.findall(rf"^```{language}\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    ]


COMMANDS = [line for _, block in blocks("sh") for line in block.splitlines()]


@pytest.fixture(scope="module")
def family_url(server, template) -> Iterator[str]:
    with database(server, template) as url:
        engine = writer_engine(url)
        publish_every_family(engine)
        engine.dispose()
        yield url


@pytest.fixture
def settings(family_url, monkeypatch):
    if os.environ.get("TEST_DATABASE_URL"):
        monkeypatch.setenv("CATALOG_READER_PASSWORD", READER_PASSWORD)
    monkeypatch.setenv("CATALOG_DATABASE_URL", family_url)
    return monkeypatch


def test_every_question_is_asked_in_both_languages():
    titles = [title for title, _ in RECIPES]
    assert [int(title.split(".")[0]) for title in titles] == list(range(1, len(titles) + 1))
    assert len(titles) >= 20
    for language in ("sh", "sql"):
        assert {title for title, _ in blocks(language)} == set(titles), language


@pytest.mark.parametrize(("title", "statement"), blocks("sql"), ids=[title for title, _ in blocks("sql")])
def test_statements_run_as_the_reader(settings, title, statement):
    found = run_reader_sql(statement)
    assert len(found.names) > 1
    assert len(found), title


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(catalog, line):
    program, *words = shlex.split(line)
    assert program == "catalog"
    answer = catalog(*words)
    assert answer.code == 0, answer.err
    assert answer.out or line == SILENT


def test_both_languages_give_the_same_rows(catalog):
    rows = catalog("find", "--family", "alphabet", "--subtype", "s", "--universal", "--format", "json").rows
    by_sql = run_reader_sql(blocks("sql")[0][1])
    assert [(row["model"], row["layer"], row["neuron"]) for row in rows] == list(
        by_sql.select("model", "layer", "neuron")
    )
    assert {row["model"] for row in rows} == set(MODELS)
