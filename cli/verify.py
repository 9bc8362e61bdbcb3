"""`catalog verify`: whether a published run is what was published, and what its texts give."""

import secrets
from typing import Annotated

import typer

from cli.options import FormatOption
from cli.output import Format, show_records, talk
from cli.progress import watch
from cli.runs import RunArgument

COLUMNS = ("check", "subject", "status", "finding")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(verify)


def verify(
    run: RunArgument,
    sample: Annotated[int, typer.Option("--sample", min=0, help="Neurons to recompute from raw text; 0: all.")] = 16,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of the sample; else one is drawn, and told on stderr.")
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute/--no-recompute", help="Open models and corpus again, and compare the sample.")
    ] = True,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N, for the sample.")] = "cpu",
    format: FormatOption = Format.TABLE,
) -> None:
    """Compare a run with its checksums and with its texts.

    Exit 1 if anything differs."""
    from catalog import connect_rows
    from catalog.errors import CatalogError
    from catalog.verify.checks import verify as verify_rows
    from ingest.settings import check_device_name

    check_device_name(device)
    unreadable: CatalogError | None = None
    with connect_rows() as store:
        talk(f"checksums and structure of run {run} …")
        findings = verify_rows(store.engine, run)
        if recompute:
            from ingest.recompute.neurons import recompute as recompute_sample

            seed = secrets.randbelow(2**32) if seed is None else seed
            talk(f"the sample is drawn by --seed {seed}")
            try:
                with watch() as progress:
                    findings += recompute_sample(store.engine, run, sample, seed, device, progress)
            except CatalogError as error:
                unreadable = error
    show_records(COLUMNS, [finding._asdict() for finding in findings], format)
    differing = sum(finding.status == "differs" for finding in findings)
    talk(f"{differing} of {len(findings)} checks failed" if differing else f"{len(findings)} checks, no difference")
    if unreadable is not None:
        raise unreadable
    if differing:
        raise typer.Exit(1)
