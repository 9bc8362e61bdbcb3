"""What sums over the corpus cost on a device: every accumulator is fed and finished once, on a rehearsed model.

Seconds are per activation where tokens come in (a token times a neuron), and per neuron where sums are finished.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ingest.corpus.batches import Pivots, kept_activations, token_batches
from ingest.corpus.counts import count_tokens
from ingest.features.of_corpus import CorpusFeatures
from ingest.features.topics import BY_MACHINE, COMPONENTS, Topic, Topics, topic_features
from ingest.jobs.context import ground_of
from ingest.jobs.sums import JobSums
from ingest.parts import LAYER_MEASURES
from ingest.parts.moments import ModelMoments
from ingest.parts.shapes import CorpusShape, Layers, LayerShape, ModelShape, Size
from ingest.plan.items import LayerItem, Plan
from ingest.preview.rehearsal import TIMES, Rehearsal
from ingest.settings import IngestSettings
from ingest.statistics.correlation import Products
from ingest.statistics.layers import FeatureBatch, TokenBatch
from ingest.statistics.moments import MomentAccumulator
from ingest.statistics.tiles import LayerSpan

PROBE_TOKENS = 4096
PROBE_SECONDS = 0.25
PROBE_NEURONS = 2048
FEATURE_SHARE = 0.05
"""Of positions that have a topic or a property of syntax, about."""


@dataclass(frozen=True)
class MeasureRates:
    """Seconds per operation, as the measure counts them (`ingest.parts.shapes.Size`)."""

    added: float
    """Where tokens come in."""
    finished: float
    """Where sums are finished."""
    shared: float
    """Where what they share is made."""


@dataclass(frozen=True)
class Rates:
    """What a device does; what was not rehearsed is not there."""

    product_flop: float
    """Operations of products of activations, per second."""
    forward_flop: float
    """Operations of forward passes, per second."""
    moments: float
    """Seconds per activation whose moments are taken, pre and post counted once."""
    of_measures: dict[str, MeasureRates] = field(default_factory=dict)
    """By the name of the measure."""


def measure(device: torch.device, shape: ModelShape, precision: str) -> Rates:
    """Time products, a block of a forward pass and moments on the device, a quarter second each."""
    n = min(shape.n_neurons, PROBE_NEURONS)
    x = torch.randn(PROBE_TOKENS, n, device=device)
    products = Products(n, n, device, precision=precision)
    moments = MomentAccumulator(torch.zeros(n, device=device))
    up, down = nn.Linear(shape.d_model, shape.d_mlp), nn.Linear(shape.d_mlp, shape.d_model)
    block = nn.Sequential(up, nn.GELU(approximate="tanh"), down).to(device)
    inputs = torch.randn(PROBE_TOKENS, shape.d_model, device=device)
    with torch.inference_mode():
        return Rates(
            product_flop=2.0 * PROBE_TOKENS * n * n / _repeated(device, lambda: products.update(x, x)),
            forward_flop=4.0 * PROBE_TOKENS * shape.d_model * shape.d_mlp / _repeated(device, lambda: block(inputs)),
            moments=2 * _repeated(device, lambda: moments.update(x)) / (PROBE_TOKENS * n),
        )


def rehearsed(rates: Rates, rehearsal: Rehearsal, settings: IngestSettings, measures: Iterable[str]) -> Rates:
    """The rates with those of forward passes, moments and every measure of layers, on the rehearsed model.

    Args:
        measures: keys of `ingest.parts.LAYER_MEASURES`.
    """
    with torch.inference_mode():
        return _Rehearsed(rates, rehearsal, settings).rates(list(measures))


class _Rehearsed:
    """One model, its corpus and one batch of it."""

    def __init__(self, rates: Rates, rehearsal: Rehearsal, settings: IngestSettings) -> None:
        self.known, self.rehearsal, self.settings = rates, rehearsal, settings
        inputs, shape = rehearsal.inputs, rehearsal.shape
        assert inputs.corpus is not None
        self.device, self.corpus, self.checkpoint = inputs.device, inputs.corpus, rehearsal.checkpoint
        topics = Topics(BY_MACHINE, [Topic(str(i), (i, i + 1, i + 2)) for i in range(min(COMPONENTS, shape.d_vocab - 3))])
        counts = count_tokens(self.corpus, shape.d_vocab)
        table = topic_features(topics, max(inputs.tokenizer.n_tokens, len(topics.topics) + 3))
        self.features = CorpusFeatures(inputs.tokenizer, counts, self.corpus.subset_names, table)
        self.n_topics = len(topics.topics)
        self.shape = CorpusShape(
            self.corpus.n_rows,
            inputs.context,
            self.corpus.n_subsets,
            self.n_topics,
            settings.ngram_tokens,
            self.features.n_divisions,
            inputs.start.with_bos,
        )
        self.layers: list[tuple[Tensor, Tensor]] = []

        def keep(layer: int, pre: Tensor, post: Tensor) -> None:
            self.layers.append((pre.clone(), post.clone()))

        self.checkpoint.visit_activations(self._batch().tokens, keep)
        zeros = torch.zeros(shape.n_neurons, device=self.device)
        self.pivots = Pivots(zeros, zeros.clone())

    def rates(self, measures: list[str]) -> Rates:
        batch = self._batch()
        kept_activations(self.checkpoint, batch)
        forward, (pre, post) = self._timed(lambda: kept_activations(self.checkpoint, self._batch()))
        moments = ModelMoments(self.pivots)
        moments.update(pre.clone(), post)
        copy = pre.clone()
        taken, _ = self._timed(lambda: moments.update(copy, post))
        n_tokens = batch.tokens.numel()
        return replace(
            self.known,
            forward_flop=self.rehearsal.shape.forward_flop(self.rehearsal.inputs.context) * n_tokens / forward,
            moments=taken / (n_tokens * self.rehearsal.shape.n_neurons),
            of_measures={name: self._rates_of(name, n_tokens, pre, post, moments) for name in measures},
        )

    def _rates_of(self, name: str, n_tokens: int, pre: Tensor, post: Tensor, moments: ModelMoments) -> MeasureRates:
        """Feed a measure twice what it is fed by one batch, and finish it once."""
        shape = LayerShape(self.rehearsal.shape.d_mlp, self.rehearsal.shape.d_vocab, self.shape, self.settings.seed)
        measure, size = LAYER_MEASURES[name], LAYER_MEASURES[name].size(shape)
        ground = ground_of(self.settings, self.rehearsal.inputs, self.features, lambda name: [], (), {0: moments})
        sums, n_layers = self._sums(name, size), self.rehearsal.shape.n_layers
        self._feed(sums, self._batch(), pre, post)
        batches = [self._batch() for _ in range(TIMES)]
        added, _ = self._timed(lambda: self._feed(sums, batches.pop(), pre, post))
        shared, _ = timed(self.device, lambda: measure.prepare(shape, ground))

        def finish() -> None:
            for item, held in sums.layers.items():
                measure.finish(held, Layers(0, item.layers.neurons), ground)

        finished, _ = timed(self.device, finish)
        return MeasureRates(
            added=added / (n_layers * n_tokens * size.operations),
            finished=finished / (n_layers * size.finish_operations),
            shared=shared / size.shared_operations if size.shared_operations else 0.0,
        )

    def _timed(self, step: Callable[[], Any]) -> tuple[float, Any]:
        """The shortest of some times."""
        rounds = [timed(self.device, step) for _ in range(TIMES)]
        return min(seconds for seconds, _ in rounds), rounds[-1][1]

    def _batch(self) -> TokenBatch:
        """The corpus, as it is seen for the first time."""
        batch = next(token_batches(self.corpus, self.corpus.n_tokens, self.device))
        generator = torch.Generator().manual_seed(0)

        def some(n_columns: int) -> FeatureBatch:
            random = torch.rand(len(batch.kept), n_columns, generator=generator)
            return FeatureBatch((random < FEATURE_SHARE).to(self.device))

        columns = {name: measure.columns(self.shape) for name, measure in LAYER_MEASURES.items()}
        return replace(batch, features={name: some(n_columns) for name, n_columns in columns.items() if n_columns})

    def _sums(self, measure: str, size: Size) -> JobSums:
        shape = self.rehearsal.shape
        spans = [LayerSpan(layer, layer, shape.d_mlp) for layer in range(shape.n_layers)]
        items = tuple(LayerItem(measure, 0, span, size) for span in spans)
        plan = Plan((), (shape,), self.shape)
        return JobSums(items, plan, {0: self.pivots}, self.device, self.settings.precision, self.settings.seed)

    def _feed(self, sums: JobSums, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        for layer, (own_pre, own_post) in enumerate(self.layers):
            sums.observe(batch, 0, layer, own_pre, own_post)
        sums.update(batch, {0: pre}, {0: post})


def timed(device: torch.device, step: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one step, and what it gave."""
    _wait(device)
    began = time.perf_counter()
    made = step()
    _wait(device)
    return time.perf_counter() - began, made


def _repeated(device: torch.device, step: Callable[[], object]) -> float:
    """Seconds of one step, after one that does not count."""
    step()
    _wait(device)
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < PROBE_SECONDS:
        step()
        _wait(device)
        steps += 1
    return (time.perf_counter() - began) / steps


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
