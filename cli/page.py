"""`catalog show`: everything that is known of one neuron."""

from typing import TYPE_CHECKING, Any

import typer

from cli.options import FormatOption, ModelArgument, NeuronArgument, RunOption, parse_neuron
from cli.output import Format, Section, show_page

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

    columns = [str(column) for column in frame.columns]
    records: list[dict[str, Any]] = [dict(zip(columns, row, strict=True)) for row in frame.itertuples(index=False)]
    if format is Format.TABLE:
        for record in records:
            if TOKEN_COLUMN in record:
                record[TOKEN_COLUMN] = visible(record[TOKEN_COLUMN])
    return Section(name, TITLES[name], columns, records)
