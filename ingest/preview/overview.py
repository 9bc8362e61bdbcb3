"""`catalog plan`: the phases and jobs an ingest would have, and what they take, before anything is computed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from catalog.errors import InputError
from ingest.checkpoints.arguments import ModelSource, parse_model_argument
from ingest.checkpoints.config import read_config
from ingest.checkpoints.files import load_tokenizer
from ingest.checkpoints.first_looks import context_length
from ingest.checkpoints.twins import twin_name
from ingest.checkpoints.undefined import Configured, Described
from ingest.corpus.bos import RowStart, row_start
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenizer import TokenizerInfo, tokenizer_identity
from ingest.device import check_precision, memory_budget, resolve_device
from ingest.features.of_corpus import DIVISIONS
from ingest.features.topics import COMPONENTS
from ingest.first_checks import check_plan
from ingest.inputs import open_corpus
from ingest.parts.shapes import CorpusShape, ModelShape, model_shape
from ingest.parts.undefined import sentences, undefined_of
from ingest.plan.cut import Work, make_plan, with_measures
from ingest.plan.items import LayerItem, Plan
from ingest.plan.second_reading import with_second_reading
from ingest.preview.cost import JobEstimate, Known, estimate
from ingest.preview.phases import Outlook, PhaseEstimate, Reading
from ingest.preview.reading_rates import reading
from ingest.preview.rehearsal import Rehearsal, rehearse
from ingest.preview.sum_rates import Rates, measure, rehearsed
from ingest.preview.write_rates import write_rates
from ingest.progress import Progress
from ingest.settings import IngestSettings


@dataclass(frozen=True)
class Preview:
    """A plan and what it costs."""

    phases: list[PhaseEstimate]
    """In the order in which the ingest reports them; each job is one of its own."""
    rates: Rates
    budget_bytes: int
    context: int
    tokens: int
    told: list[str]
    """What is left out, and why some phases have no estimate, a sentence each."""
    undefined: list[str]
    """What is not defined for a model and left out, and why."""

    @property
    def jobs(self) -> list[JobEstimate]:
        return [phase.job for phase in self.phases if phase.job is not None]


@dataclass(frozen=True)
class _Tokens:
    """What is read; None where it is not at hand."""

    tokenizer: Any
    info: TokenizerInfo | None
    start: RowStart | None
    """With what rows begin."""
    corpus: TokenCorpus | None
    shape: CorpusShape

    @property
    def n_tokens(self) -> int:
        return self.shape.n_rows * self.shape.context


def preview(settings: IngestSettings, progress: Progress) -> Preview:
    """Plan an ingest; reads configurations and tokenizer, and the corpus unless only a number of tokens is given.

    Raises:
        InputError: a model or setting that cannot be used, or a budget that is too small.
    """
    check_plan(settings)
    device = resolve_device(settings.device)
    check_precision(settings.precision, device)
    sources = [parse_model_argument(argument) for argument in settings.models]
    configs = [read_config(source) for source in sources]
    shapes, models = [model_shape(config) for config in configs], [Configured(config) for config in configs]
    context = context_length(settings.context, [config.max_position_embeddings for config in configs])
    tokens = _tokens(settings, sources[0], configs[0], context, progress)
    told = [] if tokens.start is None else tokens.start.told(settings.parts)
    settings = settings if tokens.start is None else settings.defined(tokens.start)
    budget = memory_budget(device, settings.memory_gb)
    asked = [*([] if settings.control else [settings]), *_controls(settings)]
    plans = [_plan(each, shapes, tokens, budget, models) for each in asked]
    rehearsals, rates = _rehearse(settings, configs, shapes, tokens, plans, device, budget, progress)
    progress.phase("try the database")
    written = write_rates(settings.database_url)
    progress.phase("try reading")
    read = _reading(settings, tokens)
    names = [source.name for source in sources]
    undefined = list(sentences(undefined_of(settings.parts, models, context), names))
    phases: list[PhaseEstimate] = []
    for each, plan in zip(asked, plans, strict=True):
        n, called = len(plan.shapes), names if each.control is None else [twin_name(names[0], each.control)]
        measured = [{} if rehearsal is None else rehearsal.measured for rehearsal in rehearsals[:n]]
        jobs = estimate(plan, Known(called, rates, measured, each.batch_tokens, each.baseline_draws))
        if each.control is not None:
            jobs = [replace(job, what=f"{called[0]}: {job.what}") for job in jobs]
        phases += Outlook(each, plan.shapes, tokens.shape.n_subsets, jobs, rehearsals[:n], read, written).phases()
    told += _reasons(phases, tokens, written is not None)
    return Preview(phases, rates, budget, context, tokens.n_tokens, told, undefined)


def _controls(settings: IngestSettings) -> list[IngestSettings]:
    """What is asked for of each control."""
    if not settings.controlled_parts:
        return []
    return [settings.of_control(number, settings.models[0]) for number in range(1, settings.controls + 1)]


def _plan(
    settings: IngestSettings, shapes: list[ModelShape], tokens: _Tokens, budget: int, models: Sequence[Described]
) -> Plan:
    """The jobs of the run, or of a control."""
    corpus = tokens.shape
    if settings.control is not None:
        shapes = shapes[:1]
        corpus = corpus._replace(n_rows=settings.control_rows(corpus.n_rows, corpus.context))
    work = Work.of(settings.parts, len(shapes))
    plan = make_plan(work, shapes, corpus, budget, settings.at_least_jobs)
    return with_measures(with_second_reading(plan, work, settings, budget), work, settings, budget, models)


def _rehearse(
    settings: IngestSettings,
    configs: list[Any],
    shapes: list[ModelShape],
    tokens: _Tokens,
    plans: list[Plan],
    device: torch.device,
    budget: int,
    progress: Progress,
) -> tuple[list[Rehearsal | None], Rates]:
    """One rehearsal for each kind of model, and the rates of the largest one."""
    largest = max(range(len(shapes)), key=lambda model: shapes[model].n_neurons)
    rates = measure(device, shapes[largest], settings.precision)
    info, start = tokens.info, tokens.start
    if info is None or start is None:
        return [None] * len(shapes), rates
    measures = {i.measure for plan in plans for job in plan.jobs for i in job.items if isinstance(i, LayerItem)}
    done: dict[tuple[str, ModelShape], Rehearsal] = {}
    progress.phase("rehearse with a small model")
    for model in (largest, *range(len(shapes))):
        key = (configs[model].model_type, shapes[model])
        if key in done:
            continue
        of_model = (configs[model], tokens.tokenizer, info, start, tokens.corpus, tokens.shape.context)
        with rehearse(*of_model, settings, device, budget) as rehearsal:
            done[key] = rehearsal
            if model == largest and measures:
                rates = rehearsed(rates, rehearsal, settings, sorted(measures))
    return [done[config.model_type, shape] for config, shape in zip(configs, shapes, strict=True)], rates


def _reading(settings: IngestSettings, tokens: _Tokens) -> Reading:
    if tokens.info is None or tokens.start is None:
        return Reading()
    bos_id = tokens.start.bos_id
    return reading(settings, tokens.tokenizer, tokens.info, bos_id, tokens.corpus, tokens.n_tokens, tokens.shape.context)


def _tokens(settings: IngestSettings, source: ModelSource, config: Any, context: int, progress: Progress) -> _Tokens:
    """Without a corpus the tokenizer may be missing."""
    if settings.corpus is not None and settings.needs_corpus:
        tokenizer = load_tokenizer(source, config.vocab_size)
        info = tokenizer_identity(tokenizer)
        start = row_start(settings.bos, info.bos)
        corpus = open_corpus(settings, info, tokenizer, context, progress)
        sizes = corpus.n_subsets, COMPONENTS, settings.ngram_tokens, DIVISIONS
        shape = CorpusShape(corpus.n_rows, context, *sizes, begins_with_bos=start.with_bos, n_ids=len(corpus.ids))
        return _Tokens(tokenizer, info, start, corpus, shape)
    n_rows = max(1, (settings.max_tokens or 0) // context) if settings.needs_corpus else 0
    shape = CorpusShape(n_rows, context, 1, COMPONENTS, settings.ngram_tokens, DIVISIONS)
    try:
        tokenizer = load_tokenizer(source, config.vocab_size)
        info = tokenizer_identity(tokenizer)
    except InputError:
        return _Tokens(None, None, None, None, shape)
    start = row_start(settings.bos, info.bos)
    return _Tokens(tokenizer, info, start, None, shape._replace(begins_with_bos=start.with_bos))


def _reasons(phases: Iterable[PhaseEstimate], tokens: _Tokens, writes: bool) -> Iterable[str]:
    unknown = [phase.phase for phase in phases if phase.seconds is None]
    if tokens.info is None and unknown:
        yield "the first model's tokenizer is not at hand, without which most phases cannot be rehearsed"
    if not writes:
        yield "writing was not tried, for there is no database that can be reached; `catalog db upgrade` makes one"
    if "annotate syntax" in unknown and tokens.info is not None:
        yield "the spaCy pipeline is not installed, so annotating syntax was not tried"
