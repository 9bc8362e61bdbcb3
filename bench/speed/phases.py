"""Seconds of every phase of the demo's ingest, here and, if asked, in another checkout, one after the other on new homes.

    python -m bench.speed.phases [--against CHECKOUT] [--tokens 200000] [--json FILE]

Both run the command that `make demo` runs, in processes and with servers of their own. Memory is not measured.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import DEMO, POCKET_CORPUS, POCKET_MODELS, ROOT
from bench.report import environment_of
from cli.markdown import table

PROGRAM = """
import json, sys, time
from catalog.server import embedded, migrate
from catalog.server.engine import writer_engine
from ingest.settings import IngestSettings
from ingest.pipeline.main_path import ingest

class Phases:
    def __init__(self):
        self.seconds, self.began = {}, None
    def phase(self, name, total, unit="", **more):
        self.end()
        self.name, self.began = name.split(",")[0], time.perf_counter()
    def end(self):
        if self.began is not None:
            self.seconds[self.name] = self.seconds.get(self.name, 0.0) + time.perf_counter() - self.began
        self.began = None
    def advance(self, amount): pass
    def say(self, text): pass

models, corpus, only, tokens = json.loads(sys.argv[1])
engine = writer_engine()
migrate.upgrade(engine)
engine.dispose()
phases, began = Phases(), time.perf_counter()
settings = IngestSettings(tuple(models), corpus, model_family="pocket", max_tokens=tokens, only=tuple(only.split(",")),
                          intervention_tokens=5000, substitution_tokens=6000, substitution_neurons=4)
ingest(settings, phases)
phases.end()
phases.seconds["**all**"] = time.perf_counter() - began
embedded.stop()
print(json.dumps(phases.seconds))
"""


def measured(checkout: Path, tokens: int) -> dict[str, float]:
    """Seconds by phase of an ingest by the code of a checkout; a phase that each model has is added up."""
    asked = json.dumps([POCKET_MODELS, POCKET_CORPUS, DEMO, tokens])
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        command = [sys.executable, "-c", PROGRAM, asked]
        environment = environment_of(checkout, Path(home))
        answer = subprocess.run(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return seconds


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="a checkout of another version")
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    before = None if arguments.against is None else measured(arguments.against.resolve(), arguments.tokens)
    now = measured(ROOT, arguments.tokens)
    rows: list[dict[str, Any]] = [{"phase": name, "seconds": seconds} for name, seconds in now.items()]
    if before is not None:
        for row in rows:
            then = before.get(row["phase"])
            row |= {"before, seconds": then, "times as fast": None if then is None else then / row["seconds"]}
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
