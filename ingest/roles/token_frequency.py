"""How often tokens are the next one, and the direction of logits along which a model comes nearer to that (Stolfo et al. 2024).

P is the distribution of the tokens of the corpus that are not special, over the real ids of the vocabulary, each counted
`PSEUDO_COUNT` times more than it is, so that log P is a number where a token never occurs. v = log P about its mean, of length
1: logits that move along v are nearer to log P, or farther from it, and nothing else.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

PSEUDO_COUNT = 1.0
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class TokenFrequency:
    """Of the real ids of a vocabulary."""

    counts: Int64[np.ndarray, " ids"]

    @property
    def probability(self) -> Float64[np.ndarray, " ids"]:
        """P."""
        counts = self.counts + PSEUDO_COUNT
        return np.asarray(counts / counts.sum())

    @property
    def direction(self) -> Float64[np.ndarray, " ids"]:
        """v; 0 where all tokens are as frequent."""
        log_p = np.log(self.counts + PSEUDO_COUNT)
        about_mean = log_p - log_p.mean()
        length = float(np.linalg.norm(about_mean))
        return np.asarray(about_mean / length if length > 0 else np.zeros(len(log_p)))


def count_ids(tokens: np.ndarray, special_ids: Collection[int], n_ids: int) -> TokenFrequency:
    """Count over (rows, context) ids, a piece of the memory map at a time.

    Args:
        special_ids: BOS, EOS and PAD, which are not counted.
        n_ids: ids that are some token's; those beyond pad the vocabulary.
    """
    counts = np.zeros(n_ids, dtype=np.int64)
    for start in range(0, len(tokens), ROWS_AT_ONCE):
        counts += np.bincount(np.asarray(tokens[start : start + ROWS_AT_ONCE]).ravel(), minlength=n_ids)[:n_ids]
    counts[[i for i in special_ids if 0 <= i < n_ids]] = 0
    return TokenFrequency(counts)
