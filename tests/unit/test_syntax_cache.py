"""The cache of syntax features: found again, made again when damaged, whole after a kill, and equal for any processes."""

import functools
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from ingest.corpus.rows import TokenCorpus
from ingest.corpus.syntax import DEFAULT_PIPELINE, cache, processes
from ingest.corpus.syntax.annotate import annotate, load_pipeline
from ingest.corpus.syntax.cache import SyntaxCorpus, syntax_of
from ingest.corpus.tokenizer import TokenizerInfo
from ingest.progress import Silent
from tests.factories import random_texts, write_jsonl


@pytest.fixture(autouse=True)
def load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline is loaded once for all tests: that takes longer than what they do with it."""
    monkeypatch.setattr(cache, "load_pipeline", LOADED)


LOADED = functools.cache(load_pipeline)


@pytest.fixture
def corpus(tmp_path: Path, make_corpus: Any) -> TokenCorpus:
    subsets = ("books", "code", "letters")
    rows = [{"text": text, "subset": subsets[i % 3]} for i, text in enumerate(random_texts(9))]
    return make_corpus(write_jsonl(tmp_path / "c.jsonl", rows))


@pytest.fixture
def make(corpus: TokenCorpus, info: TokenizerInfo, tmp_path: Path) -> Any:
    """`syntax_of` with defaults, into a cache of this test's own."""

    def call(**options: Any) -> SyntaxCorpus:
        settings = {"pipeline": DEFAULT_PIPELINE, "subsets": ("books", "letters"), "processes": 1, "progress": Silent()}
        return syntax_of(corpus, info, cache_dir=tmp_path / "cache", **(settings | options))

    return call


def test_the_rows_of_the_chosen_subsets_are_annotated(corpus: TokenCorpus, info: TokenizerInfo, make: Any) -> None:
    found = make()
    expected = annotate(LOADED(DEFAULT_PIPELINE).nlp, info.token_bytes, [info.bos_id], np.asarray(corpus.tokens))
    names = np.array(corpus.subset_names)[corpus.subset_ids]
    np.testing.assert_array_equal(found.annotated, names != "code")
    assert found.subsets == tuple(name for name in corpus.subset_names if name != "code")
    np.testing.assert_array_equal(found.bits[found.annotated], expected[found.annotated])
    assert found.bits[found.annotated].any() and not found.bits[~found.annotated].any()
    np.testing.assert_array_equal(found.features(2, 5), np.unpackbits(found.bits[2:5], axis=2)[..., :87].astype(bool))


def test_a_corpus_without_subsets_is_annotated_whole(tmp_path: Path, make_corpus: Any, info: TokenizerInfo) -> None:
    plain = make_corpus(write_jsonl(tmp_path / "p.jsonl", random_texts(3)))
    found = syntax_of(plain, info, DEFAULT_PIPELINE, ("books",), tmp_path / "cache", Silent(), 1)
    assert found.annotated.all() and found.bits.any(axis=(1, 2)).all()


def test_a_second_call_reads_the_cache(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make()
    monkeypatch.setattr(cache, "Annotator", None)
    np.testing.assert_array_equal(make().bits, first.bits)
    np.testing.assert_array_equal(make(subsets=("letters", "books", "unknown")).bits, first.bits)
    with pytest.raises(TypeError):
        make(subsets=("books",))


@pytest.mark.parametrize("file", ["features.bits", "meta.json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "longer", "gone"])
def test_a_damaged_cache_is_made_again(file: str, damage: str, make: Any, tmp_path: Path) -> None:
    expected = np.array(make().bits)
    (cached,) = (tmp_path / "cache").glob(f"syntax-*/{file}")
    content = cached.read_bytes()
    if damage == "gone":
        cached.unlink()
    else:
        changed = {"flipped": bytes([content[0] ^ 1]) + content[1:], "truncated": content[:-5], "longer": content + b"x"}
        cached.write_bytes(changed[damage])
    np.testing.assert_array_equal(make().bits, expected)
    assert cached.read_bytes() == content
    assert not list((tmp_path / "cache").glob("work-*"))


@pytest.fixture
def no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which new interpreters find that there is no torch, which spaCy would load for seconds and not use here."""
    folder = tmp_path / "no-torch"
    folder.mkdir()
    (folder / "torch.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(folder)
    return folder


def test_processes_change_nothing_and_progress_is_told(
    make: Any, corpus: TokenCorpus, monkeypatch: pytest.MonkeyPatch, no_torch: Path
) -> None:
    monkeypatch.setattr(processes, "TOKENS_AT_ONCE", 20 * corpus.meta.context)
    monkeypatch.setattr(cache, "processors", lambda: 2)
    expected = make()

    class Counting(Silent):
        total = told = 0

        def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
            self.total = total or 0

        def advance(self, amount: int) -> None:
            self.told += amount

    progress = Counting()
    monkeypatch.setattr(cache, "_open", lambda folder, corpus: None if folder.name != "made" else opened(folder, corpus))
    found = make(processes=None, progress=progress)
    np.testing.assert_array_equal(found.bits, expected.bits)
    assert progress.told == progress.total == expected.annotated.sum() * corpus.meta.context > 0


opened = cache._open

KILLED = """
import os, pickle, signal, sys
from pathlib import Path

class Killing:
    def phase(self, name, total, unit):
        pass

    def advance(self, amount):
        import psutil

        print(*(child.pid for child in psutil.Process().children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":  # what stands above is imported by every process
    from ingest.corpus.syntax import processes
    from ingest.corpus.syntax.cache import syntax_of

    given, pipeline, cache = map(Path, sys.argv[1:])
    processes.TOKENS_AT_ONCE = 64
    corpus, info = pickle.loads(given.read_bytes())
    syntax_of(corpus, info, str(pipeline), (), cache, Killing(), 2)
"""


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_kill_leaves_no_half_cache_and_no_process(
    tmp_path: Path, make_corpus: Any, info: TokenizerInfo, no_torch: Path
) -> None:
    import spacy

    corpus = make_corpus(write_jsonl(tmp_path / "c.jsonl", random_texts(5)))
    script, given, pipeline = (tmp_path / name for name in ("killed.py", "given", "pipeline"))
    script.write_text(KILLED)
    given.write_bytes(pickle.dumps((corpus, info)))
    spacy.blank("en").to_disk(pipeline)  # which loads fast
    environment = os.environ | {"PYTHONPATH": f"{no_torch}{os.pathsep}{Path(__file__).parents[2]}"}
    command = [sys.executable, *map(str, (script, given, pipeline, tmp_path / "cache"))]
    killed = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    children = [int(pid) for pid in killed.stdout.split()]
    assert children
    deadline = time.monotonic() + 120
    while any(map(is_running, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, children))

    assert list((tmp_path / "cache").glob("work-*")) and not list((tmp_path / "cache").glob("syntax-*"))
    found = syntax_of(corpus, info, DEFAULT_PIPELINE, (), tmp_path / "cache", Silent(), 1)
    assert found.bits.any()
    assert not list((tmp_path / "cache").glob("work-*"))
