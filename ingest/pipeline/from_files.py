"""The main path once files are to be read: checkpoints and a corpus in, one published run out.

1. inputs       open the checkpoints and the corpus; find the run's identity
2. recognise    a published run with this identity that has every part is answered at once
3. accumulate   passes over the tokens: moments, sums per token, correlations (phase accumulate)
4. stage        results per neuron id through binary COPY into staging (phase stage)
5. merge        what earlier runs know already, best matches in every other model, groups (phase merge)
6. publish      one transaction: readers see all of it or nothing (phase publish)
7. controls     the same for twins of the first model, each a run of its own (`ingest.pipeline.controls`)
"""

import time
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Engine

from catalog.errors import interruption_in
from catalog.runs import life, reuse
from ingest.features.topics import Topics
from ingest.inputs import Inputs, load_inputs
from ingest.pipeline.controls import RunControls
from ingest.pipeline.phases import RunWork
from ingest.pipeline.planning import RunPlanner
from ingest.pipeline.queueing import enqueue
from ingest.pipeline.recognise import Recognised, recognise
from ingest.pipeline.spec import spec_of
from ingest.plan.run_plan import RunPlan
from ingest.progress import Progress
from ingest.settings import IngestReport, IngestSettings


def run_of_files(engine: Engine, settings: IngestSettings, progress: Progress, started: float) -> IngestReport:
    """Read what `settings` names, and compute and publish it, unless a published run has it already.

    Args:
        started: by the monotonic clock.
    Raises:
        CatalogError: bad input, or the same run at work elsewhere; nothing is published.
    """
    inputs = load_inputs(settings, progress)
    settings = settings.defined(inputs.start)
    recognised = recognise(engine, settings, inputs.asked)
    if recognised.answer is not None:
        return recognised.report(engine, started)
    for sentence in [*recognised.rename(engine, inputs.checkpoints), *recognised.measured_again(settings)]:
        progress.say(sentence)
    if recognised.run is None:
        _say_what_is_hidden(engine, settings, inputs, progress)
    if recognised.run is not None and not recognised.missing:
        run_id = recognised.run.id
        done = _Done(IngestReport(run_id, "controls_added", False, 0.0, f"run {run_id} had all but its control"), None, False)
    else:
        done = _measure(engine, recognised, settings, inputs, progress)
    told = [done.report.message]
    if recognised.lacks_controls and not done.interrupted:
        told += RunControls(engine, done.report.run_id, settings, inputs, done.topics).measure(progress)
    return replace(done.report, message="; ".join(told), seconds=time.monotonic() - started)


class _Done(NamedTuple):
    """What became of a run without its controls."""

    report: IngestReport
    """Not how long it took."""
    topics: Topics | None
    """Those that were found for the jobs that are left to workers."""
    interrupted: bool
    """When it was published, and there was no more to do than to tidy up."""


def _measure(engine: Engine, recognised: Recognised, settings: IngestSettings, inputs: Inputs, progress: Progress) -> _Done:
    """Compute and publish the run, or leave it to workers."""
    began, run, missing = time.monotonic(), recognised.run, recognised.missing
    spec = spec_of(settings, inputs, missing)
    with life.begin_run(engine, spec) if run is None else life.begin_parts(engine, run.id, spec) as handle:
        if handle.resumes is not None:
            progress.say(f"{handle.resumes} before and goes on")
        if settings.enqueue:
            planned = enqueue(RunPlanner(engine, handle, settings, inputs, missing), progress)
            message = _queued(handle.run_id, planned)
            return _Done(IngestReport(handle.run_id, "queued", handle.resumed, 0.0, message), planned.topics, False)
        interrupted = False
        try:
            RunWork(engine, handle, settings, inputs, missing).run(progress)
        except BaseException as error:
            if interruption_in(error) is None or not handle.published:
                raise
            interrupted = True
        message = f"run {handle.run_id} {_became(recognised)}, after {time.monotonic() - began:.0f} s"
        outcome = "published" if run is None else "parts_added"
        return _Done(IngestReport(handle.run_id, outcome, handle.resumed, 0.0, message), None, interrupted)


def _queued(run_id: int, planned: RunPlan) -> str:
    return (
        f"run {run_id} is queued as {len(planned.plan.jobs)} jobs; start `catalog worker` as often as you have devices, "
        f"`catalog runs watch {run_id}` shows how far it is"
    )


def _became(recognised: Recognised) -> str:
    """What became of a run."""
    if recognised.run is None:
        return "is published"
    added = ", ".join(part for part in recognised.missing if part not in recognised.run.parts)
    again = ", ".join(part for part in recognised.missing if part in recognised.run.parts)
    told = [*([f"now has {added} as well"] if added else []), *([f"has {again} anew"] if again else [])]
    return " and ".join(told)


def _say_what_is_hidden(engine: Engine, settings: IngestSettings, inputs: Inputs, progress: Progress) -> None:
    """A new run is what readers see of its models from then on, even where an older one has more parts."""
    for run, parts in reuse.hidden_parts(engine, inputs.model_keys, settings.parts).items():
        progress.say(
            f"this will be a new run, which readers see in place of run {run}, without {', '.join(parts)}; these stay in "
            "schema history, and to have them in the new run as well name them with --only"
        )
