"""A part of this file alone, with a measure of layers and one of models, goes through everything without another file's help.

This very module is what CATALOG_PARTS names for the commands that the tests start; in the tests' own process it declares
nothing, for other tests there compare the declared tables with those of the migrations.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from catalog.parts import MORE
from tests.acceptance.ingests import small_corpus, tiny_family
from tests.conftest import folder_of_a_server
from tests.faults.launcher import Launcher, Process

NAME = "tests.acceptance.test_throw_away_part"
LIMIT = 0.2
"""Pre-activations above it are eager."""

if NAME in os.environ.get(MORE, "").split(","):
    import numpy as np
    import torch
    from torch import Tensor

    from catalog.parts.part import Check, Part, Rows, Section, View
    from catalog.parts.rule import Rule, Threshold, measured, threshold
    from catalog.parts.view_text import LABEL, LABELS
    from catalog.schema.base import check, number, of_neuron, table
    from ingest.parts.arrays import Arrays, Ids, TableRows
    from ingest.parts.ground import Ground
    from ingest.parts.measure import Advance, Keys, LayerMeasure, ModelMeasure, Written
    from ingest.parts.shapes import LayerPivots, Layers, LayerShape, ModelShape, Share, Size
    from ingest.statistics.layers import LayerAccumulator, TokenBatch

    EAGERNESS = table(
        "throw_away_eagerness",
        *of_neuron(),
        number("share", "Fraction of kept tokens with pre above 0.2.", check("share_range", "share BETWEEN 0 AND 1")),
        comment="How often each neuron is eager.",
    )
    NORM = number("norm", "L2 norm of the output weights.")
    REACH = table("throw_away_reach", *of_neuron(), NORM, comment="How far each neuron reaches.")
    LEAST = threshold("eager", "min_share")

    class EagerSums(LayerAccumulator):
        """Tokens, and those on which each neuron is eager."""

        def __init__(self, n_neurons: int, device: torch.device) -> None:
            self.n_ = torch.zeros(1, dtype=torch.int64)
            self.eager_ = torch.zeros(n_neurons, dtype=torch.int64, device=device)

        def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
            self.n_ += len(pre)
            self.eager_ += (pre > LIMIT).sum(0)

        def state(self) -> dict[str, Tensor]:
            return {"n": self.n_, "eager": self.eager_}

    class Eagerness(LayerMeasure[EagerSums]):
        """Counts."""

        part, name = "throw_away", "throw_away_eagerness"

        def size(self, shape: LayerShape) -> Size:
            return Size(8 * shape.n_neurons, operations=shape.n_neurons, finish_operations=shape.n_neurons)

        def start(self, shape: LayerShape, pivots: LayerPivots) -> EagerSums:
            return EagerSums(shape.n_neurons, pivots.pre.device)

        def finish(self, sums: EagerSums, layers: Layers, ground: Ground) -> Arrays:
            return {"share": sums.eager_.cpu().numpy() / int(sums.n_)}

        def rows(self, found: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
            yield "throw_away_eagerness", {"neuron_id": ids, "share": found["share"]}

        def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
            return Written(moved=1)

    class Reach(ModelMeasure):
        """Norms of output weights."""

        part, name, title = "throw_away", "throw_away_reach", "reach of neurons"

        def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
            return float(shape.n_neurons * shape.d_model)

        def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
            weights = ground.processed(model).weights.W_out.flatten(0, 1)
            advance(len(weights))
            return {"norm": weights.double().norm(dim=1).cpu().numpy()}

        def rows(self, found: Arrays, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
            yield "throw_away_reach", {"neuron_id": keys.models[model].neuron_ids, "norm": found["norm"].astype(np.float64)}

    MEASURES = (Eagerness(), Reach())
    PARTS = (
        Part(
            name="throw_away",
            about="how eager it is",
            reads="corpus",
            rows=(Rows(EAGERNESS, "neuron"), Rows(REACH, "neuron")),
            views=(
                View(
                    "eager_neurons",
                    "Neurons that are eager.",
                    f"SELECT {LABEL}, e.share, l.neuron_id\n  {LABELS} = 'eager'\n"
                    "  JOIN public.throw_away_eagerness e ON e.run_id = l.run_id AND e.neuron_id = l.neuron_id",
                ),
            ),
            rules=(
                Rule(
                    "eager",
                    "Neurons that are eager more often than not.",
                    f"""SELECT e.neuron_id, 'eager', e.share, jsonb_build_object('share', e.share, 'reach', r.norm)
                          FROM throw_away_eagerness e JOIN throw_away_reach r USING (run_id, neuron_id)
                         WHERE e.run_id = :run_id AND e.share >= {LEAST}""",
                    lambda found: f"eager on {found['share']:.0%} of the tokens, reaching {found['reach']:.3g}",
                    (Threshold("min_share", 0.3, "Least share of tokens."),),
                    closest=measured("public.throw_away_eagerness", "s.share", "s.share DESC"),
                ),
            ),
            checks=(
                Check(
                    "reach is positive",
                    "SELECT 'neuron ' || neuron_id AS what FROM throw_away_reach WHERE run_id = :run_id AND norm <= 0",
                ),
            ),
            page=(
                Section(
                    "eagerness",
                    "How eager it is",
                    """SELECT e.share, r.norm FROM throw_away_eagerness e JOIN throw_away_reach r USING (run_id, neuron_id)
                        WHERE e.run_id = :run AND e.neuron_id = :neuron""",
                ),
            ),
        ),
    )


class Shell:
    """Commands as a person would type them, with the part."""

    def __init__(self, home: Path, launcher: Launcher) -> None:
        self._environment = {"CATALOG_HOME": str(home), "CATALOG_DATABASE_URL": ""}
        self._launcher, self._home, self._started = launcher, home, 0
        self._socket = home / "postgres"

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> tuple[Process, Path]:
        """A process, and the file of its stdout."""
        self._started += 1
        log, out = (self._home / f"{self._started}.{name}" for name in ("log", "out"))
        return self._launcher.start(list(words), self._environment | dict(environment or {}), log, out=out), out

    def run(self, *words: str, code: int = 0) -> str:
        """Stdout of a command, and stderr after it."""
        process, out = self.start(*words)
        assert process.wait() == code, (words, out.read_text(), process.said)
        return out.read_text() + process.said

    def table(self, *words: str) -> list[dict[str, Any]]:
        """What a command prints as rows."""
        process, out = self.start(*words, "--format", "json")
        assert process.wait() == 0, (words, out.read_text(), process.said)
        return json.loads(out.read_text())

    def documented(self) -> str:
        """The tables of README and docs/."""
        out = self._home / "tables"
        process = self._launcher.call("bench.tables:main", ["--print"], self._environment, self._home / "tables.log", out=out)
        assert process.wait() == 0, process.said
        return out.read_text()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(psycopg.connect(host=str(self._socket), user="postgres", dbname="catalog", autocommit=True)) as connection:
            return connection.execute(statement).fetchall()

    def change(self, statement: str) -> None:
        with closing(psycopg.connect(host=str(self._socket), user="postgres", dbname="catalog", autocommit=True)) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(statement)


@pytest.fixture
def shell() -> Iterator[Shell]:
    with folder_of_a_server() as home:
        launcher = Launcher(**{MORE: NAME})
        made = Shell(home, launcher)
        yield made
        made.run("db", "stop")
        launcher.close()


def test_a_part_of_one_file_works_from_end_to_end(shell: Shell, tmp_path: Path) -> None:
    models, corpus = map(str, tiny_family(tmp_path, "ab")), str(small_corpus(tmp_path, 60))
    asked = [*models, "--corpus", corpus, "--device", "cpu", "--only", "activations,throw_away"]
    shell.run("db", "upgrade")
    described = [line for line in shell.documented().splitlines() if line.startswith("| `throw_away` |")]
    assert "| how eager it is | `throw_away_eagerness`, `throw_away_reach` | `eager_neurons` |" in described[0]
    assert "| Counts | 8 |" in described[1] and "| reach of neurons | Norms of output weights |" in described[2]
    process, _ = shell.start("ingest", *asked, environment={MORE: "no.such_module"})
    assert process.wait() == 1
    told = process.said
    assert told.count("\n") == 1 and "CATALOG_PARTS names 'no.such_module'" in told
    assert "did you mean throw_away?" in shell.run("ingest", *asked[:-1], "throw_awaz", code=1)
    planned = {row["phase"]: row["seconds"] for row in shell.table("plan", *asked)}
    assert planned["reach of neurons, tiny-a"] > 0
    shell.run("ingest", *asked, "--enqueue", "--jobs", "3")
    workers = [shell.start("worker", "--until-empty", "--heartbeat", "0.5", "--stalled", "2")[0] for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0], [worker.said for worker in workers]

    wrong = shell.rows(
        """SELECT count(*) FROM throw_away_eagerness e JOIN activation_statistics a USING (run_id, neuron_id)
            WHERE e.share > a.sparsity OR e.share IS NULL"""
    )
    counted = shell.rows(
        """SELECT (SELECT count(*) FROM throw_away_eagerness), (SELECT count(*) FROM throw_away_reach), count(*)
             FROM neurons n JOIN models m ON m.id = n.model_id AND m.control_of IS NULL"""
    )
    assert wrong == [(0,)] and len(set(counted[0])) == 1 and counted[0][0] > 0
    ordered = "ORDER BY score DESC, model, layer, neuron"
    labels = shell.rows(f"SELECT model, layer, neuron, score FROM neuron_labels WHERE family = 'eager' {ordered}")
    shares = shell.rows("SELECT count(*) FROM throw_away_eagerness WHERE share >= 0.3")
    assert shares == [(len(labels),)] and labels
    assert shell.rows("SELECT count(*) FROM eager_neurons") == shares

    found = shell.table("find", "--family", "eager", "--limit", "0")
    assert [(row["model"], row["layer"], row["neuron"]) for row in found] == [row[:3] for row in labels]
    model, layer, neuron, score = labels[0]
    page = shell.run("show", model, f"{layer}.{neuron}")
    assert "How eager it is" in page and f"eager on {score:.0%} of the tokens" in page
    assert "Neurons that are eager more often than not." in shell.run("findings", "--family", "eager")
    assert "eager.min_share" in shell.run("rules", "list")

    assert "no difference" in shell.run("verify", "1")
    shell.change("INSERT INTO throw_away_reach VALUES (1, 999999, 1)")
    broken = shell.run("verify", "1", code=1)
    assert "throw_away_reach has one row per neuron of the run" in broken and "999999" in broken
    shell.change("UPDATE throw_away_reach SET norm = -1 WHERE neuron_id = 1")
    assert "reach is positive" in shell.run("verify", "1", code=1)

    shell.run("runs", "delete", "1", "--yes")
    assert shell.rows("SELECT (SELECT count(*) FROM throw_away_eagerness), (SELECT count(*) FROM labels)") == [(0, 0)]
    assert shell.rows("SELECT count(*) FROM throw_away_reach WHERE neuron_id <> 999999") == [(0,)]
