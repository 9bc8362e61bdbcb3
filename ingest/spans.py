"""The statistics of one model that are accumulated layer by layer: how each is made, finished and written.

A new one is an accumulator (`ingest.statistics.span`), an entry of `KINDS`, and its tables.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

from catalog.rows import FeatureRow
from ingest.columns import Columns, Ids
from ingest.corpus_features import SYNTAX_ROWS, CorpusFeatures
from ingest.distribution_results import describe_histograms, describe_subsets, histogram_columns, subset_columns
from ingest.example_results import describe_examples, example_columns
from ingest.feature_results import explain_features, explanation_columns
from ingest.labels.vocabulary import FeatureTable
from ingest.next_token_results import describe_next_tokens, next_token_columns
from ingest.ngram_results import describe_ngrams, ngram_columns
from ingest.output_weights import OutputWeights
from ingest.plan import CorpusShape
from ingest.position_results import describe_positions, position_columns
from ingest.results import Arrays
from ingest.span_corpus import SpanCorpus
from ingest.statistics.distributions import HistogramAccumulator, SubsetAccumulator
from ingest.statistics.examples import ExampleAccumulator
from ingest.statistics.features import FeatureAccumulator
from ingest.statistics.next_tokens import NextTokenAccumulator
from ingest.statistics.ngrams import ActivityAccumulator
from ingest.statistics.positions import PositionAccumulator
from ingest.statistics.span import SpanAccumulator

A = TypeVar("A", bound=SpanAccumulator)


@dataclass(frozen=True)
class SpanShape:
    """What the size of an accumulator depends on."""

    n_neurons: int
    d_vocab: int
    corpus: CorpusShape
    seed: int = 0
    """Of what is sampled."""

    @property
    def bit_tokens(self) -> int:
        """The most tokens of which bits are kept: BOS is never kept."""
        return min(self.corpus.ngram_tokens, self.corpus.n_rows * (self.corpus.context - 1))


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
    columns: Callable[[Arrays, Ids, CorpusFeatures, OutputWeights], Iterator[tuple[str, Columns]]]
    """Rows of its tables; ids and weights are those of the span's neurons."""
    finish_bytes: Callable[[SpanShape], int] = lambda shape: 0
    """Beside the accumulators when they are finished, once for all of the kind in a job."""
    features: Callable[[CorpusFeatures], Sequence[FeatureRow]] = lambda features: ()
    """What its rows point to: as places in this sequence, until the features have keys."""
    tokens: Callable[[CorpusFeatures], FeatureTable | None] = lambda features: None
    """The same, where they are features of tokens."""


KINDS: dict[str, Kind[Any]] = {
    "positions": Kind[PositionAccumulator](
        part="positions",
        bytes_needed=lambda shape: PositionAccumulator.bytes_needed(shape.corpus.context, shape.n_neurons),
        make=lambda shape, pivots: PositionAccumulator(shape.corpus.context, shape.n_neurons, pivots.pre.device),
        finish=lambda accumulator, corpus: describe_positions(accumulator.compute()),
        columns=lambda found, ids, features, weights: position_columns(found, ids),
    ),
    "histograms": Kind[HistogramAccumulator](
        part="distributions",
        bytes_needed=lambda shape: HistogramAccumulator.bytes_needed(shape.n_neurons),
        make=lambda shape, pivots: HistogramAccumulator(shape.n_neurons, pivots.pre.device),
        finish=lambda accumulator, corpus: describe_histograms(accumulator),
        columns=lambda found, ids, features, weights: histogram_columns(found, ids),
    ),
    "subsets": Kind[SubsetAccumulator](
        part="distributions",
        bytes_needed=lambda shape: SubsetAccumulator.bytes_needed(shape.corpus.n_subsets, shape.n_neurons),
        make=lambda shape, pivots: SubsetAccumulator(shape.corpus.n_subsets, pivots.pre, pivots.post),
        finish=lambda accumulator, corpus: describe_subsets(accumulator),
        columns=lambda found, ids, features, weights: subset_columns(found, ids, features.subsets),
        features=lambda features: features.subset_rows,
    ),
    "ngrams": Kind[ActivityAccumulator](
        part="ngrams",
        bytes_needed=lambda shape: ActivityAccumulator.bytes_needed(shape.bit_tokens, shape.n_neurons),
        make=lambda shape, pivots: ActivityAccumulator(shape.bit_tokens, shape.n_neurons, pivots.pre.device),
        finish=describe_ngrams,
        columns=lambda found, ids, features, weights: ngram_columns(found, ids, weights),
        finish_bytes=lambda shape: ActivityAccumulator.finish_bytes(shape.bit_tokens),
    ),
    "examples": Kind[ExampleAccumulator](
        part="examples",
        bytes_needed=lambda shape: ExampleAccumulator.bytes_needed(shape.n_neurons),
        make=lambda shape, pivots: ExampleAccumulator(shape.corpus.context, shape.n_neurons, shape.seed, pivots.pre.device),
        finish=lambda accumulator, corpus: describe_examples(accumulator.compute(), corpus.corpus.tokens),
        columns=lambda found, ids, features, weights: example_columns(found, ids),
    ),
    "next_tokens": Kind[NextTokenAccumulator](
        part="next_tokens",
        bytes_needed=lambda shape: NextTokenAccumulator.bytes_needed(shape.d_vocab, shape.n_neurons),
        make=lambda shape, pivots: NextTokenAccumulator(shape.d_vocab, pivots.pre),
        finish=lambda accumulator, corpus: describe_next_tokens(accumulator, corpus.features.tokens),
        columns=lambda found, ids, features, weights: next_token_columns(found, ids),
        features=lambda features: features.token_rows,
        tokens=lambda features: features.tokens,
    ),
    "topics": Kind[FeatureAccumulator](
        part="topics",
        bytes_needed=lambda shape: FeatureAccumulator.bytes_needed(shape.corpus.n_topics, shape.n_neurons),
        make=lambda shape, pivots: FeatureAccumulator("topics", shape.corpus.n_topics, pivots.post),
        finish=lambda accumulator, corpus: explain_features(accumulator),
        columns=lambda found, ids, features, weights: explanation_columns(found, ids),
        features=lambda features: features.topic_rows,
        tokens=lambda features: features.topics,
    ),
    "syntax": Kind[FeatureAccumulator](
        part="syntax",
        bytes_needed=lambda shape: FeatureAccumulator.bytes_needed(len(SYNTAX_ROWS), shape.n_neurons),
        make=lambda shape, pivots: FeatureAccumulator("syntax", len(SYNTAX_ROWS), pivots.post),
        finish=lambda accumulator, corpus: explain_features(accumulator),
        columns=lambda found, ids, features, weights: explanation_columns(found, ids),
        features=lambda features: SYNTAX_ROWS,
    ),
}
"""By the name of their results."""
