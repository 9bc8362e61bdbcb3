"""Where the wall time of the main job goes: five pocket models, everything included.

    python -m bench.speed.wall_time [--tokens N] [--json FILE]

An ingest with an empty catalog and an empty cache, on an embedded server of its own. Forward passes and matrix products are
timed inside the process; what forward hooks copy counts as neither. The published procedure needs, for the same five models,
20 directed runs of two passes each, with a forward pass of both models in every one of them.
"""

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import MAIN_JOB, POCKET_CORPUS, POCKET_MODELS
from bench.report import machine
from cli.markdown import table

if TYPE_CHECKING:
    from torch import Tensor

    from ingest.checkpoints.modules import MlpPass


class Clock:
    """Seconds by name; what runs inside another timed part is not counted twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[float] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a block, without what is timed inside it."""
        began = time.perf_counter()
        self._open.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - began
            self.seconds[name] += whole - self._open.pop()
            if self._open:
                self._open[-1] += whole

    def wrap(self, owner: Any, function: str, name: str) -> None:
        """Time every call of a function from now on."""
        inner: Callable[..., Any] = getattr(owner, function)

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return inner(*arguments, **named)

        setattr(owner, function, timed)


def instrument(clock: Clock) -> None:
    """Put the clock around the parts of the main job."""
    from ingest.checkpoints import checkpoint
    from ingest.corpus import batches
    from ingest.jobs import job
    from ingest.parts import moments
    from ingest.pipeline import phases
    from ingest.statistics import correlation, token_sums

    inner = checkpoint.Checkpoint.visit_mlps

    def visit_timed(
        self: checkpoint.Checkpoint, tokens: "Tensor", visit: "Callable[[int, MlpPass], None]", last: int | None = None
    ) -> None:
        def timed_take(*arguments: Any) -> None:
            with clock.part("copies of activations"):
                visit(*arguments)

        with clock.part("forward passes"):
            inner(self, tokens, timed_take, last)

    checkpoint.Checkpoint.visit_mlps = visit_timed  # type: ignore[method-assign]
    clock.wrap(correlation, "add_product", "matrix products")
    clock.wrap(correlation.Products, "flush", "flushes to float64")
    clock.wrap(moments.ModelMoments, "update", "moments")
    clock.wrap(token_sums.TokenSumAccumulator, "update", "sums per token")
    clock.wrap(job, "_finished", "rotation, best partners, explanations")
    clock.wrap(batches, "pivots", "pivots")
    clock.wrap(phases.RunWork, "_process_weights", "folding and checking weights")
    clock.wrap(phases.RunWork, "_publish", "rows, COPY, publication")


def measure(tokens: int | None) -> dict[str, Any]:
    """One ingest, timed."""
    from catalog.server import embedded, migrate
    from catalog.server.engine import writer_engine
    from ingest.pipeline import from_files
    from ingest.pipeline.main_path import ingest
    from ingest.progress import Silent
    from ingest.settings import IngestSettings

    clock = Clock()
    instrument(clock)
    engine = writer_engine()
    migrate.upgrade(engine)
    engine.dispose()
    clock.wrap(from_files, "load_inputs", "loading, tokenising")
    began = time.perf_counter()
    with clock.part("everything else"):
        settings = IngestSettings(tuple(POCKET_MODELS), POCKET_CORPUS, model_family="pocket", max_tokens=tokens, only=MAIN_JOB)
        ingest(settings, Silent())
    wall = time.perf_counter() - began
    embedded.stop()
    rows = [
        {"part": name, "seconds": seconds, "% of wall": 100 * seconds / wall}
        for name, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1])
    ]
    core = sum(clock.seconds[name] for name in ("forward passes", "matrix products"))
    rows.append({"part": "**forward passes and products**", "seconds": core, "% of wall": 100 * core / wall})
    rows.append({"part": "wall", "seconds": wall, "% of wall": 100.0})
    return {"tokens": tokens, "rows": rows}


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, help="tokens of the corpus; all of them if not given")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.pop("CATALOG_DATABASE_URL", None)
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        os.environ["CATALOG_HOME"] = home
        result = measure(arguments.tokens) | {"machine": machine()}
    print(table(result["rows"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
