"""A repeated ingest: answered from what is remembered of files that nobody changed, and from the files wherever one did."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.errors import InputError
from catalog.server.engine import writer_engine
from cli.main import main
from ingest.checkpoints import hub
from ingest.checkpoints.arguments import parse_model_argument
from ingest.pipeline import from_files
from ingest.progress import Silent
from ingest.recompute.neurons import recompute
from ingest.recompute.remembered import SUBJECT
from ingest.remembered import entries
from ingest.remembered.inputs import recall_model
from ingest.settings import IngestReport
from tests import factories
from tests.acceptance.ingests import rows, run_ingest, small_corpus, tiny_family
from tests.commands import Answer

PARTS = ("weights", "activations")
HEAVY = ("torch", "transformers", "spacy", "pandas", "datasets", "pyarrow", "procrastinate", "numba")
PROGRAM = f"""
import sys
from cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print([name for name in {HEAVY} if name in sys.modules], end.code)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A memory of its own, in which files that were just written count as settled."""
    monkeypatch.setenv("CATALOG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(entries, "MOMENT", -1e6)
    return tmp_path / "home"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small_corpus(tmp_path, 60)


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return tiny_family(tmp_path, "ab")


@pytest.fixture
def again(database_url: str, models: list[Path], corpus: Path) -> Callable[..., IngestReport]:
    """The same ingest, of other models or with other settings where a test says so."""

    def run(folders: list[Path | str] | None = None, **changes: object) -> IngestReport:
        return run_ingest(database_url, list(folders or models), corpus, **{"only": PARTS, **changes})

    assert run().outcome == "published"
    return run


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on nothing may be read."""

    def forbid() -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("files were read")

        monkeypatch.setattr(from_files, "run_of_files", refuse)

    return forbid


@pytest.fixture
def catalog(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    monkeypatch.setenv("CATALOG_DATABASE_URL", database_url)

    def run(*arguments: str) -> Answer:
        with pytest.raises(SystemExit) as exit:
            main(list(arguments))
        captured = capsys.readouterr()
        return Answer(int(exit.value.code or 0), captured.out, captured.err)

    return run


def known(folder: Path) -> bool:
    return recall_model(parse_model_argument(str(folder))) is not None


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_same_answer_without_reading(again, unread, models, home):
    shutil.rmtree(home / "remembered")
    read = again()
    unread()
    recalled = again()
    assert recalled.message == read.message and recalled.message.startswith("run 1 has it all, published")
    assert (recalled.outcome, recalled.run_id) == ("already_published", 1)
    for folders, changes in (([models[0]], {}), (None, {"only": ("distributions",)}), (None, {"again": True})):
        with pytest.raises(AssertionError, match="files were read"):
            again(folders, **changes)


def test_what_reading_tells_is_told_without_it(tmp_path, database_url, models, unread):
    documents = [{"text": text} for text in factories.random_texts(60)] + [{"text": None}, {"text": 3}]
    corpus = factories.write_jsonl(tmp_path / "c.jsonl", documents)
    said = []
    for _ in range(2):
        progress = Silent()
        ingest_said(database_url, models, corpus, progress)
        said.append([sentence for sentence in progress.said if "documents" in sentence])
        unread()
    assert said[0] == said[1] != []


def ingest_said(url: str, models: list[Path], corpus: Path, progress: Silent) -> IngestReport:
    from ingest.pipeline.main_path import ingest
    from ingest.settings import IngestSettings

    return ingest(IngestSettings(tuple(map(str, models)), str(corpus), only=PARTS, database_url=url), progress)


def test_a_repeated_command_loads_nothing_heavy(again, models, corpus, database_url):
    environment = os.environ | {"CATALOG_DATABASE_URL": database_url, "HF_HUB_OFFLINE": "1"}
    words = ["ingest", *map(str, models), "--corpus", str(corpus), "--only", ",".join(PARTS)]
    words += ["--intervention-tokens", "1000", "--ablation-pairs", "2"]
    command = [sys.executable, "-W", "error", "-c", PROGRAM, *words]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.stdout == "[] 0\n", answer.stderr
    assert answer.stderr.startswith("run 1 has it all, published")


@pytest.mark.parametrize("content", ["config.json", "tokenizer.json", "model.safetensors"])
def test_other_content_of_the_same_size_and_time_is_noticed(content, models, again):
    path = models[0] / content
    before, text = path.stat(), path.read_bytes()
    path.write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert not known(models[0]) and known(models[1])


def test_large_files_are_known_by_their_times_alone(models, again, monkeypatch):
    monkeypatch.setattr(entries, "SMALL", 0)
    again()
    assert known(models[0])
    path = models[0] / "model.safetensors"
    before, text = path.stat(), path.read_bytes()
    path.write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not known(models[0])
    copy = path.with_suffix(".copy")
    shutil.copy2(path, copy)
    copy.replace(path)
    assert not known(models[0])


def test_another_config_or_other_weights_are_another_run(models, again, tmp_path):
    change(models[0] / "config.json", activation_function="relu")
    with pytest.raises(InputError, match=r"another model named 'tiny-a' with another config"):
        again()
    other = factories.tiny_gpt2(tmp_path / "other", 7, factories.byte_bpe_tokenizer())
    shutil.copy(other / "model.safetensors", models[0])
    shutil.copy(other / "config.json", models[0])
    with pytest.raises(InputError, match=r"another model named 'tiny-a' with other weights"):
        again()
    assert again([f"new={models[0]}", models[1]]).outcome == "published"


def test_another_corpus_or_a_cache_that_is_gone_is_read(models, corpus, again, unread, home):
    shutil.rmtree(next((home / "corpora").iterdir()))
    assert again().outcome == "already_published"
    with corpus.open("a") as file:
        file.write(json.dumps({"text": "more " * 400, "subset": "one"}) + "\n")
    assert again().outcome == "published"
    unread()
    assert again().outcome == "already_published"
    with pytest.raises(AssertionError, match="files were read"):
        again(max_tokens=64)


def test_a_folder_that_is_moved_and_links_of_a_hub_cache(models, again, tmp_path, unread):
    cached = tmp_path / "models--o--tiny-a"
    snapshot = cached / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (cached / "blobs").mkdir()
    for file in models[0].iterdir():
        blob = cached / "blobs" / file.name
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)
    assert again([snapshot, models[1]]).outcome == "already_published" and known(snapshot)
    moved = models[0].rename(tmp_path / "elsewhere")
    assert not known(moved)
    (cached / "blobs" / "new").write_bytes((cached / "blobs" / "config.json").read_bytes())
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(cached / "blobs" / "new")
    assert not known(snapshot)


