"""Time per token and memory of the accumulation loop, from 50,000 to 800,000 tokens, on two pocket models.

    python -m bench.speed.constant_time [--runs 5] [--quick] [--json FILE]

Every measurement is a process of its own; sizes take turns. The loop does what a job of a pair does, forward passes
included; the corpus starts again where it ends. Memory is the peak of the process above what it held before the loop.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from bench.report import machine
from cli.markdown import table

SIZES = [50_000, 100_000, 200_000, 400_000, 800_000]


def loop(n_tokens: int) -> dict[str, float]:
    """One measurement, in this process."""
    from bench.speed import pocket

    models = pocket.two_models()
    rows = pocket.corpus(models[0], max(SIZES))
    known = pocket.known_pivots(models, rows)
    pocket.accumulate(models, rows, SIZES[0], known)  # what happens once is not measured
    before = psutil.Process().memory_info().rss
    began, cpu_began = time.perf_counter(), time.process_time()
    pocket.accumulate(models, rows, n_tokens, known)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak": peak, "grown": max(0, peak - before)}


def apart(n_tokens: int) -> dict[str, float]:
    """The same in a fresh process."""
    command = [sys.executable, "-m", "bench.speed.constant_time", "--one", str(n_tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(sizes: list[int], runs: int) -> list[dict[str, Any]]:
    """A row per size."""
    measured: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for run in range(runs):
        for size in sizes:
            measured[size].append(apart(size))
            print(f"run {run + 1}, {size} tokens: {measured[size][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)

    def per_token(size: int, name: str) -> list[float]:
        return [1e6 * one[name] / size for one in measured[size]]

    rows = []
    for size in sizes:
        row: dict[str, Any] = {"tokens": size}
        for label, name in (("µs per token", "seconds"), ("CPU µs per token", "cpu_seconds")):
            row[label] = statistics.median(per_token(size, name))
            pairs = zip(per_token(size, name), per_token(sizes[0], name), strict=True)
            row[f"{label}, ratio to {sizes[0]:,}"] = statistics.median(larger / first for larger, first in pairs)
        row["peak MiB"] = statistics.median(one["peak"] for one in measured[size]) / 2**20
        row["of it in the loop"] = statistics.median(one["grown"] for one in measured[size]) / 2**20
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=SIZES)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="50,000 and 100,000 tokens, one run")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(loop(arguments.one)))
        return
    if arguments.quick:
        arguments.tokens, arguments.runs = SIZES[:2], 1
    rows = measure(arguments.tokens, arguments.runs)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "machine": machine()}, indent=1))


if __name__ == "__main__":
    main()
