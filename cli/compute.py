"""Commands that compute: ingest, relabel."""

from typing import Annotated

import typer

from cli.failures import when_interrupted
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
    finite,
    parse_names,
)
from cli.output import Format, show_records, talk
from cli.progress import watch
from ingest.corpus.files import UTF_8
from ingest.corpus.syntax import DEFAULT_PIPELINE
from ingest.settings import ABLATION_PAIRS, INTERVENTION_TOKENS, NGRAM_TOKENS

UNFINISHED = "nothing was published; the same command resumes"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (ingest, worker, relabel):
        app.command()(command)


def ingest(
    models: ModelsArgument,
    corpus: CorpusOption = None,
    model_family: Annotated[
        str | None, typer.Option("--model-family", help="What these seeds of one architecture are called together.")
    ] = None,
    context: ContextOption = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Tokens to keep, after rows are shuffled; else all.")
    ] = None,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    precision: PrecisionOption = "fp32",
    seed: Annotated[int, typer.Option("--seed", help="Of the shuffle and of the rotated baseline.")] = 0,
    baseline_draws: BaselineDrawsOption = 1,
    top_k: TopKOption = 50,
    only: OnlyOption = None,
    again: Annotated[bool, typer.Option("--again", help="Compute a run that is published already.")] = False,
    batch_tokens: BatchTokensOption = 4096,
    subset_column: SubsetColumnOption = "subset",
    text_column: TextColumnOption = "text",
    split: SplitOption = None,
    corpus_revision: CorpusRevisionOption = None,
    encoding: EncodingOption = UTF_8,
    include: IncludeOption = None,
    exclude: ExcludeOption = None,
    keep_eos: Annotated[bool, typer.Option("--keep-eos", help="Keep end-of-text tokens between documents.")] = False,
    min_count: Annotated[
        int, typer.Option("--min-count", help="Occurrences that a token needs to be among a neuron's top tokens.")
    ] = 75,
    ngram_tokens: NgramTokensOption = NGRAM_TOKENS,
    intervention_tokens: InterventionTokensOption = INTERVENTION_TOKENS,
    ablation_pairs: AblationPairsOption = ABLATION_PAIRS,
    spacy_model: SpacyModelOption = DEFAULT_PIPELINE,
    syntax_subsets: SyntaxSubsetsOption = None,
    topics: TopicsOption = None,
    jobs: JobsOption = None,
    enqueue: Annotated[bool, typer.Option("--enqueue", help="Leave the jobs to `catalog worker` processes.")] = False,
    staging: Annotated[
        str | None, typer.Option("--staging", help="Folder of sums and checkpoints, which all workers must reach.")
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option("--checkpoint-minutes", callback=finite, help="A longer job saves its sums so often.")
    ] = 5.0,
) -> None:
    """Compute and publish statistics, matches and labels of neurons."""
    from ingest.pipeline.main_path import ingest as run_ingest
    from ingest.settings import IngestSettings

    settings = IngestSettings(
        models=tuple(models),
        corpus=corpus,
        model_family=model_family,
        context=context,
        max_tokens=max_tokens,
        device=device,
        memory_gb=memory,
        precision=precision,
        seed=seed,
        baseline_draws=baseline_draws,
        top_k=top_k,
        only=parse_names(only),
        again=again,
        batch_tokens=batch_tokens,
        text_column=text_column,
        subset_column=subset_column,
        split=split,
        corpus_revision=corpus_revision,
        encoding=encoding,
        include=parse_names(include),
        exclude=parse_names(exclude),
        keep_eos=keep_eos,
        min_count=min_count,
        ngram_tokens=ngram_tokens,
        intervention_tokens=intervention_tokens,
        ablation_pairs=ablation_pairs,
        spacy_model=spacy_model,
        syntax_subsets=parse_names(syntax_subsets),
        topics=topics,
        jobs=jobs,
        enqueue=enqueue,
        staging=staging,
        checkpoint_minutes=checkpoint_minutes,
    )
    with when_interrupted(UNFINISHED), watch() as progress:
        report = run_ingest(settings, progress)
    talk(report.message)


def worker(
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Jobs at a time.")] = 1,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads of a computation; else one per core.")
    ] = None,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="Leave when no run has anything left for it.")] = False,
    heartbeat: Annotated[
        float, typer.Option("--heartbeat", min=0.1, callback=finite, help="Seconds between signs of life.")
    ] = 10.0,
    stalled: Annotated[
        float, typer.Option("--stalled", min=0.3, callback=finite, help="Seconds of silence after which a worker is given up.")
    ] = 30.0,
    checkpoint_minutes: Annotated[
        float | None,
        typer.Option("--checkpoint-minutes", callback=finite, help="A longer job saves its sums so often; else as planned."),
    ] = None,
) -> None:
    """Do the jobs of runs that were enqueued, on this device."""
    from catalog.server.engine import check_catalog
    from ingest.workers.settings import WorkerSettings

    settings = WorkerSettings(
        device=device,
        memory_gb=memory,
        concurrency=concurrency,
        until_empty=until_empty,
        threads=threads,
        heartbeat_seconds=heartbeat,
        stalled_seconds=stalled,
        checkpoint_minutes=checkpoint_minutes,
    )
    settings.validate()
    with when_interrupted("its job is done again by another worker"), watch() as progress:
        check_catalog(settings.database_url)
        from ingest.workers.worker import work

        work(settings, progress)


def relabel(format: FormatOption = Format.TABLE) -> None:
    """Apply the newest rules to every published run. Activations are not needed."""
    from catalog import connect_rows

    with connect_rows() as store:
        counts = store.relabel()
    records = [
        {"run_id": run_id, "family": family, "labels": labels}
        for run_id, families in counts.items()
        for family, labels in families.items()
    ]
    show_records(("run_id", "family", "labels"), records, format)
