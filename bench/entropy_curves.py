"""What predictions become when the best candidates for entropy neurons are held, and with their controls, as a picture.

    make pocket                                   # the catalog that is read; or any other, by CATALOG_DATABASE_URL
    python -m bench.entropy_curves [--docs docs/pocket-entropy.md]

Candidates are those of the runs. A model that has none, because no neuron passes the rule of SPEC 8.1, is asked about the
neurons that come closest: of its last two layers and the tenth of its neurons with the largest weights, those with the
smallest variance over the vocabulary.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

import catalog
from bench import ROOT
from catalog.errors import NotFoundError
from catalog.questions.known import model_names, require_models
from cli.markdown import plain, table
from cli.progress import watch
from ingest.asked.intervene import intervene
from ingest.asked.settings import InterveneSettings
from ingest.progress import Progress
from ingest.roles.intervention import FIXED_AT

PAGE = ROOT / "docs" / "pocket-entropy.md"
PANELS = {
    "scale": "scale of the final layer norm",
    "entropy": "entropy, nats",
    "loss": "loss, nats",
    "recip_rank": "mean reciprocal rank",
}
CLOSEST = 2
"""Neurons per model that are asked for where there is no candidate."""

_LACKING = """SELECT b.model, mo.n_layers, (p.settings ->> 'intervention_tokens')::bigint AS tokens
              FROM members b JOIN models mo ON mo.id = b.model_id
              JOIN run_parts p ON p.run_id = b.run_id AND p.part = 'entropy'
              WHERE NOT EXISTS (SELECT FROM interventions i JOIN neurons n ON n.id = i.neuron_id
                                 WHERE i.run_id = b.run_id AND n.model_id = b.model_id AND i.purpose = 'candidate')
              ORDER BY 1"""

_CLOSEST = """SELECT layer, neuron FROM neuron_profiles
              WHERE model = :model AND layer >= :first_layer
                AND l2_penalty >= (SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY l2_penalty) FROM neuron_profiles
                                   WHERE model = :model)
              ORDER BY vocab_var, layer, neuron LIMIT :closest"""

_CURVES = f"""SELECT i.model, i.layer, i.neuron, i.purpose, i.value, i.n_tokens, i.delta_entropy, i.delta_scale,
                     {", ".join(f"i.{name}" for name in PANELS)},
                     {", ".join(f"i.{name} - i.delta_{name} AS nominal_{name}" for name in PANELS)}
              FROM neuron_interventions i
              WHERE i.kind = 'fix' AND i.together IS NULL AND i.value = ANY(:values)
                AND (i.purpose <> 'asked' OR (i.model, i.layer, i.neuron) IN
                     (SELECT * FROM unnest(CAST(:models AS text[]), CAST(:layers AS int[]), CAST(:neurons AS int[]))))
              ORDER BY i.model, i.layer, i.neuron, i.value"""

_CONTROLS = """SELECT c.value, c.entropy_delta AS entropy, c.scale_delta AS scale
               FROM entropy_controls c JOIN neurons n ON n.id = c.neuron_id
               JOIN members b ON b.run_id = c.run_id AND b.model_id = n.model_id
               WHERE c.along_neuron_id <> c.neuron_id
               ORDER BY n.id, c.value, c.along_neuron_id"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Curves:
    """Of all models."""

    rows: list[Row]
    """One per neuron and value."""
    asked: list[tuple[str, int, int]]
    """Neurons that stand in for candidates: model, layer, index."""
    controls: list[Row]
    """Of the candidates: value, and the changes of entropy and scale."""

    def of_neurons(self) -> dict[tuple[str, int, int], list[Row]]:
        """The rows of each neuron, by value."""
        curves: dict[tuple[str, int, int], list[Row]] = {}
        for row in self.rows:
            curves.setdefault((row["model"], row["layer"], row["neuron"]), []).append(row)
        return curves


def measure(connection: Connection, progress: Progress) -> Curves:
    """The curves that the runs have, and those of the closest neurons of models without a candidate, measured now."""
    asked = []
    for lacking in connection.execute(text(_LACKING)).mappings().all():
        values = {"model": lacking["model"], "first_layer": lacking["n_layers"] - 2, "closest": CLOSEST}
        neurons = [tuple(row) for row in connection.execute(text(_CLOSEST), values)]
        connection.rollback()
        settings = InterveneSettings(
            model=lacking["model"],
            neurons=tuple(((layer, index),) for layer, index in neurons),
            changes=tuple(("fix", value) for value in FIXED_AT),
            tokens=lacking["tokens"],
        )
        intervene(settings, progress)
        asked += [(lacking["model"], layer, index) for layer, index in neurons]
    columns = [list(column) for column in zip(*asked, strict=True)] or [[], [], []]
    values = dict(zip(("models", "layers", "neurons"), columns, strict=True)) | {"values": list(FIXED_AT)}
    rows, controls = (
        [dict(row) for row in connection.execute(text(statement), bound).mappings()]
        for statement, bound in ((_CURVES, values), (_CONTROLS, {}))
    )
    return Curves(rows, asked, controls)


