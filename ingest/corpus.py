"""Text to rows of tokens: tokenised per document, packed per subset, shuffled, hashed, and memory-mapped (SPEC §1).

1. every kept document is tokenised and appended to a file of its subset (nothing is held but one batch of documents);
2. each subset's stream is cut into rows of context-1 tokens behind a BOS; the last partial row is dropped;
3. rows of all subsets are shuffled by the seed, then cut to `max_tokens`, so that every subset stays;
4. the row file is renamed into the cache under the hash of all that went into it, with its own sha256 beside it.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from catalog.errors import InputError
from ingest.documents import CorpusSource, Document, content_key, read_documents
from ingest.tokenizer import TokenizerInfo

SHORTEST_DOCUMENT = 50
"""Documents must have more characters than this."""
BATCH_CHARACTERS = 2_000_000
PIECE_CHARACTERS = 100_000
"""A longer document is tokenised in pieces cut at line ends or spaces, so that one line of a megabyte stays quick."""
FORMAT_VERSION = 1

OnProgress = Callable[[int], None]
"""Told the number of documents done since the last call."""


@dataclass(frozen=True)
class CorpusMeta:
    """What is written beside the rows."""

    name: str
    source: str
    revision: str | None
    split: str | None
    context: int
    n_rows: int
    subset_names: list[str]
    token_sha256: str
    n_documents: int
    n_short: int
    """Documents dropped because they are too short, or are no text."""


@dataclass(frozen=True)
class TokenCorpus:
    """Rows of tokens on disk."""

    meta: CorpusMeta
    tokens: np.ndarray
    """(rows, context) int32, memory-mapped, read-only; column 0 is BOS."""
    subset_ids: np.ndarray
    """(rows,) int16 index into `subset_names`."""
    masked_ids: tuple[int, ...]

    @property
    def n_rows(self) -> int:
        return self.meta.n_rows

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

    def kept_mask(self, rows: np.ndarray) -> np.ndarray:
        """bool like `rows`: M_corr, the tokens that are neither PAD, BOS, EOS nor newline (SPEC §0.3)."""
        return ~np.isin(rows, np.array(self.masked_ids))


def tokenise(
    source: CorpusSource,
    info: TokenizerInfo,
    tokenizer: PreTrainedTokenizerBase,
    context: int,
    max_tokens: int | None,
    seed: int,
    keep_eos: bool,
    cache_dir: Path,
    progress: OnProgress | None = None,
) -> TokenCorpus:
    """The corpus from the cache, or made now.

    Args:
        context: tokens per row, BOS included.
        max_tokens: cut after the shuffle, BOS counted; None keeps all rows.
        keep_eos: put an end-of-text id (masked) between documents.
    Raises:
        InputError: no such corpus, no text column, no documents, or not one full row.
    """
    ingredients = {
        "format": FORMAT_VERSION,
        "content": content_key(source),
        "columns": [source.text_column, source.subset_column],
        "tokenizer": info.sha256,
        "context": context,
        "max_tokens": max_tokens,
        "seed": seed,
        "keep_eos": keep_eos,
    }
    key = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()
    folder = cache_dir / key[:32]
    cached = _open(folder, info)
    if cached is not None:
        return cached
    with _work_folder(cache_dir) as work:
        streams = _Streams(work / "streams")
        counts = _fill(streams, source, info, tokenizer, keep_eos, progress)
        made = work / "made"
        made.mkdir()
        _pack(made, streams, source, info, context, max_tokens, seed, counts)
        if folder.exists():
            shutil.rmtree(folder)  # damaged, or it would have been opened
        try:
            made.rename(folder)
        except OSError:
            pass  # another process was quicker; its rows are the same
    opened = _open(folder, info)
    if opened is None:
        raise InputError(f"the tokenised corpus in {folder} is damaged; delete the folder and repeat the command.")
    return opened


class _Streams:
    """Token ids of each subset, appended to one file each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.names: list[str] = []
        self.lengths: list[int] = []

    def path(self, index: int) -> Path:
        return self.folder / f"{index}.int32"

    def append(self, subset: str, ids: list[int]) -> None:
        if subset not in self.names:
            self.names.append(subset)
            self.lengths.append(0)
        index = self.names.index(subset)
        self.lengths[index] += len(ids)
        with self.path(index).open("ab") as file:
            file.write(np.array(ids, dtype=np.int32).tobytes())


