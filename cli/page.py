"""`catalog show`: everything that is known of one neuron."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.excerpts import Excerpt, show_excerpts
from cli.options import FormatOption, ModelArgument, NeuronWords, RunOption, parse_model_neuron
from cli.output import Format, Row, Section, records_of, show_page

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "labels": "Labels",
    "statistics": "Statistics, with the percentile within the layer",
    "best_matches": "Best match in each other model",
    "top_tokens": "Tokens with the highest mean activation",
    "explanations": "Explanations by the token's features",
    "letter": "Best letter",
    "quantiles": "Quantiles: so many percent of the tokens have pre, and post, up to this",
    "bos": "Activation on BOS, and its ratio to the 99.9th percentile of other tokens",
    "position": "Activity by position",
    "subsets": "Subsets of the corpus",
    "ngrams": "How few tokens (n = 1), bigrams and trigrams hold 95 % of the activations",
    "next_tokens": "Before which next tokens it differs: frequency and mean of pre before them, and before others",
    "promoted": "Most promoted tokens",
    "suppressed": "Least promoted tokens",
    "logit_explanations": "Classes of tokens that it promotes (mean_difference > 0) or suppresses",
    "heads": "Heads of later layers that it turns towards BOS (h > 0) or away, and what ablation found",
    "interventions": "Predictions when it is held at a value, against the model left alone",
    "similar": "Neurons of the model with the most similar and the most opposite weights",
    "examples": "Examples",
}
"""The tables of a page, in the order in which they are printed."""

TOKEN_COLUMN = "token"
EXAMPLES_TITLE = "Examples: the highest values, then samples of its positive values by quantile"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(show)


def show(
    model: ModelArgument,
    neuron: NeuronWords = None,
    run: RunOption = None,
    examples: Annotated[int, typer.Option("--examples", min=0, help="Most examples of each kind in a table.")] = 5,
    format: FormatOption = Format.TABLE,
) -> None:
    """One neuron: statistics, matches, tokens, labels, examples."""
    from catalog import NeuronRef, connect

    ref = NeuronRef(*parse_model_neuron(model, neuron))
    title = f"{ref.model} {ref.layer}.{ref.index}"
    with connect() as store:
        page = store.neuron(ref, run=run)
    sections = [_section(name, getattr(page, name), format) for name in TITLES]
    if format is Format.TABLE:
        show_page(title, page.identity, sections[:-1], format)
        shown = page.examples[page.examples["rank"] <= examples]
        show_excerpts(EXAMPLES_TITLE, [_excerpt(record) for record in records_of(shown)])
        return
    show_page(title, page.identity, sections, format)


def _section(name: str, frame: "pd.DataFrame", format: Format) -> Section:
    from catalog.evidence import in_words
    from catalog.text import visible

    if format is Format.TABLE:
        if name == "labels":
            frame = frame.assign(evidence=[visible(in_words(evidence), spaces=False) for evidence in frame["evidence"]])
        if name == "position":
            frame = _drawn(frame)
        if TOKEN_COLUMN in frame:
            frame = frame.assign(**{TOKEN_COLUMN: [visible(text) for text in frame[TOKEN_COLUMN]]})
    columns = [str(column) for column in frame.columns]
    return Section(name, TITLES[name], columns, list(records_of(frame)))


def _drawn(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The curve as a line without BOS, if there is one; its runs are in JSON. Nothing where too few rows say nothing."""
    from cli.sparkline import sparkline

    lines = [None if curve is None else sparkline(curve[1:]) for curve in frame["curve"]]
    drawn = frame.drop(columns=["runs", "curve"]).dropna(how="all")
    return drawn.assign(frequency=lines) if any(lines) else drawn


def _excerpt(record: Row) -> Excerpt:
    from catalog.text import together, visible

    before, token, after = (visible(together(record[name]), spaces=False) for name in ("before", "token", "after"))
    subset = record["subset"]
    return Excerpt(record["kind"], float(record["value"]), "" if subset is None else subset, before, token, after)
