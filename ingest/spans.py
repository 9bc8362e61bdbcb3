"""The statistics of one model that are accumulated layer by layer: how each is made, finished and written.

A new one is an accumulator (`ingest.statistics.span`), an entry of `KINDS`, and its tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

from catalog.rows import FeatureRow
from ingest.columns import Columns, Ids
from ingest.distribution_results import describe_histograms, describe_subsets, histogram_columns, subset_columns
from ingest.example_results import describe_examples, example_columns
from ingest.ngram_results import describe_ngrams, ngram_columns
from ingest.output_weights import OutputWeights
from ingest.position_results import describe_positions, position_columns
from ingest.results import Arrays
from ingest.span_corpus import SpanCorpus
from ingest.statistics.distributions import HistogramAccumulator, SubsetAccumulator
from ingest.statistics.examples import ExampleAccumulator
from ingest.statistics.ngrams import ActivityAccumulator
from ingest.statistics.positions import PositionAccumulator
from ingest.statistics.span import SpanAccumulator
from ingest.statistics.syntax import SyntaxAccumulator
from ingest.syntax.features import N_FEATURES
from ingest.syntax_results import FEATURE_ROWS, explain_syntax, syntax_columns

A = TypeVar("A", bound=SpanAccumulator)


@dataclass(frozen=True)
class SpanShape:
    """What the size of an accumulator depends on."""

    n_neurons: int
    n_rows: int
    context: int
    n_subsets: int
    """At least one."""
    ngram_tokens: int
    """Kept tokens whose n-grams are counted, if the corpus has so many."""
    seed: int = 0
    """Of what is sampled."""

    @property
    def bit_tokens(self) -> int:
        """The most tokens of which bits are kept: BOS is never kept."""
        return min(self.ngram_tokens, self.n_rows * (self.context - 1))


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
    finish: Callable[[A, SpanCorpus], Arrays]
    """From complete sums to what travels to the catalog."""
    columns: Callable[[Arrays, Ids, list[str], OutputWeights], Iterator[tuple[str, Columns]]]
    """Rows of its tables; ids and weights are those of the span's neurons, and the names those of the corpus's subsets."""
    features: tuple[FeatureRow, ...] = ()
    """What its rows point to: as places in this tuple, until the features have keys."""


KINDS: dict[str, Kind[Any]] = {
    "positions": Kind[PositionAccumulator](
        part="positions",
        bytes_needed=lambda shape: PositionAccumulator.bytes_needed(shape.context, shape.n_neurons),
        make=lambda shape, pivots: PositionAccumulator(shape.context, shape.n_neurons, pivots.pre.device),
        finish=lambda accumulator, corpus: describe_positions(accumulator.compute()),
        columns=lambda found, ids, subsets, weights: position_columns(found, ids),
    ),
    "histograms": Kind[HistogramAccumulator](
        part="distributions",
        bytes_needed=lambda shape: HistogramAccumulator.bytes_needed(shape.n_neurons),
        make=lambda shape, pivots: HistogramAccumulator(shape.n_neurons, pivots.pre.device),
        finish=lambda accumulator, corpus: describe_histograms(accumulator),
        columns=lambda found, ids, subsets, weights: histogram_columns(found, ids),
    ),
    "subsets": Kind[SubsetAccumulator](
        part="distributions",
        bytes_needed=lambda shape: SubsetAccumulator.bytes_needed(shape.n_subsets, shape.n_neurons),
        make=lambda shape, pivots: SubsetAccumulator(shape.n_subsets, pivots.pre, pivots.post),
        finish=lambda accumulator, corpus: describe_subsets(accumulator),
        columns=lambda found, ids, subsets, weights: subset_columns(found, ids, subsets),
    ),
    "ngrams": Kind[ActivityAccumulator](
        part="ngrams",
        bytes_needed=lambda shape: ActivityAccumulator.bytes_needed(shape.bit_tokens, shape.n_neurons),
        make=lambda shape, pivots: ActivityAccumulator(shape.bit_tokens, shape.n_neurons, pivots.pre.device),
        finish=describe_ngrams,
        columns=lambda found, ids, subsets, weights: ngram_columns(found, ids, weights),
    ),
    "examples": Kind[ExampleAccumulator](
        part="examples",
        bytes_needed=lambda shape: ExampleAccumulator.bytes_needed(shape.n_neurons),
        make=lambda shape, pivots: ExampleAccumulator(shape.context, shape.n_neurons, shape.seed, pivots.pre.device),
        finish=lambda accumulator, corpus: describe_examples(accumulator.compute()),
        columns=lambda found, ids, subsets, weights: example_columns(found, ids),
    ),
    "syntax": Kind[SyntaxAccumulator](
        part="syntax",
        bytes_needed=lambda shape: SyntaxAccumulator.bytes_needed(N_FEATURES, shape.n_neurons),
        make=lambda shape, pivots: SyntaxAccumulator(N_FEATURES, pivots.post),
        finish=lambda accumulator, corpus: explain_syntax(accumulator),
        columns=lambda found, ids, subsets, weights: syntax_columns(found, ids),
        features=FEATURE_ROWS,
    ),
}
"""By the name of their results."""
