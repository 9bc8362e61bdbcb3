"""What is taken of blocks of products of weights while they are in the cache, compiled by numba.

Two products are met once and never kept: neurons with the unembedding (powers, sums over classes of tokens, largest and
smallest), and neurons with neurons (largest and smallest). As tensor operations each result would read the block anew, and
the lists would sort it.

A list is a row of values in descending order and the ids they belong to, with -infinity and -1 in places not yet taken. The
smallest values are the largest of what is negated. Candidates come in ascending order of id and must exceed what is there,
so equal values stand by lowest id.
"""

import numpy as np

from ingest.statistics.loops import compiled

STRIP = 64
"""Neurons whose sums are taken together: those of 200 classes then fit a core's second-level cache."""


@compiled("f8(f8[::1], i8[::1], f8, i8)")
def _insert(values: np.ndarray, ids: np.ndarray, value: float, new: int) -> float:
    """Put a value that exceeds the last one in its place; returns the new last one."""
    place = len(values) - 1
    while place > 0 and values[place - 1] < value:
        values[place] = values[place - 1]
        ids[place] = ids[place - 1]
        place -= 1
    values[place] = value
    ids[place] = new
    return values[-1]


@compiled("void(f8[::1], f8[::1])")
def _add(row: np.ndarray, sums: np.ndarray) -> None:
    for i in range(len(row)):
        sums[i] += row[i]


@compiled("void(f8[::1], f8, f8[::1], f8[::1], f8[::1], f8[::1], f8[::1])")
def _powers(
    row: np.ndarray,
    scale: float,
    pivot: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    third: np.ndarray,
    fourth: np.ndarray,
) -> None:
    for i in range(len(row)):
        x = row[i] * scale - pivot[i]
        square = x * x
        first[i] = x
        second[i] = square
        third[i] = x * square
        fourth[i] = square * square


@compiled("void(f8[::1], i8, f8[:, ::1], f8[:, :, ::1], i8[:, :, ::1])")
def _rank(row: np.ndarray, token: int, last: np.ndarray, values: np.ndarray, ids: np.ndarray) -> None:
    highest, lowest = last[0], last[1]
    for i in range(len(row)):
        x = row[i]
        if x > highest[i]:
            highest[i] = _insert(values[0, i], ids[0, i], x, token)
        if -x > lowest[i]:
            lowest[i] = _insert(values[1, i], ids[1, i], -x, token)


@compiled(
    "void(f8[::1], i8, i8, f8[::1], i8[::1], i8[::1], f8[:, ::1], f8[:, ::1], f8[:, ::1], "
    "f8[:, ::1], f8[:, :, ::1], i8[:, :, ::1])"
)
def add_effects(
    flat: np.ndarray,
    stride: int,
    first_token: int,
    scales: np.ndarray,
    starts: np.ndarray,
    classes: np.ndarray,
    pivots: np.ndarray,
    totals: np.ndarray,
    class_sums: np.ndarray,
    last: np.ndarray,
    values: np.ndarray,
    ids: np.ndarray,
) -> None:
    """Add a block of effects on tokens to what is known of a strip of neurons.

    Args:
        flat: memory of a (tokens, ...) float64 matrix from the first neuron of the strip on.
        stride: elements from one token to the next.
        first_token: id of the block's first token.
        scales: (tokens,) one over the length of each token's column of the unembedding; 0 where it has none.
        starts, classes: those of token t of the block are classes[starts[t]:starts[t + 1]].
        pivots: (2, STRIP) of the effects, and of the effects times scale.
        totals: (2, 4 * STRIP) sums of the powers 1 to 4 of both, about their pivots; the second skips scales of 0.
        class_sums: (classes, 4 * STRIP) sums of the powers of the effects over the tokens of each class.
        last: (2, STRIP) the last value of each list.
        values, ids: (2, STRIP, k) lists of the largest effects, and of the largest of the negated ones.
    """
    width = pivots.shape[1]
    powers = np.empty(4 * width)
    one, two, three, four = powers[:width], powers[width : 2 * width], powers[2 * width : 3 * width], powers[3 * width :]
    for t in range(len(scales)):
        row = flat[t * stride : t * stride + width]
        if scales[t] > 0:
            _powers(row, scales[t], pivots[1], one, two, three, four)
            _add(powers, totals[1])
        _powers(row, 1.0, pivots[0], one, two, three, four)
        _add(powers, totals[0])
        for member in range(starts[t], starts[t + 1]):
            _add(powers, class_sums[classes[member]])
        _rank(row, first_token + t, last, values, ids)


@compiled("void(f8, i8, i8, f8[:, ::1], f8[:, :, ::1], i8[:, :, ::1])")
def _offer(x: float, neuron: int, other: int, last: np.ndarray, values: np.ndarray, ids: np.ndarray) -> None:
    """A candidate for both lists of a neuron, unless it is the neuron itself."""
    if neuron == other:
        return
    if x > last[0, neuron]:
        last[0, neuron] = _insert(values[0, neuron], ids[0, neuron], x, other)
    if -x > last[1, neuron]:
        last[1, neuron] = _insert(values[1, neuron], ids[1, neuron], -x, other)


@compiled("void(f4[:, ::1], i8, i8, i8, i8, f8[:, ::1], f8[:, :, ::1], i8[:, :, ::1])")
def rank_columns(
    block: np.ndarray,
    first: int,
    end: int,
    row_id: int,
    column_id: int,
    last: np.ndarray,
    values: np.ndarray,
    ids: np.ndarray,
) -> None:
    """Offer every row of columns `first` to `end` of a block of cosines to the neurons of its columns.

    Args:
        block: (rows, columns) fp32.
        row_id, column_id: ids of the first row and of the first column.
        last: (2, neurons) the last value of each neuron's lists.
        values, ids: (2, neurons, k) lists of the most similar and of the most opposite (negated).
    """
    highest, lowest = last[0, column_id:], last[1, column_id:]
    for r in range(len(block)):
        row = block[r]
        for c in range(first, end):
            x = np.float64(row[c])
            if x > highest[c] or -x > lowest[c]:
                _offer(min(max(x, -1.0), 1.0), column_id + c, row_id + r, last, values, ids)


@compiled("void(f4[:, ::1], i8, i8, i8, i8, f8[:, ::1], f8[:, :, ::1], i8[:, :, ::1])")
def rank_rows(
    block: np.ndarray,
    first: int,
    end: int,
    row_id: int,
    column_id: int,
    last: np.ndarray,
    values: np.ndarray,
    ids: np.ndarray,
) -> None:
    """Offer every column of a block of cosines to the neurons of its rows `first` to `end`. Arguments as above."""
    for r in range(first, end):
        row = block[r]
        for c in range(len(row)):
            x = np.float64(row[c])
            if x > last[0, row_id + r] or -x > last[1, row_id + r]:
                _offer(min(max(x, -1.0), 1.0), row_id + r, column_id + c, last, values, ids)
