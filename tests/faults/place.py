"""A catalog of its own for one fault after the other: server, models and corpus in a temporary folder."""

import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import psycopg
from psycopg import sql

from catalog.runs.handle import PHASES
from tests.acceptance.ingests import BUT_SYNTAX, contract, small_corpus, tiny_family, with_candidates
from tests.faults.launcher import Launcher, Process

STARTS = {"load": 0, "tokenise": 0, "run ": 1, "accumulate": 1, "stage": 2, "merge": 3, "publish": 4}
"""What a line on stderr begins with, and the phase that it begins."""
SECONDS_FOR_BACKENDS = 6.0
"""A server notices a killed client within a second, and a session that it is in the middle of ends after its statement."""


class Place:
    """Commands run here as they would from a shell, with nothing set but CATALOG_HOME."""

    def __init__(
        self, folder: Path, launcher: Launcher, documents: int, parts: Sequence[str] = BUT_SYNTAX, held_tokens: int = 1000,
        **shape: int,
    ) -> None:  # fmt: skip
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self._launcher = launcher
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._started: list[Process] = []
        self._environment = {"CATALOG_HOME": str(self.home), "CATALOG_DATABASE_URL": ""}
        models, corpus = with_candidates(tiny_family(folder, "ab", **shape)), small_corpus(folder, documents)
        self.ingest = ["ingest", *map(str, models), "--corpus", str(corpus), "--checkpoint-minutes", "0.005", "--controls", "0"]
        self.ingest += ["--only", ",".join(parts), "--intervention-tokens", str(held_tokens), "--ablation-pairs", "2"]
        self.worker = ["worker", "--heartbeat", "0.5", "--stalled", "2", "--until-empty"]
        self.run("db", "upgrade")
        self._keep_empty()

    @property
    def socket(self) -> str:
        """Folder of the server's socket."""
        return (self.home / "postgres" / "postmaster.pid").read_text().splitlines()[4]

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/catalog?host={self.socket}"

    def start(self, *arguments: str, file_limit: int = 0) -> Process:
        """A command as a process."""
        log = self._logs / f"{len(self._started)}.txt"
        self._started.append(self._launcher.start(list(arguments), self._environment, log, file_limit))
        return self._started[-1]

    def run(self, *arguments: str) -> str:
        """A command that must succeed; returns what it said."""
        process = self.start(*arguments)
        assert process.wait() == 0, f"{arguments[0]} failed: {process.said}"
        return process.said

    def contract(self) -> dict[str, pd.DataFrame]:
        """The contract views."""
        return contract(self.url)

    @contextmanager
    def connection(self, database: str = "catalog") -> Iterator[psycopg.Connection[Any]]:
        """Our own view of the database, which is no process of the catalog."""
        with psycopg.connect(
            host=self.socket, user="postgres", dbname=database, autocommit=True, application_name="faults"
        ) as connection:
            yield connection

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        with self.connection() as connection:
            return connection.execute(statement.encode()).fetchall()

    def _keep_empty(self) -> None:
        with self.connection("postgres") as connection:
            connection.execute("CREATE DATABASE empty TEMPLATE catalog")

    def reset(self) -> None:
        """An empty catalog again."""
        self.run("db", "start")
        with self.connection("postgres") as connection:
            connection.execute("DROP DATABASE IF EXISTS catalog WITH (FORCE)")
            connection.execute(sql.SQL("CREATE DATABASE catalog TEMPLATE empty"))
        for name in ("corpora", "staging"):
            shutil.rmtree(self.home / name, ignore_errors=True)

    def shut_down(self) -> None:
        """An immediate shutdown: what `pg_ctl stop -m immediate` sends."""
        server = psutil.Process(int((self.home / "postgres" / "postmaster.pid").read_text().split()[0]))
        server.send_signal(signal.SIGQUIT)
        server.wait()

    def cut(self) -> None:
        """End every connection of the catalog's processes."""
        self.rows(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = 'catalog' AND application_name LIKE 'neuron-catalog%'"""
        )

    def close(self) -> None:
        """End what still runs, stop the server and remove everything."""
        for process in self._started:
            process.signal(signal.SIGKILL)
        self.run("db", "stop")
        shutil.rmtree(self.home.parent, ignore_errors=True)

    def half_visible(self) -> list[str]:
        """Tables that a reader finds rows in though no run is published."""
        if self.rows("SELECT 1 FROM runs WHERE status = 'published'"):
            return []
        return [table for table in SHOWN if self.rows(f"SELECT 1 FROM {table} LIMIT 1")]

    def leftovers(self, staging: Path | None = None) -> list[str]:
        """Everything that should not be there once a run is published and no process is left."""
        found = [f"{n} {what}" for what, statement in ORPHANS.items() if (n := self.rows(statement)[0][0])]
        for table in self._tables_of_runs():
            unpublished = f"SELECT count(*) FROM {table} WHERE run_id NOT IN (SELECT id FROM runs WHERE status = 'published')"
            if n := self.rows(unpublished)[0][0]:
                found.append(f"{n} rows of unpublished runs in {table}")
        for folder in (self.home / "staging", *([staging] if staging else [])):
            found += [f"file {path}" for path in folder.rglob("*")]
        found += [f"file {path}" for path in (*self.home.glob("corpora/work-*"), *self.home.rglob("*.part"))]
        deadline = time.monotonic() + SECONDS_FOR_BACKENDS
        while (n := self.rows(BACKENDS)[0][0]) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [*found, f"{n} sessions or locks"] if n else found

    def _tables_of_runs(self) -> list[str]:
        rows = self.rows(
            """SELECT c.table_name FROM information_schema.columns c JOIN pg_tables t
               ON t.schemaname = c.table_schema AND t.tablename = c.table_name
               WHERE c.table_schema = 'public' AND c.column_name = 'run_id'"""
        )
        return [name for (name,) in rows]


SHOWN = (
    "models", "neurons", "tokens", "corpora", "run_models", "pairs", "universality", "explanations", "labels",
    "similar_neurons", "neuron_vectors", "head_scores", "interventions",
)  # fmt: skip
"""Tables that one publication fills together."""

ORPHANS = {
    "tables in schema staging": "SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'",
    "runs that are not published": "SELECT count(*) FROM runs WHERE status <> 'published'",
    "runs too many": "SELECT count(*) - 1 FROM runs WHERE id NOT IN (SELECT control_run_id FROM run_controls)",
    "results of jobs": "SELECT count(*) FROM run_job_results",
    "jobs that are not done": "SELECT count(*) FROM run_jobs WHERE finished_at IS NULL",
    "staging folders": "SELECT count(*) FROM runs WHERE staging_folder IS NOT NULL",
    "jobs in the queue": "SELECT count(*) FROM queue.procrastinate_jobs WHERE status IN ('todo', 'doing')",
    "partitions without a published run": """
        SELECT count(*) FROM pg_class c WHERE c.relispartition AND c.relkind = 'r'
        AND substring(c.relname FROM '_run_(\\d+)$')::int NOT IN (SELECT id FROM runs WHERE status = 'published')""",
    "tables of runs that are no partition": """
        SELECT count(*) FROM pg_class c WHERE c.relkind = 'r' AND c.relname ~ '_run_\\d+$' AND NOT c.relispartition""",
}
"""Counts that are 0 where nothing is left behind."""

BACKENDS = """SELECT (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'neuron-catalog%')
                   + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"""


@dataclass(frozen=True)
class Together:
    """Processes that work on one run: what one of them has begun, the run has."""

    processes: list[Process]

    @property
    def said(self) -> str:
        return "\n".join(process.said for process in self.processes)

    def poll(self) -> int | None:
        """None while any of them runs."""
        codes = [process.poll() for process in self.processes]
        return None if None in codes else 0


def phase_of(said: str) -> int | None:
    """Index into PHASES of the last phase that began; phases never go back."""
    begun = [index for line in said.splitlines() for start, index in STARTS.items() if line.startswith(start)]
    return max(begun, default=None)


def wait_for(process: Process | Together, phase: str, seconds: float = 180.0) -> None:
    """Until the process says that the phase, or a later one, has begun, or ends."""
    deadline = time.monotonic() + seconds
    wanted = PHASES.index(phase)
    while time.monotonic() < deadline:
        heard = phase_of(process.said)
        if (heard is not None and heard >= wanted) or process.poll() is not None:
            return
        time.sleep(0.002)
    raise TimeoutError(f"{phase} never began: {process.said}")


def lengths(process: Process) -> dict[str, float]:
    """Seconds that each phase of an undisturbed process takes."""
    began: dict[int, float] = {}
    while process.poll() is None:
        heard = phase_of(process.said)
        if heard is not None:
            began.setdefault(heard, time.monotonic())
        time.sleep(0.002)
    end = time.monotonic()
    assert process.wait() == 0, process.said
    starts = [began.get(index) for index in range(len(PHASES))]
    taken = {}
    for index, phase in enumerate(PHASES):
        start = starts[index]
        after = next((later for later in starts[index + 1 :] if later is not None), end)
        taken[phase] = 0.0 if start is None else after - start
    return taken
