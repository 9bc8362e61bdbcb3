"""Runs one job of a plan: from tokens to results that are safe in the store.

    pivots      means of the first 4,096 kept tokens of every model; all jobs of a run share them
    accumulate  rows of the corpus go through the job's models once; the activations feed the job's accumulators
    combine     sums of jobs over ranges of rows are added up

A job that sees all rows, or combines them, turns its sums per token into explanations and its tiles into best partners.
An ingest and a worker run the same jobs through this code; a long job saves its sums every few minutes.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from catalog.jobs import Claim
from ingest.activations import Buffers, FeatureSource, Pivots, kept_activations, pivots, token_batches
from ingest.checkpoint import Checkpoint
from ingest.corpus import TokenCorpus
from ingest.corpus_features import CorpusFeatures
from ingest.plan import Job, OwnItem, Plan, TokenItem
from ingest.results import PLACE, Explained, decode_pivots, encode, encode_explained, encode_pivots, encode_tile
from ingest.span_corpus import SpanCorpus
from ingest.spans import KINDS
from ingest.statistics.correlation import NeuronSums, RotatedLayer, TileCorrelations, rotate_layer, rotation
from ingest.statistics.moments import Moments
from ingest.statistics.precision import exact_in
from ingest.statistics.tiles import CrossTile, LayerSpan
from ingest.store import RunStore
from ingest.sums import JobSums, ModelMoments, merged_moments

ROTATIONS_BYTES = 256 * 2**20
"""Rotated layers kept at hand while tiles are finished."""


@dataclass(frozen=True)
class CoreSettings:
    """The settings that jobs need."""

    batch_tokens: int
    seed: int
    baseline_draws: int
    top_k: int
    precision: str
    device: torch.device
    checkpoint_seconds: float


@dataclass(frozen=True)
class LayerTokenSums:
    """Sums per token id of one span of layers."""

    model: int
    neurons: slice
    """Flat indices."""
    sums: Tensor
    """(2, d_vocab, neurons) float64 about the pivot: by current and by previous token."""
    pivot: Tensor
    """(neurons,) fp32."""
    moments: Moments
    """Of post, for exactly these neurons."""


@dataclass(frozen=True)
class JobContext:
    """What all jobs of a run share."""

    checkpoints: list[Checkpoint]
    corpus: TokenCorpus
    plan: Plan
    settings: CoreSettings
    store: RunStore
    explain: Callable[[LayerTokenSums], Explained] | None
    """None where sums per token are not asked for."""
    features: CorpusFeatures
    sources: Mapping[str, FeatureSource]
    """Features of positions that jobs ask for, by name."""


Advance = Callable[[int], None]
"""Told of tokens that are done; may raise to end the job, after a checkpoint."""


@torch.inference_mode()
def run_job(context: JobContext, job: Job, claim: Claim, advance: Advance) -> None:
    """Do a job and write what it found; `claim` is the right to do so.

    Raises:
        RunError: the run was cancelled, or sums of an earlier job cannot be read, which is then to be done again.
    """
    store = context.store
    if job.kind == "pivots":
        claim.finish({f"pivots:{model}": encode_pivots(_pivots_of(context, model)) for model in job.models}, None)
        return
    known = {model: decode_pivots(store.results(f"pivots:{model}")[0], context.settings.device) for model in job.models}
    settings = context.settings
    sums = JobSums(job.items, context.plan, known, settings.device, settings.precision, settings.seed)
    results: dict[str, bytes] = {}
    file = None
    if job.kind == "accumulate":
        _accumulate(context, job, sums, known, claim, advance)
        for model, moments in sums.moments.items():
            results[f"moments:{model}"] = encode(moments.state())
        if context.plan.file_bytes(job):
            file = store.leave(job, sums.state())
    else:
        wanted = list(sums.state())
        sums.add(store.sums(_shards(context.plan, job), wanted))
    if context.plan.whole(job):
        results |= _Finish(context, job, sums, known).results()
    claim.finish(results, file)
    store.drop_checkpoint(job)


def _pivots_of(context: JobContext, model: int) -> Pivots:
    settings = context.settings
    means = pivots(context.checkpoints[model], context.corpus, settings.batch_tokens, settings.device)
    return Pivots(means.pre, exact_in(means.post, settings.precision))


def _shards(plan: Plan, job: Job) -> list[int]:
    """The jobs whose sums a combine job adds up."""
    keys = {item.key for item in job.items}
    return [n for n in job.after if not keys.isdisjoint(item.key for item in plan.jobs[n].items)]


def _accumulate(context: JobContext, job: Job, sums: JobSums, known: dict[int, Pivots], claim: Claim, advance: Advance) -> None:
    """Feed the rows that are left; the sums are saved now and then, and when `advance` or the run's end stops the job."""
    settings, store, plan = context.settings, context.store, context.plan
    row = job.first_row
    resumed = store.resume(job)
    if resumed is not None:
        row, arrays = resumed
        sums.add(arrays)
        advance((row - job.first_row) * plan.corpus.context)

    def save() -> None:
        store.checkpoint(job, row, {**sums.state(), **sums.moment_state()})

    saved, buffers = time.monotonic(), Buffers()
    rows = token_batches(context.corpus, settings.batch_tokens, settings.device, row, job.end_row, context.sources)
    for batch in rows:
        pre: dict[int, Tensor] = {}
        post: dict[int, Tensor] = {}
        for model in job.models:
            observe = partial(sums.observe, batch, model)
            pre[model], post[model] = kept_activations(context.checkpoints[model], batch, observe, buffers)
            post[model] -= known[model].post
        sums.update(batch, pre, post)
        row += batch.n_rows
        try:
            claim.beat((row - job.first_row) * plan.corpus.context)
            advance(batch.n_rows * plan.corpus.context)
        except JobStopped:
            save()
            raise
        if time.monotonic() - saved >= settings.checkpoint_seconds:
            save()
            saved = time.monotonic()


