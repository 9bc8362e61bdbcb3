"""Sections of pages that benchmarks write: each with its command, the date and the machine."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bench.report import machine


class Benchmark(NamedTuple):
    """One of them."""

    module: str
    full: list[str]
    """Its arguments."""
    quick: list[str]
    """Those for a quick look."""


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


def write(page: Path, name: str, section: str) -> None:
    """Put a section between its markers."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if not rest or end not in text:
        raise SystemExit(f"{page} has no place for {name}; add the lines {begin.strip()} and {end}")
    page.write_text(before + begin + "\n" + section + "\n" + end + after, encoding="utf-8")


def run_asked(benchmarks: Mapping[str, Benchmark], page: Path, about: str) -> None:
    """Those that the command line names, one after the other, each into its place on the page; `--quick`: in small sizes, and
    the page stays as it is.

    Args:
        about: what they are, for `--help`.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes; the page is not written")
    parser.add_argument("--only", nargs="+", choices=list(benchmarks), default=list(benchmarks))
    arguments = parser.parse_args()
    for name in arguments.only:
        benchmark = benchmarks[name]
        section = run(benchmark.module, benchmark.quick if arguments.quick else benchmark.full)
        if not arguments.quick:
            write(page, name, section)
