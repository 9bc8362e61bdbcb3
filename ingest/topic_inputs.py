"""What topics are found in: how often each token occurs in each row of a corpus."""

import numpy as np
from scipy.sparse import coo_array, csr_array

from ingest.corpus_cache import ROWS_AT_ONCE, TokenCorpus

MODEL_TOKENS = 10_000_000
"""Tokens of the corpus, the first rows of it, that the model reads; the published one read as many."""


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
