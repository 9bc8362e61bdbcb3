"""Seconds from a cold shell to an answer: the questions asked most, and a repeated ingest of what is published.

    python -m bench.speed.answers --home HOME [--against CHECKOUT --against-home HOME] [--runs 5] [--max-tokens 200000]

HOME holds a catalog that `make demo` made, or its ingest with as many tokens as are named here. Each command is a process of
its own; with `--against`, the same command of another checkout, on a catalog that it made, takes turns with it. The first of
each does not count: it starts the server, and a repeated ingest that has nothing remembered reads the files.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench import DEMO, POCKET_CORPUS, POCKET_MODELS, ROOT
from bench.report import environment_of, machine
from cli.markdown import table

MODEL = Path(POCKET_MODELS[0]).name
PROGRAM = "from cli.main import main; main()"


class Place(NamedTuple):
    """A checkout of the code and the catalog that it made."""

    checkout: Path
    home: Path


def commands(tokens: int, intervention_tokens: int) -> Iterator[tuple[str, list[str]]]:
    """Each command with its name; the ingest is that of `make demo`."""
    yield "find", ["find"]
    yield "show", ["show", MODEL, "1.10"]
    yield "matches", ["matches", MODEL, "1.10"]
    yield "families", ["families"]
    yield "report", ["report"]
    ingest = ["ingest", *POCKET_MODELS, "--corpus", POCKET_CORPUS, "--model-family", "pocket-gpt2", "--only", DEMO]
    numbers = ["--max-tokens", str(tokens), "--intervention-tokens", str(intervention_tokens)]
    numbers += ["--substitution-tokens", "6000", "--substitution-neurons", "4"]
    yield "ingest, repeated", [*ingest, *numbers]


def seconds(place: Place, words: list[str]) -> float:
    """Of one command."""
    environment = environment_of(place.checkout, place.home)
    command = [sys.executable, "-c", PROGRAM, *words]
    began = time.perf_counter()
    answer = subprocess.run(command, cwd=place.checkout, env=environment, capture_output=True, text=True, check=False)
    spent = time.perf_counter() - began
    if answer.returncode or (words[0] == "ingest" and "has it all" not in answer.stderr):
        raise SystemExit(f"catalog {' '.join(words)} in {place.checkout}:\n{answer.stderr}")
    return spent


def measure(places: list[Place], runs: int, tokens: int, intervention_tokens: int) -> list[dict[str, Any]]:
    """A row for each command; the first place is the one that is measured, a second one what it is compared with."""
    rows = []
    for name, words in commands(tokens, intervention_tokens):
        for place in places:
            seconds(place, words)
        rounds = [[seconds(place, words) for place in places] for _ in range(runs)]
        print(name, rounds, file=sys.stderr, flush=True)
        row: dict[str, Any] = {"command": f"catalog {name}", "seconds (median)": statistics.median(ours for ours, *_ in rounds)}
        if len(places) > 1:
            row["before, seconds (median)"] = statistics.median(other for _, other in rounds)
            row["times as fast (median of pairs)"] = statistics.median(other / ours for ours, other in rounds)
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="the CATALOG_HOME of a catalog that holds the demo")
    parser.add_argument("--against", type=Path, help="another checkout, to compare with")
    parser.add_argument("--against-home", type=Path, help="the CATALOG_HOME of what that checkout made of the demo")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=200_000)
    parser.add_argument("--intervention-tokens", type=int, default=5000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if (arguments.against is None) != (arguments.against_home is None):
        parser.error("--against and --against-home belong together: each checkout asks a catalog that it made")
    places = [Place(ROOT, arguments.home.resolve())]
    if arguments.against is not None:
        places.append(Place(arguments.against.resolve(), arguments.against_home.resolve()))
    rows = measure(places, arguments.runs, arguments.max_tokens, arguments.intervention_tokens)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "machine": machine()}, indent=1))


if __name__ == "__main__":
    main()
