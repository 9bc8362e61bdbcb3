"""Sums by features, classes and tokens on a CPU, compiled by numba; see `ingest.statistics.loops`."""

import numpy as np
from torch import Tensor

from ingest.statistics.loops import _add_row, _flat, _square_row, compiled


@compiled("void(f4[::1], i8, b1[:, ::1], i8[::1], f8[:, :, ::1], f8[:, ::1])")
def _members(
    flat: np.ndarray, stride: int, members: np.ndarray, blocks: np.ndarray, sums: np.ndarray, squares: np.ndarray
) -> None:
    n_features = members.shape[1]
    for t in range(len(members)):
        row = flat[t * stride : t * stride + sums.shape[2]]
        of_block = sums[blocks[t]]
        for feature in range(n_features):
            if members[t, feature]:
                _add_row(row, of_block[feature])
        _square_row(row, of_block[n_features], squares[blocks[t]])


@compiled("void(b1[::1], f8[::1], i4[::1], f8[::1])")
def _add_directed_row(positive: np.ndarray, above: np.ndarray, active: np.ndarray, rectified: np.ndarray) -> None:
    for i in range(len(above)):
        active[i] += positive[i]
        rectified[i] += above[i]


@compiled("void(f4[::1], f4[::1], f8[::1], b1[::1], f8[::1])")
def _directed_row(pre: np.ndarray, post: np.ndarray, pivot: np.ndarray, positive: np.ndarray, above: np.ndarray) -> None:
    for i in range(len(above)):
        positive[i] = pre[i] > 0
        above[i] = max(np.float64(post[i]) + pivot[i], 0.0)


@compiled("void(f4[::1], i8, f4[::1], i8, f8[::1], b1[:, ::1], i8[::1], i4[:, :, ::1], f8[:, :, ::1])")
def _directed(
    pre: np.ndarray,
    pre_stride: int,
    post: np.ndarray,
    post_stride: int,
    pivot: np.ndarray,
    members: np.ndarray,
    blocks: np.ndarray,
    active: np.ndarray,
    rectified: np.ndarray,
) -> None:
    n_features, width = members.shape[1], len(pivot)
    positive, above = np.empty(width, np.bool_), np.empty(width, np.float64)
    for t in range(len(members)):
        own_pre = pre[t * pre_stride : t * pre_stride + width]
        own_post = post[t * post_stride : t * post_stride + width]
        _directed_row(own_pre, own_post, pivot, positive, above)
        counts, sums = active[blocks[t]], rectified[blocks[t]]
        for feature in range(n_features):
            if members[t, feature]:
                _add_directed_row(positive, above, counts[feature], sums[feature])
        _add_directed_row(positive, above, counts[n_features], sums[n_features])


@compiled("void(f4[::1], i8, i8[::1], f8[:, ::1], f8[::1], f8[::1])")
def _squared_rows(
    flat: np.ndarray, stride: int, ids: np.ndarray, sums: np.ndarray, total: np.ndarray, squares: np.ndarray
) -> None:
    width = sums.shape[1]
    for t in range(len(ids)):
        row = flat[t * stride : t * stride + width]
        _add_row(row, sums[ids[t]])
        _square_row(row, total, squares)


def add_squared_rows(values: Tensor, ids: Tensor, sums: Tensor, total: Tensor, squares: Tensor) -> None:
    """Add every row of (positions, neurons) fp32 to the row of its id, to the total, and its squares to theirs; float64."""
    if len(values):
        flat, stride = _flat(values)
        _squared_rows(flat, stride, ids.contiguous().numpy(), sums.numpy(), total.numpy(), squares.numpy())


def add_members(values: Tensor, members: Tensor, blocks: Tensor, sums: Tensor, squares: Tensor) -> None:
    """Add every row of (positions, neurons) fp32 to the sums of each feature that it has, and of all positions.

    Args:
        members: (positions, features) bool.
        blocks: (positions,) int64: to which of the blocks it is added.
        sums: (blocks, features + 1, neurons) float64, contiguous; the last is of all positions.
        squares: (blocks, neurons) float64, contiguous, of all positions.
    """
    if len(values):
        flat, stride = _flat(values)
        _members(flat, stride, members.contiguous().numpy(), blocks.numpy(), sums.numpy(), squares.numpy())


def add_directed(
    pre: Tensor, values: Tensor, pivot: Tensor, members: Tensor, blocks: Tensor, active: Tensor, rectified: Tensor
) -> None:
    """Count pre > 0 and sum max(value, 0) by block and feature, and over all positions.

    Args:
        pre, values: (positions, neurons) fp32, adjacent within a row; values about the pivot.
        members: (positions, features) bool.
        blocks: (positions,) int64.
        active, rectified: (blocks, features + 1, neurons) int32 and float64, contiguous.
    """
    if len(pre):
        both = [*_flat(pre), *_flat(values)]
        told = pivot.double().numpy(), members.contiguous().numpy(), blocks.contiguous().numpy()
        _directed(*both, *told, active.numpy(), rectified.numpy())
