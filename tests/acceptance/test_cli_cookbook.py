"""The cookbook's commands and statements run, as they stand there, where there is a neuron of every family."""

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.questions.sql import run_reader_sql
from cli.output import plain_value
from tests.commands import run_catalog
from tests.conftest import READER_PASSWORD, database

catalog = run_catalog

TEXT = (Path(__file__).parents[2] / "docs" / "cookbook.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^## (\d+\. .*?)$(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
SILENT = "catalog groups --min-size 5 --limit 0"
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
def family_url(server, every_family_template) -> Iterator[str]:
    with database(server, every_family_template) as url:
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
    assert len(found) or (SILENT, statement) in [(lines[0], own) for _, lines, own in pairs()], title


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(catalog, line):
    program, *words = shlex.split(line)
    assert program == "catalog"
    answer = catalog(*words)
    assert answer.code == 0, answer.err
    assert answer.out or line == SILENT


def pairs() -> list[tuple[str, tuple[str, ...], str]]:
    """A question with its commands and the statement that answers them all, or each command with its own statement."""
    found = []
    for title, body in RECIPES:
        lines = [
            line for block in re.findall(r"^```sh\n(.*?)^```$", body, re.MULTILINE | re.DOTALL) for line in block.splitlines()
        ]
        statements = re.findall(r"^```sql\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
        if len(statements) == 1:
            found.append((title, tuple(lines), statements[0]))
        else:
            assert len(statements) >= len(lines), f"{title}: which statement answers which command?"
            found += [(title, (line,), statement) for line, statement in zip(lines, statements, strict=False)]
    return found


def answered(catalog, line: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of a command; of a page, those of the table that has most of the columns."""
    words = shlex.split(line)[1:]
    if "--format" in words:
        del words[words.index("--format") : words.index("--format") + 2]
    answer = catalog(*words, "--format", "json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    if isinstance(found, list):
        return found
    tables = [table for table in found.values() if isinstance(table, list) and table]
    return max(tables, key=lambda table: len({*table[0]} & {*columns}), default=[])


def printed(value: Any) -> Any:
    """A value as a table shows it; what cannot be compared as text."""
    plain = plain_value(value)
    return f"{plain:.3g}" if isinstance(plain, float) else json.dumps(plain) if isinstance(plain, list | dict) else plain


@pytest.mark.parametrize(("title", "lines", "statement"), pairs(), ids=[f"{t.split('.')[0]}: {ls[0]}" for t, ls, _ in pairs()])
def test_both_languages_give_the_same_rows(catalog, title, lines, statement):
    """Values of all columns that both have, each row once; in the same order, where one command answers in order."""
    by_sql = run_reader_sql(statement)
    rows = [row for line in lines for row in answered(catalog, line, by_sql.names)]
    if not rows:
        assert not len(by_sql) and lines == (SILENT,)
        return
    shared = tuple(name for name in by_sql.names if name in rows[0])
    assert {*shared} - {"model", "layer"} or len(shared) == 1, f"{title}: nothing to compare"
    in_shell = list(dict.fromkeys(tuple(printed(row[name]) for name in shared) for row in rows))
    in_sql = list(dict.fromkeys(tuple(map(printed, row)) for row in by_sql.select(*shared)))
    assert sorted(in_shell, key=str) == sorted(in_sql, key=str)
    if len(lines) == 1 and "ORDER BY" in statement:
        assert in_shell == in_sql


NONE_IN_DEMO = "The run of `make demo` has no rows here"


@pytest.mark.skipif("DEMO_DATABASE_URL" not in os.environ, reason="asks for the catalog of `make demo`: `make check-demo`")
def test_recipes_say_where_the_demo_has_no_rows():
    url = os.environ["DEMO_DATABASE_URL"]
    empty = {title for title, statement in blocks("sql") if not len(run_reader_sql(statement, url))}
    assert empty == {title for title, body in RECIPES if NONE_IN_DEMO in body}
