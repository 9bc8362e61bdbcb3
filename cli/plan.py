"""`catalog plan`: what an ingest would compute, and what it would cost."""

from typing import TYPE_CHECKING

import typer

from cli.ingest_options import IngestCommand, asks_for_an_ingest
from cli.options import FormatOption
from cli.output import Format, show_records, talk
from cli.progress import watch
from ingest.settings import IngestSettings

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
    app.command(cls=IngestCommand)(plan)


@asks_for_an_ingest
def plan(settings: IngestSettings, format: FormatOption = Format.TABLE) -> None:
    """Show the phases and jobs of an ingest, and their cost.

    It takes the words of the ingest; without --corpus, --max-tokens says how many tokens there are. Of a published run only
    what the ingest would compute is shown, if models and corpus have been read before. A time that cannot be estimated is
    left empty, and said to be unknown.
    """
    from ingest.first_checks import check_plan
    from ingest.preview.foreseen import foresee

    check_plan(settings)
    foreseen = foresee(settings)
    for sentence in foreseen.told:
        talk(sentence)
    if foreseen.settings is None:
        show_records(COLUMNS, [], format)
        return
    with watch() as progress:
        # seconds, in which a person may change their mind
        from ingest.preview.overview import preview

        planned = preview(foreseen.settings, progress)
    show_records(COLUMNS, [_record(phase) for phase in planned.phases], format)
    _summary(planned)


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


def _summary(planned: "Preview") -> None:
    rates = planned.rates
    if planned.jobs:
        peak = max(job.peak_bytes for job in planned.jobs)
        talk(
            f"{len(planned.jobs)} jobs over {planned.tokens:,} tokens in rows of {planned.context}; the largest needs "
            f"{peak / GIB:.3g} GiB beside the models, of a budget of {planned.budget_bytes / GIB:.3g} GiB for sums"
        )
    unknown = [phase.phase for phase in planned.phases if phase.seconds is None]
    more = f", and {len(unknown)} phases whose time is unknown ({', '.join(dict.fromkeys(unknown))})" if unknown else ""
    seconds = sum(phase.seconds or 0.0 for phase in planned.phases)
    talk(
        f"about {seconds:,.0f} s on one such device{more}, by rates measured now: products {rates.product_flop / 1e9:,.0f} "
        f"GFLOP/s, forward passes {rates.forward_flop / 1e9:,.0f} GFLOP/s"
    )
    for sentence in planned.told:
        talk(sentence)
