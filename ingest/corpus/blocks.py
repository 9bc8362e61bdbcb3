"""Documents are dealt into blocks by hash, within each subset: what standard errors and held-out scores stand on.

Documents of equal text are always together, so that blocks are independent of each other. A subset of few tokens is dealt into
fewer blocks, for each block ends in a partial row, which is dropped; which ones these are depends on the subset's name, so that
small subsets do not all lie in the same blocks, and both halves of the blocks (`ingest.statistics.jackknife.HALF`) have theirs.
"""

import hashlib

import numpy as np
from jaxtyping import Int, UInt

from ingest.statistics.jackknife import N_BLOCKS

ROWS_PER_BLOCK = 4
"""Rows that a block of a subset has at least, about: half a row of each is lost."""


def text_hash(text: str) -> int:
    """64 bits of a text, the same everywhere."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def deal(subset: str, hashes: UInt[np.ndarray, " documents"], n_rows: int) -> Int[np.ndarray, " documents"]:
    """The block of each document of a subset.

    Args:
        hashes: uint64, of the documents' texts.
        n_rows: full rows that the subset's tokens would make.
    Returns:
        int16, each in [0, N_BLOCKS).
    """
    distinct, place = np.unique(hashes, return_inverse=True)
    n_blocks = max(1, min(N_BLOCKS, n_rows // ROWS_PER_BLOCK, len(distinct)))
    spread = np.arange(n_blocks) * N_BLOCKS // n_blocks
    first = text_hash(subset) % N_BLOCKS
    return ((spread[place % n_blocks] + first) % N_BLOCKS).astype(np.int16)
