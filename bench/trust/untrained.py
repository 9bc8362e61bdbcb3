"""How many labels networks have that learnt nothing: GPT-2s of the pocket shape as they are before training.

    python -m bench.trust.untrained [--networks 20] [--tokens 150000]

Each has the initialisation of a new GPT-2 and the pocket family's tokenizer and reads the first tokens of its corpus. What is
said of them says what the rules say of noise. All networks are pooled.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, GPT2LMHeadModel

from bench import POCKET_CORPUS, POCKET_MODELS
from bench.trust.place import ingested, own_catalog, rows
from cli.markdown import table

PARTS = (
    "weights", "activations", "vocabulary", "positions", "distributions", "ngrams", "topics", "class_activity", "entropy",
    "confidence", "syntax",
)  # fmt: skip
INTERVENTION_TOKENS = 20_000
AT_ONCE = 5
"""Networks of one run."""

LABELS = "SELECT family, sum(neurons) AS neurons FROM label_totals WHERE run_id = :run GROUP BY 1"
NEURONS = "SELECT count(*) AS n FROM neurons n JOIN models m ON m.id = n.model_id WHERE m.control_of IS NULL"


def write_network(seed: int, folder: Path) -> str:
    """A network before training, where a checkpoint is read."""
    torch.manual_seed(seed)
    GPT2LMHeadModel(AutoConfig.from_pretrained(POCKET_MODELS[0])).save_pretrained(folder)
    AutoTokenizer.from_pretrained(POCKET_MODELS[0]).save_pretrained(folder)
    return str(folder)


def measure(n_networks: int, tokens: int) -> list[dict[str, Any]]:
    """A row for each family that was looked for."""
    counts: dict[str, int] = {}
    with own_catalog() as engine, tempfile.TemporaryDirectory() as folder:
        networks = [write_network(seed, Path(folder) / f"untrained-{seed}") for seed in range(n_networks)]
        for start in range(0, n_networks, AT_ONCE):
            some = networks[start : start + AT_ONCE]
            run = ingested(some, POCKET_CORPUS, PARTS, max_tokens=tokens, intervention_tokens=INTERVENTION_TOKENS)
            for family, neurons in rows(engine, LABELS, run=run).itertuples(index=False):
                counts[family] = counts.get(family, 0) + int(neurons)
        (n_neurons,) = rows(engine, NEURONS)["n"]
    return [
        {"family": family, "neurons": n, "of": int(n_neurons), "%": 100 * n / int(n_neurons)}
        for family, n in sorted(counts.items())
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=150_000)
    arguments = parser.parse_args()
    print(table(measure(arguments.networks, arguments.tokens)))


if __name__ == "__main__":
    main()
