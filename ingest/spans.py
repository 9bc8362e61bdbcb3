"""The statistics of one model that are accumulated layer by layer: how each is made, finished and written.

A new one is an accumulator (`ingest.statistics.span`), an entry of `KINDS`, and its tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from ingest.columns import Columns, Ids
from ingest.ngram_results import describe_ngrams, ngram_columns
from ingest.output_weights import OutputWeights
from ingest.position_results import describe_positions, position_columns
from ingest.results import Arrays
from ingest.span_corpus import SpanCorpus
from ingest.statistics.ngrams import ActivityAccumulator
from ingest.statistics.positions import PositionAccumulator
from ingest.statistics.span import SpanAccumulator, SpanShape


@dataclass(frozen=True)
class Kind:
    """One kind of statistic."""

    part: str
    """The part of a run that wants it."""
    bytes_needed: Callable[[SpanShape], int]
    """Of the accumulator while tokens come in."""
    make: Callable[[SpanShape, torch.device], SpanAccumulator]
    finish: Callable[[SpanAccumulator, SpanCorpus], Arrays]
    """From complete sums to what travels to the catalog."""
    columns: Callable[[Arrays, Ids, OutputWeights], Iterator[tuple[str, Columns]]]
    """Rows of its tables; ids and weights are those of the span's neurons."""


def _finish_positions(accumulator: SpanAccumulator, corpus: SpanCorpus) -> Arrays:
    assert isinstance(accumulator, PositionAccumulator)
    return describe_positions(accumulator.compute())


def _make_bits(shape: SpanShape, device: torch.device) -> ActivityAccumulator:
    return ActivityAccumulator(ActivityAccumulator.tokens_of(shape.corpus), shape.n_neurons, device)


def _finish_ngrams(accumulator: SpanAccumulator, corpus: SpanCorpus) -> Arrays:
    assert isinstance(accumulator, ActivityAccumulator)
    return describe_ngrams(accumulator, corpus)


KINDS: dict[str, Kind] = {
    "positions": Kind(
        part="positions",
        bytes_needed=lambda shape: PositionAccumulator.bytes_needed(shape.corpus.context, shape.n_neurons),
        make=lambda shape, device: PositionAccumulator(shape.corpus.context, shape.n_neurons, device),
        finish=_finish_positions,
        columns=lambda found, ids, weights: position_columns(found, ids),
    ),
    "ngrams": Kind(
        part="ngrams",
        bytes_needed=lambda shape: ActivityAccumulator.bytes_needed(
            ActivityAccumulator.tokens_of(shape.corpus), shape.n_neurons
        ),
        make=_make_bits,
        finish=_finish_ngrams,
        columns=ngram_columns,
    ),
}
"""By the name of their results."""
