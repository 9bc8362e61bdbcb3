"""A repeated ingest: answered from what is remembered of files that nobody changed, and from the files wherever one did."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.errors import InputError
from catalog.server.engine import writer_engine
from ingest.checkpoints import hub
from ingest.checkpoints.arguments import parse_model_argument
from ingest.progress import Silent
from ingest.recompute.neurons import recompute
from ingest.recompute.remembered import SUBJECT
from ingest.remembered import entries
from ingest.remembered.inputs import recall_model
from ingest.settings import IngestReport
from tests import factories
from tests.acceptance.repeats import PARTS, change, known, nothing_read, own_home, same_ingest, sixty_documents, two_models

home = own_home
corpus = sixty_documents
models = two_models
again = same_ingest
unread = nothing_read

HEAVY = ("torch", "transformers", "spacy", "pandas", "datasets", "pyarrow", "procrastinate", "numba")

PROGRAM = f"""
import sys
from cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print([name for name in {HEAVY} if name in sys.modules], end.code)
"""


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

    asked = IngestSettings(tuple(map(str, models)), str(corpus), only=PARTS, controls=0, database_url=url)
    return ingest(asked, progress)


def test_a_repeated_command_loads_nothing_heavy(again, models, corpus, database_url):
    environment = os.environ | {"CATALOG_DATABASE_URL": database_url, "HF_HUB_OFFLINE": "1"}
    words = ["ingest", *map(str, models), "--corpus", str(corpus), "--only", ",".join(PARTS)]
    words += ["--intervention-tokens", "1000", "--ablation-pairs", "2", "--controls", "0"]
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
