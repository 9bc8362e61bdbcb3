"""The main path once files are to be read: checkpoints and a corpus in, one published run out.

1. inputs       open the checkpoints and the corpus; find the run's identity
2. recognise    a published run with this identity that has every part is answered at once
3. accumulate   passes over the tokens: moments, sums per token, correlations (phase accumulate)
4. stage        results per neuron id through binary COPY into staging (phase stage)
5. merge        what earlier runs know already, best matches in every other model, groups (phase merge)
6. publish      one transaction: readers see all of it or nothing (phase publish)
"""

import time
from dataclasses import replace

from sqlalchemy import Engine

from catalog.errors import interruption_in
from catalog.rows import RunSpec
from catalog.runs import jobs, life, reuse
from catalog.runs.handle import RunHandle
from ingest.corpus import told
from ingest.identity import code_version, parts_by_setting, run_identity, run_settings, versions_of
from ingest.inputs import Inputs, load_inputs
from ingest.jobs.queue import open_queue
from ingest.jobs.staging_folder import check_writable
from ingest.pipeline.phases import RunWork
from ingest.pipeline.planning import RunPlanner
from ingest.pipeline.recognise import Recognised, recognise
from ingest.progress import Progress
from ingest.settings import IngestReport, IngestSettings, recorded


def run_of_files(engine: Engine, settings: IngestSettings, progress: Progress, started: float) -> IngestReport:
    """Read what `settings` names, and compute and publish it, unless a published run has it already.

    Args:
        started: by the monotonic clock.
    Raises:
        CatalogError: bad input, or the same run at work elsewhere; nothing is published.
    """
    inputs = load_inputs(settings, progress)
    recognised = recognise(engine, settings, inputs.asked)
    if recognised.answer is not None:
        return recognised.report(engine, started)
    for sentence in [*recognised.rename(engine, inputs.checkpoints), *recognised.measured_again(settings)]:
        progress.say(sentence)
    spec = _spec(settings, inputs, recognised.missing)
    if recognised.run is None:
        _say_what_is_hidden(engine, settings, inputs, progress)
    run = recognised.run
    with life.begin_run(engine, spec) if run is None else life.begin_parts(engine, run.id, spec) as handle:
        if handle.resumes is not None:
            progress.say(f"{handle.resumes} before and goes on")
        if settings.enqueue:
            return _enqueue(engine, handle, RunPlanner(engine, handle, settings, inputs, recognised.missing), progress, started)
        try:
            RunWork(engine, handle, settings, inputs, recognised.missing).run(progress)
        except BaseException as error:
            if interruption_in(error) is None or not handle.published:
                raise
        seconds = time.monotonic() - started
        message = f"run {handle.run_id} {_done(recognised)}, after {seconds:.0f} s"
        outcome = "published" if recognised.run is None else "parts_added"
        return IngestReport(handle.run_id, outcome, handle.resumed, seconds, message)


def _done(recognised: Recognised) -> str:
    """What became of a run."""
    if recognised.run is None:
        return "is published"
    added = ", ".join(part for part in recognised.missing if part not in recognised.run.parts)
    again = ", ".join(part for part in recognised.missing if part in recognised.run.parts)
    told = [*([f"now has {added} as well"] if added else []), *([f"has {again} anew"] if again else [])]
    return " and ".join(told)


def _enqueue(engine: Engine, handle: RunHandle, planner: RunPlanner, progress: Progress, started: float) -> IngestReport:
    """Plan the run and leave its jobs to workers.

    Raises:
        InputError: there is nothing for workers to do, or the staging folder cannot be written.
    """
    planned = planner.plan(progress)
    check_writable(planner.store().folder)
    with engine.connect() as connection:
        states = jobs.states(connection, handle.run_id)
    with open_queue(engine.url) as queue:
        if all(state.done for state in states):
            queue.put_finish(handle.run_id)
        else:
            queue.put(handle.run_id, jobs.ready(states))
    handle.queue()
    n = len(planned.plan.jobs)
    message = (
        f"run {handle.run_id} is queued as {n} jobs; start `catalog worker` as often as you have devices, "
        f"`catalog runs watch {handle.run_id}` shows how far it is"
    )
    return IngestReport(handle.run_id, "queued", handle.resumed, time.monotonic() - started, message)


def _spec(settings: IngestSettings, inputs: Inputs, missing: tuple[str, ...]) -> RunSpec:
    """What the run is recorded as, and what those who do its jobs are asked for: everything that is needed to repeat it."""
    token_sha256 = inputs.corpus.token_sha256 if inputs.corpus is not None else None
    asked = recorded(replace(settings, only=missing), inputs.arguments)
    of_parts = parts_by_setting()
    record = {
        **run_settings(settings, inputs.context),
        "models": list(settings.models),
        "model_identities": inputs.identities,
        "corpus": settings.corpus,
        "token_sha256": token_sha256,
        "max_tokens": settings.max_tokens,
        "read": None if inputs.corpus is None else told.record(inputs.corpus.meta),
        "read_as": {name: value for name, value in asked.items() if name not in of_parts},
    }
    return RunSpec(
        identity=run_identity(inputs.identities, inputs.tokenizer.sha256, token_sha256, settings, inputs.context),
        settings=record,
        definition_versions=versions_of(missing),
        code_version=code_version(),
        device=inputs.device_description,
        model_family=settings.model_family,
        asked=asked,
    )


def _say_what_is_hidden(engine: Engine, settings: IngestSettings, inputs: Inputs, progress: Progress) -> None:
    """A new run is what readers see of its models from then on, even where an older one has more parts."""
    for run, parts in reuse.hidden_parts(engine, inputs.model_keys, settings.parts).items():
        progress.say(
            f"this will be a new run, which readers see in place of run {run}, without {', '.join(parts)}; these stay in "
            "schema history, and to have them in the new run as well name them with --only"
        )
