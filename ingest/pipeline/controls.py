"""The controls of a run: each is a run of its own, of a twin of the first model, which no view shows.

A control is found again by what it is, as every run, so that another run of the same model and tokens has it too, and what it
lacks is added to it. It takes effect when it is published: see `catalog.publishing.controls`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from catalog import aliases
from catalog.rows import Definition
from catalog.runs import life, reuse
from catalog.runs.controls import record_control
from catalog.runs.handle import RunHandle
from catalog.runs.life import RunRecord
from ingest.features.topics import BY_MACHINE, Topic, Topics
from ingest.identity import definitions_of
from ingest.inputs import Inputs, control_inputs
from ingest.pipeline.phases import RunWork
from ingest.pipeline.planning import RunPlanner
from ingest.pipeline.queueing import enqueue
from ingest.pipeline.spec import spec_of
from ingest.progress import Progress
from ingest.settings import IngestSettings


@dataclass(frozen=True)
class RunControls:
    """Measures the controls of one run."""

    engine: Engine
    run_id: int
    settings: IngestSettings
    """Of the run."""
    inputs: Inputs
    """Of the run."""
    topics: Topics | None = None
    """Those that were found for the run; None: a published run has them."""

    def measure(self, progress: Progress) -> Iterator[str]:
        """Measure and publish what is missing, or leave it to workers; what became of each control, a sentence each."""
        model = self._first_model()
        for number in range(1, self.settings.controls + 1):
            settings = self.settings.of_control(number, self.settings.models[model])
            base = _of_one(self.inputs, model)
            yield from self._measure(settings, control_inputs(base, settings), progress)

    def _first_model(self) -> int:
        """The model that the run has first, which may be given in another order now."""
        known = aliases.models_of_run(self.engine, self.run_id)
        return self.inputs.identities.index(known[0].identity) if known else 0

    def _measure(self, settings: IngestSettings, inputs: Inputs, progress: Progress) -> Iterator[str]:
        spec = spec_of(settings, inputs, settings.parts)
        run = None if settings.again else life.published_run(self.engine, spec.identity)
        wanted = definitions_of(settings.parts, settings, inputs.context, inputs.start.with_bos)
        missing = _missing(run, wanted)
        if run is not None and not missing:
            record_control(self.engine, self.run_id, run.id)
            yield f"run {run.id} is its control"
            return
        spec = spec_of(settings, inputs, missing)
        twin, rows = inputs.checkpoints[0], inputs.corpus
        with life.begin_run(self.engine, spec) if run is None else life.begin_parts(self.engine, run.id, spec) as handle:
            record_control(self.engine, self.run_id, handle.run_id)
            n_tokens = 0 if rows is None else rows.n_tokens
            progress.say(
                f"control of run {self.run_id}: {twin.name}, whose neurons read permuted weights, on {n_tokens:,} tokens"
            )
            yield self._work(handle, settings, inputs, missing, progress)

    def _work(
        self, handle: RunHandle, settings: IngestSettings, inputs: Inputs, missing: tuple[str, ...], progress: Progress
    ) -> str:
        planner = RunPlanner(self.engine, handle, settings, inputs, missing, self._topics(missing))
        if settings.enqueue:
            n_jobs = len(enqueue(planner, progress).plan.jobs)
            return f"its control, run {handle.run_id}, is queued as {n_jobs} jobs"
        RunWork(self.engine, handle, settings, inputs, missing, planner.topics).run(progress)
        return f"run {handle.run_id} is its control"

    def _topics(self, missing: tuple[str, ...]) -> Topics | None:
        """The topics that the run has; those of a file are read again."""
        if "topics" not in missing or self.settings.topics is not None or self.topics is not None:
            return self.topics
        return Topics(BY_MACHINE, [Topic(name, ids) for name, ids in reuse.topics_of(self.engine, self.run_id)])


def _of_one(inputs: Inputs, model: int) -> Inputs:
    """The inputs with one model alone."""
    return replace(inputs, checkpoints=[inputs.checkpoints[model]])


def _missing(run: RunRecord | None, wanted: dict[str, Definition]) -> tuple[str, ...]:
    """Parts that a published run lacks, or has by another definition."""
    return tuple(part for part, definition in wanted.items() if run is None or run.parts.get(part) != definition)
