"""Whether a correlated neuron does the same job: what the best match restores against the excess correlation, as a picture.

    make pocket                                   # the catalog that is read; or any other, by CATALOG_DATABASE_URL
    python -m bench.substitution_plot [--docs docs/pocket-substitution.md]
"""

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

import catalog
from bench import ROOT
from catalog.errors import NotFoundError
from catalog.parts.words import percent_with_error
from catalog.questions.known import model_names, require_models
from cli.markdown import plain, table

PAGE = ROOT / "docs" / "pocket-substitution.md"
KINDS = {"match": "best match", "second": "second best", "random": "random neuron", "token_mean": "token's mean"}
LOWEST = -0.5
"""The least share that is drawn; below it stand few, whose ablation hardly costs anything."""

_SUMMARY = """SELECT model, universal, kind, replacements, ablated_loss_delta, loss_delta, restored, restored_se
              FROM substitution_summary ORDER BY model, universal DESC, kind"""

# One point per neuron: the ablation is the same in all other models, so that the mean over them is a ratio of sums.
_NEURONS = """SELECT s.model, s.layer, s.neuron, p.excess_corr, max(s.n_tokens) AS n_tokens,
                     avg(s.restored) FILTER (WHERE s.kind = 'match') AS match,
                     avg(s.restored) FILTER (WHERE s.kind = 'token_mean') AS token_mean
              FROM neuron_substitutions s JOIN neuron_profiles p USING (run_id, neuron_id)
              WHERE s.restored IS NOT NULL
              GROUP BY s.model, s.layer, s.neuron, p.excess_corr ORDER BY 1, 2, 3"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Substitutions:
    """Of all models."""

    groups: list[Row]
    """One per model, decision about universality, and kind."""
    neurons: list[Row]
    """Those whose ablation costs more than 1.96 standard errors."""


def read(connection: Connection) -> Substitutions:
    """What the runs have."""
    groups, neurons = (
        [dict(row) for row in connection.execute(text(statement)).mappings()] for statement in (_SUMMARY, _NEURONS)
    )
    return Substitutions(groups, neurons)


def draw(found: Substitutions, path: Path) -> None:
    """Two panels, an SVG that is the same for the same numbers: what the match restores, and what the token's mean does."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "substitution", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharey=True)
    for axis, kind in zip(axes, ("match", "token_mean"), strict=True):
        for number, model in enumerate(dict.fromkeys(row["model"] for row in found.neurons)):
            own = [row for row in found.neurons if row["model"] == model and row[kind] is not None]
            shares = [round(max(row[kind], LOWEST), 3) for row in own]
            excess = [round(row["excess_corr"], 3) for row in own]
            axis.scatter(excess, shares, s=9, color=f"C{number % 10}", label=model, linewidths=0)
        axis.set_xlabel("excess correlation")
        axis.set_title(KINDS[kind], fontsize=10)
        for level in (0, 1):
            axis.axhline(level, color="0.6", linewidth=0.5)
    axes[0].set_ylabel("restored of what ablation costs")
    axes[0].legend(fontsize=7, loc="best")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def page(found: Substitutions, picture: str) -> str:
    """The picture, and shares of groups in numbers."""
    head = f"# What matches stand in for\n\nWritten by `python -m bench.substitution_plot` on {datetime.now(UTC):%Y-%m-%d}.\n\n"
    if not found.groups:
        return f"{head}No run has substitutions (part `substitution`).\n"
    n_tokens = max((row["n_tokens"] for row in found.neurons), default=0)
    return (
        f"{head}![What the best match and the token's mean restore, against the excess correlation]({picture})\n\n"
        f"A neuron is held at its mean, or something stands in for it: α + β times the activation of its best match in another "
        "seed, of the second best, or of a random neuron of the match's layer, or its own mean at the current token. Means, α "
        f"and β are of one half of the documents, losses of {n_tokens:,} tokens of the other. Restored is 1 less the loss with "
        "the stand-in over that with the mean; a point is a neuron whose ablation costs more than 1.96 standard errors, its "
        f"share the mean over the other models; below {LOWEST:g} it is drawn there. In the table figures of groups are ratios "
        "of sums, the ablation is what holding all of these neurons at their means costs, one by one, in nats per token.\n\n"
        f"{table(_shares(found.groups))}"
    )


def _shares(groups: list[Row]) -> list[Row]:
    """A row per model and decision, a column per kind."""
    rows: dict[tuple[str, str], Row] = {}
    for group in groups:
        row = rows.setdefault(
            (group["model"], group["universal"]),
            {"model": plain(group["model"], spaces=False), "universal": group["universal"]},
        )
        if group["kind"] == "token_mean":
            row |= {"neurons": group["replacements"], "ablation": group["ablated_loss_delta"]}
        row[KINDS[group["kind"]]] = percent_with_error(group["restored"], group["restored_se"])
    names = ("model", "universal", "neurons", "ablation", *KINDS.values())
    return [{name: row.get(name, "") for name in names} for row in rows.values()]


def main() -> None:
    """Read the catalog, and write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=PAGE)
    docs = parser.parse_args().docs
    with catalog.connect() as store, store.engine.connect() as connection:
        try:
            require_models(model_names(connection, None))
        except NotFoundError as error:
            raise SystemExit(str(error)) from None
        found = read(connection)
    picture = docs.with_suffix(".svg")
    draw(found, picture)
    docs.write_text(page(found, picture.name), encoding="utf-8")


if __name__ == "__main__":
    main()