def draw(curves: Curves, path: Path) -> None:
    """Four panels, an SVG that is the same for the same curves."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "entropy curves", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(15, 3.8), layout="constrained")
    for axis, (name, label) in zip(axes, PANELS.items(), strict=True):
        if curves.controls and name in curves.controls[0]:
            places, changes = zip(*((row["value"], row[name]) for row in curves.controls), strict=True)
            axis.plot(places, changes, color="0.8", marker="_", linestyle="", label="controls", zorder=1)
        for number, ((model, layer, index), curve) in enumerate(curves.of_neurons().items()):
            _line(axis, curve, name, color=f"C{number % 10}", marker=".", label=f"{model} {layer}.{index}", zorder=2)
        axis.set_xlabel("post held at")
        axis.set_ylabel(f"change of {label}")
        axis.axhline(0, color="0.5", linewidth=0.5)
    axes[-1].legend(fontsize=7, loc="best")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _line(axis: Any, curve: Sequence[Row], name: str, **style: Any) -> None:
    """The change against the model left alone, for models differ in that."""
    axis.plot([row["value"] for row in curve], [round(row[name] - row[f"nominal_{name}"], 4) for row in curve], **style)


def page(curves: Curves, picture: str) -> str:
    """The picture of candidates and controls, and what it shows in numbers."""
    top = max(FIXED_AT)
    shown = [
        {
            "neuron": _named(f"{model} {layer}.{index}"),
            "why": "candidate" if curve[0]["purpose"] == "candidate" else "closest",
            **{f"change of {name}": curve[-1][f"delta_{name}"] for name in ("entropy", "scale")},
            "change of loss": curve[-1]["loss"] - curve[-1]["nominal_loss"],
        }
        for (model, layer, index), curve in curves.of_neurons().items()
        if curve[-1]["value"] == top
    ]
    if not shown:
        return f"{_head()}No run has interventions (part `entropy`).\n"
    told = f"{_controlled(curves.controls)}{_lacking(curves.asked)}"
    return (
        f"{_head()}![Changes of scale, entropy, loss and reciprocal rank]({picture})\n\n"
        f"Neurons held at a value at every position, on {curves.rows[0]['n_tokens']:,} tokens.{told} An "
        "entropy neuron raises scale and entropy by more than such controls and hardly touches the rank of the right token (UN "
        f"Fig. 7); in models whose activations rarely exceed 1, {top:g} is far outside of what they ever do.\n\nAt {top:g}:"
        f"\n\n{table(shown)}"
    )


def _controlled(controls: Sequence[Row]) -> str:
    """What is in grey."""
    changes = [row["entropy"] for row in controls if row["entropy"] is not None]
    if not changes:
        return ""
    return (
        f" In grey the same changes along other output directions of a candidate's layer, {len(changes)} times; at "
        f"{controls[0]['value']:g} they change entropy by {min(changes):+.3g} to {max(changes):+.3g} nats."
    )


def _lacking(asked: Sequence[tuple[str, int, int]]) -> str:
    """Which models have no candidates, and what is drawn instead."""
    if not asked:
        return ""
    models = ", ".join(_named(model) for model in dict.fromkeys(model for model, _, _ in asked))
    return (
        f" There are 0 candidates in {models} by the rule (SPEC 8.1: weights among the largest 1 % of the model, variance over "
        "the vocabulary among the smallest 1 % of the layer). Drawn in their place are the closest, which have no controls: of "
        "the tenth with the largest weights, those with the smallest variance over the vocabulary, held by `catalog intervene`."
    )


def _head() -> str:
    written = f"Written by `python -m bench.entropy_curves` on {datetime.now(UTC):%Y-%m-%d}."
    return f"# Entropy, with neurons held\n\n{written}\n\n"


def _named(name: str) -> str:
    return plain(name, spaces=False)


def main() -> None:
    """Read the catalog, measure what it lacks, and write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=PAGE)
    docs = parser.parse_args().docs
    with catalog.connect() as store, store.engine.connect() as connection, watch() as progress:
        try:
            require_models(model_names(connection, None))
        except NotFoundError as error:
            raise SystemExit(str(error)) from None
        curves = measure(connection, progress)
    picture = docs.with_suffix(".svg")
    draw(curves, picture)
    docs.write_text(page(curves, picture.name), encoding="utf-8")


if __name__ == "__main__":
    main()
