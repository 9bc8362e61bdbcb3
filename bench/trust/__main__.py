"""What labels and intervals are worth, measured: `make trust`, or `python -m bench.trust [--quick] [--only NAME …]`.

Prints every table, and writes them into docs/trust.md between the markers of each, with the command, the date and the machine.
"""

import argparse

from bench import ROOT
from bench.sections import Benchmark, run_all

PAGE = ROOT / "docs" / "trust.md"

BENCHMARKS = {
    benchmark.module.rpartition(".")[2]: benchmark
    for benchmark in (
        Benchmark("bench.trust.simulated", [], ["--corpora", "5"]),
        Benchmark("bench.trust.intervals", [], ["--splits", "1", "--models", "2", "--max-tokens", "50000"]),
        Benchmark("bench.trust.decisions", [], ["--max-tokens", "50000"]),
        Benchmark("bench.trust.untrained", [], ["--networks", "2", "--tokens", "30000"]),
        Benchmark("bench.trust.twins", [], ["--twins", "2", "--max-tokens", "50000"]),
    )
}
"""By the names that the page gives them."""


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes; the page is not written")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    arguments = parser.parse_args()
    run_all({name: BENCHMARKS[name] for name in arguments.only}, PAGE, arguments.quick)


if __name__ == "__main__":
    main()
