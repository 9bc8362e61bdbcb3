"""What the catalog holds: models."""

from importlib import import_module

import typer

from cli.options import FormatOption
from cli.output import Format, show_rows, tell_why


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(models)


def models(format: FormatOption = Format.TABLE) -> None:
    """The models in the catalog, with family, seed and shape."""
    from catalog import connect_rows

    with connect_rows() as store:
        answer = store.models()
        show_rows(answer, format)
        tell_why(len(answer), lambda: store.why(import_module("catalog.questions.why_empty").nothing))
