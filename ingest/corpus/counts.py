"""What is counted in one pass over the rows of a corpus: tokens, tokens by row, and the windows that n-grams are made of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_array, csr_array

from ingest.corpus.rows import ROWS_AT_ONCE, TokenCorpus

MODEL_TOKENS = 10_000_000
"""Tokens of the corpus, the first rows of it, that the topic model reads; the published one read as many."""


@dataclass(frozen=True)
class TokenCounts:
    """How often each token id occurs at and before a kept position."""

    current: np.ndarray
    """(d_vocab,) int64."""
    previous: np.ndarray
    """(d_vocab,) int64."""

    @property
    def n_kept(self) -> int:
        """Positions in M_corr."""
        return int(self.current.sum())


def count_tokens(corpus: TokenCorpus, d_vocab: int, rows_at_once: int = ROWS_AT_ONCE) -> TokenCounts:
    """Count over the whole corpus, a piece of the memory map at a time."""
    current = np.zeros(d_vocab, dtype=np.int64)
    previous = np.zeros(d_vocab, dtype=np.int64)
    for start in range(0, corpus.n_rows, rows_at_once):
        rows = np.asarray(corpus.tokens[start : start + rows_at_once])
        kept = corpus.kept_mask(rows)
        current += np.bincount(rows[kept], minlength=d_vocab)
        previous += np.bincount(rows[:, :-1][kept[:, 1:]], minlength=d_vocab)
    return TokenCounts(current, previous)


def kept_windows(corpus: TokenCorpus, most_tokens: int) -> Int[np.ndarray, "3 tokens"]:
    """Each of the first kept tokens and the two before it in its row, int32, the earliest first.

    A token before the row, BOS, and what is before a BOS are -1: an n-gram ends in M_corr and has no BOS (DECISIONS, Numbers).
    Where rows begin with text, no token is BOS.
    """
    bos = -1 if corpus.bos_id is None else corpus.bos_id
    pieces, missing = [np.empty((3, 0), dtype=np.int32)], most_tokens
    for start in range(0, corpus.n_rows, ROWS_AT_ONCE):
        rows = np.asarray(corpus.tokens[start : start + ROWS_AT_ONCE])
        padded = np.pad(rows, ((0, 0), (2, 0)), constant_values=bos)
        kept = corpus.kept_mask(rows)
        one, two = padded[:, 1:-1][kept], padded[:, :-2][kept]
        window = np.stack([np.where((one == bos) | (two == bos), -1, two), np.where(one == bos, -1, one), rows[kept]])
        pieces.append(window[:, :missing])
        missing -= pieces[-1].shape[1]
        if missing == 0:
            break
    return np.concatenate(pieces, axis=1)


def row_counts(corpus: TokenCorpus, n_tokens: int) -> csr_array:
    """(rows, tokens) counts of kept positions, for the first rows of a corpus."""
    n_rows = min(corpus.n_rows, max(1, MODEL_TOKENS // corpus.meta.context))
    pieces = []
    for start in range(0, n_rows, ROWS_AT_ONCE):
        rows = np.asarray(corpus.tokens[start : min(start + ROWS_AT_ONCE, n_rows)])
        row, position = np.nonzero(corpus.kept_mask(rows))
        keys, counts = np.unique((row + start).astype(np.int64) * n_tokens + rows[row, position], return_counts=True)
        pieces.append((keys, counts))
    keys = np.concatenate([np.empty(0, dtype=np.int64), *(keys for keys, _ in pieces)])
    counts = np.concatenate([np.empty(0, dtype=np.int64), *(counts for _, counts in pieces)])
    return coo_array((counts, (keys // n_tokens, keys % n_tokens)), shape=(n_rows, n_tokens)).tocsr()