class JobStopped(Exception):
    """The worker is asked to stop; the job is saved and goes back to the queue."""


class _Finish:
    """Turns complete sums into results."""

    def __init__(self, context: JobContext, job: Job, sums: JobSums, known: dict[int, Pivots]) -> None:
        self.context = context
        self.job = job
        self.sums = sums
        self.known = known
        self._corpus = SpanCorpus(context.corpus, context.features)
        self._moments = lru_cache(maxsize=None)(self._read_moments)
        self._squares = lru_cache(maxsize=None)(self._read_squares)
        largest = max((context.plan.shapes[model].d_mlp for model in job.models), default=1)
        self._rotated = lru_cache(maxsize=max(1, ROTATIONS_BYTES // (4 * largest**2)))(self._rotate)

    def results(self) -> dict[str, bytes]:
        """Explanations, other statistics and best partners by name; the accumulators are freed one after the other."""
        found: dict[str, bytes] = {}
        for products in self.sums.own.values():
            products.rest()
        while self.sums.tokens:
            item, accumulator = self.sums.tokens.popitem()
            assert self.context.explain is not None
            found[item.key] = encode_explained(self.context.explain(self._layer_sums(item, accumulator.sums_)))
        while self.sums.spans:
            span_item, span = self.sums.spans.popitem()
            place = np.array([span_item.model, span_item.layers.neurons.start, span_item.layers.neurons.stop])
            found[span_item.key] = encode({PLACE: place, **KINDS[span_item.kind].finish(span, self._corpus)})
        while self.sums.tiles:
            tile_item, tile = self.sums.tiles.popitem()
            found[tile_item.key] = encode_tile(self._correlations(tile_item.a, tile_item.b, tile))
        return found

    def _correlations(self, a: int, b: int, tile: CrossTile) -> TileCorrelations:
        draws = range(self.context.settings.baseline_draws)
        return tile.compute(
            self._neuron_sums(a, tile.rows),
            self._neuron_sums(b, tile.columns),
            rotated_a=lambda layer: [self._rotated(b, a, layer, draw) for draw in draws],
            rotated_b=lambda layer: [self._rotated(a, b, layer, draw) for draw in draws],
            k=self.context.settings.top_k,
        )

    def _layer_sums(self, item: TokenItem, sums: Tensor) -> LayerTokenSums:
        neurons = item.layers.neurons
        moments = self._moments(item.model).post.compute()[neurons]
        return LayerTokenSums(item.model, neurons, sums, self.known[item.model].post[neurons], moments)

    def _neuron_sums(self, model: int, span: LayerSpan) -> NeuronSums:
        """Sums of all neurons of a model, those of the layers of `span` as they were multiplied.

        Where products round activations, the squares must be of rounded ones, too: most of the error cancels.
        """
        sums: NeuronSums = self._moments(model).sums
        if self.context.settings.precision == "fp32":
            return sums
        s_xx = sums.s_xx.clone()
        for layer in span.layers:
            s_xx[layer * span.d_mlp : (layer + 1) * span.d_mlp] = self._squares(model, layer)
        return NeuronSums(sums.n, sums.s_x, s_xx)

    def _read_squares(self, model: int, layer: int) -> Tensor:
        """(d_mlp,) float64 sums of squares about the pivot, by the products of the layer with itself."""
        return self._own_products(model, layer).diagonal().clone()

    def _read_moments(self, model: int) -> ModelMoments:
        if self.job.kind == "accumulate" and model in self.sums.moments:
            return self.sums.moments[model]
        return merged_moments(self.known[model], self.context.store.results(f"moments:{model}"))

    def _own_products(self, model: int, layer: int) -> Tensor:
        """(d_mlp, d_mlp) float64 products of a layer with itself over all rows."""
        item = OwnItem(model, LayerSpan(layer, layer, self.context.plan.shapes[model].d_mlp))
        if item in self.sums.own:
            return self.sums.own[item].total_
        read = JobSums((item,), self.context.plan, {}, self.context.settings.device, "fp32")
        read.add(self.context.store.sums(self.job.after, list(read.state())))
        read.own[item].rest()
        return read.own[item].total_

    def _rotate(self, own: int, other: int, layer: int, draw: int) -> RotatedLayer:
        shas = [checkpoint.identity.sha256 for checkpoint in self.context.checkpoints]
        d_mlp = self.context.plan.shapes[other].d_mlp
        neurons = slice(layer * d_mlp, (layer + 1) * d_mlp)
        sums = self._neuron_sums(other, LayerSpan(layer, layer, d_mlp))
        return rotate_layer(
            layer,
            rotation(self.context.settings.seed, shas[own], shas[other], layer, draw, d_mlp),
            self._own_products(other, layer),
            NeuronSums(sums.n, sums.s_x[neurons], sums.s_xx[neurons]),
        )
