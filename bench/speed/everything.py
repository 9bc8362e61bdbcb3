"""An ingest of the pocket family with every part that sums over activations, against one of correlations and moments alone.

What neurons do (the parts `roles`) is no sum over activations and is measured apart (`bench.speed.roles`,
`bench.speed.interventions`).

    python -m bench.speed.everything [--tokens 200000] [--runs 3] [--json FILE]

Both are whole commands in processes of their own on a fresh catalog, and take turns; the corpus is tokenised and annotated
before. What spaCy takes for that, once per corpus, is measured apart.
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
from unittest import mock

from bench import POCKET_CORPUS, POCKET_MODELS
from bench.report import machine
from bench.speed.workers import command
from catalog import parts
from cli.markdown import table
from ingest.corpus.syntax.cache import open_syntax
from ingest.inputs import load_inputs
from ingest.progress import Silent
from ingest.settings import IngestSettings

BASE = "activations,correlations"
EVERYTHING = ",".join(part for part in parts.names() if part not in parts.groups()["roles"])


def ingest(home: Path, tokens: int, only: str) -> float:
    """Seconds of one command."""
    environment = {**os.environ, "CATALOG_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("CATALOG_DATABASE_URL", None)
    words = ["ingest", *POCKET_MODELS, "--corpus", POCKET_CORPUS, "--max-tokens", str(tokens), "--again"]
    words += ["--only", only]
    began = time.perf_counter()
    answer = subprocess.run(command(*words), env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(answer.stderr)
    return time.perf_counter() - began


def annotate(home: Path, tokens: int) -> tuple[float, int]:
    """Seconds that spaCy takes for the same corpus, by as many processes as there are cores; and the tokens it is given."""
    with mock.patch.dict(os.environ, {"CATALOG_HOME": str(home), "HF_HUB_OFFLINE": "1"}):
        settings = IngestSettings((POCKET_MODELS[0],), POCKET_CORPUS, max_tokens=tokens, only=("syntax",))
        inputs = load_inputs(settings, Silent())
        assert inputs.corpus is not None
        began = time.perf_counter()
        syntax = open_syntax(settings.spacy_model, settings.syntax_subsets, inputs.corpus, inputs.tokenizer, Silent())
        return time.perf_counter() - began, int(syntax.annotated.sum()) * inputs.context


def catalog(home: Path, *words: str) -> None:
    """A command that is not timed."""
    environment = {**os.environ, "CATALOG_HOME": str(home)}
    environment.pop("CATALOG_DATABASE_URL", None)
    subprocess.run(command(*words), env=environment, capture_output=True, check=True)


def measure(tokens: int, runs: int) -> dict[str, Any]:
    """Pairs of commands after one of each that does not count."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder)
        catalog(home, "db", "upgrade")
        spacy, annotated = annotate(home, tokens)
        ingest(home, tokens, EVERYTHING)
        pairs = []
        for _ in range(runs):
            pairs.append((ingest(home, tokens, BASE), ingest(home, tokens, EVERYTHING)))
            print(f"{pairs[-1][0]:.1f} s alone, {pairs[-1][1]:.1f} s with everything", file=sys.stderr, flush=True)
        catalog(home, "db", "stop")
    base, everything = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    return {
        "rows": [
            {"parts": BASE, "seconds (median)": base},
            {"parts": "everything", "seconds (median)": everything},
            {"parts": f"spaCy apart, once per corpus, on {annotated:,} tokens", "seconds (median)": spacy},
        ],
        "everything over correlations and moments alone (median of pairs)": statistics.median(b / a for a, b in pairs),
    }


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.tokens, arguments.runs) | {"machine": machine()}
    print(table(result["rows"]))
    name = "everything over correlations and moments alone (median of pairs)"
    print(f"{name}: {result[name]:.3g}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
