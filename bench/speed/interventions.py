"""What an intervention on one neuron with one value costs, relative to one forward pass of the whole model with its logits.

    python -m bench.speed.interventions [--tokens 16384] [--runs 7] [--neurons 20] [--json FILE]

A pocket model and its held-out text; `fix` with the 8 values of SPEC §8.2, neurons of the last layer, of the first, and
pairs of one of each. All ways take turns. "alone" leaves out the one pass of the model as it is, which serves all
interventions together.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import POCKET_MODELS
from bench.report import machine
from bench.speed import pocket
from cli.markdown import table
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.roles.intervention import FIXED_AT, Intervention
from ingest.roles.interventions import run_interventions


def neurons_of(checkpoint: Checkpoint, layer: int, count: int) -> list[tuple[int, int]]:
    """Neurons of a layer, evenly apart."""
    return [(layer, int(index)) for index in np.linspace(0, checkpoint.d_mlp - 1, count)]


@torch.inference_mode()
def forward(checkpoint: Checkpoint, tokens: np.ndarray) -> None:
    """The model and its logits, nothing else."""
    step = max(1, pocket.BATCH_TOKENS // tokens.shape[1])
    for start in range(0, len(tokens), step):
        rows = torch.from_numpy(np.asarray(tokens[start : start + step], dtype=np.int64))
        checkpoint.model(rows, use_cache=False)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(n_tokens: int, runs: int, n_neurons: int) -> dict[str, Any]:
    """Medians of ratios within a turn."""
    checkpoint = open_checkpoint(parse_model_argument(POCKET_MODELS[0]), pocket.CPU)
    info = tokenizer_identity(checkpoint.tokenizer)
    special = {i for i in (info.bos_id, info.eos_id, info.pad_id) if i is not None}
    tokens = np.array(pocket.corpus(checkpoint, n_tokens).tokens)
    first, last = (neurons_of(checkpoint, layer, n_neurons) for layer in (0, checkpoint.n_layers - 1))
    chosen: dict[str, list[tuple[tuple[int, int], ...]]] = {
        "last layer": [(neuron,) for neuron in last],
        "first layer": [(neuron,) for neuron in first],
        "first and last layer": list(zip(first, last, strict=True)),
    }
    work = {
        name: [Intervention("fix", neurons, value) for neurons in sets for value in FIXED_AT] for name, sets in chosen.items()
    }

    def run(interventions: list[Intervention]) -> None:
        run_interventions(checkpoint, tokens, special, interventions, tokens.size, pocket.BATCH_TOKENS)

    ways: dict[str, Callable[[], object]] = {"forward": lambda: forward(checkpoint, tokens), "nominal": lambda: run([])}
    ways |= {name: partial(run, made) for name, made in work.items()}
    forward(checkpoint, tokens)
    turns = [{name: seconds(way) for name, way in ways.items()} for _ in range(runs)]
    rows = [
        {
            "neurons": name,
            "interventions": len(made),
            "each / forward": statistics.median(turn[name] / len(made) / turn["forward"] for turn in turns),
            "each alone / forward": statistics.median(
                (turn[name] - turn["nominal"]) / len(made) / turn["forward"] for turn in turns
            ),
        }
        for name, made in work.items()
    ]
    nominal = statistics.median(turn["nominal"] / turn["forward"] for turn in turns)
    return {
        "rows": rows,
        "tokens": tokens.size,
        "seconds of a forward pass": statistics.median(turn["forward"] for turn in turns),
        "the nominal pass with its metrics / forward": nominal,
    }


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--neurons", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.tokens, arguments.runs, arguments.neurons) | {"machine": machine()}
    print(table(result["rows"]))
    for name in ("tokens", "seconds of a forward pass", "the nominal pass with its metrics / forward"):
        print(f"{name}: {result[name]:,.3g}" if isinstance(result[name], float) else f"{name}: {result[name]:,}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
