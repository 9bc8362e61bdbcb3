"""Peak memory of an accumulation against the plan's figure, and the same run with a budget of half the matrix.

    python -m bench.speed.memory [--json FILE]

Two models of 12 layers × 512 neurons with random weights and the pocket tokenizer. Each ingest is a process of its own; the
memory it had when its jobs began (libraries, models, corpus) is subtracted from the largest it had while they ran.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench import POCKET_CORPUS, POCKET_MODELS
from bench.report import machine
from cli.markdown import table

LAYERS, WIDTH, D_MODEL = 12, 512, 64
MATRIX_BYTES = 12 * (LAYERS * WIDTH) ** 2
MIB = 2**20


def make_model(folder: Path, seed: int) -> None:
    """A random GPT-2 that reads the pocket tokens."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(POCKET_MODELS[0])
    torch.manual_seed(seed)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos")}
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=128, n_embd=D_MODEL, n_layer=LAYERS, n_head=4, n_inner=WIDTH, **ids
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def one(folder: Path, tokens: int, memory_gib: float) -> dict[str, Any]:
    """One ingest in this process: planned and measured bytes, and a digest of what it published."""
    import psutil
    import torch

    torch.manual_seed(0)
    from catalog.server import migrate
    from catalog.server.engine import writer_engine
    from ingest.jobs import inline
    from ingest.pipeline import phases
    from ingest.pipeline.main_path import ingest
    from ingest.preview.cost import peak_bytes
    from ingest.progress import Silent
    from ingest.settings import IngestSettings

    peaks: dict[str, Any] = {}
    process = psutil.Process()

    def measured(context: Any, *arguments: Any) -> None:
        done = threading.Event()
        before = process.memory_info().rss
        peak = [before]

        def watch() -> None:
            while not done.is_set():
                peak[0] = max(peak[0], process.memory_info().rss)
                time.sleep(0.005)

        watcher = threading.Thread(target=watch)
        watcher.start()
        inline.run_jobs(context, *arguments)
        done.set()
        watcher.join()
        plan = context.plan
        peaks["jobs"] = len(plan.jobs)
        peaks["planned"] = max(peak_bytes(plan, job, context.settings.batch_tokens) for job in plan.jobs)
        peaks["measured"] = peak[0] - before

    phases.run_jobs = measured  # type: ignore[assignment]
    engine = writer_engine()
    migrate.upgrade(engine)
    models = tuple(str(folder / name) for name in ("a", "b"))
    settings = IngestSettings(models, POCKET_CORPUS, max_tokens=tokens, memory_gb=memory_gib, top_k=10, again=True)
    run = ingest(settings, Silent()).run_id
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            f"""SELECT model, layer, neuron, max_corr, mean_baseline FROM history.neuron_profiles
                WHERE run_id = {run} ORDER BY 1, 2, 3"""
        )
        peaks["values"] = [[*map(float, row[3:])] if row[3] is not None else None for row in rows]
    engine.dispose()
    return peaks


def measure(tokens: int) -> dict[str, Any]:
    """Both ingests, each in its own process."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for seed, name in enumerate("ab"):
            make_model(Path(folder) / name, seed)
        environment = {**os.environ, "CATALOG_HOME": f"{folder}/home", "HF_HUB_OFFLINE": "1"}
        environment.pop("CATALOG_DATABASE_URL", None)
        for name, gib in (("everything at once", 8.0), ("half the matrix", MATRIX_BYTES / 2 / 2**30)):
            words = ["--one", folder, "--tokens", str(tokens), "--memory", str(gib)]
            command = [sys.executable, "-m", "bench.speed.memory", *words]
            answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if answer.returncode:
                raise SystemExit(answer.stderr)
            results[name] = json.loads(answer.stdout.splitlines()[-1])
        stop = "from catalog.server import embedded; embedded.stop()"
        subprocess.run([sys.executable, "-c", stop], env=environment, check=True)
    whole, half = (result["values"] for result in results.values())
    differences = [
        abs(one - other)
        for left, right in zip(whole, half, strict=True)
        if left and right
        for one, other in zip(left, right, strict=True)
    ]
    rows = [
        {
            "budget": name,
            "jobs": result["jobs"],
            "planned MiB": result["planned"] / MIB,
            "measured MiB": result["measured"] / MIB,
            "measured / planned": result["measured"] / result["planned"],
        }
        for name, result in results.items()
    ]
    return {"rows": rows, "largest difference of a correlation or baseline": max(differences)}


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=30_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one, arguments.tokens, arguments.memory)))
        return
    result = measure(arguments.tokens) | {"machine": machine()}
    print(table(result["rows"]))
    print(f"largest difference between the two: {result['largest difference of a correlation or baseline']:.1e}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
