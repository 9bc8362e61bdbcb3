"""`catalog verify`: whether a published run is what was published, and what its texts give."""

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import FormatOption
from cli.output import Format, show_records, talk
from cli.progress import watch
from cli.runs import RunArgument

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from catalog.verify.checks import Finding

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
    """Compare a run and its controls with what was published.

    Exit 1 if anything differs."""
    from catalog import connect_rows
    from catalog.errors import CatalogError
    from catalog.verify.checks import controls_of
    from ingest.settings import check_device_name

    check_device_name(device)
    unreadable: CatalogError | None = None
    findings: list[Finding] = []
    with connect_rows() as store:
        if recompute:
            seed = secrets.randbelow(2**32) if seed is None else seed
            talk(f"the sample is drawn by --seed {seed}")
        for each in (run, *controls_of(store.engine, run)):
            try:
                for finding in _findings(store.engine, each, sample, seed if recompute else None, device):
                    subject = finding.subject if each == run else f"{finding.subject} (control, run {each})"
                    findings.append(finding._replace(subject=subject))
            except CatalogError as error:
                if each == run and not findings:
                    raise
                unreadable = unreadable or error
    show_records(COLUMNS, [finding._asdict() for finding in findings], format)
    differing = sum(finding.status == "differs" for finding in findings)
    talk(f"{differing} of {len(findings)} checks failed" if differing else f"{len(findings)} checks, no difference")
    if unreadable is not None:
        raise unreadable
    if differing:
        raise typer.Exit(1)


def _findings(engine: "Engine", run: int, sample: int, seed: int | None, device: str) -> "Iterator[Finding]":
    """What is found of one run; without a seed nothing is computed again."""
    from catalog.verify.checks import verify as verify_rows

    talk(f"checksums and structure of run {run} …")
    yield from verify_rows(engine, run)
    if seed is not None:
        from ingest.recompute.neurons import recompute

        with watch() as progress:
            yield from recompute(engine, run, sample, seed, device, progress)
