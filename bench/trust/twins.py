"""How many labels of the pocket family chance gives: twins of its first model whose neurons read permuted weights, pooled.

    python -m bench.trust.twins [--twins 10] [--max-tokens N]

The twins are controls of a run over the whole corpus, and read all of it. Of each family that is read from activations: the
neurons of the five models, those of the twins, and the share that chance gives, with its upper limit (one-sided, 95 %, of a
Poisson number).
"""

import argparse
from typing import Any

from scipy.stats import chi2

from bench import POCKET_CORPUS, POCKET_MODELS
from bench.trust.place import ingested, own_catalog, rows
from catalog import parts
from cli.markdown import table

PARTS = ("activations", "vocabulary", "positions", "distributions", "ngrams", "topics", "class_activity", "syntax")
CONFIDENCE = 0.95
LABELLED = "SELECT family, sum(neurons) AS neurons FROM label_totals WHERE run_id = ANY(:runs) GROUP BY 1"


def upper_limit(n: int) -> float:
    """Of the mean of a Poisson number."""
    return float(chi2.ppf(CONFIDENCE, 2 * (n + 1)) / 2)


def measure(n_twins: int, max_tokens: int | None) -> list[dict[str, Any]]:
    """A row for each family."""
    with own_catalog() as engine:
        run = ingested(POCKET_MODELS, POCKET_CORPUS, PARTS, max_tokens=max_tokens, controls=n_twins)
        controls = rows(engine, "SELECT control_run_id AS id FROM run_controls WHERE run_id = :run", run=run)["id"].tolist()
        if len(controls) != n_twins:
            raise SystemExit(f"run {run} has {len(controls)} controls instead of {n_twins}")
        real, chance = (
            rows(engine, LABELLED, runs=runs).set_index("family")["neurons"].astype(int).to_dict() for runs in ([run], controls)
        )
    scale = len(POCKET_MODELS) / n_twins
    return [_row(family, real[family], chance.get(family, 0), scale) for family in sorted(parts.controlled()) if family in real]


def _row(family: str, real: int, chance: int, scale: float) -> dict[str, Any]:
    """What is said of a family."""
    return {
        "family": family,
        "neurons": real,
        "of twins": chance,
        "chance / real, %": 100 * chance * scale / real if real else "–",
        "upper limit, %": 100 * upper_limit(chance) * scale / real if real else "–",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twins", type=int, default=10)
    parser.add_argument("--max-tokens", type=int)
    arguments = parser.parse_args()
    print(table(measure(arguments.twins, arguments.max_tokens)))


if __name__ == "__main__":
    main()