def _fill(
    streams: _Streams,
    source: CorpusSource,
    info: TokenizerInfo,
    tokenizer: PreTrainedTokenizerBase,
    keep_eos: bool,
    progress: OnProgress | None,
) -> tuple[int, int]:
    """Tokenise all documents; returns how many were kept and how many were not."""
    kept = dropped = 0
    for batch in _batches(read_documents(source)):
        usable = [document for document in batch if document.text is not None and len(document.text) > SHORTEST_DOCUMENT]
        dropped += len(batch) - len(usable)
        kept += len(usable)
        for document, ids in zip(usable, _token_ids(tokenizer, usable), strict=True):
            streams.append(document.subset, [*ids, info.eos_id] if keep_eos else ids)
        if progress is not None:
            progress(len(batch))
    if kept == 0:
        raise InputError(
            f"{source.location} has no document of more than {SHORTEST_DOCUMENT} characters ({dropped} are shorter or empty); "
            "give another corpus."
        )
    return kept, dropped


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text or "")
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _token_ids(tokenizer: PreTrainedTokenizerBase, documents: list[Document]) -> list[list[int]]:
    """Ids per document; special tokens written out in the text are text."""
    pieces: list[str] = []
    owner: list[int] = []
    for index, document in enumerate(documents):
        # a lone surrogate is no character of any encoding
        text = (document.text or "").encode("utf-8", errors="replace").decode("utf-8")
        for piece in cut(text):
            pieces.append(piece)
            owner.append(index)
    encoded = tokenizer(pieces, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    result: list[list[int]] = [[] for _ in documents]
    for index, ids in zip(owner, encoded, strict=True):
        result[index].extend(ids)
    return result


def cut(text: str) -> Iterator[str]:
    """Pieces of at most `PIECE_CHARACTERS`, cut before a newline, else before a space, else anywhere."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        end = start + PIECE_CHARACTERS
        at = max(text.rfind("\n", start + 1, end), text.rfind(" ", start + 1, end))
        end = at if at > start else end
        yield text[start:end]
        start = end
    yield text[start:]


def _pack(
    folder: Path,
    streams: _Streams,
    source: CorpusSource,
    info: TokenizerInfo,
    context: int,
    max_tokens: int | None,
    seed: int,
    counts: tuple[int, int],
) -> None:
    """Cut, shuffle and write the rows, with their hash."""
    n_rows = np.array([length // (context - 1) for length in streams.lengths])
    if n_rows.sum() == 0:
        raise InputError(
            f"{source.location} has {max(streams.lengths)} tokens in its largest subset, too few for one row of {context}; "
            f"give more text or a smaller --context."
        )
    subset_of = np.repeat(np.arange(len(n_rows)), n_rows)
    row_of = np.concatenate([np.arange(n) for n in n_rows])
    order = np.random.default_rng(seed).permutation(len(subset_of))
    if max_tokens is not None:
        order = order[: -(-max_tokens // context)]
    maps = [
        np.memmap(streams.path(i), dtype=np.int32, mode="r")[: n * (context - 1)].reshape(n, context - 1) if n else None
        for i, n in enumerate(n_rows)
    ]
    digest = hashlib.sha256()
    with (folder / "tokens.int32").open("wb") as file:
        for start in range(0, len(order), 4096):
            rows = np.full((len(order[start : start + 4096]), context), info.bos_id, dtype=np.int32)
            for i, row in enumerate(order[start : start + 4096]):
                stream = maps[subset_of[row]]
                assert stream is not None
                rows[i, 1:] = stream[row_of[row]]
            file.write(rows.tobytes())
            digest.update(rows.tobytes())
    names = streams.names if streams.names != [""] else []
    subset_ids = subset_of[order].astype(np.int16)
    (folder / "subsets.int16").write_bytes(subset_ids.tobytes())
    digest.update(subset_ids.tobytes() + json.dumps([names, context]).encode())
    meta = CorpusMeta(
        name=source.name,
        source=source.location,
        revision=source.revision,
        split=source.split,
        context=context,
        n_rows=len(order),
        subset_names=names,
        token_sha256=digest.hexdigest(),
        n_documents=counts[0],
        n_short=counts[1],
    )
    (folder / "meta.json").write_text(json.dumps(asdict(meta)))


def _open(folder: Path, info: TokenizerInfo) -> TokenCorpus | None:
    """The cached corpus, or None if there is none or its bytes are not those that were written."""
    try:
        meta = CorpusMeta(**json.loads((folder / "meta.json").read_text()))
        tokens = np.memmap(folder / "tokens.int32", dtype=np.int32, mode="r", shape=(meta.n_rows, meta.context))
        subset_ids = np.frombuffer((folder / "subsets.int16").read_bytes(), dtype=np.int16)
    except (OSError, ValueError, TypeError):
        return None
    digest = hashlib.sha256()
    for start in range(0, meta.n_rows, 4096):
        digest.update(tokens[start : start + 4096].tobytes())
    digest.update(subset_ids.tobytes() + json.dumps([meta.subset_names, meta.context]).encode())
    if digest.hexdigest() != meta.token_sha256 or len(subset_ids) != meta.n_rows:
        return None
    return TokenCorpus(meta, tokens, subset_ids, tuple(sorted(info.masked_ids)))


@contextmanager
def _work_folder(cache_dir: Path) -> Iterator[Path]:
    """A folder of this process beside the cache; those of processes that are gone are removed."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    for left in cache_dir.glob("work-*"):
        pid = left.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"work-{os.getpid()}-", dir=cache_dir))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
