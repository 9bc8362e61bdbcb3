"""Runs one job of a plan: from tokens to results that are safe in the store.

    pivots      means of the first 4,096 kept tokens of every model; all jobs of a run share them
    accumulate  rows of the corpus go through the job's models once; the activations feed the job's accumulators
    combine     sums of jobs over ranges of rows are added up
    jackknife   the corpus is read again, block by block, for the errors of correlations (`ingest.jobs.second_reading`)
    measure     a share of what is found of one model, by its weights or by reading the first rows again

A job that sees all rows, or combines them, finishes its sums. An ingest and a worker run the same jobs through this code. A
long job over the corpus saves its sums every few minutes; a share of a measure is so short that it is begun anew.
"""

import time
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from catalog.runs.jobs import Claim
from ingest.corpus.batches import Buffers, Pivots, kept_activations, pivots, token_batches
from ingest.jobs.context import Advance, JobContext, JobStopped
from ingest.jobs.second_reading import read_again
from ingest.jobs.sums import JobSums
from ingest.parts import LAYER_MEASURES, MODEL_MEASURES
from ingest.parts.arrays import PLACE, SHARE, decode_pivots, encode, encode_pivots
from ingest.parts.correlations import TileFinish
from ingest.parts.shapes import Layers
from ingest.plan.items import Job, ModelItem, OwnItem, Plan
from ingest.statistics.precision import exact_in
from ingest.statistics.tiles import LayerSpan


def run_job(context: JobContext, job: Job, claim: Claim, advance: Advance) -> None:
    """Do a job and write what it found; `claim` is the right to do so.

    Raises:
        RunError: the run was cancelled, or sums of an earlier job cannot be read, which is then to be done again.
    """
    if job.kind == "measure":
        _measure(context, job, claim, advance)
    elif job.kind == "jackknife":
        read_again(context, job, claim, advance)
    else:
        _sum(context, job, claim, advance)


@torch.inference_mode()
def _sum(context: JobContext, job: Job, claim: Claim, advance: Advance) -> None:
    """Read the corpus, or what others summed of it."""
    store, settings, device = context.store, context.settings, context.inputs.device
    if job.kind == "pivots":
        claim.finish({f"pivots:{model}": encode_pivots(_pivots_of(context, model)) for model in job.models}, None)
        return
    known = {model: decode_pivots(store.results(f"pivots:{model}")[0], device) for model in job.models}
    sums = JobSums(job.items, context.plan, known, device, settings.precision, settings.seed)
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
        results |= _finished(context, job, sums)
    claim.finish(results, file)
    store.drop_checkpoint(job)


def _pivots_of(context: JobContext, model: int) -> Pivots:
    inputs, settings = context.inputs, context.settings
    assert inputs.corpus is not None
    means = pivots(inputs.checkpoints[model], inputs.corpus, settings.batch_tokens, inputs.device)
    return Pivots(means.pre, exact_in(means.post, settings.precision))


def _measure(context: JobContext, job: Job, claim: Claim, advance: Advance) -> None:
    """Find what there is to find; whoever waits for it or stops it is heard in between."""
    (item,) = job.items
    assert isinstance(item, ModelItem)
    done = 0

    def told(amount: int) -> None:
        nonlocal done
        done += amount
        claim.beat(min(done, item.tokens))
        advance(amount)

    ground = replace(context.ground(), memory_bytes=item.n_bytes)
    arrays = MODEL_MEASURES[item.measure].find(item.model, item.share, ground, told)
    claim.finish({item.key: encode({SHARE: np.array(item.share.number), **arrays})}, None)


def _shards(plan: Plan, job: Job) -> list[int]:
    """The jobs whose sums a combine job adds up."""
    keys = {item.key for item in job.items}
    return [n for n in job.after if not keys.isdisjoint(item.key for item in plan.jobs[n].items)]


def _accumulate(context: JobContext, job: Job, sums: JobSums, known: dict[int, Pivots], claim: Claim, advance: Advance) -> None:
    """Feed the rows that are left; the sums are saved now and then, and when `advance` or the run's end stops the job."""
    settings, inputs, store, plan = context.settings, context.inputs, context.store, context.plan
    assert inputs.corpus is not None
    row = job.first_row
    resumed = store.resume(job)
    if resumed is not None:
        row, arrays = resumed
        sums.add(arrays)
        advance((row - job.first_row) * plan.corpus.context)

    def save() -> None:
        store.checkpoint(job, row, {**sums.state(), **sums.moment_state()})

    saved, buffers = time.monotonic(), Buffers()
    last = {model: plan.last_layer(job, model) for model in job.models}
    rows = token_batches(inputs.corpus, settings.batch_tokens, inputs.device, row, job.end_row, context.sources)
    for batch in rows:
        pre: dict[int, Tensor] = {}
        post: dict[int, Tensor] = {}
        for model in job.models:
            observe = partial(sums.observe, batch, model)
            checkpoint = inputs.checkpoints[model]
            pre[model], post[model] = kept_activations(checkpoint, batch, observe, buffers, last[model])
            post[model] -= known[model].post[: post[model].shape[1]]
        sums.update(batch, pre, post)
        row += batch.n_rows
        try:
            claim.beat((row - job.first_row) * plan.corpus.context)
            advance(batch.n_rows * plan.corpus.context)
        except JobStopped:
            save()
            raise
        if time.monotonic() - saved >= 60 * settings.checkpoint_minutes:
            save()
            saved = time.monotonic()


def _finished(context: JobContext, job: Job, sums: JobSums) -> dict[str, bytes]:
    """What complete sums end in, by name; the accumulators are freed one after the other."""
    ground = context.ground(sums.moments if job.kind == "accumulate" else None)
    results: dict[str, bytes] = {}
    for products in sums.own.values():
        products.rest()
    while sums.layers:
        item, accumulator = sums.layers.popitem()
        neurons = item.layers.neurons
        finished = LAYER_MEASURES[item.measure].finish(accumulator, Layers(item.model, neurons), ground)
        results[item.key] = encode({PLACE: np.array([item.model, neurons.start, neurons.stop]), **finished})
    finish = TileFinish(ground, partial(_own_products, context, job, sums))
    while sums.tiles:
        tile_item, tile = sums.tiles.popitem()
        results[tile_item.key] = encode(finish(tile_item.a, tile_item.b, tile))
    return results


def _own_products(context: JobContext, job: Job, sums: JobSums, model: int, layer: int) -> Tensor:
    """(d_mlp, d_mlp) float64 products of a layer with itself over all rows."""
    item = OwnItem(model, LayerSpan(layer, layer, context.plan.shapes[model].d_mlp))
    if item in sums.own:
        return sums.own[item].total_
    read = JobSums((item,), context.plan, {}, context.inputs.device, "fp32")
    read.add(context.store.sums(job.after, list(read.state())))
    read.own[item].rest()
    return read.own[item].total_
