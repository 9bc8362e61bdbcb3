"""Commands that compute: ingest, relabel."""

from typing import Annotated

import typer

from cli.failures import when_interrupted
from cli.ingest_options import IngestCommand, asks_for_an_ingest
from cli.options import DeviceOption, FormatOption, MemoryOption, finite
from cli.output import Format, show_records, talk
from cli.progress import watch
from ingest.settings import IngestSettings

UNFINISHED = "nothing more was published; the same command resumes"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(cls=IngestCommand)(ingest)
    for command in (worker, relabel):
        app.command()(command)


@asks_for_an_ingest
def ingest(settings: IngestSettings) -> None:
    """Compute and publish statistics, matches and labels of neurons.

    Where a published run has these models and tokens, the parts that it lacks are added to it. An option that is for some parts
    has these measured again alone; whoever reads sees the run as it was until that is done.
    """
    from ingest.pipeline.main_path import ingest as run_ingest

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
