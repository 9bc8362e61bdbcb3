"""positions: how activation depends on the position in the row, from curves to one entry per neuron and its row."""

import json
from collections.abc import Iterator, Sequence

import numpy as np

from ingest.parts.arrays import Arrays, Ids, TableRows, object_array
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.shapes import LayerPivots, Layers, LayerShape, Size
from ingest.statistics.jackknife import N_BLOCKS
from ingest.statistics.position_patterns import Pattern, find_pattern
from ingest.statistics.positions import (
    LEAST_ROWS,
    PositionAccumulator,
    PositionCurves,
    information_errors,
    mutual_information,
)

INFORMATIVE = 0.01
"""Mutual information in nats from which a neuron's curve is kept; below, the curve is its frequency and noise."""

NUMBERS = (
    "mutual_information", "mutual_information_se", "mutual_information_bos", "mutual_information_bos_se", "pos_std",
    "pos_std_mean", "tolerance", "coverage", "predictability",
)  # fmt: skip


class Positions(LayerMeasure[PositionAccumulator]):
    """Frequencies and means at each position of the row."""

    part = name = "positions"

    def size(self, shape: LayerShape) -> Size:
        context, n = shape.corpus.context, shape.n_neurons
        # at the finish there are ten arrays of float64 of the size of a curve
        at_finish = 10 * 8 * context * n
        finish_operations = n * context * N_BLOCKS
        return Size(PositionAccumulator.bytes_needed(context, n), n, finish_operations, shared_bytes=at_finish)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> PositionAccumulator:
        return PositionAccumulator(shape.corpus.context, shape.n_neurons, pivots.pre.device)

    def finish(self, sums: PositionAccumulator, layers: Layers, ground: Ground) -> Arrays:
        return describe_positions(sums.compute(), ground.bos_id is not None)

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        return position_columns(arrays, ids)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=1)


def describe_positions(curves: PositionCurves, with_bos: bool = True) -> Arrays:
    """One entry per neuron (SPEC 12.8, 12.9); fewer than 1,000 rows leave information and patterns undefined.

    Args:
        with_bos: the first position is that of BOS, which only `mutual_information_bos` and the curve have.
    Returns:
        Columns of position_statistics; undefined numbers are NaN, undefined text is empty. `curve` has a row for each
        neuron that is `informative`.
    """
    first = 1 if with_bos else 0
    enough = curves.n_rows >= LEAST_ROWS and len(curves.frequency) > first
    n = curves.frequency.shape[1]
    undefined = np.full(n, np.nan)
    inner = curves.frequency[first:]
    patterns: list[Pattern | None] = [find_pattern(f, first) if enough else None for f in inner.T]
    information = mutual_information(inner) if enough else undefined
    informative = information >= INFORMATIVE
    error, error_bos = information_errors(curves) if enough else (undefined, undefined)
    if not with_bos:
        error, error_bos = error_bos, undefined
    return {
        "n_rows": np.full(n, curves.n_rows, dtype=np.int32),
        "mutual_information": information,
        "mutual_information_se": error,
        "mutual_information_bos_se": error_bos,
        "mutual_information_bos": mutual_information(curves.frequency) if enough and with_bos else undefined,
        "pos_std": curves.mean[first:].std(0) if len(inner) else undefined,
        "pos_std_mean": curves.std[first:].mean(0) if len(inner) else undefined,
        "pattern": np.array(["" if p is None else p.pattern for p in patterns], dtype="U16"),
        "strength": np.array(["" if p is None else p.strength for p in patterns], dtype="U8"),
        "tolerance": _numbers([None if p is None else p.tolerance for p in patterns]),
        "alternations": np.array([0 if p is None else p.alternations for p in patterns], dtype=np.int16),
        "coverage": _numbers([None if p is None else p.coverage for p in patterns]),
        "predictability": _numbers([None if p is None else p.predictability for p in patterns]),
        "runs": np.array([_runs(p) for p in patterns], dtype=str),
        "curve": curves.frequency.T[informative].astype(np.float32),
        "informative": informative,
    }


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values])


def _runs(pattern: Pattern | None) -> str:
    runs = () if pattern is None else pattern.runs
    return json.dumps([[run.first, run.last, "high" if run.high else "low"] for run in runs])


def position_columns(arrays: Arrays, ids: Ids) -> Iterator[TableRows]:
    """Rows of position_statistics."""
    absent = arrays["pattern"] == ""
    curves = iter(arrays["curve"].tolist())
    curve = object_array([next(curves) if kept else None for kept in arrays["informative"]])
    yield (
        "position_statistics",
        {
            "neuron_id": ids,
            "n_rows": arrays["n_rows"],
            **{name: arrays[name] for name in NUMBERS},
            **{name: np.ma.masked_array(arrays[name].astype(object), mask=absent) for name in ("pattern", "strength")},
            "alternations": np.ma.masked_array(arrays["alternations"], mask=absent),
            "runs": object_array([json.loads(text) for text in arrays["runs"]]),
            "curve": curve,
        },
    )
