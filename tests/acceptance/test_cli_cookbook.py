"""The cookbook's commands and statements run, as they stand there."""

import re
import shlex
from pathlib import Path

import pytest

from catalog.sql import run_reader_sql
from tests.commands import run_catalog, use_published_family
from tests.published import MODELS

settings = use_published_family
catalog = run_catalog

TEXT = (Path(__file__).parents[2] / "docs" / "cookbook.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^## (\d+\. .*?)$(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """Fenced blocks of one language, each with its question."""
    return [
        (title, block)
        for title, body in RECIPES
        for block in re.findall(rf"^```{language}\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    ]


COMMANDS = [line for _, block in blocks("sh") for line in block.splitlines()]


def test_ten_questions_each_in_both_languages():
    titles = [title for title, _ in RECIPES]
    assert len(titles) == 10
    for language in ("sh", "sql"):
        assert sorted({title for title, _ in blocks(language)}) == sorted(titles), language


@pytest.mark.parametrize(("title", "statement"), blocks("sql"), ids=[title for title, _ in blocks("sql")])
def test_statements_run_as_the_reader(settings, title, statement):
    frame = run_reader_sql(statement)
    assert len(frame.columns) > 1
    assert len(frame) or title.startswith(("10", "8")), title


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(catalog, line):
    program, *words = shlex.split(line)
    assert program == "catalog"
    answer = catalog(*words)
    assert answer.code == 0, answer.err


def test_both_languages_give_the_same_rows(catalog):
    rows = catalog("find", "--family", "alphabet", "--subtype", "s", "--universal", "--format", "json").rows
    frame = run_reader_sql(blocks("sql")[0][1])
    assert [(row["model"], row["layer"], row["neuron"]) for row in rows] == list(
        frame[["model", "layer", "neuron"]].itertuples(index=False, name=None)
    )
    assert {row["model"] for row in rows} == set(MODELS)
