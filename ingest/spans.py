"""The statistics of one model that are accumulated layer by layer: how each is made, finished and written.

A new one is an accumulator (`ingest.statistics.span`), an entry of `KINDS`, and its tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from catalog.rows import FeatureRow
from ingest.columns import Columns, Ids
from ingest.position_results import describe_positions, position_columns
from ingest.results import Arrays
from ingest.statistics.positions import PositionAccumulator
from ingest.statistics.span import SpanAccumulator
from ingest.statistics.syntax import SyntaxAccumulator
from ingest.syntax.features import N_FEATURES
from ingest.syntax_results import FEATURE_ROWS, explain_syntax, syntax_columns


@dataclass(frozen=True)
class SpanShape:
    """What an accumulator has to know."""

    n_neurons: int
    context: int


@dataclass(frozen=True)
class Kind:
    """One kind of statistic."""

    part: str
    """The part of a run that wants it."""
    bytes_needed: Callable[[SpanShape], int]
    """Of the accumulator while tokens come in."""
    make: Callable[[SpanShape, torch.device], SpanAccumulator]
    finish: Callable[[SpanAccumulator, Tensor], Arrays]
    """From complete sums and the pivot of post, (neurons,) fp32, to what travels to the catalog."""
    columns: Callable[[Arrays, Ids], Iterator[tuple[str, Columns]]]
    """Rows of its tables; ids are those of the span's neurons."""
    features: tuple[FeatureRow, ...] = ()
    """What its rows point to: as places in this tuple, until the features have keys."""


def _finish_positions(accumulator: SpanAccumulator, pivot: Tensor) -> Arrays:
    assert isinstance(accumulator, PositionAccumulator)
    return describe_positions(accumulator.compute())


def _finish_syntax(accumulator: SpanAccumulator, pivot: Tensor) -> Arrays:
    assert isinstance(accumulator, SyntaxAccumulator)
    return explain_syntax(accumulator, pivot)


KINDS: dict[str, Kind] = {
    "positions": Kind(
        part="positions",
        bytes_needed=lambda shape: PositionAccumulator.bytes_needed(shape.context, shape.n_neurons),
        make=lambda shape, device: PositionAccumulator(shape.context, shape.n_neurons, device),
        finish=_finish_positions,
        columns=position_columns,
    ),
    "syntax": Kind(
        part="syntax",
        bytes_needed=lambda shape: SyntaxAccumulator.bytes_needed(N_FEATURES, shape.n_neurons),
        make=lambda shape, device: SyntaxAccumulator(N_FEATURES, shape.n_neurons, device),
        finish=_finish_syntax,
        columns=syntax_columns,
        features=FEATURE_ROWS,
    ),
}
"""By the name of their results."""
