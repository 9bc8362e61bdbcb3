"""All benchmarks of the computation, one after the other: `make bench`, or `python -m bench [--quick] [--only NAME …]`.

Prints every table, and writes them into docs/performance.md between the markers of each benchmark, with the command, the date
and the machine. Started by themselves are those of the big catalog, which take hours (`python -m bench.scale.big_catalog`,
`python -m bench.scale.questions`), `python -m bench.speed.answers`, which asks a catalog that is there,
`python -m bench.speed.phases`, which compares two checkouts, and `python -m bench.trust`, which measures no speed.
"""

from bench import ROOT
from bench.sections import Benchmark, run_asked

PAGE = ROOT / "docs" / "performance.md"

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

if __name__ == "__main__":
    run_asked(BENCHMARKS, PAGE, __doc__)
