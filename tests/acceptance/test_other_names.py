"""Names of models: a copy under another one, and names that belong to others."""

import shutil
from pathlib import Path

import pytest

from catalog.errors import InputError
from tests import factories
from tests.acceptance.ingests import rows
from tests.acceptance.repeats import PARTS, nothing_read, own_catalog, own_home, same_ingest, sixty_documents, two_models
from tests.commands import run_catalog

home = own_home
corpus = sixty_documents
models = two_models
again = same_ingest
unread = nothing_read
settings = own_catalog
catalog = run_catalog


def copied(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.with_name(name)))


def test_a_copy_under_another_name_can_be_asked_for(models, again, catalog, database_url, unread):
    copy = copied(models[0], "copy-a")
    said = again([copy, models[1]]).message
    assert said.startswith("run 1 has it all (copy-a as tiny-a), published")
    unread()
    assert again([copy, models[1]]).message == said
    assert rows(database_url, "SELECT name, model_id FROM model_aliases") == [("copy-a", 1)]
    page = catalog("show", "copy-a", "0.1")
    own = catalog("show", "tiny-a", "0.1")
    assert page == (0, own.out, "copy-a is tiny-a in the catalog\n" + own.err)
    for command in (
        ["find", "--model", "{}"], ["universal", "--model", "{}"], ["families", "--model", "{}"], ["groups", "--model", "{}"],
        ["layers", "--model", "{}"], ["depth", "--model", "{}"], ["matches", "{}", "0.1"],
        ["matches", "tiny-b", "0.1", "--other-model", "{}"], ["find", "--model", "{}", "--run", "1"],
    ):  # fmt: skip
        asked, own = (catalog(*(word.format(name) for word in command)) for name in ("copy-a", "tiny-a"))
        assert (asked.code, asked.out) == (own.code, own.out), command
    assert [row["aliases"] for row in catalog("models", "--format", "json").rows] == ["copy-a", None]
    wrong = catalog("show", "copy-a", "99.1")
    assert wrong.code == 1 and "tiny-a has no neuron 99.1" in wrong.err


def test_parts_are_added_to_the_model_that_the_run_has(models, again, database_url, corpus):
    copy = copied(models[0], "copy-a")
    more = again([copy, models[1]], only=(*PARTS, "distributions"))
    assert (more.outcome, more.run_id) == ("parts_added", 1)
    assert rows(database_url, "SELECT name FROM models ORDER BY id") == [("tiny-a",), ("tiny-b",)]
    assert rows(database_url, "SELECT count(*) FROM run_models") == [(2,)]
    other_run = again([copy, models[1]], max_tokens=2000)
    assert other_run.outcome == "published"
    assert rows(database_url, "SELECT DISTINCT model FROM history.members ORDER BY 1") == [("tiny-a",), ("tiny-b",)]


def test_names_of_other_models_are_no_other_names(models, again, database_url, tmp_path):
    said = again([f"tiny-b={models[0]}", f"tiny-a={models[1]}"]).message
    assert "tiny-a cannot be asked for as tiny-b, which is the name of another model" in said
    assert again([f"x={models[0]}", models[1]]).message.startswith("run 1 has it all (x as tiny-a)")
    assert "tiny-b cannot be asked for as x, which is another name of tiny-a" in again([models[0], f"x={models[1]}"]).message
    assert rows(database_url, "SELECT name FROM model_aliases") == [("x",)]
    other = factories.tiny_gpt2(tmp_path / "x", 7, factories.byte_bpe_tokenizer())
    with pytest.raises(InputError, match=r"knows 'x' as another name of tiny-a, which is another model; .* NEWNAME="):
        again([other])
