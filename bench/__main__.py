"""All benchmarks of the computation, one after the other: `make bench`, or `python -m bench [--quick] [--only NAME …]`.

Prints every table, and writes them into docs/performance.md between the markers of each benchmark, with the command, the date
and the machine. Started by themselves are the benchmarks of the big catalog and of faults, which take hours
(`python -m bench.big_catalog`, `python -m bench.questions`, `make faults`), `python -m bench.answers`, which asks a catalog
that is there, and `python -m bench.phases`, which compares two checkouts.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench.report import machine

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"

BENCHMARKS: dict[str, tuple[list[str], list[str]]] = {
    "correlations": ([], ["--quick"]),
    "accumulation_rate": ([], ["--quick"]),
    "precision": ([], ["--quick"]),
    "constant_time": ([], ["--quick"]),
    "memory": ([], ["--tokens", "10000"]),
    "plan": ([], ["--tokens", "10000", "--intervention-tokens", "2000"]),
    "wall_time": ([], ["--tokens", "100000"]),
    "workers": (["--tokens", "200000"], ["--tokens", "100000", "--runs", "1"]),
    "everything": ([], ["--tokens", "50000", "--runs", "1"]),
    "roles": ([], ["--layers", "1", "--d-model", "128", "--d-mlp", "256"]),
    "interventions": ([], ["--tokens", "2048", "--runs", "2"]),
    "copy_rate": ([], ["--rows", "300000", "--pairs", "2"]),
}
"""Arguments of each, in full and for a quick look."""


def run(name: str, arguments: list[str]) -> str:
    """One benchmark; returns its section of the page."""
    words = ["-m", f"bench.{name}", *arguments]
    shown = " ".join(["python", *words])
    print(f"$ {shown}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        if name == "copy_rate":
            words += ["--home", home]
        environment = {**os.environ, "CATALOG_HOME": home, "HF_HUB_OFFLINE": "1"}
        answer = subprocess.run([sys.executable, *words], env=environment, stdout=subprocess.PIPE, text=True, check=False)
        stop = "from catalog import embedded; embedded.stop()"
        subprocess.run([sys.executable, "-c", stop], env=environment, check=False, capture_output=True)
    print(answer.stdout, flush=True)
    if answer.returncode:
        raise SystemExit(f"bench.{name} failed with exit code {answer.returncode}")
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
        full, quick = BENCHMARKS[name]
        section = run(name, quick if arguments.quick else full)
        if not arguments.quick:
            write(name, section)


if __name__ == "__main__":
    main()
