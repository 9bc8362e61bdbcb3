"""`catalog plan`: what an ingest would compute, and what it would cost."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import (
    AblationPairsOption,
    BaselineDrawsOption,
    BatchTokensOption,
    ContextOption,
    CorpusOption,
    CorpusRevisionOption,
    DeviceOption,
    EncodingOption,
    ExcludeOption,
    FormatOption,
    IncludeOption,
    InterventionTokensOption,
    JobsOption,
    MemoryOption,
    ModelsArgument,
    NgramTokensOption,
    OnlyOption,
    PrecisionOption,
    SpacyModelOption,
    SplitOption,
    SubsetColumnOption,
    SyntaxSubsetsOption,
    TextColumnOption,
    TopicsOption,
    TopKOption,
    parse_names,
)
from cli.output import Format, show_records, talk
from cli.progress import watch
from ingest.corpus.files import UTF_8
from ingest.corpus.syntax import DEFAULT_PIPELINE
from ingest.settings import ABLATION_PAIRS, INTERVENTION_TOKENS, NGRAM_TOKENS

if TYPE_CHECKING:
    from ingest.preview.overview import Preview
    from ingest.preview.phases import PhaseEstimate

COLUMNS = (
    *("phase", "seconds", "tokens", "job", "kind", "what", "after"),
    *("product_tflop", "forward_tflop", "sums_gib", "peak_gib", "file_gib"),
)
GIB = 2**30


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(plan)


def plan(
    models: ModelsArgument,
    corpus: CorpusOption = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Tokens to keep; without --corpus, tokens of any corpus.")
    ] = None,
    context: ContextOption = None,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    precision: PrecisionOption = "fp32",
    jobs: JobsOption = None,
    only: OnlyOption = None,
    batch_tokens: BatchTokensOption = 4096,
    ngram_tokens: NgramTokensOption = NGRAM_TOKENS,
    intervention_tokens: InterventionTokensOption = INTERVENTION_TOKENS,
    ablation_pairs: AblationPairsOption = ABLATION_PAIRS,
    baseline_draws: BaselineDrawsOption = 1,
    top_k: TopKOption = 50,
    spacy_model: SpacyModelOption = DEFAULT_PIPELINE,
    syntax_subsets: SyntaxSubsetsOption = None,
    topics: TopicsOption = None,
    subset_column: SubsetColumnOption = "subset",
    text_column: TextColumnOption = "text",
    split: SplitOption = None,
    corpus_revision: CorpusRevisionOption = None,
    encoding: EncodingOption = UTF_8,
    include: IncludeOption = None,
    exclude: ExcludeOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the phases and jobs of an ingest, and their cost.

    A time that cannot be estimated is left empty, and said to be unknown.
    """
    from ingest.first_checks import check_plan
    from ingest.settings import IngestSettings

    settings = IngestSettings(
        models=tuple(models),
        corpus=corpus,
        max_tokens=max_tokens,
        context=context,
        device=device,
        memory_gb=memory,
        precision=precision,
        jobs=jobs,
        only=parse_names(only),
        batch_tokens=batch_tokens,
        ngram_tokens=ngram_tokens,
        intervention_tokens=intervention_tokens,
        ablation_pairs=ablation_pairs,
        baseline_draws=baseline_draws,
        top_k=top_k,
        spacy_model=spacy_model,
        syntax_subsets=parse_names(syntax_subsets),
        topics=topics,
        subset_column=subset_column,
        text_column=text_column,
        split=split,
        corpus_revision=corpus_revision,
        encoding=encoding,
        include=parse_names(include),
        exclude=parse_names(exclude),
    )
    check_plan(settings)
    with watch() as progress:
        # seconds, in which a person may change their mind
        from ingest.preview.overview import preview

        found = preview(settings, progress)
    show_records(COLUMNS, [_record(phase) for phase in found.phases], format)
    _summary(found)


def _record(phase: "PhaseEstimate") -> dict[str, object]:
    job = phase.job
    first = (phase.phase, phase.seconds, phase.tokens)
    if job is None:
        return dict(zip(COLUMNS, (*first, *[None] * (len(COLUMNS) - len(first))), strict=True))
    values = (
        *first,
        job.job.number,
        job.job.kind,
        job.what,
        " ".join(map(str, job.job.after)),
        job.product_flop / 1e12,
        job.forward_flop / 1e12,
        job.accumulator_bytes / GIB,
        job.peak_bytes / GIB,
        job.file_bytes / GIB,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _summary(found: "Preview") -> None:
    rates = found.rates
    if found.jobs:
        peak = max(job.peak_bytes for job in found.jobs)
        talk(
            f"{len(found.jobs)} jobs over {found.tokens:,} tokens in rows of {found.context}; the largest needs "
            f"{peak / GIB:.3g} GiB beside the models, of a budget of {found.budget_bytes / GIB:.3g} GiB for sums"
        )
    unknown = [phase.phase for phase in found.phases if phase.seconds is None]
    more = f", and {len(unknown)} phases whose time is unknown ({', '.join(dict.fromkeys(unknown))})" if unknown else ""
    seconds = sum(phase.seconds or 0.0 for phase in found.phases)
    talk(
        f"about {seconds:,.0f} s on one such device{more}, by rates measured now: products {rates.product_flop / 1e9:,.0f} "
        f"GFLOP/s, forward passes {rates.forward_flop / 1e9:,.0f} GFLOP/s"
    )
    for sentence in found.unknown:
        talk(sentence)
