"""What predictions become when the best candidates for entropy neurons are held, against the controls, as a picture.

Candidates are those of the runs. A model that has none, because no neuron passes the rule of SPEC 8.1, is asked about the
neurons that come closest: of its last two layers and the tenth of its neurons with the largest weights, those with the
smallest variance over the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from ingest.intervene import InterveneSettings, intervene
from ingest.progress import Progress
from ingest.role_work import FIXED_AT

PANELS = {
    "scale": "scale of the final layer norm",
    "entropy": "entropy, nats",
    "loss": "loss, nats",
    "recip_rank": "mean reciprocal rank",
}
CLOSEST = 2
"""Neurons per model that are asked for where there is no candidate."""

_LACKING = """SELECT b.model, mo.n_layers, max(i.n_rows) AS n_rows, max(c.context_length) AS context
              FROM members b JOIN models mo ON mo.id = b.model_id JOIN runs r ON r.id = b.run_id
              JOIN corpora c ON c.id = r.corpus_id
              JOIN neurons n ON n.model_id = b.model_id
              JOIN interventions i ON i.run_id = b.run_id AND i.neuron_id = n.id AND i.purpose <> 'asked'
              GROUP BY 1, 2 HAVING count(*) FILTER (WHERE i.purpose = 'candidate') = 0 ORDER BY 1"""

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

Row = dict[str, Any]


@dataclass(frozen=True)
class Curves:
    """Of all models."""

    rows: list[Row]
    """One per neuron and value."""
    asked: list[tuple[str, int, int]]
    """Neurons that stand in for candidates: model, layer, index."""

    def of(self, *purposes: str) -> dict[tuple[str, int, int], list[Row]]:
        """The rows of each neuron, by value."""
        found: dict[tuple[str, int, int], list[Row]] = {}
        for row in self.rows:
            if row["purpose"] in purposes:
                found.setdefault((row["model"], row["layer"], row["neuron"]), []).append(row)
        return found


def measure(connection: Connection, progress: Progress) -> Curves:
    """The curves that the runs have, and those of the closest neurons of models without a candidate, measured now."""
    asked = []
    for lacking in connection.execute(text(_LACKING)).mappings().all():
        values = {"model": lacking["model"], "first_layer": lacking["n_layers"] - 2, "closest": CLOSEST}
        neurons = [tuple(row) for row in connection.execute(text(_CLOSEST), values)]
        connection.rollback()
        settings = InterveneSettings(
            lacking["model"],
            tuple(((layer, index),) for layer, index in neurons),
            tuple(("fix", value) for value in FIXED_AT),
            tokens=lacking["n_rows"] * lacking["context"],
        )
        intervene(settings, progress)
        asked += [(lacking["model"], layer, index) for layer, index in neurons]
    columns = [list(column) for column in zip(*asked, strict=True)] or [[], [], []]
    values = dict(zip(("models", "layers", "neurons"), columns, strict=True)) | {"values": list(FIXED_AT)}
    return Curves([dict(row) for row in connection.execute(text(_CURVES), values).mappings()], asked)


def draw(curves: Curves, path: Path) -> None:
    """Four panels, an SVG that is the same for the same curves."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "entropy curves"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(15, 3.8), layout="constrained")
    for axis, (name, label) in zip(axes, PANELS.items(), strict=True):
        for number, own in enumerate(curves.of("control").values()):
            _line(axis, own, name, color="0.8", linewidth=0.7, label="controls" if not number else None, zorder=1)
        for number, ((model, layer, index), own) in enumerate(curves.of("candidate", "asked").items()):
            _line(axis, own, name, color=f"C{number % 10}", marker=".", label=f"{model} {layer}.{index}", zorder=2)
        axis.set_xlabel("post held at")
        axis.set_ylabel(f"change of {label}")
        axis.axhline(0, color="0.5", linewidth=0.5)
    axes[-1].legend(fontsize=7, loc="best")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _line(axis: Any, own: Sequence[Row], name: str, **style: Any) -> None:
    """The change against the model left alone, for models differ in that."""
    axis.plot([row["value"] for row in own], [row[name] - row[f"nominal_{name}"] for row in own], **style)
