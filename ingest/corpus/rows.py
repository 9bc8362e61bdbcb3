"""Rows of tokens on disk: opened only if their bytes are those that were written, and made where nobody else looks."""

import fcntl
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from catalog.documents import DocumentCounts
from catalog.rows import TokenRows
from ingest.corpus.meta import BLOCKS_FILE, META_FILE, SUBSETS_FILE, TOKENS_FILE, CorpusMeta, first_rows_of
from ingest.corpus.packing import named
from ingest.corpus.tokenizer import TokenizerInfo

ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class TokenCorpus:
    """Rows of tokens on disk."""

    meta: CorpusMeta
    tokens: np.ndarray
    """(rows, context) int32, memory-mapped, read-only; column 0 is `bos_id`, or text."""
    subset_ids: np.ndarray
    """(rows,) int16 index into `subset_names`."""
    block_ids: np.ndarray
    """(rows,) int16: the block of documents that each row is of (`ingest.corpus.blocks`)."""
    masked_ids: tuple[int, ...]
    folder: Path | None = None
    """Of the cache, where they are from there."""

    @property
    def n_rows(self) -> int:
        return self.meta.n_rows

    @property
    def bos_id(self) -> int | None:
        """What every row begins with; None: rows begin with text."""
        return int(self.tokens[0, 0]) if self.meta.begins_with_bos else None

    @property
    def n_subsets(self) -> int:
        """Subsets, or one where the corpus has none."""
        return max(1, len(self.subset_names))

    @property
    def n_tokens(self) -> int:
        """Tokens, BOS included."""
        return self.meta.n_rows * self.meta.context

    @property
    def token_sha256(self) -> str:
        return self.meta.token_sha256

    @property
    def subset_names(self) -> list[str]:
        return self.meta.subset_names

    @cached_property
    def ids(self) -> np.ndarray:
        """(ids,) int64: the token ids that occur, in order; in a vocabulary of many, few do."""
        occurs = np.zeros(1 + max((int(part.max()) for part in self._parts()), default=0), dtype=bool)
        for part in self._parts():
            occurs[part] = True
        return np.flatnonzero(occurs)

    def _parts(self) -> Iterator[np.ndarray]:
        return (self.tokens[start : start + ROWS_AT_ONCE] for start in range(0, len(self.tokens), ROWS_AT_ONCE))

    def read_rows(self, numbers: np.ndarray) -> TokenRows:
        """Some rows with their subsets."""
        names = self.subset_names
        subsets = [names[number] for number in self.subset_ids[numbers]] if names else None
        return TokenRows(np.asarray(self.tokens[numbers]), subsets)

    def kept_mask(self, rows: np.ndarray) -> np.ndarray:
        """bool like `rows`: M_corr, the tokens that are neither PAD, BOS, EOS nor newline (SPEC §0.3)."""
        return ~np.isin(rows, np.array(self.masked_ids))

    def count_kept(self, end_row: int) -> int:
        """Tokens in M_corr of the rows before `end_row`."""
        starts = range(0, end_row, ROWS_AT_ONCE)
        return sum(int(self.kept_mask(self.tokens[start : min(start + ROWS_AT_ONCE, end_row)]).sum()) for start in starts)


def first_rows(corpus: TokenCorpus, n_rows: int) -> TokenCorpus:
    """The first rows of a corpus, as many as it has at most."""
    meta = first_rows_of(corpus.meta, n_rows)
    tokens, subset_ids, block_ids = (of_rows[: meta.n_rows] for of_rows in (corpus.tokens, corpus.subset_ids, corpus.block_ids))
    return replace(corpus, meta=meta, tokens=tokens, subset_ids=subset_ids, block_ids=block_ids)


def open_rows(folder: Path, info: TokenizerInfo) -> TokenCorpus | None:
    """The cached corpus, or None if there is none or its bytes are not those that were written."""
    try:
        values = json.loads((folder / META_FILE).read_text())
        meta = CorpusMeta(**values | {"documents": DocumentCounts(**values["documents"])})
        tokens = np.memmap(folder / TOKENS_FILE, dtype=np.int32, mode="r", shape=(meta.n_rows, meta.context))
        files = (folder / SUBSETS_FILE, folder / BLOCKS_FILE)
        subset_ids, block_ids = (np.frombuffer(file.read_bytes(), dtype=np.int16) for file in files)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    digest = hashlib.sha256()
    for start in range(0, meta.n_rows, 4096):
        digest.update(tokens[start : start + 4096].tobytes())
    beside = named(meta.subset_names, meta.context, info.sha256, meta.begins_with_bos)
    digest.update(subset_ids.tobytes() + block_ids.tobytes() + beside)
    if digest.hexdigest() != meta.token_sha256 or {len(subset_ids), len(block_ids)} != {meta.n_rows}:
        return None
    return TokenCorpus(meta, tokens, subset_ids, block_ids, tuple(sorted(info.masked_ids)))


@contextmanager
def work_folder(cache_dir: Path) -> Iterator[Path]:
    """A folder of this process beside the cache; those of processes that are gone are removed."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    for left in cache_dir.glob("work-*.lock"):
        with suppress(OSError), left.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its owner lives
            _remove(left)
    with tempfile.NamedTemporaryFile(prefix="work-", suffix=".lock", dir=cache_dir, delete=False) as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        folder = Path(lock_file.name).with_suffix("")
        try:
            folder.mkdir()
            yield folder
        finally:
            _remove(Path(lock_file.name))


def _remove(lock: Path) -> None:
    shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
    lock.unlink(missing_ok=True)
