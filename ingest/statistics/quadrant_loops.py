"""Sums of gated neurons by quadrant on a CPU, in one pass through memory, compiled by numba (`ingest.statistics.loops`)."""

import numpy as np
from torch import Tensor

from ingest.statistics.loops import compiled


@compiled("void(f4[::1], f4[::1], f4[::1], i8[:, ::1], f8[:, ::1], f8[:, ::1])")
def _quadrants_row(
    gate: np.ndarray, read: np.ndarray, post: np.ndarray, counts: np.ndarray, sums: np.ndarray, sizes: np.ndarray
) -> None:
    for i in range(len(gate)):
        quadrant = (0 if gate[i] > 0 else 2) + (0 if read[i] > 0 else 1)
        counts[quadrant, i] += 1
        sums[quadrant, i] += post[i]
        sizes[quadrant, i] += abs(post[i])


@compiled("void(f4[:, ::1], f4[:, ::1], f4[:, ::1], i8[::1], i8[::1], i8[:, :, ::1], f8[:, :, ::1], f8[:, :, ::1])")
def _quadrants(
    gate: np.ndarray,
    read: np.ndarray,
    post: np.ndarray,
    kept: np.ndarray,
    blocks: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
    sizes: np.ndarray,
) -> None:
    for t in range(len(kept)):
        place, block = kept[t], blocks[t]
        _quadrants_row(gate[place], read[place], post[place], counts[block], sums[block], sizes[block])


def add_quadrants(
    gate: Tensor, read: Tensor, post: Tensor, kept: Tensor, blocks: Tensor, counts: Tensor, sums: Tensor, sizes: Tensor
) -> None:
    """Count the kept positions by block and quadrant, and add post and its size.

    Args:
        gate, read, post: (positions, neurons) fp32.
        kept: (kept,) int64 positions; blocks: (kept,) int64, that of each.
        counts, sums, sizes: (blocks, 4, neurons) int64, float64 and float64, contiguous.
    """
    if len(kept):
        values = (x.contiguous().numpy() for x in (gate, read, post, kept, blocks, counts, sums, sizes))
        _quadrants(*values)
