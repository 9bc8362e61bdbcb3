"""`catalog report`: the first answers of a new catalog, on one page."""

from typing import TYPE_CHECKING

import typer

from cli.options import RunOption
from cli.output import Format, show_heading, show_records, show_rows, write

if TYPE_CHECKING:
    import pandas as pd


MOST_UNIVERSAL = 10


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(report)


def report(run: RunOption = None) -> None:
    """The first answers of a catalog, on one page."""
    from catalog import LabelFilter, connect

    with connect() as store:
        profiles = store.layer_profiles(run=run)
        _section("Universal neurons per layer (excess correlation > 0.5)", _shares(profiles))
        show_heading(f"The {MOST_UNIVERSAL} most universal neurons, each once, with their best matches")
        records = _most_universal(store, profiles, run)
        show_records(("neuron", "excess_corr", "matches"), records, Format.TABLE)
        write("\n")
        _section("Neurons per family", store.family_counts(run=run))
        _section("catalog find --family alphabet", store.find_labels(LabelFilter(family="alphabet", run=run)))


def _section(title: str, frame: "pd.DataFrame") -> None:
    show_heading(title)
    show_rows(frame, Format.TABLE)
    write("\n")
