"""What `catalog plan` says of an ingest, against what the ingest takes, phase by phase.

    python -m bench.speed.plan [--models 2] [--tokens 40000] [--intervention-tokens 20000] [--json FILE]

Pocket models with every part, on a fresh catalog with an empty cache: the plan is made first, then the ingest is timed by the
phases that it reports. Other work on the machine tells in both.
"""

import argparse
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import POCKET_CORPUS, POCKET_MODELS
from bench.report import machine
from cli.markdown import table


def measure(models: int, tokens: int, intervention_tokens: int) -> dict[str, Any]:
    """Plan, then ingest."""
    from catalog.server import embedded, migrate
    from catalog.server.engine import writer_engine
    from ingest.pipeline.main_path import ingest
    from ingest.preview.overview import preview
    from ingest.progress import Silent, Stopwatch
    from ingest.settings import IngestSettings

    settings = IngestSettings(
        tuple(POCKET_MODELS[:models]), POCKET_CORPUS, max_tokens=tokens, intervention_tokens=intervention_tokens
    )
    engine = writer_engine()
    migrate.upgrade(engine)
    engine.dispose()
    planned: dict[str, list[float | None]] = defaultdict(list)
    planning = Stopwatch()
    planning.phase("plan")
    for phase in preview(settings, Silent()).phases:
        planned[phase.phase].append(phase.seconds)
    planning.end()
    watch = Stopwatch()
    ingest(settings, watch)
    watch.end()
    embedded.stop()
    return {"rows": compared(planned, watch.seconds), "seconds of planning": planning.seconds["plan"]}


def compared(planned: Mapping[str, Sequence[float | None]], measured: Mapping[str, float]) -> list[dict[str, Any]]:
    """One row for each phase, without the model's name, and one for all that is known of both."""
    kinds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    unknown: set[str] = set()
    for name in [*measured, *(name for name in planned if name not in measured)]:
        of_phase = kinds[name.partition(",")[0]]
        for seconds in planned.get(name, [None]):
            if seconds is None:
                unknown.add(name.partition(",")[0])
            of_phase[0] += seconds or 0.0
        of_phase[1] += measured.get(name, 0.0)
    kinds["**all**"] = [sum(pair[i] for name, pair in kinds.items() if name not in unknown) for i in (0, 1)]
    return [
        {
            "phase": name,
            "planned s": "unknown" if name in unknown else round(said, 3),
            "measured s": round(took, 3),
            "planned / measured": said / took if took and name not in unknown else float("nan"),
        }
        for name, (said, took) in kinds.items()
    ]


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=40_000)
    parser.add_argument("--intervention-tokens", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.pop("CATALOG_DATABASE_URL", None)
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        os.environ["CATALOG_HOME"] = home
        result = measure(arguments.models, arguments.tokens, arguments.intervention_tokens) | {"machine": machine()}
    print(table(result["rows"]))
    print(f"seconds of planning: {result['seconds of planning']:.3g}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
