"""What each precision costs in exactness and saves in time, on real activations of two pocket models.

    python -m bench.speed.precision [--tokens 100000] [--runs 5] [--quick] [--json FILE]

Correlations of all neurons of one model with all of the other, against float64. Times are of products alone, of the tile
and of every layer with itself, taken in turns.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.report import machine
from bench.speed import pocket
from cli.markdown import table
from ingest.corpus.batches import kept_activations, token_batches
from ingest.statistics.correlation import NeuronSums, Products, correlate
from ingest.statistics.precision import exact_in, has_bf16

PIVOT_TOKENS = 4096


@torch.inference_mode()
def activations(max_tokens: int) -> tuple[list[Tensor], int]:
    """(kept, neurons) fp32 of both models, and the width of a layer."""
    models = pocket.two_models()
    rows = pocket.corpus(models[0], max_tokens)
    batches = list(token_batches(rows, pocket.BATCH_TOKENS, pocket.CPU))
    per_model = [torch.cat([kept_activations(model, batch)[1] for batch in batches]) for model in models]
    return per_model, models[0].d_mlp


def products(values: list[Tensor], width: int, device: torch.device, precision: str) -> tuple[Products, list[list[Products]]]:
    """Of the tile, and of every layer of both models with itself."""
    tile = Products(values[0].shape[1], values[1].shape[1], device, precision)
    symmetric = [[Products(width, width, device, precision, symmetric=True) for _ in v.split(width, dim=1)] for v in values]
    for x, y in zip(*(v.split(pocket.BATCH_TOKENS) for v in values), strict=True):
        tile.update(x, y)
        for batch, layers in zip((x, y), symmetric, strict=True):
            for part, layer in zip(batch.split(width, dim=1), layers, strict=True):
                layer.update(part, part)
    tile.rest()
    for layer in (layer for layers in symmetric for layer in layers):
        layer.rest()
    return tile, symmetric


def correlations(values: list[Tensor], width: int, device: torch.device, precision: str) -> tuple[Tensor, float]:
    """As a job takes them (float64), and the seconds of the products."""
    pivots = [exact_in(v[:PIVOT_TOKENS].double().mean(0).float(), precision) for v in values]
    centred = [(v - pivot).to(device) for v, pivot in zip(values, pivots, strict=True)]
    _wait(device)
    began = time.perf_counter()
    tile, symmetric = products(centred, width, device, precision)
    _wait(device)
    seconds = time.perf_counter() - began
    sums = []
    for v, layers in zip(centred, symmetric, strict=True):
        squares = v.double().square().sum(0) if precision == "fp32" else torch.cat([p.total_.diagonal() for p in layers])
        sums.append(NeuronSums(len(v), v.double().sum(0), squares))
    return correlate(tile.total_, *sums).cpu(), seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def exact(values: list[Tensor]) -> Tensor:
    """The definition, all at once in float64."""
    x, y = (v.double() - v.double().mean(0) for v in values)
    return (x.T @ y) / x.norm(dim=0)[:, None] / y.norm(dim=0)


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row per precision and device."""
    values, width = activations(arguments.tokens)
    truth = exact(values)
    cases = [(pocket.CPU, "fp32")] + [(pocket.CPU, "bf16")] * has_bf16(pocket.CPU)
    if torch.cuda.is_available():
        cases += [(torch.device("cuda:0"), precision) for precision in ("fp32", "tf32", "bf16")]
    seconds: dict[tuple[torch.device, str], list[float]] = {case: [] for case in cases}
    errors = {}
    for _ in range(arguments.runs):
        for case in cases:
            correlated, spent = correlations(values, width, *case)
            seconds[case].append(spent)
            errors[case] = (correlated - truth).abs().flatten().sort().values
    return [
        {
            "device": device.type,
            "precision": precision,
            "tokens": len(values[0]),
            "largest error": f"{errors[device, precision][-1]:.1e}",
            "99.9 % of errors below": f"{errors[device, precision][int(0.999 * truth.numel())]:.1e}",
            "time relative to fp32": statistics.median(
                reduced / full for reduced, full in zip(seconds[device, precision], seconds[device, "fp32"], strict=True)
            ),
        }
        for device, precision in cases
    ]


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="20,000 tokens, one run")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.tokens, arguments.runs = 20_000, 1
    rows = measure(arguments)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "machine": machine()}, indent=1))


if __name__ == "__main__":
    main()
