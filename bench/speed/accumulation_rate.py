"""Which part of the machine's rate of matrix products the accumulation of a tile reaches.

    python -m bench.speed.accumulation_rate [--runs 5] [--device cpu] [--quick] [--json FILE]

The accumulation adds batches of given activations to a tile, flushes to float64 included; the bare product of the same
precision multiplies matrices of the same shapes, laid out as they are in a batch, into an output that is there already.
The two take turns.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.report import machine
from cli.markdown import table
from ingest.statistics.correlation import FLUSH_TOKENS, Products
from ingest.statistics.precision import has_bf16, product_precision


def timed(action: Callable[[], object], device: torch.device) -> float:
    """Seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def measure(neurons: int, batch_tokens: int, runs: int, device: torch.device, precision: str) -> dict[str, Any]:
    """One run accumulates `FLUSH_TOKENS` tokens, so that each has exactly one flush."""
    x, y = torch.randn(2, batch_tokens, neurons, device=device)
    output = torch.empty(neurons, neurons, device=device)
    tile = Products(neurons, neurons, device, precision)
    batches = FLUSH_TOKENS // batch_tokens

    def accumulate() -> None:
        for _ in range(batches):
            tile.update(x, y)

    def multiply() -> None:
        with product_precision(precision, device):
            for _ in range(batches):
                torch.mm(x.T, y, out=output)

    rates: dict[str, list[float]] = {"accumulation": [], "bare product": []}
    flop = 2 * neurons**2 * batch_tokens * batches
    tile.update(x, y)
    tile.flush()
    for _ in range(runs):
        rates["accumulation"].append(flop / timed(accumulate, device) / 1e9)
        rates["bare product"].append(flop / timed(multiply, device) / 1e9)
    return {
        "device": device.type,
        "precision": precision,
        "neurons": neurons,
        "tokens of a batch": batch_tokens,
        **{f"{name}, GFLOP/s": statistics.median(values) for name, values in rates.items()},
        "% (median of pairs)": 100 * statistics.median(a / b for a, b in zip(*rates.values(), strict=True)),
    }


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, nargs="+", default=[6144, 1536])
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="768 neurons, one run")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.neurons, arguments.runs = [768], 1
    device = torch.device(arguments.device)
    precisions = ["fp32"] + ["tf32"] * (device.type == "cuda") + ["bf16"] * has_bf16(device)
    rows = [
        measure(neurons, arguments.batch_tokens, arguments.runs, device, precision)
        for neurons in arguments.neurons
        for precision in precisions
    ]
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "machine": machine()}, indent=1))


if __name__ == "__main__":
    main()
