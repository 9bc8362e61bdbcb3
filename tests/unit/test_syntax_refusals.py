"""Pipelines that cannot be used, each refused in one sentence."""

import re
from pathlib import Path

import pytest
import spacy

from catalog.errors import InputError
from ingest.corpus.syntax.annotate import load_pipeline

RELEASES = "https://github.com/explosion/spacy-models/releases/download"

COMMANDS = [
    ("xx_no_such_model", "xx-no-such-model"),
    *(
        (name, f"{RELEASES}/{name}-3.8.0/{name}-3.8.0-py3-none-any.whl")
        for name in ("de_core_news_sm", "en_core_web_trf", "xx_ent_wiki_sm", "xx_sent_ud_sm")
    ),
]


@pytest.mark.parametrize(("name", "package"), COMMANDS)
def test_a_pipeline_that_is_not_installed_is_refused_with_the_command(name: str, package: str, tmp_path: Path) -> None:
    said = f"the spaCy pipeline '{name}' is not installed; run `pip install {package}`, or name an installed one with "
    with pytest.raises(InputError, match=f"^{re.escape(said)}--spacy-model\\.$"):
        load_pipeline(name)
    assert spacy.__version__.startswith("3.8."), "its pipelines have the same minor version"


@pytest.mark.parametrize("name", ["os", "", "no such folder/at all", "\0", "a\nb"])
def test_what_is_no_pipeline_is_one_sentence(name: str) -> None:
    with pytest.raises(InputError, match=r"^[^\n]*spaCy pipeline '[^\n]*\.$") as caught:
        load_pipeline(name)
    assert "pip install" not in str(caught.value)


def test_a_damaged_pipeline_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(InputError, match=r"cannot be read|is not installed"):
        load_pipeline(str(tmp_path))
