"""The cache of tokenised corpora: found again, made again when damaged, shared by processes."""

import multiprocessing
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.errors import InputError
from ingest.corpus import tokenising
from ingest.corpus.files import CorpusSource
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import tokenizer_identity
from tests.factories import byte_bpe_tokenizer, random_texts, write_jsonl

CONTEXT = 16


def test_a_second_call_reads_the_cache(tmp_path: Path, make_corpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", random_texts(20))
    first = make_corpus(path)
    monkeypatch.setattr(tokenising, "_fill", None)
    again = make_corpus(path)
    assert again.meta == first.meta
    np.testing.assert_array_equal(again.tokens, first.tokens)
    moved = path.rename(tmp_path / "other.jsonl")
    assert make_corpus(moved).meta.name == "other" and make_corpus(moved).meta.source == str(moved)


def test_whatever_changes_the_rows_changes_the_cache_entry(tmp_path: Path, make_corpus: Any, info: Any) -> None:
    documents = [{"text": text, "kind": "k"} for text in random_texts(20)]
    path = write_jsonl(tmp_path / "c.jsonl", documents)
    changes: list[dict[str, Any]] = [
        {"context": 17},
        {"max_tokens": 64},
        {"seed": 3},
        {"keep_eos": True},
        {"subset_column": "kind"},
        {"encoding": "latin-1"},
    ]
    make_corpus(path)
    for change in changes:
        make_corpus(path, **change)
    make_corpus(write_jsonl(tmp_path / "c.jsonl", documents[1:]))
    assert len(list((tmp_path / "cache").iterdir())) == len(changes) + 2


@pytest.mark.parametrize("file", ["tokens.int32", "subsets.int16", "meta.json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone"])
def test_a_damaged_cache_is_made_again(file: str, damage: str, tmp_path: Path, make_corpus: Any) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", random_texts(20))
    first = make_corpus(path)
    expected, sha256 = np.array(first.tokens), first.token_sha256
    (cached,) = (tmp_path / "cache").glob(f"*/{file}")
    content = cached.read_bytes()
    if damage == "gone":
        cached.unlink()
    else:
        cached.write_bytes(content[:-5] if damage == "truncated" else bytes([content[0] ^ 1]) + content[1:])
    again = make_corpus(path)
    assert again.token_sha256 == sha256
    np.testing.assert_array_equal(again.tokens, expected)
    assert cached.read_bytes() == content
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [cached.parent.name]


def test_nothing_is_left_of_a_failed_or_killed_attempt(tmp_path: Path, make_corpus: Any) -> None:
    good = [{"text": text} for text in random_texts(20)]
    bad = write_jsonl(tmp_path / "bad.jsonl", good)
    bad.write_text(bad.read_text() + "{\n")
    with pytest.raises(InputError):
        make_corpus(bad)
    cache = tmp_path / "cache"
    assert list(cache.iterdir()) == []
    (cache / "work-killed").mkdir()
    (cache / "work-killed" / "rows").write_text("half")
    (cache / "work-killed.lock").touch()
    make_corpus(write_jsonl(tmp_path / "good.jsonl", good))
    assert len(list(cache.iterdir())) == 1


def _tokenise_in_child(path: Path, cache: Path, answers: Any) -> None:
    tokenizer = byte_bpe_tokenizer()
    info = tokenizer_identity(tokenizer)
    corpus = tokenise(CorpusSource(str(path)), info, tokenizer, CONTEXT, None, 0, False, cache)
    answers.put((os.getpid(), corpus.token_sha256, int(np.asarray(corpus.tokens, dtype=np.int64).sum())))


def test_several_processes_at_once_make_one_cache_entry(
    tmp_path: Path, make_corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", random_texts(300))
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    children = [context.Process(target=_tokenise_in_child, args=(path, tmp_path / "cache", answers)) for _ in range(4)]
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 mistrusts a fork beside idle threads
        for child in children:
            child.start()
    found = [answers.get(timeout=120) for _ in children]
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    corpus = make_corpus(path)
    expected = (corpus.token_sha256, int(np.asarray(corpus.tokens, dtype=np.int64).sum()))
    assert {answer[1:] for answer in found} == {expected}
    assert len(list((tmp_path / "cache").iterdir())) == 1
