"""One and two workers, one thread each, on the same run, compared with one inline process.

    python -m bench.speed.workers [--tokens N] [--runs 5] [--json FILE]

The time is that of the jobs, from the beginning of the first one that reads tokens to the end of the last one, by the
database's clock: starting Python and publishing are the same for both. Workers are started before the run is enqueued.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import MAIN_JOB, POCKET_CORPUS, POCKET_MODELS
from bench.report import machine
from cli.markdown import table

JOBS = 8


def command(*words: str) -> list[str]:
    """A command of ours, by this very Python."""
    return [sys.executable, "-c", "from cli.main import main; main()", *words]


def query(url: str, statement: str, *values: Any) -> list[Any]:
    """Rows of a statement."""
    import psycopg

    with psycopg.connect(url) as connection:
        return connection.execute(statement, values).fetchall()


class Bench:
    """A catalog of its own, and what is run on it."""

    def __init__(self, home: str, tokens: int) -> None:
        self.environment = {**os.environ, "CATALOG_HOME": home, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self.environment.pop("CATALOG_DATABASE_URL", None)
        self.words = ["ingest", *POCKET_MODELS, "--corpus", POCKET_CORPUS, "--model-family", "pocket"]
        self.words += ["--max-tokens", str(tokens), "--only", ",".join(MAIN_JOB)]
        self.run("db", "upgrade")
        self.url = self.run("db", "url").stdout.strip()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        answer = subprocess.run(command(*words), env=self.environment, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise SystemExit(answer.stderr)
        return answer

    def inline(self) -> int:
        """A run without workers; its id."""
        self.run(*self.words, "--again")
        return int(query(self.url, "SELECT max(id) FROM runs")[0][0])

    def with_workers(self, n: int) -> tuple[int, float]:
        """A run by n workers; its id, and the seconds of its jobs."""
        workers = [
            subprocess.Popen(command("worker", "--threads", "1"), env=self.environment, stderr=subprocess.DEVNULL)
            for _ in range(n)
        ]
        try:
            time.sleep(15)
            self.run(*self.words, "--again", "--enqueue", "--jobs", str(JOBS))
            run = int(query(self.url, "SELECT max(id) FROM runs")[0][0])
            while query(self.url, "SELECT status FROM runs WHERE id = %s", run)[0][0] in ("queued", "running"):
                time.sleep(0.5)
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()
        seconds = query(
            self.url,
            """SELECT extract(epoch FROM max(finished_at) - min(started_at) FILTER (WHERE kind = 'accumulate'))
               FROM run_jobs WHERE run_id = %s""",
            run,
        )
        return run, float(seconds[0][0])

    def difference(self, run: int, other: int) -> float:
        """Largest difference of a correlation or baseline between two runs."""
        statement = """SELECT max_corr, mean_corr, mean_baseline FROM history.neuron_profiles
                       WHERE run_id = %s ORDER BY model, layer, neuron"""
        left, right = query(self.url, statement, run), query(self.url, statement, other)
        return max(
            abs(a - b) for one, two in zip(left, right, strict=True) for a, b in zip(one, two, strict=True) if a is not None
        )


def measure(tokens: int, runs: int) -> dict[str, Any]:
    """Pairs of runs by one and by two workers."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        bench = Bench(home, tokens)
        reference = bench.inline()
        pairs, worst = [], 0.0
        for _ in range(runs):
            timed = [bench.with_workers(n) for n in (1, 2)]
            pairs.append([seconds for _, seconds in timed])
            worst = max(worst, *(bench.difference(reference, run) for run, _ in timed))
        bench.run("db", "stop")
    rows = [{"workers": n + 1, "seconds of jobs (median)": statistics.median(pair[n] for pair in pairs)} for n in (0, 1)]
    return {
        "rows": rows,
        "pairs": pairs,
        "throughput of two over one (median of pairs)": statistics.median(one / two for one, two in pairs),
        "largest difference from the inline run": worst,
    }


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=400_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.tokens, arguments.runs) | {"machine": machine()}
    print(table(result["rows"]))
    for name in ("throughput of two over one (median of pairs)", "largest difference from the inline run"):
        print(f"{name}: {result[name]:.3g}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
