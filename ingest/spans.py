"""The statistics of one model that are accumulated layer by layer: how each is made, finished and written.

A new one is an accumulator (`ingest.statistics.span`), an entry of `KINDS`, and its tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

from ingest.columns import Columns, Ids
from ingest.distribution_results import describe_histograms, describe_subsets, histogram_columns, subset_columns
from ingest.example_results import describe_examples, example_columns
from ingest.position_results import describe_positions, position_columns
from ingest.results import Arrays
from ingest.statistics.distributions import HistogramAccumulator, SubsetAccumulator
from ingest.statistics.examples import ExampleAccumulator
from ingest.statistics.positions import PositionAccumulator
from ingest.statistics.span import SpanAccumulator

A = TypeVar("A", bound=SpanAccumulator)


@dataclass(frozen=True)
class SpanShape:
    """What the size of an accumulator depends on."""

    n_neurons: int
    context: int
    n_subsets: int
    """At least one."""
    seed: int = 0
    """Of what is sampled."""


@dataclass(frozen=True)
class SpanPivots:
    """About which activations are summed, (neurons,) fp32 each."""

    pre: Tensor
    post: Tensor


@dataclass(frozen=True)
class Kind(Generic[A]):
    """One kind of statistic."""

    part: str
    """The part of a run that wants it."""
    bytes_needed: Callable[[SpanShape], int]
    """Of the accumulator while tokens come in."""
    make: Callable[[SpanShape, SpanPivots], A]
    """On the device of the pivots."""
    finish: Callable[[A], Arrays]
    """From complete sums to what travels to the catalog."""
    columns: Callable[[Arrays, Ids, list[str]], Iterator[tuple[str, Columns]]]
    """Rows of its tables; ids are those of the span's neurons, and the names those of the corpus's subsets."""


KINDS: dict[str, Kind[Any]] = {
    "positions": Kind[PositionAccumulator](
        part="positions",
        bytes_needed=lambda shape: PositionAccumulator.bytes_needed(shape.context, shape.n_neurons),
        make=lambda shape, pivots: PositionAccumulator(shape.context, shape.n_neurons, pivots.pre.device),
        finish=lambda accumulator: describe_positions(accumulator.compute()),
        columns=lambda found, ids, subsets: position_columns(found, ids),
    ),
    "histograms": Kind[HistogramAccumulator](
        part="distributions",
        bytes_needed=lambda shape: HistogramAccumulator.bytes_needed(shape.n_neurons),
        make=lambda shape, pivots: HistogramAccumulator(shape.n_neurons, pivots.pre.device),
        finish=describe_histograms,
        columns=lambda found, ids, subsets: histogram_columns(found, ids),
    ),
    "subsets": Kind[SubsetAccumulator](
        part="distributions",
        bytes_needed=lambda shape: SubsetAccumulator.bytes_needed(shape.n_subsets, shape.n_neurons),
        make=lambda shape, pivots: SubsetAccumulator(shape.n_subsets, pivots.pre, pivots.post),
        finish=describe_subsets,
        columns=subset_columns,
    ),
    "examples": Kind[ExampleAccumulator](
        part="examples",
        bytes_needed=lambda shape: ExampleAccumulator.bytes_needed(shape.n_neurons),
        make=lambda shape, pivots: ExampleAccumulator(shape.context, shape.n_neurons, shape.seed, pivots.pre.device),
        finish=lambda accumulator: describe_examples(accumulator.compute()),
        columns=lambda found, ids, subsets: example_columns(found, ids),
    ),
}
"""By the name of their results."""
