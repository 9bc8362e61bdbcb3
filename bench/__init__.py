"""Reproducible benchmarks of the computation (`bench.speed`) and of a big catalog (`bench.scale`); each prints a table."""

from pathlib import Path

import ingest  # noqa: F401  (before torch, for it says how threads wait)

ROOT = Path(__file__).parents[1]
"""The checkout."""
POCKET = ROOT / "pocket"
POCKET_MODELS = [str(POCKET / "models" / f"pocket-gpt2-{seed}") for seed in "abcde"]
POCKET_CORPUS = str(POCKET / "corpus" / "heldout.jsonl.gz")
DEMO = (
    "weights,activations,correlations,vocabulary,positions,distributions,ngrams,examples,next_tokens,topics,roles,substitution"
)
"""The parts that `make demo` asks for, by name."""
MAIN_JOB = ("weights", "activations", "correlations", "vocabulary")
"""The parts of a run that answer which neurons are universal, and what they are."""
