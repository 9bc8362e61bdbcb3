"""`catalog report`: the first answers of a catalog, on one page."""

from collections import defaultdict
from importlib import import_module
from typing import TYPE_CHECKING

import typer

from cli.options import RunOption
from cli.output import Format, Record, show_heading, show_records, show_rows, talk, tell_why, write

if TYPE_CHECKING:
    from catalog import NeuronRef
    from catalog.answers import Rows
    from catalog.api import RowCatalog

MOST_UNIVERSAL = 10
SHARES = ("model", "layer", "n_neurons", "n_universal", "share_universal")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(report)


def report(run: RunOption = None) -> None:
    """The first answers of a catalog, on one page."""
    from catalog import LabelFilter, UniversalFilter, connect_rows

    why = import_module("catalog.why_empty")
    with connect_rows() as store:
        shares = store.layer_profiles(run=run).select(*SHARES)
        _section("Universal neurons per layer (excess correlation above 0.5)", shares)
        tell_why(len(shares), lambda: store.why(why.nothing))
        show_heading(f"The {MOST_UNIVERSAL} most universal neurons, each once, with their best matches")
        records = most_universal(store, n_models=len(set(shares.column("model"))), run=run)
        show_records(("neuron", "excess_corr", "labels", "best matches"), records, Format.TABLE)
        write("\n" if records else "none\n\n")
        tell_why(len(records), lambda: store.why(why.universal, UniversalFilter(run=run)))
        counts = store.family_counts(run=run, by="model")
        _section("Neurons per family", counts.where("neurons", lambda neurons: neurons > 0))
        tell_why(len(counts), lambda: store.why(why.counts, None, run))
        wanted = LabelFilter(family="alphabet", run=run)
        found, total = store.find_labels(wanted), store.count_labels(wanted)
        _section("catalog find --family alphabet", found)
        if len(found) < total:
            talk(f"{len(found)} of {total} labels; `catalog find --family alphabet --limit 0` prints all")
        tell_why(len(found), lambda: store.why(why.labels, wanted))


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
        shown = ", ".join(f"{_named(_partner(match))} ({match['correlation']:.2f})" for match in partners[ref])
        shares = {"excess_corr": row["excess_corr"], "labels": row["labels"]}
        records.append({"neuron": _named(ref), **shares, "best matches": shown})
    return records[:MOST_UNIVERSAL]


def _partner(match: Record) -> "NeuronRef":
    from catalog import NeuronRef

    return NeuronRef(match["other_model"], match["other_layer"], match["other_neuron"])


def _named(ref: "NeuronRef") -> str:
    return f"{ref.model} {ref.layer}.{ref.index}"


def _section(title: str, rows: "Rows") -> None:
    show_heading(title)
    show_rows(rows, Format.TABLE)
    write("\n" if len(rows) else "none\n\n")
