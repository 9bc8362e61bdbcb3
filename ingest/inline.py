"""Does the jobs of a run one after the other, in this process."""

import os
import platform

import torch

from catalog import jobs
from catalog.run_handle import RunHandle
from ingest.activations import FeatureSource
from ingest.compute import CoreSettings, JobContext, run_job
from ingest.corpus_features import CorpusFeatures, TokenTable
from ingest.device import describe
from ingest.explain import Explainer
from ingest.plan import Plan, SpanItem, TokenItem
from ingest.prepare import Inputs, open_syntax
from ingest.progress import Progress
from ingest.settings import IngestSettings
from ingest.staging_folder import check_writable
from ingest.store import RunStore


def job_context(
    settings: IngestSettings,
    inputs: Inputs,
    plan: Plan,
    features: CorpusFeatures,
    store: RunStore,
    progress: Progress,
) -> JobContext:
    """What the jobs of a run share; its corpus is open, and annotated if a job asks for that."""
    assert inputs.corpus is not None
    core = CoreSettings(
        batch_tokens=settings.batch_tokens,
        seed=settings.seed,
        baseline_draws=settings.baseline_draws,
        top_k=settings.top_k,
        precision=settings.precision,
        device=inputs.device,
        checkpoint_seconds=60 * settings.checkpoint_minutes,
    )
    items = [item for job in plan.jobs for item in job.items]
    kinds = {item.kind for item in items if isinstance(item, SpanItem)}
    sources: dict[str, FeatureSource] = {}
    if "syntax" in kinds:
        sources["syntax"] = open_syntax(settings, inputs.corpus, inputs.tokenizer, progress)
    if "topics" in kinds:
        sources["topics"] = TokenTable(features.topics)
    explain = Explainer(features, settings.min_count).explain if any(isinstance(item, TokenItem) for item in items) else None
    return JobContext(inputs.checkpoints, inputs.corpus, plan, core, store, explain, features, sources)


def worker_name(device: torch.device) -> str:
    """For the ledger: host, process and device."""
    return f"{platform.node()} {os.getpid()} {describe(device)}"


def run_jobs(context: JobContext | None, handle: RunHandle, progress: Progress) -> None:
    """All jobs that are not done, in order.

    Raises:
        InputError: the staging folder cannot be written.
        RunError: the run was cancelled.
    """
    if context is None or not context.plan.jobs:
        return
    check_writable(context.store.folder)
    with handle.engine.connect() as connection:
        done = {state.job for state in jobs.states(connection, handle.run_id) if state.done}
    todo = [job for job in context.plan.jobs if job.number not in done]
    progress.phase("accumulate", sum(context.plan.tokens(job) for job in todo), "tokens")
    for job in todo:
        with jobs.claim(handle.engine, handle.run_id, job.number, worker_name(context.settings.device)) as claim:
            if claim is not None:
                run_job(context, job, claim, progress.advance)
