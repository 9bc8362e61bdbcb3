"""A quantised GGUF file through the main job: published, recognised, opened again by all that reads a published model."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from sqlalchemy import URL

from cli.main import main
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.progress import Silent
from ingest.workers.settings import WorkerSettings
from ingest.workers.worker import work
from tests.acceptance.ingests import OF_ONE, rows, run_ingest, small_corpus
from tests.commands import Answer
from tests.conftest import database
from tests.decoders import tiny_decoder
from tests.gguf_files import write_gguf

NAME = "smol.Q8_0"
KIND = "Q8_0 16, F32 5"


class Published(NamedTuple):
    """A database with one run of one model that a file holds."""

    url: str
    path: Path
    corpus: Path


@pytest.fixture(scope="module")
def published(server: URL, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("gguf")
    wide = {"hidden_size": 32, "intermediate_size": 64, "attention_bias": False, "mlp_bias": False}
    path = write_gguf(tiny_decoder("llama", folder / "llama", **wide), folder / f"{NAME}.gguf", "Q8_0")
    corpus = small_corpus(folder, 60)
    with database(server, template) as url:
        assert run_ingest(url, [path], corpus, only=OF_ONE, controls=1, control_tokens=1000).outcome == "published"
        yield Published(url, path, corpus)


@pytest.fixture
def command(
    published: Published, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    monkeypatch.setenv("CATALOG_DATABASE_URL", published.url)

    def run(*arguments: str) -> Answer:
        with pytest.raises(SystemExit) as exit:
            main(list(arguments))
        captured = capsys.readouterr()
        return Answer(int(exit.value.code or 0), captured.out, captured.err)

    return run


def test_a_file_is_published_under_its_name_with_its_place_and_types(published: Published) -> None:
    found = rows(published.url, "SELECT name, source, architecture, quantisation FROM models ORDER BY id")
    assert found == [(name, str(published.path), "llama", KIND) for name in (NAME, f"{NAME}~1")]
    (labels,) = rows(published.url, "SELECT count(*) FROM neuron_profiles")
    assert labels == (128,)
    own = open_checkpoint(parse_model_argument(str(published.path)), torch.device("cpu")).identity
    assert rows(published.url, "SELECT weights_sha256, identity FROM models WHERE control_of IS NULL") == [
        (own.weights_sha256, own.sha256)
    ]


def test_a_file_is_recognised_without_being_read_and_under_another_name(published: Published, command: Any) -> None:
    again = ("ingest", str(published.path), "--corpus", str(published.corpus), "--only", ",".join(OF_ONE), "--controls", "0")
    answer = command(*again, "--intervention-tokens", "1000", "--ablation-pairs", "2")
    assert answer.code == 0 and "run 1 has it all" in answer.err, answer.err
    assert f"{NAME} is quantised (Q8_0), so all that is told is of the weights that its blocks stand for" in answer.err


def test_a_published_file_is_opened_again(published: Published, command: Any) -> None:
    checked = command("verify", "1", "--sample", "4", "--format", "json")
    assert checked.code == 0, (checked.out, checked.err)
    assert {row["status"] for row in json.loads(checked.out)} == {"ok"}
    held = command("intervene", NAME, "1.3", "--tokens", "200", "--fix", "0", "--device", "cpu", "--format", "json")
    assert held.code == 0 and json.loads(held.out), held.err
    ablated = command("ablate", NAME, "0.3", "1.0", "--tokens", "200", "--device", "cpu", "--format", "json")
    assert ablated.code == 0 and json.loads(ablated.out), ablated.err
    planned = command("plan", str(published.path), "--max-tokens", "4000", "--only", "weights,activations", "--controls", "0")
    assert planned.code == 0, planned.err


def test_workers_open_a_file_by_its_recorded_place(published: Published, tmp_path: Path) -> None:
    twin = tmp_path / "other.gguf"
    write_gguf(published.path.parent / "llama", twin, "Q4_1")
    queued = run_ingest(published.url, [f"q4={twin}"], published.corpus, only=("activations",), enqueue=True)
    assert queued.outcome == "queued"
    work(WorkerSettings(device="cpu", database_url=published.url, until_empty=True), Silent())
    assert rows(published.url, "SELECT name, quantisation FROM models WHERE name = 'q4'") == [("q4", "Q4_1 16, F32 5")]


def test_a_page_of_one_model_says_nothing_of_what_was_not_compared(published: Published, command: Any) -> None:
    page = command("findings", "--model", NAME).out
    assert page.startswith(f"# What {NAME.replace('_', chr(92) + '_')} holds\n")
    assert "Weights are stored in blocks" in page and "its control read the first 1,0" in page
    assert "neurons were held and taken away on the first 1,000" in page
    assert "universal and" not in page and "(0 + 0)" not in page and "| excess |" not in page
    assert "no other model was compared" in page
