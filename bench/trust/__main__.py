"""What labels and intervals are worth, measured: `make trust`, or `python -m bench.trust [--quick] [--only NAME …]`.

Prints every table, and writes them into docs/trust.md between the markers of each, with the command, the date and the machine.
"""

from bench import ROOT
from bench.sections import Benchmark, run_asked

PAGE = ROOT / "docs" / "trust.md"

BENCHMARKS = {
    benchmark.module.rpartition(".")[2]: benchmark
    for benchmark in (
        Benchmark("bench.trust.simulated", [], ["--corpora", "5"]),
        Benchmark("bench.trust.intervals", ["--max-tokens", "100000"], ["--splits", "1", "--max-tokens", "50000"]),
        Benchmark("bench.trust.decisions", ["--max-tokens", "500000"], ["--max-tokens", "50000"]),
        Benchmark("bench.trust.untrained", [], ["--networks", "2", "--tokens", "30000"]),
        Benchmark("bench.trust.twins", ["--max-tokens", "300000"], ["--twins", "2", "--max-tokens", "50000"]),
    )
}
"""By the names that the page gives them."""

if __name__ == "__main__":
    run_asked(BENCHMARKS, PAGE, __doc__)
