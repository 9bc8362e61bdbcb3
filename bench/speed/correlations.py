"""Correlations with rotated baseline of two models, both directions: ours against the published procedure.

    python -m bench.speed.correlations [--quick] [--runs 3] [--json FILE]

Everything is timed: sums of products of all pairs of neurons and of layers with themselves, flushes, the rotation at the
end, and the best partners. Activations are given in fp16, as published.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.report import machine
from bench.speed import published
from cli.markdown import table
from ingest.statistics.correlation import NeuronSums, Products, rotate_layer, rotation
from ingest.statistics.precision import exact_in, has_bf16
from ingest.statistics.tiles import CrossTile, LayerSpan

BATCH = 4096
PIVOT_TOKENS = 4096
CHECKED_ROWS = 64


def activations(n_tokens: int, n_neurons: int, seed: int) -> Tensor:
    """(tokens, neurons) fp16: sparse, heavy-tailed and correlated, for models of one seed and of another."""
    shared = torch.Generator().manual_seed(0)
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(64, n_neurons, generator=generator) / 8
    made = torch.empty(n_tokens, n_neurons, dtype=torch.float16)
    for start in range(0, n_tokens, BATCH):
        part = made[start : start + BATCH]
        latent = torch.randn(len(part), 64, generator=shared) ** 3 / 4
        noise = torch.randn(len(part), n_neurons, generator=generator)
        part.copy_(torch.nn.functional.gelu(latent @ mixing + noise / 2 - 0.5))
    return made


def ours(x: Tensor, y: Tensor, width: int, rotations: tuple[list[Tensor], list[Tensor]], precision: str) -> list[Tensor]:
    """What `published.both_directions` finds, by one accumulation."""
    device = torch.device("cpu")
    layers = x.shape[1] // width
    span = LayerSpan(0, layers - 1, width)
    pivots = [exact_in(values[:PIVOT_TOKENS].double().mean(0).float(), precision) for values in (x, y)]
    tile = CrossTile(span, span, device, precision)
    symmetric = [[Products(width, width, device, precision, symmetric=True) for _ in range(layers)] for _ in (x, y)]
    sums = torch.zeros(2, 2, x.shape[1], dtype=torch.float64)
    for start in range(0, len(x), BATCH):
        batch = [values[start : start + BATCH].float() - pivot for values, pivot in zip((x, y), pivots, strict=True)]
        tile.update(*batch)
        for model, values in enumerate(batch):
            sums[model, 0] += values.sum(0)
            sums[model, 1] += values.square().sum(0)
            for layer, products in enumerate(symmetric[model]):
                part = values[:, layer * width : (layer + 1) * width]
                products.update(part, part)
    for model_sums, layers_products in zip(sums, symmetric, strict=True):
        for products in layers_products:
            products.rest()
        if precision != "fp32":
            model_sums[1] = torch.cat([products.total_.diagonal() for products in layers_products])
    x_sums, y_sums = (NeuronSums(len(x), *model_sums) for model_sums in sums)

    def rotated(model: int, layer: int, turned: list[Tensor]) -> list[Any]:
        neurons = slice(layer * width, (layer + 1) * width)
        part = NeuronSums(len(x), sums[model, 0, neurons], sums[model, 1, neurons])
        return [rotate_layer(layer, turned[layer], symmetric[model][layer].total_, part)]

    done = tile.compute(
        x_sums,
        y_sums,
        rotated_a=lambda layer: rotated(0, layer, rotations[1]),
        rotated_b=lambda layer: rotated(1, layer, rotations[0]),
        k=published.TOP,
    )
    results: list[Tensor] = []
    for directed in (done.forward, done.backward):
        results += [directed.top_values, directed.top_index, directed.baseline[:, 0]]
    return results


def exact(x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """Correlations of some neurons of x with all of y, in float64 throughout."""
    sums = torch.zeros(len(rows), y.shape[1], dtype=torch.float64)
    chosen, other = x[:, rows].double(), y
    chosen -= chosen.mean(0)
    mean = torch.stack([part.double().sum(0) for part in other.split(BATCH)]).sum(0) / len(y)
    square = torch.zeros(y.shape[1], dtype=torch.float64)
    for part, chosen_part in zip(other.split(BATCH), chosen.split(BATCH), strict=True):
        centred = part.double() - mean
        sums += chosen_part.T @ centred
        square += centred.square().sum(0)
    return sums / chosen.square().sum(0).sqrt()[:, None] / square.sqrt()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Paired runs of all procedures on the same activations."""
    n = arguments.layers * arguments.width
    x, y = activations(arguments.tokens, n, 1), activations(arguments.tokens, n, 2)

    def rotated(judged: str, other: str) -> list[Tensor]:
        return [rotation(0, judged, other, layer, 0, arguments.width) for layer in range(arguments.layers)]

    rotations = (rotated("x", "y"), rotated("y", "x"))
    procedures: dict[str, Callable[[], list[Tensor]]] = {
        "published": lambda: published.both_directions(x, y, arguments.width, rotations),
        "ours, fp32": lambda: ours(x, y, arguments.width, rotations, "fp32"),
    }
    if has_bf16(torch.device("cpu")):
        procedures["ours, bf16"] = lambda: ours(x, y, arguments.width, rotations, "bf16")
    seconds: dict[str, list[float]] = {name: [] for name in procedures}
    results: dict[str, list[Tensor]] = {}
    for run in range(arguments.runs):
        for name, procedure in procedures.items():
            began = time.perf_counter()
            results[name] = procedure()
            seconds[name].append(time.perf_counter() - began)
            print(f"run {run + 1}, {name}: {seconds[name][-1]:.1f} s", flush=True)
    rows = torch.randperm(n, generator=torch.Generator().manual_seed(3))[:CHECKED_ROWS]
    truth = exact(x, y, rows)
    return {"arguments": vars(arguments), "rows": [_row(name, seconds, results, truth, rows) for name in procedures]}


def _row(
    name: str, seconds: dict[str, list[float]], results: dict[str, list[Tensor]], truth: Tensor, rows: Tensor
) -> dict[str, Any]:
    values, index, baseline = results[name][:3]
    stored = values[rows]
    ratios = [slow / fast for slow, fast in zip(seconds["published"], seconds[name], strict=True)]
    return {
        "procedure": name,
        "seconds (median)": statistics.median(seconds[name]),
        "times faster (median of pairs)": statistics.median(ratios),
        "largest error of a correlation": float((stored - truth.gather(1, index[rows])).abs().max()),
        "largest error of the best": float((stored[:, 0] - truth.amax(1)).abs().max()),
        "largest difference of a baseline": float((baseline - results["published"][2]).abs().max()),
    }


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="4 layers of 256 neurons, 20,000 tokens")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.tokens, arguments.layers, arguments.width = 20_000, 4, 256
    result = measure(arguments) | {"machine": machine()}
    print(table(result["rows"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1, default=str))


if __name__ == "__main__":
    main()
