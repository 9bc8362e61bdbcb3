"""The corpus as finished statistics of layers need it; what is made of it is made once and serves all layers of a job."""

import numpy as np
from jaxtyping import Int

from ingest.corpus import TokenCorpus
from ingest.corpus_cache import ROWS_AT_ONCE
from ingest.corpus_features import CorpusFeatures
from ingest.statistics.ngrams import NgramIndex, index_ngrams

ORDERS = (1, 2, 3)
"""Lengths of the n-grams."""


class SpanCorpus:
    """A corpus, its features, and its n-grams once they were asked for."""

    def __init__(self, corpus: TokenCorpus, features: CorpusFeatures) -> None:
        self.corpus = corpus
        self.features = features
        self._ngrams: dict[int, tuple[NgramIndex, ...]] = {}

    def ngrams(self, most_tokens: int) -> tuple[NgramIndex, ...]:
        """The n-grams of each length that end at one of the first `most_tokens` kept tokens."""
        if most_tokens not in self._ngrams:
            windows = kept_windows(self.corpus, most_tokens)
            self._ngrams[most_tokens] = tuple(index_ngrams(windows, n) for n in ORDERS)
        return self._ngrams[most_tokens]


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
