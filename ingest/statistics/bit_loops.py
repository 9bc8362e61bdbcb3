"""Activity as bits, 64 neurons to a word: packed from activations, and counted per group of tokens, compiled by numba."""

import numpy as np
from torch import Tensor

from ingest.statistics.loops import _flat, compiled

WORD = 64
"""Neurons in a word."""


@compiled("void(f4[::1], i8, i8, i8, u8[:, ::1], i8)")
def _pack(flat: np.ndarray, stride: int, width: int, n_rows: int, bits: np.ndarray, first: int) -> None:
    for t in range(n_rows):
        row = flat[t * stride : t * stride + width]
        for w in range(len(bits)):
            here = row[w * WORD : min((w + 1) * WORD, width)]
            word = np.uint64(0)
            for i in range(len(here)):
                word |= np.uint64(here[i] > 0) << np.uint64(i)
            bits[w, first + t] = word


@compiled("void(u8, i4[::1])")
def _add_bits(word: int, counts: np.ndarray) -> None:
    for i in range(WORD):
        counts[i] += np.int32((word >> np.uint64(i)) & np.uint64(1))


@compiled("void(u8[::1], i4[::1], i4[::1], i8[:, ::1], i4[:, ::1])")
def _count(words: np.ndarray, order: np.ndarray, starts: np.ndarray, histogram: np.ndarray, large: np.ndarray) -> None:
    limit = len(histogram)
    here = np.zeros(WORD, np.int32)
    ones = np.zeros(WORD, np.int32)
    n_large = 0
    for g in range(len(starts) - 1):
        first, last = starts[g], starts[g + 1]
        if last - first == 1:
            _add_bits(words[order[first]], ones)
            continue
        here[:] = 0
        for j in range(first, last):
            _add_bits(words[order[j]], here)
        for i in range(WORD):
            if here[i] < limit:
                histogram[here[i], i] += 1
            else:
                large[n_large, i] = here[i]
        n_large += last - first >= limit
    for i in range(WORD):
        histogram[1, i] += ones[i]


@compiled("void(u8[::1], i8, i4[::1], i4[::1], i8[::1], i4[::1])")
def _count_one(
    words: np.ndarray, bit: int, order: np.ndarray, starts: np.ndarray, groups: np.ndarray, counts: np.ndarray
) -> None:
    for k in range(len(groups)):
        for j in range(starts[groups[k]], starts[groups[k] + 1]):
            counts[k] += np.int32((words[order[j]] >> np.uint64(bit)) & np.uint64(1))


def pack_positive(values: Tensor, bits: Tensor, first: int) -> None:
    """Write one bit per value, set where it is > 0.

    Args:
        values: (tokens, neurons) fp32, adjacent within a row.
        bits: (words, capacity) int64, contiguous; neuron i is bit i % 64 of word i // 64.
        first: column of the first token.
    """
    if len(values):
        flat, stride = _flat(values)
        _pack(flat, stride, values.shape[1], len(values), bits.numpy().view(np.uint64), first)


def count_bits(words: np.ndarray, order: np.ndarray, starts: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each of 64 neurons is active per group of tokens, as the distribution of these counts.

    Args:
        words: (tokens,) uint64 of 64 neurons.
        order: (grouped,) int32 tokens, those of a group together.
        starts: (groups + 1,) int32 places in `order` where groups begin.
        limit: 2 or more; smaller counts go into a histogram.
    Returns:
        (limit, 64) int64 number of groups by count (row 0 means nothing), and (groups of at least `limit` tokens, 64) int32
        counts of these, 0 where the count went into the histogram.
    """
    histogram = np.zeros((limit, WORD), dtype=np.int64)
    large = np.zeros((int((np.diff(starts) >= limit).sum()), WORD), dtype=np.int32)
    _count(words, order, starts, histogram, large)
    return histogram, large


def count_bit(words: np.ndarray, bit: int, order: np.ndarray, starts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(groups,) int32: how often one of the 64 neurons is active in each of some groups, named by (groups,) int64."""
    counts = np.zeros(len(groups), dtype=np.int32)
    _count_one(words, bit, order, starts, groups, counts)
    return counts
