"""`catalog show`: everything that is known of one neuron."""

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from cli.excerpts import Excerpt, show_excerpts
from cli.options import FormatOption, ModelArgument, NeuronWords, RunOption, parse_model_neuron
from cli.output import Format, Record, Section, show_count, show_page, talk

if TYPE_CHECKING:
    from catalog.answers import Rows

TOKEN_COLUMN = "token"
OF_A_TABLE = 5
"""Examples of each kind that a table shows if not told otherwise."""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(show)


def show(
    model: ModelArgument,
    neuron: NeuronWords = None,
    run: RunOption = None,
    examples: Annotated[
        int | None, typer.Option("--examples", min=0, help="Most examples of each kind; else 5 in a table, all elsewhere.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """One neuron: statistics, matches, tokens, labels, examples."""
    from catalog import NeuronRef, connect_rows
    from catalog.questions.neuron_page import titles

    ref = NeuronRef(*parse_model_neuron(model, neuron))
    with connect_rows() as store:
        page = store.neuron(ref, run=run)
        reasons = store.why(import_module("catalog.questions.why_empty").page, page)
    known_as = page.identity["model"]
    if known_as != ref.model:
        talk(f"{ref.model} is {known_as} in the catalog")
    title = f"{known_as} {ref.layer}.{ref.index}"
    most = OF_A_TABLE if examples is None and format is Format.TABLE else examples
    shown = page.examples if most is None else page.examples.where("rank", lambda rank: rank <= most)
    if format is Format.TABLE:
        readable = [_section(name, _readable(name, rows)) for name, rows in page.tables.items() if name != "examples"]
        show_page(title, page.identity, readable, format)
        show_excerpts(titles()["examples"], [_excerpt(record) for record in shown.records()])
    else:
        sections = [_section(name, shown if name == "examples" else rows) for name, rows in page.tables.items()]
        show_page(title, page.identity, sections, format)
    if len(shown) < len(page.examples):
        show_count(len(shown), len(page.examples), "examples", more=f"--examples {max(page.examples.column('rank'))}")
    for reason in reasons:
        talk(reason)


def _section(name: str, rows: "Rows") -> Section:
    from catalog.questions.neuron_page import titles

    return Section(name, titles()[name], rows.names, rows.rows)


def _readable(name: str, rows: "Rows") -> "Rows":
    """The rows in words and signs for a person."""
    from catalog.text import visible

    if name == "labels":
        rows = _told(rows)
    if name == "position":
        rows = _drawn(rows)
    if name == "gates":
        rows = _in_one_line(rows)
    return rows.as_text(TOKEN_COLUMN, visible) if TOKEN_COLUMN in rows.names else rows


def _told(rows: "Rows") -> "Rows":
    """Labels with their evidence in words."""
    from catalog.questions.evidence import in_words
    from catalog.text import visible

    evidence = zip(rows.column("family"), rows.column("evidence"), strict=True)
    words = iter([visible(in_words(family, looked_at), spaces=False) for family, looked_at in evidence])
    return rows.as_text("evidence", lambda _: next(words))


def _drawn(rows: "Rows") -> "Rows":
    """The curve as a line without BOS, if there is one; its runs are in JSON. Nothing where too few rows say nothing."""
    from cli.sparkline import sparkline

    told = [name for name in rows.names if name not in ("runs", "curve")]
    if any(rows.column("curve")):
        drawn = rows.as_text("curve", lambda curve: sparkline(curve[1:])).select(*told, "curve")
        return replace(drawn, names=(*told, "frequency"))
    drawn = rows.select(*told)
    return replace(drawn, rows=tuple(row for row in drawn if any(value is not None for value in row)))


def _in_one_line(rows: "Rows") -> "Rows":
    """Of gated neurons, what comes of each side of gate and input, the largest share of the output first."""
    from catalog.answers import TEXT
    from catalog.parts.words import percent, percent_with_error, with_error

    sides = sorted(rows.records(), key=lambda side: -(side["share"] or 0))
    words = "; ".join(
        f"{percent_with_error(side['share'], side['share_se'])} of |post| where the gate is {side['gate']} and its input "
        f"{side['input']}, on {percent(side['frequency'])} of tokens, "
        f"mean {with_error(side['post_mean'], side['post_mean_se'])}"
        for side in sides
        if side["frequency"]
    )
    return replace(rows, names=("output",), types=(TEXT,), rows=((words,),) if words else ())


def _excerpt(record: Record) -> Excerpt:
    from catalog.text import visible

    before, token, after = (visible(record[name], spaces=False) for name in ("before", "token", "after"))
    return Excerpt(record["kind"], record["value"], record["subset"] or "", before, token, after)
