"""The statistics of one model that are accumulated layer by layer: how each is made, finished and written.

A new one is an accumulator (`ingest.statistics.span`), an entry of `KINDS`, and its tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from ingest.columns import Columns, Ids
from ingest.example_results import describe_examples, example_columns
from ingest.position_results import describe_positions, position_columns
from ingest.results import Arrays
from ingest.statistics.examples import ExampleAccumulator
from ingest.statistics.positions import PositionAccumulator
from ingest.statistics.span import SpanAccumulator


@dataclass(frozen=True)
class SpanShape:
    """What an accumulator has to know."""

    n_neurons: int
    context: int
    seed: int = 0
    """Of what is sampled."""


@dataclass(frozen=True)
class Kind:
    """One kind of statistic."""

    part: str
    """The part of a run that wants it."""
    bytes_needed: Callable[[SpanShape], int]
    """Of the accumulator while tokens come in."""
    make: Callable[[SpanShape, torch.device], SpanAccumulator]
    finish: Callable[[SpanAccumulator], Arrays]
    """From complete sums to what travels to the catalog."""
    columns: Callable[[Arrays, Ids], Iterator[tuple[str, Columns]]]
    """Rows of its tables; ids are those of the span's neurons."""


def _finish_positions(accumulator: SpanAccumulator) -> Arrays:
    assert isinstance(accumulator, PositionAccumulator)
    return describe_positions(accumulator.compute())


def _finish_examples(accumulator: SpanAccumulator) -> Arrays:
    assert isinstance(accumulator, ExampleAccumulator)
    return describe_examples(accumulator.compute())


KINDS: dict[str, Kind] = {
    "positions": Kind(
        part="positions",
        bytes_needed=lambda shape: PositionAccumulator.bytes_needed(shape.context, shape.n_neurons),
        make=lambda shape, device: PositionAccumulator(shape.context, shape.n_neurons, device),
        finish=_finish_positions,
        columns=position_columns,
    ),
    "examples": Kind(
        part="examples",
        bytes_needed=lambda shape: ExampleAccumulator.bytes_needed(shape.n_neurons),
        make=lambda shape, device: ExampleAccumulator(shape.context, shape.n_neurons, shape.seed, device),
        finish=_finish_examples,
        columns=example_columns,
    ),
}
"""By the name of their results."""
