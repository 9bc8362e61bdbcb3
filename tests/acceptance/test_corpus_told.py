"""What a corpus loses is told on stderr, kept in `corpora` and with the run, and shown by `catalog runs show`."""

import json
from pathlib import Path

import pytest

from ingest.corpus.tokenizer import tokenizer_identity
from ingest.inputs import open_corpus
from ingest.progress import Silent
from ingest.settings import from_record
from tests import factories
from tests.acceptance.ingests import rows, tiny_family
from tests.commands import run_catalog

catalog = run_catalog
TEXTS = factories.random_texts(60)
COUNTS = (
    "SELECT n_documents_kept, n_documents_repaired, n_documents_null, "
    "n_documents_not_text, n_documents_empty, n_documents_short"
)


@pytest.fixture
def settings(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("CATALOG_DATABASE_URL", database_url)
    monkeypatch.setenv("CATALOG_HOME", str(tmp_path / "home"))
    return monkeypatch


def folder_of(place: Path, *odd: object) -> Path:
    """A folder of two corpus files, two others, and documents that are odd."""
    (place / "deep").mkdir(parents=True)
    texts = [{"text": text, "subset": "ab"[i % 2]} for i, text in enumerate(TEXTS)]
    factories.write_jsonl(place / "one.JSONL", texts[:30])
    factories.write_jsonl(place / "deep" / "two.jsonl", [*texts[30:], *({"text": value} for value in odd)])
    (place / "README.md").write_text("# texts")
    (place / "dataset_infos.json").write_text(json.dumps({"features": {"text": "string"}}))
    return place


def test_an_ingest_tells_what_it_left_out_and_the_run_keeps_it(catalog, database_url: str, tmp_path: Path) -> None:
    models = [str(model) for model in tiny_family(tmp_path, "ab")]
    first = folder_of(tmp_path / "first", None, 3, "", "short", "lone \ud800 " * 20)
    dropped = "4 of 65 documents of {} are dropped: 1 null or absent, 1 no text but numbers, lists or the like, "
    dropped += "1 empty, 1 of 50"
    for attempt in ("fresh", "from the cache"):
        answer = catalog("ingest", *models, "--corpus", str(first), "--only", "activations", "--controls", "0")
        assert answer.code == 0 and answer.out == "", attempt
        said = " ".join(answer.err.split())
        assert dropped.format(first) in said
        assert "1 of 61 documents hold halves of surrogate pairs" in said
        told = "1 with another ending (README.md); 1 without a column 'text'"
        assert f"2 files are left out of the folder {first}: {told}" in said
    shown = catalog("runs", "show", "1", "--format", "json").rows["identity"]
    assert shown["files_left_out"] == {"README.md": "with another ending", "dataset_infos.json": "without a column 'text'"}
    counts = {"kept": 61, "repaired": 1, "null": 1, "not_text": 1, "empty": 1, "short": 1}
    assert {name: shown[f"documents_{name}"] for name in counts} == counts
    assert (shown["n_files_left_out"], shown["subsets_without_rows"]) == (2, [])
    assert rows(database_url, f"{COUNTS}, n_files_left_out FROM corpora") == [(*counts.values(), 2)]
    page = catalog("runs", "show", "1").out
    assert "documents_null" in page and "README.md" in page


def test_two_sources_of_the_same_tokens_have_their_own_counts(catalog, database_url: str, tmp_path: Path) -> None:
    """The tokens are one corpus; what was dropped on the way to them is each run's own."""
    models = [str(model) for model in tiny_family(tmp_path, "ab")]
    for number, odd in ((0, [None]), (1, [None, None, 7])):
        source = folder_of(tmp_path / f"source{number}", *odd)
        alone = ("--only", "activations", "--controls", "0")
        answer = catalog("ingest", models[number], "--corpus", str(source), *alone, "--exclude", "*.json")
        assert answer.code == 0, answer.err
        shown = catalog("runs", "show", str(number + 1), "--format", "json").rows["identity"]
        assert (shown["documents_kept"], shown["documents_null"], shown["documents_not_text"]) == (60, 1 + number, number)
        assert shown["files_left_out"]["dataset_infos.json"] == "by --include or --exclude"
    assert rows(database_url, "SELECT count(*), max(n_documents_null) FROM corpora") == [(1, 1)]


def test_the_recorded_settings_read_the_same_text_again(catalog, database_url: str, tmp_path: Path) -> None:
    """As workers, verify and intervene do: encoding and choice of files come from the run."""
    folder = tmp_path / "texts"
    folder.mkdir()
    texts = [f"déjà vu {text}" for text in TEXTS]
    content = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode("latin-1")
    (folder / "a.jsonl").write_bytes(content)
    (folder / "b.jsonl").write_bytes(content[:100])
    (model,) = tiny_family(tmp_path, "a")
    arguments = ("ingest", str(model), "--corpus", str(folder), "--only", "activations", "--controls", "0", "--include", "a.*")
    refused = catalog(*arguments)
    assert refused.code == 1 and "a.jsonl is not UTF-8: byte 0xe9 at offset 11" in " ".join(refused.err.split())
    assert catalog(*arguments, "--encoding", "latin-1").code == 0
    ((record, sha256),) = rows(
        database_url, "SELECT r.settings, c.token_sha256 FROM runs r JOIN corpora c ON c.id = r.corpus_id"
    )
    settings = from_record(record["read_as"])
    assert (settings.encoding, settings.include) == ("latin-1", ("a.*",))
    tokenizer = factories.byte_bpe_tokenizer()
    again = open_corpus(settings, tokenizer_identity(tokenizer), tokenizer, record["context"], Silent())
    assert again.token_sha256 == sha256
    assert catalog("verify", "1", "--sample", "2").code == 0


def test_a_run_without_a_corpus_says_nothing_of_documents(catalog, tmp_path: Path) -> None:
    (model,) = tiny_family(tmp_path, "a")
    assert catalog("ingest", str(model), "--only", "weights").code == 0
    shown = catalog("runs", "show", "1", "--format", "json").rows["identity"]
    assert shown["documents_kept"] is None and shown["files_left_out"] is None


@pytest.mark.parametrize("command", ["ingest", "plan"])
def test_a_missing_corpus_is_told_as_missing_before_any_model_is_opened(command: str, catalog, tmp_path: Path) -> None:
    answer = catalog(command, str(tmp_path / "no model"), "--corpus", str(tmp_path / "texts"))
    assert answer.code == 1 and answer.out == ""
    said = " ".join(answer.err.split())
    assert "no such file or folder" in said and "hub is" not in said and "no model" not in said.replace(str(tmp_path), "")


def test_a_name_that_is_nowhere_is_told_as_neither_here_nor_on_the_hub(catalog, tmp_path: Path) -> None:
    (model,) = tiny_family(tmp_path, "a")
    answer = catalog("plan", str(model), "--corpus", "no-such-folder", "--only", "activations", "--controls", "0")
    assert answer.code == 1
    said = " ".join(answer.err.split())
    assert "there is no corpus 'no-such-folder' here, and the hub cannot be asked for such a data set" in said


def test_a_plan_counts_the_tokens_that_the_ingest_would_read(catalog, tmp_path: Path) -> None:
    (model,) = tiny_family(tmp_path, "a")
    folder = folder_of(tmp_path / "texts")
    tokens = []
    for options in ((), ("--exclude", "deep"), ("--include", "deep"), ("--subset-column", "")):
        answer = catalog("plan", str(model), "--corpus", str(folder), "--only", "activations", "--format", "json", *options)
        assert answer.code == 0, answer.err
        tokens.append(max(job["tokens"] for job in answer.rows))
        assert "are left out of the folder" in " ".join(answer.err.split())
    whole, one, two, unnamed = tokens
    assert one < whole > two and abs(whole - one - two) <= 4 * 32 and whole <= unnamed
