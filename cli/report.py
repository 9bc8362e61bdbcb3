"""`catalog report`: the first answers of a catalog, on one page."""

from collections import defaultdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

from cli.options import FormatOption, RunOption
from cli.output import Format, Record, Section, show_sections, talk

if TYPE_CHECKING:
    from catalog import NeuronRef
    from catalog.api import RowCatalog

MOST_UNIVERSAL = 10
SHARES = ("model", "layer", "n_neurons", "n_universal", "n_undecided", "share_universal")
MOST = ("model", "layer", "neuron", "excess_corr", "excess_se", "labels", "best_matches")
"""What is told of each of the most universal neurons; the matches are records of a neuron and its correlation."""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(report)


def report(run: RunOption = None, format: FormatOption = Format.TABLE) -> None:
    """The first answers of a catalog, on one page."""
    from catalog import LabelFilter, UniversalFilter, connect_rows

    why = import_module("catalog.questions.why_empty")
    with connect_rows() as store:
        shares = store.layer_profiles(run=run).select(*SHARES)
        most = most_universal(store, n_models=len(set(shares.column("model"))), run=run)
        counts = store.family_counts(run=run, by="model")
        wanted = LabelFilter(family="alphabet", run=run)
        alphabet, total = store.find_labels(wanted), store.count_labels(wanted)
        reasons = [
            *([] if len(shares) else [store.why(why.nothing)]),
            *([] if most else [store.why(why.universal, UniversalFilter(run=run))]),
            *([] if len(counts) else [store.why(why.counts, None, run)]),
            *([] if len(alphabet) else [store.why(why.labels, wanted)]),
        ]
    counts = counts.where("neurons", lambda neurons: neurons > 0)
    title = f"The {MOST_UNIVERSAL} most universal neurons, each once, with their best matches"
    columns, rows = _readable(most) if format is Format.TABLE else (MOST, [[record[name] for name in MOST] for record in most])
    sections = [
        Section("layers", "Universal neurons per layer", shares.names, shares.rows),
        Section("most_universal", title, columns, rows),
        Section("families", "Neurons per family", counts.names, counts.rows),
        Section("alphabet", "catalog find --family alphabet", alphabet.names, alphabet.rows),
    ]
    show_sections(sections, format)
    if len(alphabet) < total:
        talk(f"{len(alphabet)} of {total} labels; `catalog find --family alphabet --limit 0` prints all")
    for reason in dict.fromkeys(reasons):
        talk(reason)


def most_universal(store: "RowCatalog", n_models: int, run: int | None = None) -> list[Record]:
    """The neurons with the largest excess; one that is the mutual best match of an earlier one is not listed again."""
    from catalog import NeuronRef, UniversalFilter

    candidates = store.universal_neurons(UniversalFilter(run=run, limit=MOST_UNIVERSAL * n_models)).records()
    refs = [NeuronRef(row["model"], row["layer"], row["neuron"]) for row in candidates]
    partners: dict[NeuronRef, list[Record]] = defaultdict(list)
    for row in store.best_partners(refs, run=run).records():
        partners[NeuronRef(row["model"], row["layer"], row["neuron"])].append(row)
    records: list[Record] = []
    listed: set[NeuronRef] = set()
    for ref, row in zip(refs, candidates, strict=True):
        if ref in listed:
            continue
        listed |= {_partner(match) for match in partners[ref] if match["mutual_best"]}
        matches = [_of(_partner(match)) | {"correlation": match["correlation"]} for match in partners[ref]]
        told = {name: row[name] for name in ("excess_corr", "excess_se", "labels")}
        records.append({**_of(ref), **told, "best_matches": matches})
    return records[:MOST_UNIVERSAL]


def _readable(most: list[Record]) -> tuple[tuple[str, ...], list[list[Any]]]:
    """Columns and rows for a person, with neurons in one word."""
    rows = []
    for record in most:
        matches = ", ".join(f"{_named(match)} ({match['correlation']:.2f})" for match in record["best_matches"])
        rows.append([_named(record), record["excess_corr"], record["excess_se"], record["labels"], matches])
    return ("neuron", "excess_corr", "excess_se", "labels", "best matches"), rows


def _partner(match: Record) -> "NeuronRef":
    from catalog import NeuronRef

    return NeuronRef(match["other_model"], match["other_layer"], match["other_neuron"])


def _of(ref: "NeuronRef") -> dict[str, Any]:
    return {"model": ref.model, "layer": ref.layer, "neuron": ref.index}


def _named(record: Record) -> str:
    return f"{record['model']} {record['layer']}.{record['neuron']}"
