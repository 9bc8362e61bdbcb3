"""`catalog plan`: the jobs an ingest would have, from the configurations of its models, before anything is computed."""

from dataclasses import dataclass
from typing import Any

from ingest.device import check_precision, memory_budget, resolve_device
from ingest.estimate import JobEstimate, Rates, estimate, measure
from ingest.first_checks import check_plan
from ingest.labels.topics import COMPONENTS
from ingest.model_arguments import ModelSource, parse_model_argument
from ingest.model_checks import context_length
from ingest.model_config import read_config
from ingest.model_files import load_tokenizer
from ingest.plan import CorpusShape, ModelShape
from ingest.planner import Work, make_plan
from ingest.prepare import open_corpus
from ingest.progress import Progress
from ingest.settings import IngestSettings
from ingest.tokenizer import tokenizer_identity


@dataclass(frozen=True)
class Preview:
    """A plan and what it costs."""

    jobs: list[JobEstimate]
    rates: Rates
    budget_bytes: int
    context: int
    tokens: int


def preview(settings: IngestSettings, progress: Progress) -> Preview:
    """Plan an ingest; reads the models' configurations, and the corpus unless only a number of tokens is given.

    Raises:
        InputError: a model or setting that cannot be used, or a budget that is too small.
    """
    check_plan(settings)
    device = resolve_device(settings.device)
    check_precision(settings.precision, device)
    sources = [parse_model_argument(argument) for argument in settings.models]
    configs = [read_config(source) for source in sources]
    shapes = [_shape(config) for config in configs]
    context = context_length(settings.context, [config.max_position_embeddings for config in configs])
    work = Work.of(settings.parts, len(shapes))
    budget = memory_budget(device, settings.memory_gb)
    corpus = _corpus(settings, sources[0], configs[0], context, progress)
    plan = make_plan(work, shapes, corpus, budget, settings.at_least_jobs)
    rates = measure(device, shapes, settings.precision)
    names = [source.name for source in sources]
    return Preview(estimate(plan, names, settings.batch_tokens, rates), rates, budget, context, corpus.n_rows * context)


def _corpus(settings: IngestSettings, source: ModelSource, config: Any, context: int, progress: Progress) -> CorpusShape:
    if settings.corpus is None:
        assert settings.max_tokens is not None
        return CorpusShape(max(1, settings.max_tokens // context), context, 1, COMPONENTS, settings.ngram_tokens)
    tokenizer = load_tokenizer(source, config.vocab_size)
    corpus = open_corpus(settings, tokenizer_identity(tokenizer), tokenizer, context, progress)
    return CorpusShape(corpus.n_rows, context, corpus.n_subsets, COMPONENTS, settings.ngram_tokens)


def _shape(config: Any) -> ModelShape:
    d_model = config.hidden_size
    d_mlp = next(
        (value for name in ("n_inner", "intermediate_size", "ffn_dim") if (value := getattr(config, name, None))), 4 * d_model
    )
    return ModelShape(config.num_hidden_layers, d_model, d_mlp, config.vocab_size)
