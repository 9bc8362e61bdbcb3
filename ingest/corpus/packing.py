"""Streams of token ids to rows: each subset's documents block by block, cut into rows, behind a BOS or not, and shuffled.

A row holds tokens of one block of one subset (`ingest.corpus.blocks`); the last partial row of each is dropped.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ingest.corpus.blocks import deal
from ingest.corpus.meta import BLOCKS_FILE, SUBSETS_FILE, TOKENS_FILE
from ingest.statistics.jackknife import N_BLOCKS

ROWS_AT_ONCE = 4096
TOKENS_AT_ONCE = 2**24
"""Tokens that are brought into the order of blocks at a time."""


class Streams:
    """Token ids of each subset, appended to one file each, with the length and the hash of every document."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.names: list[str] = []
        self._lengths: list[array[int]] = []
        self._hashes: list[array[int]] = []

    def append(self, subset: str, ids: list[int], text_hash: int) -> None:
        """Add one document."""
        if subset not in self.names:
            self.names.append(subset)
            self._lengths.append(array("q"))
            self._hashes.append(array("Q"))
        index = self.names.index(subset)
        self._lengths[index].append(len(ids))
        self._hashes[index].append(text_hash)
        with (self.folder / f"{index}.int32").open("ab") as file:
            file.write(np.array(ids, dtype=np.int32).tobytes())

    @property
    def longest(self) -> int:
        """Tokens of the largest subset."""
        return max(sum(lengths) for lengths in self._lengths)

    def in_blocks(self, width: int) -> "list[BlockedStream]":
        """The streams of all subsets with their documents block by block; the files are written anew.

        Args:
            width: tokens of a row, without BOS.
        """
        return [self._blocked(index, width) for index in range(len(self.names))]

    def _blocked(self, index: int, width: int) -> "BlockedStream":
        lengths = np.array(self._lengths[index], dtype=np.int64)
        blocks = deal(self.names[index], np.array(self._hashes[index], dtype=np.uint64), int(lengths.sum()) // width)
        order = np.argsort(blocks, kind="stable")
        path, ordered = self.folder / f"{index}.int32", self.folder / f"{index}.blocks.int32"
        if lengths.sum():
            tokens = np.memmap(path, dtype=np.int32, mode="r")
            ends = lengths.cumsum()
            with ordered.open("wb") as file:
                for piece in _pieces(order, lengths):
                    file.write(np.concatenate([tokens[ends[i] - lengths[i] : ends[i]] for i in piece]).tobytes())
        path.unlink(missing_ok=True)
        return BlockedStream(ordered, width, blocks[order], lengths[order])


def _pieces(order: np.ndarray, lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Documents in order, about `TOKENS_AT_ONCE` tokens at a time."""
    yield from np.split(order, np.flatnonzero(np.diff(lengths[order].cumsum() // TOKENS_AT_ONCE)) + 1)


@dataclass(frozen=True)
class BlockedStream:
    """The tokens of one subset, block after block."""

    path: Path
    width: int
    """Tokens of a row, without BOS."""
    blocks: np.ndarray
    """(documents,) the block of each, ascending."""
    lengths: np.ndarray
    """(documents,) tokens of each."""

    def block_tokens(self) -> np.ndarray:
        """(N_BLOCKS,) tokens of each block."""
        return np.bincount(self.blocks, weights=self.lengths, minlength=N_BLOCKS).astype(np.int64)

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each full row its block, and where it begins in the stream."""
        tokens = self.block_tokens()
        n_rows = tokens // self.width
        first = np.repeat(tokens.cumsum() - tokens, n_rows)
        within = np.concatenate([np.arange(n) for n in n_rows])
        return np.repeat(np.arange(N_BLOCKS), n_rows), first + within * self.width

    def documents_in(self, starts: np.ndarray) -> int:
        """How many documents have a token in the rows that begin at these places."""
        kept = np.zeros(int(self.lengths.sum()) + 1, dtype=np.int32)
        np.add.at(kept, starts, 1)
        np.add.at(kept, starts + self.width, -1)
        before = np.concatenate([[0], (kept[:-1].cumsum() > 0).cumsum()])
        ends = self.lengths.cumsum()
        return int(np.count_nonzero(before[ends] > before[ends - self.lengths]))


class Packed(NamedTuple):
    """Rows that were written."""

    n_rows: int
    n_documents: int
    """With a token in them."""
    sha256: str
    without_rows: list[str]
    """Subsets with too few tokens for one."""


def pack(
    streams: Streams, folder: Path, bos_id: int | None, context: int, most_tokens: int | None, seed: int, info: str
) -> Packed:
    """Cut, shuffle and write rows with their subsets and blocks; no rows are written where there is none.

    Args:
        bos_id: what rows begin with; None: they begin with text.
        context: tokens of a row, BOS included.
        most_tokens: cut after the shuffle, BOS counted; None keeps all rows.
        info: sha256 of the tokenizer, which enters the hash.
    """
    blocked = streams.in_blocks(context - (bos_id is not None))
    cut = [stream.rows() for stream in blocked]
    n_rows = [len(starts) for _, starts in cut]
    subsets = np.repeat(np.arange(len(cut), dtype=np.int16), n_rows)
    blocks, starts = (np.concatenate([rows[i] for rows in cut]) for i in (0, 1))
    order = np.random.default_rng(seed).permutation(len(subsets))
    if most_tokens is not None:
        order = order[: -(-most_tokens // context)]
    subsets, blocks, starts = subsets[order], blocks[order].astype(np.int16), starts[order]
    digest = hashlib.sha256()
    if len(order):
        with (folder / TOKENS_FILE).open("wb") as file:
            for rows in _rows(blocked, subsets, starts, bos_id, context):
                file.write(rows.tobytes())
                digest.update(rows.tobytes())
    for name, values in ((SUBSETS_FILE, subsets), (BLOCKS_FILE, blocks)):
        (folder / name).write_bytes(values.tobytes())
        digest.update(values.tobytes())
    digest.update(named(streams.names if streams.names != [""] else [], context, info, bos_id is not None))
    return Packed(
        n_rows=len(order),
        n_documents=sum(stream.documents_in(starts[subsets == i]) for i, stream in enumerate(blocked)),
        sha256=digest.hexdigest(),
        without_rows=[name for name, n in zip(streams.names, n_rows, strict=True) if n == 0],
    )


def named(subsets: list[str], context: int, info: str, begins_with_bos: bool) -> bytes:
    """What enters the hash of rows beside their bytes.

    Args:
        info: sha256 of the tokenizer.
    """
    return json.dumps([subsets, context, info, *([] if begins_with_bos else ["without BOS"])]).encode()


def _rows(
    streams: list[BlockedStream], subsets: np.ndarray, starts: np.ndarray, bos_id: int | None, context: int
) -> Iterator[np.ndarray]:
    """(up to 4096, context) int32 at a time."""
    maps = {i: np.memmap(streams[i].path, dtype=np.int32, mode="r") for i in np.unique(subsets)}
    text = 0 if bos_id is None else 1
    for first in range(0, len(subsets), ROWS_AT_ONCE):
        piece = np.empty((min(ROWS_AT_ONCE, len(subsets) - first), context), dtype=np.int32)
        if bos_id is not None:
            piece[:, 0] = bos_id
        for i in range(len(piece)):
            start = starts[first + i]
            piece[i, text:] = maps[subsets[first + i]][start : start + context - text]
        yield piece
