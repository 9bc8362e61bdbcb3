"""`catalog plan`: what an ingest would compute, and what it would cost."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import FormatOption, parse_names
from cli.output import Format, show_records, talk
from cli.progress import watch

if TYPE_CHECKING:
    from ingest.preview import Preview

COLUMNS = (
    *("job", "kind", "what", "after", "tokens"),
    *("product_tflop", "forward_tflop", "sums_gib", "peak_gib", "file_gib", "seconds"),
)
GIB = 2**30


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(plan)


def plan(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Folders or hub names, each [NAME=]LOCATION[@REVISION].")
    ],
    corpus: Annotated[
        str | None, typer.Option("--corpus", help="A JSON Lines or Parquet file, or a data set on the hub.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Tokens to keep; without --corpus, tokens of any corpus.")
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", "--context-length", help="Tokens per row with BOS; else the smaller of 512 and n_ctx."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")] = "auto",
    memory: Annotated[
        float | None, typer.Option("--memory", help="GiB for the running sums; else half of what is free.")
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", help="Of products: fp32; bf16, where the device has it; tf32 on a CUDA device.")
    ] = "fp32",
    jobs: Annotated[int | None, typer.Option("--jobs", help="Least number of jobs to cut the work into.")] = None,
    only: Annotated[
        str | None,
        typer.Option("--only", help="Parts, with commas: weights, activations, correlations, vocabulary; else all."),
    ] = None,
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", help="Tokens per forward pass.")] = 4096,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the jobs that an ingest would have, and their cost."""
    from ingest.preview import preview
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
    )
    with watch() as progress:
        found = preview(settings, progress)
    show_records(COLUMNS, [_record(found, number) for number in range(len(found.jobs))], format)
    _summary(found)


def _record(found: "Preview", number: int) -> dict[str, object]:
    estimate = found.jobs[number]
    values = (
        number,
        estimate.job.kind,
        estimate.what,
        " ".join(map(str, estimate.job.after)),
        estimate.tokens,
        estimate.product_flop / 1e12,
        estimate.forward_flop / 1e12,
        estimate.accumulator_bytes / GIB,
        estimate.peak_bytes / GIB,
        estimate.file_bytes / GIB,
        estimate.seconds,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _summary(found: "Preview") -> None:
    rates = found.rates
    seconds = sum(job.seconds for job in found.jobs)
    peak = max(job.peak_bytes for job in found.jobs)
    talk(
        f"{len(found.jobs)} jobs over {found.tokens:,} tokens in rows of {found.context}; the largest needs "
        f"{peak / GIB:.3g} GiB beside the models, of a budget of {found.budget_bytes / GIB:.3g} GiB for sums"
    )
    talk(
        f"about {seconds:,.0f} s on one such device, by rates measured now: products {rates.product_flop / 1e9:,.0f} GFLOP/s, "
        f"forward passes {rates.forward_flop / 1e9:,.0f} GFLOP/s"
    )
