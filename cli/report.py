"""`catalog report`: the first answers of a catalog, on one page."""

from typing import TYPE_CHECKING, Any

import typer

from cli.options import RunOption
from cli.output import Format, Row, show_heading, show_records, show_rows, write

if TYPE_CHECKING:
    import pandas as pd

    from catalog import Catalog

MOST_UNIVERSAL = 10
SHARES = ["model", "layer", "n_neurons", "n_universal", "share_universal"]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(report)


def report(run: RunOption = None) -> None:
    """The first answers of a catalog, on one page."""
    from catalog import LabelFilter, connect

    with connect() as store:
        shares = store.layer_profiles(run=run)[SHARES]
        _section("Universal neurons per layer (excess correlation above 0.5)", shares)
        show_heading(f"The {MOST_UNIVERSAL} most universal neurons, each once, with their best matches")
        records = most_universal(store, n_models=shares["model"].nunique(), run=run)
        show_records(("neuron", "excess_corr", "labels", "best matches"), records, Format.TABLE)
        write("\n" if records else "none\n\n")
        counts = store.family_counts(run=run, by="model")
        _section("Neurons per family", counts[counts["neurons"] > 0])
        _section("catalog find --family alphabet", store.find_labels(LabelFilter(family="alphabet", run=run)))


def most_universal(store: "Catalog", n_models: int, run: int | None = None) -> list[Row]:
    """The neurons with the largest excess; one that is the mutual best match of an earlier one is not listed again."""
    from catalog import NeuronRef, UniversalFilter

    records: list[Row] = []
    listed: set[tuple[Any, ...]] = set()
    candidates = store.universal_neurons(UniversalFilter(run=run, limit=MOST_UNIVERSAL * n_models))
    for row in candidates.itertuples(index=False):
        if len(records) == MOST_UNIVERSAL:
            break
        if (row.model, row.layer, row.neuron) in listed:
            continue
        ref = NeuronRef(row.model, int(row.layer), int(row.neuron))
        best = store.neuron_matches(ref, run=run, limit=n_models)
        best = best[best["rank"] == 1]
        mutual = best[best["mutual_best"]]
        listed.update(zip(mutual["other_model"], mutual["other_layer"], mutual["other_neuron"], strict=True))
        matches = (
            f"{match.other_model} {match.other_layer}.{match.other_neuron} ({match.correlation:.2f})"
            for match in best.itertuples(index=False)
        )
        records.append(
            {
                "neuron": f"{row.model} {row.layer}.{row.neuron}",
                "excess_corr": row.excess_corr,
                "labels": row.labels,
                "best matches": ", ".join(matches),
            }
        )
    return records


def _section(title: str, frame: "pd.DataFrame") -> None:
    show_heading(title)
    show_rows(frame, Format.TABLE)
    write("\n" if len(frame) else "none\n\n")
