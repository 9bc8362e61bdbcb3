"""Does "universal" come out the same again? Two seeds of draws, and two halves of the documents.

    python -m bench.trust.decisions [--models 3] [--max-tokens N]

Models of the pocket family are ingested twice with other draws of rotations, and on two halves of the documents that have
nothing in common. Of the neurons that both decide: how often yes and no agree, and the Jaccard index of the two sets of
universal ones.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench import POCKET_CORPUS, POCKET_MODELS
from bench.trust.intervals import documents, split, write_halves
from bench.trust.place import ingested, own_catalog, rows
from cli.markdown import table

PARTS = ("correlations",)
DECIDED = "SELECT neuron_id, universal FROM universality WHERE run_id = :run"


def agreement(what: str, one: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any]:
    """Of two answers about the same neurons."""
    both = one.merge(other, on="neuron_id", suffixes=("", "_other"))
    decided = both[(both.universal != "undecided") & (both.universal_other != "undecided")]
    yes, other_yes = decided.universal == "yes", decided.universal_other == "yes"
    return {
        "what": what,
        "neurons": len(both),
        "universal": int((both.universal == "yes").sum()),
        "undecided": int((both.universal == "undecided").sum()),
        "universal, other": int((both.universal_other == "yes").sum()),
        "undecided, other": int((both.universal_other == "undecided").sum()),
        "decided in both": len(decided),
        "agree, %": 100 * float((yes == other_yes).mean()),
        "Jaccard": float((yes & other_yes).sum() / (yes | other_yes).sum()),
    }


def measure(n_models: int, max_tokens: int | None) -> list[dict[str, Any]]:
    """A row for the draws, and one for the halves."""
    texts, models = documents(), POCKET_MODELS[:n_models]
    first = split(texts, np.random.default_rng(0), equal_shares=True)
    with own_catalog() as engine, tempfile.TemporaryDirectory() as folder:
        halves = write_halves(texts, first, Path(folder) / "half")
        asked = {"max_tokens": max_tokens, "controls": 0}
        draws = [ingested(models, POCKET_CORPUS, PARTS, seed=seed, **asked) for seed in (0, 1)]
        parts = [ingested(models, path, PARTS, seed=seed, **asked) for seed, path in enumerate(halves)]
        return [
            agreement(what, *(rows(engine, DECIDED, run=run) for run in runs))
            for what, runs in (("two seeds of draws", draws), ("two halves of the documents", parts))
        ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--max-tokens", type=int)
    arguments = parser.parse_args()
    print(table(measure(arguments.models, arguments.max_tokens)))


if __name__ == "__main__":
    main()
