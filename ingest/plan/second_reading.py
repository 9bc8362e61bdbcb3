"""Cuts the second reading of the corpus, for how sure correlations are, into jobs that wait for the tiles of their pairs.

A job reads some blocks of documents and runs each of its models once; what is asked of it are neurons of one model with their
partners in another, as many as fit into memory. Several workers read different blocks.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from ingest.plan.cut import Work
from ingest.plan.items import JackknifeItem, Job, MomentItem, Plan, TileItem
from ingest.settings import IngestSettings
from ingest.statistics.jackknife import N_BLOCKS


def with_second_reading(plan: Plan, work: Work, settings: IngestSettings, budget: int) -> Plan:
    """The plan with jobs for the errors of the correlations that it finds.

    Args:
        budget: bytes for what a job sums.
    """
    passes = _passes(plan, work, settings.top_k, budget)
    if not passes:
        return plan
    jobs = list(plan.jobs)
    parts = max(1, min(N_BLOCKS, plan.corpus.n_rows, -(-settings.at_least_jobs // len(passes))))
    edges = [N_BLOCKS * part // parts for part in range(parts + 1)]
    for items in passes:
        after = tuple(job.number for job in plan.jobs if _is_needed(job, items))
        for first, end in pairwise(edges):
            of_blocks = tuple(replace(item, first_block=first, end_block=end) for item in items)
            jobs.append(Job(len(jobs), "jackknife", of_blocks, 0, 0, after))
    return replace(plan, jobs=tuple(jobs))


def _passes(plan: Plan, work: Work, top_k: int, budget: int) -> list[list[JackknifeItem]]:
    """All items, in as few readings as fit into memory."""
    passes: list[list[JackknifeItem]] = []
    free = 0
    for item in _items(plan, work, top_k, budget):
        if not passes or item.bytes_needed(plan.shapes) > free:
            passes.append([])
            free = budget
        passes[-1].append(item)
        free -= item.bytes_needed(plan.shapes)
    return passes


def _items(plan: Plan, work: Work, top_k: int, budget: int) -> Iterator[JackknifeItem]:
    for pair in work.pairs:
        for a, b in (pair, pair[::-1]):
            n_neurons, k = plan.shapes[a].n_neurons, min(top_k, plan.shapes[b].n_neurons)
            one = JackknifeItem(a, b, 0, 1, k, 0, N_BLOCKS)
            step = max(1, budget // one.bytes_needed(plan.shapes))
            for first in range(0, n_neurons, step):
                yield replace(one, first=first, end=min(first + step, n_neurons))


def _is_needed(job: Job, items: list[JackknifeItem]) -> bool:
    """Whether the job leaves moments of a model of these items, or best partners of a pair."""
    pairs = {tuple(sorted(item.models)) for item in items}
    models = {model for pair in pairs for model in pair}
    tiles = any(isinstance(item, TileItem) and (item.a, item.b) in pairs for item in job.items)
    return tiles or any(isinstance(item, MomentItem) and item.model in models for item in job.items)
