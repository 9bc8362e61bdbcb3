"""What is counted in one pass over the rows of a corpus: occurrences of tokens, and the windows that n-grams are made of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from ingest.corpus_cache import ROWS_AT_ONCE, TokenCorpus


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
    """
    bos = corpus.tokens[0, 0]
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
