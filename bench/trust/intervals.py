"""Do standard errors hold? Two halves of the documents, with nothing in common, must differ by as much as their errors say.

    python -m bench.trust.intervals [--splits 50] [--models 2] [--max-tokens N]

Each split deals the documents of the pocket corpus into two halves at random: in turn those of every subset, so that both
halves have as much of each, and all of them, so that shares of subsets are random, too. Errors are to hold between the two, for
the shares of a corpus are neither given nor chance. Either half is ingested as a corpus of its own, with 32 blocks and draws of
rotations of its own, and what the catalog says of a neuron in one is compared with what it says in the other: a difference
beyond the 95 % bound of Student's t, over both errors, is counted. Of errors that hold, 5 % are. Only neurons count that are
active in 30 documents or more of either half: of what hardly ever happens no error is known.
"""

import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student
from sqlalchemy import Engine

from bench import POCKET_CORPUS, POCKET_MODELS
from bench.trust.place import ingested, own_catalog, rows
from cli.markdown import table
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.corpus.bos import row_start
from ingest.corpus.tokenizer import text_encoder, tokenizer_identity
from ingest.statistics.jackknife import N_BLOCKS

PARTS = ("activations", "correlations", "vocabulary", "distributions")
LEAST_DOCUMENTS = 30
CPU = torch.device("cpu")
CONFIDENCE = 0.95
PARTNERS = 5
"""Of each neuron and other model: those of the highest rank are compared where both halves have them."""

QUESTIONS = {
    "mean of pre": "SELECT neuron_id, mean AS value, mean_se AS se FROM activation_statistics WHERE run_id = :run",
    "mean of post": "SELECT neuron_id, post_mean AS value, post_mean_se AS se FROM activation_statistics WHERE run_id = :run",
    "frequency": "SELECT neuron_id, sparsity AS value, sparsity_se AS se FROM activation_statistics WHERE run_id = :run",
    "correlation, same partner": f"""SELECT neuron_id, other_neuron_id, correlation AS value, correlation_se AS se FROM pairs
        WHERE run_id = :run AND rank <= {PARTNERS}""",
    "excess correlation": "SELECT neuron_id, excess_corr AS value, excess_se AS se FROM universality WHERE run_id = :run",
    "variance reduction": """SELECT neuron_id, feature_id, shift, variance_reduction AS value, variance_reduction_se AS se
        FROM explanations WHERE run_id = :run AND rank <= 5""",
}
"""By what they ask: key columns, value and standard error."""


