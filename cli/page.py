"""`catalog show`: everything that is known of one neuron."""

from typing import TYPE_CHECKING

import typer

from cli.options import FormatOption, ModelArgument, NeuronArgument, RunOption, parse_neuron
from cli.output import Format, Section, records_of, show_page

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "labels": "Labels",
    "statistics": "Statistics, with the percentile within the layer",
    "best_matches": "Best match in each other model",
    "top_tokens": "Tokens with the highest mean activation",
    "explanations": "Explanations by the token's features",
    "letter": "Best letter",
    "promoted": "Most promoted tokens",
    "suppressed": "Least promoted tokens",
}
"""The tables of a page, in the order in which they are printed."""

TOKEN_COLUMN = "token"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(show)


def show(
    model: ModelArgument,
    neuron: NeuronArgument,
    run: RunOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """One neuron: statistics, matches, tokens, explanations, labels."""
    from catalog import NeuronRef, connect

    with connect() as store:
        page = store.neuron(NeuronRef(model, *parse_neuron(neuron)), run=run)
    sections = [_section(name, getattr(page, name), format) for name in TITLES]
    show_page(f"{model} {neuron}", page.identity, sections, format)


def _section(name: str, frame: "pd.DataFrame", format: Format) -> Section:
    from catalog.text import visible

    if format is Format.TABLE:
        # Evidence repeats in JSON what the tables of explanations and letters say.
        frame = frame.drop(columns="evidence", errors="ignore")
        if TOKEN_COLUMN in frame:
            frame = frame.assign(**{TOKEN_COLUMN: [visible(text) for text in frame[TOKEN_COLUMN]]})
    columns = [str(column) for column in frame.columns]
    return Section(name, TITLES[name], columns, list(records_of(frame)))
