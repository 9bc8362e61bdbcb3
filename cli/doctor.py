"""`catalog doctor`: each thing the catalog needs, ok or the command that mends it."""

import typer

from cli.options import FormatOption
from cli.output import Format, show_records, talk

COLUMNS = ("check", "status", "found", "mend")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(doctor)


def doctor(format: FormatOption = Format.TABLE) -> None:
    """What the catalog needs: ok, or the command that mends it. Exit 1 if anything fails."""
    from cli.checks import examine

    findings = examine()
    show_records(COLUMNS, [finding._asdict() for finding in findings], format)
    failed = sum(finding.status == "fail" for finding in findings)
    talk(f"{failed} of {len(findings)} checks failed" if failed else "all is well")
    if failed:
        raise typer.Exit(1)
