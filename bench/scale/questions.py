"""Latency of every question of the command line, and of every view, on a big catalog with a warm cache.

Each question is asked in many different ways through `catalog.connect()`, so with all that the command line asks:
whether the family and the model exist, the rows, their number. Times are whole, the making of the DataFrame included.

    python -m bench.scale.questions --home /tmp/big
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import Engine, text

from bench.report import machine
from bench.scale.big_catalog import database_options, opened
from catalog.api import Catalog
from catalog.questions.neuron_page import NeuronRef
from catalog.questions.queries import LabelFilter
from catalog.questions.universal import UniversalFilter
from cli.markdown import table

Ask = Callable[[], object]
FAMILIES = ("alphabet", "unigram", "token_class", "previous_token")
OF_NEURON = (
    "neuron_profiles", "universal_neurons", "neuron_matches", "neuron_universality_by_model", "neuron_labels",
    "neuron_explanations", "neuron_group_members",
)  # fmt: skip
OF_MODEL = ("family_counts", "family_counts_by_layer", "depth_matrix", "layer_profiles")
LIMIT_MS = {"families": 500.0}
OTHERS_LIMIT_MS = 50.0


class Questions:
    """Different ways to ask each question of one catalog, from a seed."""

    def __init__(self, store: Catalog, seed: int = 0) -> None:
        self.store = store
        self.random = np.random.default_rng(seed)
        models = store.models()
        self.models = models["model"].tolist()
        self.n_layers, self.d_mlp = int(models["n_layers"][0]), int(models["d_mlp"][0])
        letters = [chr(97 + i) for i in range(26)]
        classes = [f"class_{i:02d}" for i in range(60)]
        self.subtypes = {"alphabet": letters, "unigram": letters, "token_class": classes, "previous_token": classes}

    def _model(self, chance: float = 0.5) -> str | None:
        return str(self.random.choice(self.models)) if self.random.random() < chance else None

    def _layers(self) -> tuple[int, int]:
        first, last = sorted(self.random.integers(0, self.n_layers, 2).tolist())
        return first, last

    def _neuron(self) -> NeuronRef:
        layer, index = int(self.random.integers(self.n_layers)), int(self.random.integers(self.d_mlp))
        return NeuronRef(str(self.random.choice(self.models)), layer, index)

    def _find(self, wanted: LabelFilter) -> Ask:
        return lambda: (self.store.find_labels(wanted), self.store.count_labels(wanted))

    def find_by_family(self) -> Ask:
        """One of the four families, of all models or of one, on some page; a third of them with a subtype."""
        family = str(self.random.choice(FAMILIES))
        subtype = str(self.random.choice(self.subtypes[family])) if self.random.random() < 0.33 else None
        offset = 0 if subtype else 50 * int(self.random.integers(20))
        return self._find(LabelFilter(family=family, subtype=subtype, model=self._model(), offset=offset))

    def find_by_excess(self) -> Ask:
        """Labels of neurons from some excess correlation on, ordered by score or by excess."""
        sort = str(self.random.choice(["score", "excess"]))
        least = float(self.random.uniform(0.1, 0.8))
        return self._find(LabelFilter(min_excess=least, model=self._model(0.3), sort=sort))

    def find_by_layers(self) -> Ask:
        """Labels of a range of layers, now and then of one family or of universal neurons."""
        family = str(self.random.choice(FAMILIES)) if self.random.random() < 0.3 else None
        universal = "yes" if self.random.random() < 0.3 else None
        return self._find(LabelFilter(layers=self._layers(), model=self._model(), family=family, universal=universal))

    def show(self) -> Ask:
        """The page of some neuron."""
        ref = self._neuron()
        return lambda: self.store.neuron(ref)

    def matches(self) -> Ask:
        """The matches of some neuron."""
        ref = self._neuron()
        return lambda: self.store.neuron_matches(ref)

    def universal(self) -> Ask:
        """Universal neurons, of some model, layers or excess."""
        layers = self._layers() if self.random.random() < 0.5 else None
        sort = str(self.random.choice(["excess", "neuron"]))
        least = float(self.random.uniform(0.5, 0.8))
        wanted = UniversalFilter(model=self._model(), layers=layers, min_excess=least, sort=sort)
        return lambda: self.store.universal_neurons(wanted)

    def families(self) -> Ask:
        """Counts of all models, or of one."""
        model = self._model()
        return lambda: self.store.family_counts(model)

    def groups(self) -> Ask:
        """Groups from some size on."""
        size, model = int(self.random.integers(2, 6)), self._model()
        return lambda: self.store.groups(size, model)

    def layers(self) -> Ask:
        """Layers of all models, or of one."""
        model = self._model()
        return lambda: self.store.layer_profiles(model)

    def depth(self) -> Ask:
        """Depth of all models, or of one."""
        model = self._model()
        return lambda: self.store.depth_matrix(model)

    def all(self) -> Iterator[tuple[str, Callable[[], Ask]]]:
        """Each question with its maker."""
        for maker in (
            self.find_by_family, self.find_by_excess, self.find_by_layers, self.show, self.matches, self.universal,
            self.families, self.groups, self.layers, self.depth,
        ):  # fmt: skip
            yield maker.__name__.replace("_", " "), maker
        for view in OF_NEURON + OF_MODEL:
            yield f"view {view}", lambda view=view: self._view(view)  # type: ignore[misc]

    def _view(self, view: str) -> Ask:
        ref = self._neuron()
        values: dict[str, object] = {"model": ref.model}
        condition = "model = :model"
        if view in OF_NEURON:
            values |= {"layer": ref.layer, "index": ref.index}
            condition += " AND layer = :layer AND neuron = :index"
        statement = text(f"SELECT * FROM {view} WHERE {condition}")

        def ask() -> object:
            with self.store.engine.connect() as connection:
                return connection.execute(statement, values).all()

        return ask


def cpu_seconds(server: int) -> float:
    """Processor time of this thread and of the server's process, if it is on this machine: what a busy machine leaves
    unchanged of a latency."""
    try:
        return time.thread_time() + int(Path(f"/proc/{server}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return float("nan")


def latencies(engine: Engine, number: int, only: str = "", seed: int = 0, warm: int = 10) -> list[dict[str, object]]:
    """Median and 95th percentile in ms over `number` different ways to ask each question."""
    seconds = []
    questions = Questions(Catalog(engine), seed)
    with engine.connect() as connection:  # the one connection of the pool, which all questions share
        server = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    for name, maker in questions.all():
        if only not in name:
            continue
        asked = [maker() for _ in range(number)]
        for ask in asked[:warm]:
            ask()
        times, busy = [], []
        for ask in asked:
            start, cpu = time.perf_counter(), cpu_seconds(server)
            ask()
            times.append(1000 * (time.perf_counter() - start))
            busy.append(1000 * (cpu_seconds(server) - cpu))
        limit = LIMIT_MS.get(name, OTHERS_LIMIT_MS)
        median, p95 = (float(value) for value in np.percentile(times, (50, 95)))
        row = {"question": name, "median ms": median, "p95 ms": p95, "worst ms": max(times)}
        row |= {"CPU p95 ms": float(np.percentile(busy, 95)), "limit ms": limit}
        seconds.append(row | {"met": "yes" if p95 < limit else "no"})
    return seconds


def main() -> None:
    """Ask, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    database_options(parser)
    parser.add_argument("--number", type=int, default=200, help="ways to ask each question")
    parser.add_argument("--only", default="", help="questions whose name holds this")
    arguments = parser.parse_args()
    engine = opened(arguments)
    print(table([machine()]))
    print(table(latencies(engine, arguments.number, arguments.only)))


if __name__ == "__main__":
    main()
