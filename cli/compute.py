"""Commands that compute: ingest, relabel."""

from typing import Annotated

import typer

from cli.failures import when_interrupted
from cli.options import FormatOption, parse_names
from cli.output import Format, show_records, talk
from cli.progress import watch

UNFINISHED = "nothing was published; the same command resumes"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (ingest, relabel):
        app.command()(command)


def ingest(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Folders or hub names, each [NAME=]LOCATION[@REVISION].")
    ],
    corpus: Annotated[
        str | None, typer.Option("--corpus", help="A JSON Lines or Parquet file, or a data set on the hub.")
    ] = None,
    model_family: Annotated[
        str | None, typer.Option("--model-family", help="What these seeds of one architecture are called together.")
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", "--context-length", help="Tokens per row with BOS; else the smaller of 512 and n_ctx."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Tokens to keep, after rows are shuffled; else all.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")] = "auto",
    memory: Annotated[
        float | None, typer.Option("--memory", help="GiB for the running sums; else half of what is free.")
    ] = None,
    precision: Annotated[str, typer.Option("--precision", help="fp32, or tf32 on a CUDA device.")] = "fp32",
    seed: Annotated[int, typer.Option("--seed", help="Of the shuffle and of the rotated baseline.")] = 0,
    baseline_draws: Annotated[int, typer.Option("--baseline-draws", help="Rotations that the baseline averages.")] = 1,
    top_k: Annotated[int, typer.Option("--top-k", help="Matches to keep per neuron and other model.")] = 50,
    only: Annotated[
        str | None,
        typer.Option("--only", help="Parts, with commas: weights, activations, correlations, vocabulary; else all."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Compute a run that is published already.")] = False,
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", help="Tokens per forward pass.")] = 4096,
    subset_column: Annotated[str, typer.Option("--subset-column", help="The corpus's column of subset names.")] = ("subset"),
    text_column: Annotated[str, typer.Option("--text-column", help="The corpus's column of text.")] = "text",
    split: Annotated[str | None, typer.Option("--split", help="Split of a data set on the hub.")] = None,
    corpus_revision: Annotated[str | None, typer.Option("--corpus-revision", help="Revision of a data set on the hub.")] = None,
    keep_eos: Annotated[bool, typer.Option("--keep-eos", help="Keep end-of-text tokens between documents.")] = False,
    min_count: Annotated[
        int, typer.Option("--min-count", help="Occurrences that a token needs to be among a neuron's top tokens.")
    ] = 75,
) -> None:
    """Compute and publish statistics, matches and labels of neurons."""
    from ingest.pipeline import ingest as run_ingest
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
        keep_eos=keep_eos,
        min_count=min_count,
    )
    with when_interrupted(UNFINISHED), watch() as progress:
        report = run_ingest(settings, progress)
    talk(report.message)


def relabel(format: FormatOption = Format.TABLE) -> None:
    """Apply the newest rules to every published run. Activations are not needed."""
    from catalog import connect

    with connect() as store:
        counts = store.relabel()
    records = [
        {"run_id": run_id, "family": family, "labels": labels}
        for run_id, families in counts.items()
        for family, labels in families.items()
    ]
    show_records(("run_id", "family", "labels"), records, format)
