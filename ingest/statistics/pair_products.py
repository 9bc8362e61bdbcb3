"""Sums of products of chosen pairs of neurons over tokens: a few partners of each neuron, out of many.

Where a neuron has a large share of all neurons as partners, a product of matrices is faster although it makes all of them;
where it has few, a loop over the pairs on a CPU, or a product of gathered rows on a GPU.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ingest.statistics.loops import compiled

TOKENS_AT_ONCE = 512
"""Tokens that a loop sums in fp32, over all pairs of a neuron: so many activations of a layer stay near the processor."""
CPU_RATIO = 8
"""Times as long as one product of a matrix product that the product of a chosen pair takes on a CPU: measured 3 for 768
neurons, whose activations stay in its cache, and 9 to 12 for 6,144 and more."""
GPU_RATIO = 128
"""The same on a GPU, whose matrix products are much faster than its memory."""
GATHERED_BYTES = 256 * 2**20
"""Of gathered rows at a time."""
DENSE_BYTES = 64 * 2**20
"""Of a matrix product at a time."""

Together = Callable[[Sequence[Callable[[], None]]], None]
"""Does what touches different memory, several at a time."""


def cost_per_pair(n_others: int, k: int, ratio: int = CPU_RATIO) -> float:
    """Products of a matrix product in whose time those of one neuron with k of `n_others` neurons are summed."""
    return float(min(n_others, k * ratio))


@compiled("UniTuple(f4, 4)(f4[::1], f4[::1], f4[::1], f4[::1], f4[::1])", fastmath={"contract", "nsz", "reassoc"})
def _four_dots(x: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> tuple[np.float32, ...]:
    of_a = of_b = of_c = of_d = np.float32(0)
    for t in range(len(x)):
        of_a += x[t] * a[t]
        of_b += x[t] * b[t]
        of_c += x[t] * c[t]
        of_d += x[t] * d[t]
    return of_a, of_b, of_c, of_d


@compiled("void(f4[:, ::1], f4[:, ::1], i8[:, ::1], f8[:, ::1], i8, i8)")
def _chosen(x: np.ndarray, y: np.ndarray, partners: np.ndarray, sums: np.ndarray, first: int, end: int) -> None:
    n_tokens, k = x.shape[1], partners.shape[1]
    for start in range(0, n_tokens, TOKENS_AT_ONCE):
        stop = min(start + TOKENS_AT_ONCE, n_tokens)
        for i in range(first, end):
            row = x[i, start:stop]
            for place in range(0, k, 4):
                # a neuron past the last is the last again, and one that is missing is any: neither is added
                a = max(partners[i, place], 0)
                b = max(partners[i, min(place + 1, k - 1)], 0)
                c = max(partners[i, min(place + 2, k - 1)], 0)
                d = max(partners[i, min(place + 3, k - 1)], 0)
                dots = _four_dots(row, y[a, start:stop], y[b, start:stop], y[c, start:stop], y[d, start:stop])
                for j in range(min(4, k - place)):
                    sums[i, place + j] += dots[j]


def add_pair_products(x: Tensor, y: Tensor, partners: Tensor, sums: Tensor, together: Together, pieces: int) -> None:
    """Add Σₜ xᵢₜ yⱼₜ of each neuron i and each of its partners j.

    Args:
        x: (n, tokens) fp32, contiguous.
        y: (others, tokens) fp32, contiguous.
        partners: (n, k) int64 rows of y; what is added where one is below 0 means nothing.
        sums: (n, k) float64, contiguous.
        pieces: in how many the loop over pairs is divided, for as many threads.
    """
    n, k = partners.shape
    if not x.shape[1] or not n:
        return
    if k * (CPU_RATIO if x.device.type == "cpu" else GPU_RATIO) >= len(y):
        _add_dense(x, y, partners, sums)
    elif x.device.type == "cpu":
        arrays = x.numpy(), y.numpy(), partners.numpy(), sums.numpy()
        edges = [n * piece // pieces for piece in range(pieces + 1)]
        together([partial(_chosen, *arrays, first, end) for first, end in pairwise(edges)])
    else:
        _add_gathered(x, y, partners, sums)


def _add_dense(x: Tensor, y: Tensor, partners: Tensor, sums: Tensor) -> None:
    step = max(1, DENSE_BYTES // (4 * len(y)))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        sums[rows] += (x[rows] @ y.T).gather(1, partners[rows].clamp_min(0))


def _add_gathered(x: Tensor, y: Tensor, partners: Tensor, sums: Tensor) -> None:
    n_tokens, k = x.shape[1], partners.shape[1]
    step = max(1, GATHERED_BYTES // (4 * n_tokens * k))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        gathered = y[partners[rows].clamp_min(0)]
        sums[rows] += torch.bmm(gathered, x[rows].unsqueeze(2)).squeeze(2)
