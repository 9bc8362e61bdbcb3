"""The same ingest as often as wanted, and what it may not read."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.checkpoints.arguments import parse_model_argument
from ingest.pipeline import from_files
from ingest.remembered import entries
from ingest.remembered.inputs import recall_model
from ingest.settings import IngestReport
from tests.acceptance.ingests import run_ingest, small_corpus, tiny_family

PARTS = ("weights", "activations")


@pytest.fixture(autouse=True, name="home")
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A memory of its own, in which files that were just written count as settled."""
    monkeypatch.setenv("CATALOG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(entries, "MOMENT", -1e6)
    return tmp_path / "home"


@pytest.fixture(name="corpus")
def sixty_documents(tmp_path: Path) -> Path:
    return small_corpus(tmp_path, 60)


@pytest.fixture(name="models")
def two_models(tmp_path: Path) -> list[Path]:
    return tiny_family(tmp_path, "ab")


@pytest.fixture(name="again")
def same_ingest(database_url: str, models: list[Path], corpus: Path) -> Callable[..., IngestReport]:
    """The same ingest, of other models or with other settings where a test says so."""

    def run(folders: list[Path | str] | None = None, **changes: object) -> IngestReport:
        return run_ingest(database_url, list(folders or models), corpus, **{"only": PARTS, **changes})

    assert run().outcome == "published"
    return run


@pytest.fixture(name="unread")
def nothing_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on nothing may be read."""

    def forbid() -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("files were read")

        monkeypatch.setattr(from_files, "run_of_files", refuse)

    return forbid


@pytest.fixture(name="settings")
def own_catalog(database_url: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment in which commands find what these ingests publish."""
    monkeypatch.setenv("CATALOG_DATABASE_URL", database_url)
    return monkeypatch


def known(folder: Path) -> bool:
    return recall_model(parse_model_argument(str(folder))) is not None


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
