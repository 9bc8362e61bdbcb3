"""What the catalog holds: models."""

import typer

from cli.options import FormatOption
from cli.output import Format, show_rows


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(models)


def models(format: FormatOption = Format.TABLE) -> None:
    """The models in the catalog, with family, seed and shape."""
    from catalog import connect_rows

    with connect_rows() as store:
        show_rows(store.models(), format)
