"""Sizes of models and corpora, as far as the cost of measuring depends on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from ingest.checkpoints.architectures import ARCHITECTURES
from ingest.checkpoints.config import head_width
from ingest.settings import NGRAM_TOKENS

T = TypeVar("T")


@dataclass(frozen=True)
class ModelShape:
    """What a plan has to know of a model."""

    n_layers: int
    d_model: int
    d_mlp: int
    d_vocab: int
    gated: bool = False
    """Its neurons have gates."""
    d_queries: int | None = None
    """Of all heads together; None: as wide as the residual."""
    d_keys: int | None = None
    """The same of keys, and of values."""

    @property
    def n_neurons(self) -> int:
        return self.n_layers * self.d_mlp

    @property
    def block_weights(self) -> int:
        """In the matrices of one block."""
        queries, keys = self.d_queries or self.d_model, self.d_keys or self.d_model
        return self.d_model * (2 * (queries + keys) + (3 if self.gated else 2) * self.d_mlp)

    @property
    def block_flop(self) -> float:
        """What a token costs in one block, as measures count it: two weights are one operation, patterns of attention none."""
        return self.block_weights / 2

    def forward_flop(self, context: int) -> float:
        """Floating-point operations per token of all blocks, without the unembedding."""
        return 2.0 * self.n_layers * (self.block_weights + context * (self.d_queries or self.d_model))

    def of_neurons(self, n_neurons: int, corpus: "CorpusShape", seed: int = 0) -> "LayerShape":
        """What the size of sums of some of the neurons depends on."""
        return LayerShape(n_neurons, self.d_vocab, corpus, seed, self.gated)


def model_shape(config: Any) -> ModelShape:
    """Of a configuration, of transformers."""
    architecture, d_model, n_heads = ARCHITECTURES[config.model_type], config.hidden_size, config.num_attention_heads
    d_mlp, d_head = getattr(config, architecture.reads["d_mlp"]) or 4 * d_model, head_width(config)
    d_queries, d_keys = (n * d_head for n in (n_heads, getattr(config, "num_key_value_heads", None) or n_heads))
    return ModelShape(
        config.num_hidden_layers,
        d_model,
        d_mlp,
        config.vocab_size,
        architecture.gate is not None,
        d_queries if d_queries != d_model else None,
        d_keys if d_keys != d_model else None,
    )



class CorpusShape(NamedTuple):
    """What a plan has to know of the corpus."""

    n_rows: int
    context: int
    n_subsets: int = 1
    """At least one."""
    n_topics: int = 0
    ngram_tokens: int = NGRAM_TOKENS
    """Kept tokens, the first of the corpus, whose n-grams are counted, if it has so many."""
    n_divisions: int = 0
    """Ways in which features of the current and of the previous token divide the positions."""
    begins_with_bos: bool = True
    """Every row does."""
    n_ids: int = 0
    """Token ids that occur; 0 where that is not known."""


@dataclass(frozen=True)
class LayerShape:
    """What the size of an accumulator of consecutive layers depends on."""

    n_neurons: int
    d_vocab: int
    corpus: CorpusShape
    seed: int = 0
    """Of what is sampled."""
    gated: bool = False
    """The neurons have gates."""

    @property
    def n_ids(self) -> int:
        """The most token ids that occur: sums by id have a row for each."""
        return min(self.corpus.n_ids or self.d_vocab, self.d_vocab)

    @property
    def bit_tokens(self) -> int:
        """The most tokens of which bits are kept: BOS is never kept."""
        of_text = self.corpus.context - self.corpus.begins_with_bos
        return min(self.corpus.ngram_tokens, self.corpus.n_rows * of_text)


@dataclass(frozen=True)
class Size:
    """What the sums of consecutive layers take. Operations are those that the cost is proportional to, some at least."""

    n_bytes: int
    """While tokens come in."""
    operations: float
    """Per token that comes in."""
    finish_operations: float
    """From complete sums to what travels to the catalog."""
    shared_bytes: int = 0
    """Beside the sums when they are finished, once for all layers and models of a job."""
    shared_operations: float = 0.0
    """Of what is made once for them."""


@dataclass(frozen=True)
class LayerPivots:
    """About which activations are summed, (neurons,) fp32 each, on the device of the sums."""

    pre: Tensor
    post: Tensor


@dataclass(frozen=True)
class Layers:
    """Consecutive layers of one model: whose the sums are."""

    model: int
    """Index into the models of the run."""
    neurons: slice
    """Flat indices."""


class Share(NamedTuple):
    """One of some shares of a measure of a model."""

    number: int
    """From 0."""
    n_shares: int

    def slice(self, n: int, step: int = 1) -> slice:
        """Which of n things are in it: consecutive ones, as many as in every share; the edges are multiples of `step`."""
        pieces = -(-n // step)
        first, end = (min(n, pieces * edge // self.n_shares * step) for edge in (self.number, self.number + 1))
        return slice(first, end)

    def part(self, things: Sequence[T]) -> Sequence[T]:
        """The things that are in it, which may be none."""
        return things[self.slice(len(things))]