def documents() -> list[dict[str, str]]:
    """Of the pocket corpus."""
    with gzip.open(POCKET_CORPUS, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@torch.inference_mode()
def active_documents(checkpoint: Checkpoint, texts: Sequence[str]) -> np.ndarray:
    """(documents, neurons) bool: whether a token of the document activates the neuron."""
    info = tokenizer_identity(checkpoint.tokenizer)
    bos_id = row_start("auto", info.bos).bos_id
    width = checkpoint.n_ctx - (bos_id is not None)
    active = np.zeros((len(texts), checkpoint.n_layers * checkpoint.d_mlp), dtype=bool)
    for document, ids in enumerate(text_encoder(checkpoint.tokenizer)(list(texts))):
        for start in range(0, len(ids), 8 * width):
            piece = ids[start : start + 8 * width]
            piece = piece[: len(piece) // width * width] or piece
            body = np.array(piece).reshape(-1, min(width, len(piece)))
            tokens = torch.from_numpy(body if bos_id is None else np.insert(body, 0, bos_id, axis=1))
            kept = torch.from_numpy(~np.isin(tokens.numpy(), list(info.masked_ids))).flatten()

            def keep(layer: int, pre: torch.Tensor, post: torch.Tensor, document: int = document, kept: Any = kept) -> None:
                neurons = slice(layer * checkpoint.d_mlp, (layer + 1) * checkpoint.d_mlp)
                active[document, neurons] |= (pre[kept] > 0).any(0).numpy()

            checkpoint.visit_activations(tokens, keep)
    return active


def split(texts: Sequence[dict[str, str]], random: np.random.Generator, equal_shares: bool) -> np.ndarray:
    """(documents,) bool: which are of the first half; half of all, or, in equal shares, half of each subset."""
    first = np.zeros(len(texts), dtype=bool)
    subsets = np.array([text["subset"] if equal_shares else "" for text in texts])
    for subset in np.unique(subsets):
        places = random.permutation(np.flatnonzero(subsets == subset))
        first[places[: (len(places) + int(random.integers(2))) // 2]] = True
    return first


def write_halves(texts: Sequence[dict[str, str]], first: np.ndarray, stem: Path) -> list[Path]:
    """A corpus of either half, in files whose names begin alike."""
    paths = [stem.with_name(f"{stem.name}-{half}.jsonl") for half in range(2)]
    for path, chosen in zip(paths, (first, ~first), strict=True):
        path.write_text("".join(json.dumps(texts[i]) + "\n" for i in np.flatnonzero(chosen).tolist()), encoding="utf-8")
    return paths


def compared(engine: Engine, runs: tuple[int, int], often: pd.Series) -> dict[str, tuple[float, float, int]]:
    """Per question the share of differences beyond their bound, the SD of difference over error, and how many there are.

    Args:
        often: by neuron_id, whether it is active in enough documents of both halves.
    """
    bound = float(student.ppf((1 + CONFIDENCE) / 2, 2 * N_BLOCKS - 2))
    found = {}
    for name, statement in QUESTIONS.items():
        one, other = (rows(engine, statement, run=run) for run in runs)
        keys = [column for column in one.columns if column not in ("value", "se")]
        both = one.merge(other, on=keys, suffixes=("", "_other")).dropna()
        both = both[both.neuron_id.map(often).fillna(False).astype(bool)]
        error = np.sqrt(both.se**2 + both.se_other**2)
        both, error = both[error > 0], error[error > 0]
        apart = (both.value - both.value_other) / error
        found[name] = (float((apart.abs() > bound).mean()), float(apart.std()), len(apart))
    return found


def measure(n_splits: int, n_models: int, max_tokens: int | None, seed: int) -> list[dict[str, Any]]:
    """A row for each question."""
    texts, models = documents(), POCKET_MODELS[:n_models]
    opened = [open_checkpoint(parse_model_argument(path), CPU) for path in models]
    active = [active_documents(checkpoint, [text["text"] for text in texts]) for checkpoint in opened]
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in QUESTIONS}
    with own_catalog() as engine, tempfile.TemporaryDirectory() as folder:
        for number in range(n_splits):
            first = split(texts, np.random.default_rng([seed, number]), equal_shares=number % 2 == 0)
            asked = {"max_tokens": max_tokens, "controls": 0}
            halves = enumerate(write_halves(texts, first, Path(folder) / str(number)), start=2 * number)
            runs = [ingested(models, path, PARTS, seed=half, **asked) for half, path in halves]
            often = pd.concat([_often(engine, c.name, of, first) for c, of in zip(opened, active, strict=True)])
            for name, answer in compared(engine, (runs[0], runs[1]), often).items():
                found[name].append(answer)
                print(number, name, answer, file=sys.stderr, flush=True)
    return [
        {
            "what": name,
            "differences": sum(n for _, _, n in answers),
            "splits": len(answers),
            "beyond the 95 % bound, %": _beyond(answers),
            "in halves of equal shares, %": _beyond(answers[::2]),
            "in halves of random shares, %": _beyond(answers[1::2]),
            "SD of difference / error": float(np.mean([spread for _, spread, _ in answers])),
        }
        for name, answers in found.items()
    ]


def _beyond(answers: Sequence[tuple[float, float, int]]) -> float | str:
    """The mean over splits, in percent."""
    return 100 * float(np.mean([share for share, _, _ in answers])) if answers else "–"


def _often(engine: Engine, model: str, active: np.ndarray, first: np.ndarray) -> pd.Series:
    """By neuron_id, whether it is active in enough documents of both halves."""
    statement = """SELECT n.id FROM neurons n JOIN models m ON m.id = n.model_id WHERE m.name = :model
                   ORDER BY n.layer, n."index" """
    enough = np.minimum(active[first].sum(0), active[~first].sum(0)) >= LEAST_DOCUMENTS
    return pd.Series(enough, index=rows(engine, statement, model=model)["id"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--models", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, help="of each half; all of it if this is not given")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(table(measure(arguments.splits, arguments.models, arguments.max_tokens, arguments.seed)))


if __name__ == "__main__":
    main()
