"""The jobs that read the corpus again, block by block, for the errors of correlations with the best partners.

Every block that is done is kept: a long job saves its sums every few minutes, and whatever stops it repeats a block at most.
"""

import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from catalog.runs.jobs import Claim
from ingest.corpus.batches import BlockBatch, Buffers, block_batches, kept_activations
from ingest.jobs.context import Advance, JobContext, JobStopped
from ingest.jobs.threads import Threads
from ingest.parts.arrays import PLACE, decode_pivots, encode
from ingest.parts.correlations import best_partners, best_units
from ingest.parts.ground import Ground
from ingest.plan.items import JackknifeItem, Job
from ingest.statistics.correlation import NeuronSums
from ingest.statistics.pair_errors import PairErrors, added, block_sums
from ingest.statistics.rotated_units import BestUnits


class Held(NamedTuple):
    """What a job sums, by its items."""

    item: JackknifeItem
    errors: PairErrors
    """Of the best partners."""
    units: BestUnits
    baseline: PairErrors
    """Of these units."""

    @property
    def state(self) -> dict[str, Tensor]:
        """The live sums of the blocks that are read."""
        return {**self.errors.state(), "baseline": self.baseline.best_}


@torch.inference_mode()
def read_again(context: JobContext, job: Job, claim: Claim, advance: Advance) -> None:
    """Read the blocks of a job, and write what the correlations are without each."""
    sums = _empty(job, context.ground())
    reading = _Reading(context, job, sums, claim, advance)
    first, end = job.blocks
    for block in range(reading.resume(first), end):
        reading.read(block)
    filled = np.unique(context.ground().corpus.block_ids)
    here = np.array([block for block in filled.tolist() if first <= block < end], dtype=np.int64)
    found = {
        held.item.key: encode({PLACE: np.array([held.item.first, held.item.end]), "filled": here, **held.state})
        for held in sums
    }
    claim.finish(found, None)
    context.store.drop_checkpoint(job)


def _empty(job: Job, ground: Ground) -> list[Held]:
    """The sums of all items; the tiles of a pair are read once for all of them that follow each other."""
    sums = []
    for item in job.items:
        assert isinstance(item, JackknifeItem)
        best = best_partners(ground, item.a, item.b, item.neurons)
        units = best_units(ground, item.a, item.b, best)
        own, others = _of(ground.moments(item.a).sums, item.neurons), ground.moments(item.b).sums
        errors = PairErrors(own, others, best.top_index, best.top_values)
        sums.append(Held(item, errors, units, PairErrors(own, units.sums, units.index, units.correlations, mean=True)))
    return sums


def _of(sums: NeuronSums, neurons: slice) -> NeuronSums:
    return NeuronSums(sums.n, sums.s_x[neurons], sums.s_xx[neurons])


class _Reading:
    """A job on its way through its blocks."""

    def __init__(self, context: JobContext, job: Job, sums: list[Held], claim: Claim, advance: Advance) -> None:
        self.context, self.job, self.sums = context, job, sums
        self._claim, self._advance = claim, advance
        self._pivots = {m: decode_pivots(context.store.results(f"pivots:{m}")[0], context.inputs.device) for m in job.models}
        self._buffers, self._threads = Buffers(), Threads(context.inputs.device)
        self._most = context.plan.tokens(job)
        self._done = 0
        self._saved = time.monotonic()

    def resume(self, first: int) -> int:
        """The first block that is still to be read; the sums of those before are back."""
        resumed = self.context.store.resume(self.job)
        if resumed is None:
            return first
        block, arrays = resumed
        state = self._state()
        for name, values in arrays:
            state[name].copy_(torch.from_numpy(values))
        before = self.context.ground().corpus.block_ids
        self._tell(int(np.count_nonzero((before >= first) & (before < block))))
        return block

    def read(self, block: int) -> None:
        """One block, from its first token to the correlations without it."""
        context = self.context
        of_models: dict[int, NeuronSums] = {}
        of_units: list[NeuronSums | None] = [None] * len(self.sums)
        for batch in block_batches(context.ground().corpus, block, context.settings.batch_tokens, context.inputs.device):
            values = {model: self._activations(model, batch) for model in self.job.models}
            for model, activations in values.items():
                of_models[model] = added(of_models.get(model), block_sums(activations))
            for number, held in enumerate(self.sums):
                own, others = values[held.item.a][held.item.neurons], values[held.item.b]
                held.errors.update(own, others, self._threads.together, self._threads.number)
                units = held.units.activations(others)
                of_units[number] = added(of_units[number], block_sums(units))
                held.baseline.update(own, units, self._threads.together, self._threads.number)
            try:
                self._tell(len(batch.tokens))
            except JobStopped:
                self._save(block)
                raise
        for held, units_sums in zip(self.sums, of_units, strict=True):
            if units_sums is not None:
                own_sums = _of(of_models[held.item.a], held.item.neurons)
                held.errors.end_block(block, own_sums, of_models[held.item.b])
                held.baseline.end_block(block, own_sums, units_sums)
        if time.monotonic() - self._saved >= 60 * context.settings.checkpoint_minutes:
            self._save(block + 1)
            self._saved = time.monotonic()

    def _activations(self, model: int, batch: BlockBatch) -> Tensor:
        """(neurons, kept tokens) fp32, of post about the pivot."""
        _, post = kept_activations(self.context.inputs.checkpoints[model], batch, buffers=self._buffers)
        post -= self._pivots[model].post
        return post.T.contiguous()

    def _tell(self, n_rows: int) -> None:
        """Say how far the job is; another may be told to stop it."""
        n_tokens = n_rows * self.context.plan.corpus.context
        self._done += n_tokens
        self._claim.beat(min(self._done, self._most))
        self._advance(n_tokens)

    def _state(self) -> dict[str, Tensor]:
        return {f"{held.item.key}/{name}": sums for held in self.sums for name, sums in held.state.items()}

    def _save(self, next_block: int) -> None:
        """Keep what all blocks before this one gave."""
        self.context.store.checkpoint(self.job, next_block, self._state())
