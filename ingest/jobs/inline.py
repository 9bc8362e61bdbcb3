"""Does the jobs of a run one after the other, in this process."""

import os
import platform

import torch

from catalog.runs import jobs
from catalog.runs.handle import RunHandle
from ingest.corpus.batches import FeatureSource
from ingest.device import describe
from ingest.features.of_corpus import CorpusFeatures, corpus_features
from ingest.features.topics import Topics
from ingest.inputs import Inputs
from ingest.jobs.context import JobContext, ground_of
from ingest.jobs.job import run_job
from ingest.jobs.staging_folder import check_writable
from ingest.jobs.store import RunStore
from ingest.parts import LAYER_MEASURES, MODEL_MEASURES, phase_name
from ingest.plan.cut import OF_PAIRS
from ingest.plan.items import Job, LayerItem, ModelItem
from ingest.plan.run_plan import RunPlan
from ingest.progress import Progress
from ingest.settings import IngestSettings


def job_context(
    settings: IngestSettings,
    inputs: Inputs,
    planned: RunPlan,
    features: CorpusFeatures | None,
    store: RunStore,
    progress: Progress,
) -> JobContext:
    """What the jobs of a run share; its corpus is open, and annotated if a job asks for that."""
    plan, parts = planned.plan, planned.parts
    measures = {item.measure for job in plan.jobs for item in job.items if isinstance(item, LayerItem)}
    ground = ground_of(settings, inputs, features, store.results, parts)
    sources: dict[str, FeatureSource] = {}
    for name in sorted(measures):
        source = LAYER_MEASURES[name].source(ground, progress)
        if source is not None:
            sources[name] = source
    # of a published run that has its pairs already, those are what others read
    known_pairs = planned.known.pairs if OF_PAIRS & {*parts} else {}
    return JobContext(settings, inputs, plan, store, features, sources, parts, known_pairs)


def features_of(inputs: Inputs, topics: Topics | None) -> CorpusFeatures | None:
    """The features of the corpus, which is counted; None without one."""
    if inputs.corpus is None:
        return None
    d_vocab = max(checkpoint.d_vocab for checkpoint in inputs.checkpoints)
    return corpus_features(inputs.tokenizer, inputs.corpus, d_vocab, topics, inputs.whole_corpus)


def worker_name(device: torch.device) -> str:
    """For the ledger: host, process and device."""
    return f"{platform.node()} {os.getpid()} {describe(device)}"


def phase_of(context: JobContext, job: Job) -> tuple[str, int | None, str]:
    """What a job does, how much there is of it, and what it counts."""
    item = job.items[0]
    if not isinstance(item, ModelItem):
        total = context.plan.tokens(job)
        return job.kind, total or None, "tokens" if total else ""
    name = phase_name(item.measure, context.inputs.checkpoints[item.model].name)
    if MODEL_MEASURES[item.measure].reads_corpus:
        return name, item.tokens, "tokens"
    return name, context.plan.shapes[item.model].n_neurons // item.share.n_shares, "neurons"


def run_jobs(context: JobContext, handle: RunHandle, progress: Progress) -> None:
    """All jobs that are not done, in order.

    Raises:
        InputError: the staging folder cannot be written.
        RunError: the run was cancelled.
    """
    if not context.plan.jobs:
        return
    check_writable(context.store.folder)
    with handle.engine.connect() as connection:
        done = {state.job for state in jobs.states(connection, handle.run_id) if state.done}
    todo = [job for job in context.plan.jobs if job.number not in done]
    summed = [job for job in todo if job.kind != "measure"]
    if summed:
        progress.phase("accumulate", sum(context.plan.tokens(job) for job in summed), "tokens")
    for job in todo:
        if job.kind == "measure":
            progress.phase(*phase_of(context, job))
        with jobs.claim(handle.engine, handle.run_id, job.number, worker_name(context.inputs.device)) as claim:
            if claim is not None:
                run_job(context, job, claim, progress.advance)
