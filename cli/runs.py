"""`catalog runs`: what was computed, when, from what."""

from typing import Annotated

import typer

from cli.options import FormatOption
from cli.output import Format, show_page, show_rows, talk

app = typer.Typer(name="runs", help="Computations: list, show, delete.", no_args_is_help=True)

RunArgument = Annotated[int, typer.Argument(metavar="RUN", min=1, help="A run's id, as in `catalog runs list`.")]


@app.command("list")
def list_runs(format: FormatOption = Format.TABLE) -> None:
    """All runs, newest first."""
    from catalog import connect

    with connect() as store:
        show_rows(store.runs(), format)


@app.command("show")
def show_run(run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    """One run: models, corpus, settings, versions, device and times."""
    from catalog import connect

    with connect() as store:
        show_page(f"run {run}", store.run(run), [], format)


@app.command("delete")
def delete_run(
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a run with all its rows."""
    from catalog import connect

    if not yes:
        typer.confirm(f"Delete run {run} with all its rows?", abort=True, err=True)
    with connect() as store:
        store.delete_run(run)
    talk(f"run {run} is deleted")
