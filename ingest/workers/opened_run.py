"""A run as a worker sees it: its inputs, opened again from what the run has recorded, and checked to be the same."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from catalog import parts
from catalog.errors import CatalogError, RunEnded, WorkerRefusal
from catalog.runs import jobs, life
from ingest.identity import versions_of
from ingest.inputs import Inputs, load_inputs
from ingest.jobs.context import JobContext
from ingest.jobs.inline import features_of, job_context
from ingest.jobs.store import RunStore
from ingest.plan.run_plan import RunPlan, stored_plan
from ingest.progress import Progress
from ingest.settings import IngestSettings, from_record
from ingest.workers.settings import WorkerSettings


@dataclass(frozen=True)
class RunContext:
    """One run, ready for its jobs."""

    run_id: int
    identity: str
    settings: IngestSettings
    inputs: Inputs
    planned: RunPlan
    jobs: JobContext


def open_run(engine: Engine, run_id: int, worker: WorkerSettings, progress: Progress) -> RunContext:
    """Open what a run needs.

    Raises:
        RunEnded: the run is gone, or no longer left to workers.
        WorkerRefusal: this worker's definitions, device or files are not those the run needs; others may do it.
    """
    with engine.connect() as connection:
        check_left(connection, run_id)
        row = connection.execute(
            text("SELECT identity, settings, asked, staging_folder FROM runs WHERE id = :id"), {"id": run_id}
        ).one()
        planned = stored_plan(connection, run_id)
    if planned is None:
        life.end_run(engine, run_id, "what it stands on is gone")
        raise RunEnded(f"what run {run_id} stands on is gone; the same `catalog ingest` plans it anew.")
    _check_definitions(run_id, {part: definition.version for part, definition in planned.definitions.items()})
    settings = _settings(row.asked, worker)
    try:
        inputs = load_inputs(settings, progress)
    except CatalogError as error:
        raise WorkerRefusal(f"this worker cannot open what run {run_id} reads: {error}") from error
    _check_inputs(run_id, inputs, planned, row.settings["token_sha256"])
    store = RunStore(engine, run_id, Path(row.staging_folder))
    features = features_of(inputs, planned.topics)
    context = job_context(settings, inputs, planned, features, store, progress)
    return RunContext(run_id, row.identity, settings, inputs, planned, context)


def check_left(connection: Connection, run_id: int) -> None:
    """Raises:
    RunEnded: the run is gone, or no longer left to workers.
    """
    jobs.check_alive(connection, run_id)
    row = connection.execute(text("SELECT status, left_to_workers FROM runs WHERE id = :id"), {"id": run_id}).one()
    if row.status == "published":
        raise RunEnded(f"run {run_id} is published already; nothing of it is left to do.")
    if not row.left_to_workers:
        raise RunEnded(f"run {run_id} is no longer left to workers; whoever took it back goes on with it.")


def is_current(engine: Engine, context: RunContext) -> bool:
    """Whether the run is still left to workers, with the plan and the folder that it had when it was opened."""
    with engine.connect() as connection:
        row = connection.execute(
            text("SELECT staging_folder, left_to_workers FROM runs WHERE id = :id"), {"id": context.run_id}
        ).first()
        if row is None or not row.left_to_workers or row.staging_folder != str(context.jobs.store.folder):
            return False
        return stored_plan(connection, context.run_id) == context.planned


def _settings(record: dict[str, Any], worker: WorkerSettings) -> IngestSettings:
    settings = replace(from_record(record), device=worker.device, memory_gb=worker.memory_gb, database_url=worker.database_url)
    if worker.checkpoint_minutes is not None:
        settings = replace(settings, checkpoint_minutes=worker.checkpoint_minutes)
    return settings


def _check_definitions(run_id: int, wanted: dict[str, int]) -> None:
    have = versions_of(part for part in wanted if part in parts.names())
    differ = [part for part in wanted if have.get(part) != wanted[part]]
    if differ:
        part = differ[0]
        raise WorkerRefusal(
            f"run {run_id} was planned with definition {wanted[part]} of {part}, and this worker computes "
            f"{have.get(part, 'none')}; run the worker with the code that planned it."
        )


def _check_inputs(run_id: int, inputs: Inputs, planned: RunPlan, token_sha256: str | None) -> None:
    for checkpoint, wanted in zip(inputs.checkpoints, planned.models, strict=True):
        actual = checkpoint.identity.sha256
        if actual != wanted:
            raise WorkerRefusal(
                f"{checkpoint.source} holds another model here ({actual[:12]}, of its weights and config) than run {run_id} "
                f"was planned with ({wanted[:12]}); give this worker the same files."
            )
    if inputs.corpus is not None and inputs.corpus.token_sha256 != token_sha256:
        raise WorkerRefusal(
            f"{inputs.corpus.meta.source} gives other tokens here ({inputs.corpus.token_sha256[:12]}) than run {run_id} was "
            f"planned with ({str(token_sha256)[:12]}); give this worker the same corpus."
        )
