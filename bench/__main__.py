"""All benchmarks of the computation, one after the other: `make bench`, or `python -m bench [--quick] [--only NAME …]`.

Prints every table, and writes them into docs/performance.md between the markers of each benchmark, with the command, the date
and the machine. Started by themselves are those of the big catalog, which take hours (`python -m bench.scale.big_catalog`,
`python -m bench.scale.questions`), `python -m bench.speed.answers`, which asks a catalog that is there, and
`python -m bench.speed.phases`, which compares two checkouts.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from typing import NamedTuple

from bench import ROOT
from bench.report import machine

PAGE = ROOT / "docs" / "performance.md"

class Benchmark(NamedTuple):
    """One of them."""

    module: str
    full: list[str]
    """Its arguments."""
    quick: list[str]
    """Those for a quick look."""


BENCHMARKS = {
    benchmark.module.rpartition(".")[2]: benchmark
    for benchmark in (
        Benchmark("bench.speed.correlations", [], ["--quick"]),
        Benchmark("bench.speed.accumulation_rate", [], ["--quick"]),
        Benchmark("bench.speed.precision", [], ["--quick"]),
        Benchmark("bench.speed.constant_time", [], ["--quick"]),
        Benchmark("bench.speed.memory", [], ["--tokens", "10000"]),
        Benchmark("bench.speed.plan", [], ["--tokens", "10000", "--intervention-tokens", "2000"]),
        Benchmark("bench.speed.wall_time", [], ["--tokens", "100000"]),
        Benchmark("bench.speed.workers", ["--tokens", "200000"], ["--tokens", "100000", "--runs", "1"]),
        Benchmark("bench.speed.everything", [], ["--tokens", "50000", "--runs", "1"]),
        Benchmark("bench.speed.roles", [], ["--layers", "1", "--d-model", "128", "--d-mlp", "256"]),
        Benchmark("bench.speed.interventions", [], ["--tokens", "2048", "--runs", "2"]),
        Benchmark("bench.scale.copy_rate", [], ["--rows", "300000", "--pairs", "2"]),
    )
}
"""By the names that the page gives them."""


def run(module: str, arguments: list[str]) -> str:
    """One benchmark; returns its section of the page."""
    words = ["-m", module, *arguments]
    shown = " ".join(["python", *words])
    print(f"$ {shown}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        if module == "bench.scale.copy_rate":
            words += ["--home", home]
        environment = {**os.environ, "CATALOG_HOME": home, "HF_HUB_OFFLINE": "1"}
        answer = subprocess.run([sys.executable, *words], env=environment, stdout=subprocess.PIPE, text=True, check=False)
        stop = "from catalog.server import embedded; embedded.stop()"
        subprocess.run([sys.executable, "-c", stop], env=environment, check=False, capture_output=True)
    print(answer.stdout, flush=True)
    if answer.returncode:
        raise SystemExit(f"{module} failed with exit code {answer.returncode}")
    lines = [line for line in answer.stdout.splitlines() if not re.match(r"run \d+, ", line)]
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    head = f"`{shown}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {about}"
    return f"{head}\n\n" + "\n".join(lines).strip() + "\n"


def write(name: str, section: str) -> None:
    """Put a section between its markers."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if not rest or end not in text:
        raise SystemExit(f"{PAGE} has no place for {name}; add the lines {begin.strip()} and {end}")
    PAGE.write_text(before + begin + "\n" + section + "\n" + end + after, encoding="utf-8")


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes; the page is not written")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    arguments = parser.parse_args()
    for name in arguments.only:
        benchmark = BENCHMARKS[name]
        section = run(benchmark.module, benchmark.quick if arguments.quick else benchmark.full)
        if not arguments.quick:
            write(name, section)


if __name__ == "__main__":
    main()