def test_a_name_of_the_hub_is_what_the_hub_says_now(models, again, tmp_path, monkeypatch):
    from huggingface_hub import constants

    commit = "0123456789012345678901234567890123456789"
    cached = tmp_path / "hub" / "models--o--tiny-a"
    shutil.copytree(models[0], cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert again([cached / "snapshots" / commit, models[1]]).outcome == "already_published"
    source = parse_model_argument("o/tiny-a")
    assert recall_model(source) is not None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for now, remembered_still in ((commit, True), ("1" * 40, False), (None, False)):
        monkeypatch.setattr("ingest.remembered.inputs.ask_hub", lambda *_, now=now: hub.HubAnswer("there", commit=now))
        assert (recall_model(source) is not None) == remembered_still


def test_files_written_a_moment_before_are_not_remembered(models, again, monkeypatch, home):
    monkeypatch.setattr(entries, "MOMENT", 3600.0)
    again(again=True)
    assert not known(models[0]) and not list((home / "remembered").rglob("*.json"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"code": 1}', "\x00"])
def test_a_broken_memory_is_none(text, models, again, home):
    files = list((home / "remembered").rglob("*.json"))
    assert len(files) == 3
    for entry in files:
        entry.write_text(text)
    assert not known(models[0])
    assert again().outcome == "already_published" and known(models[0])


def test_another_version_of_the_code_believes_nothing(models, again, monkeypatch):
    monkeypatch.setattr(entries, "code_version", lambda: "another")
    assert not known(models[0])


@pytest.mark.parametrize("kind", ["models", "corpora"])
def test_verify_tells_and_corrects_a_lie(kind, database_url, models, again, home):
    engine = writer_engine(database_url)

    def found() -> list[tuple[str, str]]:
        findings = recompute(engine, 1, 4, 0, "cpu", Silent())
        return [(finding.status, finding.finding) for finding in findings if finding.subject == SUBJECT]

    assert found() == [("ok", "")]
    path = sorted((home / "remembered" / kind).iterdir())[0]
    entry = json.loads(path.read_text())
    if kind == "models":
        entry["facts"]["weights_sha256"] = "0" * 64
    else:
        entry["facts"]["meta"]["token_sha256"] = "0" * 64
    path.write_text(json.dumps(entry))
    ((status, finding),) = found()
    assert status == "differs" and "was remembered wrongly" in finding and "remembered rightly now" in finding
    assert found() == [("ok", "")]
    assert again().run_id == 1
    engine.dispose()


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
