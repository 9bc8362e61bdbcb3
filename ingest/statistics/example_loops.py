"""Best places and samples on a CPU in one pass through memory, compiled by numba (see `ingest.statistics.loops`)."""

import numpy as np
from torch import Tensor

from ingest.statistics.loops import compiled

# Here and nowhere else: what numba has compiled is kept until this file changes.
SAMPLES = 3
"""Places kept of each bin."""
N_BINS = 64
"""Two per power of two of a positive post, from 2^-16 to 2^16; what lies outside is in the first and the last."""
BIN_SHIFT = 22
"""Bits of an fp32 below its exponent and first binary place."""
FIRST_BIN = 2 * (127 - 16)
"""Those upper bits of 2^-16."""
COMPARED = 16
"""Neurons that are compared with their least at once, for hardly ever is there a better one among them."""
BINNED = 128
"""Neurons whose bins are at hand at a time: more leave the faster memory, fewer read it in too small pieces (measured)."""


@compiled("i8(f4[::1], i8[::1])")
def _find_worst(values: np.ndarray, places: np.ndarray) -> int:
    worst = 0
    for j in range(1, len(values)):
        if values[j] < values[worst] or (values[j] == values[worst] and places[j] > places[worst]):
            worst = j
    return worst


@compiled("void(f4, i8, i8, f4[::1], i8[::1], i8[::1], i8)")
def _take(
    value: float, place: int, context: int, values: np.ndarray, places: np.ndarray, contexts: np.ndarray, worst: int
) -> None:
    """Put in a place that is better than the worst: over that of its context, if there is a worse one, else over the last."""
    slot = worst
    for j in range(len(values)):
        if contexts[j] == context and values[j] > -np.inf:
            if values[j] > value or (values[j] == value and places[j] < place):
                return
            slot = j
            break
    values[slot], places[slot], contexts[slot] = value, place, context


@compiled("void(f4[:, ::1], i8[::1], i8[::1], i8[::1], f4[:, ::1], i8[:, ::1], i8[:, ::1])")
def _best(
    post: np.ndarray,
    kept: np.ndarray,
    token_places: np.ndarray,
    token_contexts: np.ndarray,
    values: np.ndarray,
    places: np.ndarray,
    contexts: np.ndarray,
) -> None:
    width = len(values)
    worst = np.empty(width, np.int64)
    least = np.empty(width, np.float32)
    for i in range(width):
        worst[i] = _find_worst(values[i], places[i])
        least[i] = values[i, worst[i]]
    for t in range(len(kept)):
        row = post[kept[t]]
        for start in range(0, width, COMPARED):
            stop = min(start + COMPARED, width)
            n_above = 0
            for i in range(start, stop):
                n_above += row[i] >= least[i]
            if n_above == 0:
                continue
            for i in range(start, stop):
                if row[i] > least[i] or (row[i] == least[i] and token_places[t] < places[i, worst[i]]):
                    _take(row[i], token_places[t], token_contexts[t], values[i], places[i], contexts[i], worst[i])
                    worst[i] = _find_worst(values[i], places[i])
                    least[i] = values[i, worst[i]]


@compiled("void(f4, i8, i8, i8[::1], i8[::1], f4[::1])")
def _sample_one(value: float, place: int, rank: int, hashes: np.ndarray, places: np.ndarray, values: np.ndarray) -> None:
    """Put a place in by its hash; the last falls out."""
    j = len(hashes) - 1
    while j > 0 and hashes[j - 1] > rank:
        hashes[j], places[j], values[j] = hashes[j - 1], places[j - 1], values[j - 1]
        j -= 1
    hashes[j], places[j], values[j] = rank, place, value


@compiled("void(f4[:, ::1], i8[::1], i8[::1], i8[::1], i8[:, ::1], i8[:, :, ::1], i8[:, :, ::1], f4[:, :, ::1])")
def _sample(
    post: np.ndarray,
    kept: np.ndarray,
    token_places: np.ndarray,
    token_hashes: np.ndarray,
    counts: np.ndarray,
    hashes: np.ndarray,
    places: np.ndarray,
    values: np.ndarray,
) -> None:
    bits = post.view(np.int32)
    # one more bin takes what is not positive: a branch that is hard to foresee costs more
    seen = np.empty((BINNED, N_BINS + 1), np.int64)
    last = np.empty((BINNED, N_BINS + 1), np.int64)
    for start in range(0, len(counts), BINNED):
        width = min(BINNED, len(counts) - start)
        seen[:] = 0
        last[:] = -(2**63)
        for i in range(width):
            for number in range(N_BINS):
                last[i, number] = hashes[start + i, number, SAMPLES - 1]
        for t in range(len(kept)):
            row, rank = bits[kept[t], start : start + width], token_hashes[t]
            for i in range(width):
                number = min(max((row[i] >> BIN_SHIFT) - FIRST_BIN, 0), N_BINS - 1) if row[i] > 0 else N_BINS
                seen[i, number] += 1
                if rank < last[i, number]:
                    n, value = start + i, post[kept[t], start + i]
                    _sample_one(value, token_places[t], rank, hashes[n, number], places[n, number], values[n, number])
                    last[i, number] = hashes[n, number, SAMPLES - 1]
        for i in range(width):
            for number in range(N_BINS):
                counts[start + i, number] += seen[i, number]


def add_best(
    post: Tensor, kept: Tensor, token_places: Tensor, token_contexts: Tensor, values: Tensor, places: Tensor, contexts: Tensor
) -> None:
    """Put the kept tokens of one layer into lists of the best places of distinct contexts.

    Args:
        post: (tokens, width) fp32.
        kept: (kept,) int64 rows of `post` that count; token_places, token_contexts: of these, int64.
        values, places, contexts: (width, k) lists of fp32, int64, int64, contiguous; an empty entry is -inf.
    """
    tokens = [x.contiguous().numpy() for x in (post, kept, token_places, token_contexts)]
    _best(*tokens, values.numpy(), places.numpy(), contexts.numpy())


def add_samples(
    post: Tensor, kept: Tensor, token_places: Tensor, token_hashes: Tensor, counts: Tensor, hashes: Tensor, places: Tensor,
    values: Tensor,
) -> None:  # fmt: skip
    """Count the kept tokens of one layer by bin, and keep those with the least hashes of each.

    Args:
        post, kept, token_places, token_hashes: as of `add_best`.
        counts: (width, bins) int64.
        hashes, places, values: (width, bins, samples) int64, int64, fp32, by rising hash; all contiguous.
    """
    tokens = [x.contiguous().numpy() for x in (post, kept, token_places, token_hashes)]
    _sample(*tokens, counts.numpy(), hashes.numpy(), places.numpy(), values.numpy())
