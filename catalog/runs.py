"""A run's life: begun under a lock, staged, published at once, or left behind without a trace for readers.

The lock is an advisory one of the handle's own session: a killed process gives it back, and whoever asks for the same
run next finds the row, sees that nobody holds the lock, and takes it over.
"""

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata as installed
from types import TracebackType
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from catalog import locks, staging
from catalog.errors import CatalogError, InputError, RunError
from catalog.publish import publish
from catalog.rows import FeatureRow, ModelIds, ModelRow, PublishRows

PHASES = ("tokenise", "accumulate", "stage", "merge", "publish")
TAKE_OVER_SECONDS = 3.0
"""How long a lock may outlive the process that held it: the server takes a moment to see that it is gone."""

LIBRARIES = ("torch", "transformer_lens", "transformers", "numpy", "psycopg")


@dataclass(frozen=True)
class RunSpec:
    """What a run is recorded as."""

    identity: str
    settings: dict[str, Any]
    definition_versions: dict[str, int]
    code_version: str
    device: str
    model_family: str | None
    parts: tuple[str, ...]


@dataclass(frozen=True)
class RunRecord:
    """A published run."""

    id: int
    parts: dict[str, int]
    """Definition version by part."""
    published_at: datetime


def published_run(engine: Engine, identity: str) -> RunRecord | None:
    """The newest published run with this identity."""
    with engine.connect() as connection:
        row = connection.execute(
            text(
                """SELECT id, published_at FROM runs WHERE identity = :identity AND status = 'published'
                   AND NOT superseded ORDER BY published_at DESC, id DESC LIMIT 1"""
            ),
            {"identity": identity},
        ).first()
        if row is None:
            return None
        parts = connection.execute(
            text("SELECT part, definition_version FROM run_parts WHERE run_id = :run_id"), {"run_id": row.id}
        )
        return RunRecord(row.id, {part: version for part, version in parts}, row.published_at)


class RunHandle:
    """The right to work on one run, given back at the end of a `with`; an error that ends it is written into the row."""

    run_id: int
    resumed: bool
    """An earlier attempt had been killed or had failed."""

    def __init__(self, engine: Engine, connection: Connection, run_id: int, spec: RunSpec, resumed: bool) -> None:
        self.engine = engine
        self.run_id = run_id
        self.spec = spec
        self.resumed = resumed
        self._connection = connection

    @property
    def _driver(self) -> psycopg.Connection[Any]:
        return _driver_of(self._connection)

    def set_phase(self, phase: str) -> None:
        """Record the phase that begins; visible to other sessions at once."""
        assert phase in PHASES, phase
        self._connection.execute(
            text("UPDATE runs SET phase = :phase WHERE id = :run_id"), {"phase": phase, "run_id": self.run_id}
        )

    def reserve(self, models: Sequence[ModelRow]) -> list[ModelIds]:
        """Keys for the models and their neurons, without rows that a reader could see.

        From here on no other run of this database stages or publishes.

        Raises:
            InputError: the name and revision belong to a model with other weights.
        """
        self._connection.execute(text(f"SELECT pg_advisory_lock({locks.PUBLISH})"))
        return [self._reserve(model) for model in models]

    def _reserve(self, model: ModelRow) -> ModelIds:
        found = self._connection.execute(
            text(
                """SELECT id, weights_sha256, EXISTS (SELECT 1 FROM run_models r WHERE r.model_id = m.id) AS used
                   FROM models m WHERE name = :name AND revision = :revision"""
            ),
            {"name": model.name, "revision": model.revision},
        ).first()
        if found is not None and found.weights_sha256 == model.weights_sha256:
            neurons = self._connection.execute(
                text('SELECT id FROM neurons WHERE model_id = :id ORDER BY layer, "index"'), {"id": found.id}
            )
            return ModelIds(found.id, np.array(neurons.scalars().all(), dtype=np.int32), False)
        if found is not None and found.used:
            raise InputError(
                f"the catalog has another model named {model.name!r} with other weights; give this one a name of its "
                f"own as NEWNAME={model.source}."
            )
        ids = self._next_ids("neurons", model.n_layers * model.d_mlp)
        return ModelIds(int(self._next_ids("models", 1)[0]), ids, True)

    def _next_ids(self, table: str, count: int) -> np.ndarray:
        rows = self._connection.execute(
            text("SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :count)"),
            {"table": table, "count": count},
        )
        return np.array(rows.scalars().all(), dtype=np.int32)

    def feature_ids(self, features: Sequence[FeatureRow]) -> dict[str, int]:
        """Keys of the features by name: those that exist, and new ones for the rest."""
        names = [feature.name for feature in features]
        rows = self._connection.execute(text("SELECT name, id FROM features WHERE name = ANY(:names)"), {"names": names})
        ids = {name: key for name, key in rows}
        missing = [name for name in names if name not in ids]
        ids.update(zip(missing, self._next_ids("features", len(missing)).tolist(), strict=True))
        return ids

    def stage(self, table: str, columns: Mapping[str, np.ndarray]) -> int:
        """COPY rows of `table` to the run's staging table; `run_id` is filled in. Returns the number of rows."""
        return staging.fill(self._driver, self.run_id, table, columns)

    def stage_from_run(
        self,
        table: str,
        from_run: int,
        neuron_ids: np.ndarray | None = None,
        pairs_of: tuple[int, int] | None = None,
    ) -> int:
        """Stage rows of an earlier run: of some neurons, or between two models. Returns the number of rows.

        Raises:
            RunError: the earlier run has been deleted since it was found; from `reserve` on it cannot be.
        """
        values = {"run_id": from_run}
        published = text("SELECT 1 FROM runs WHERE id = :run_id AND status = 'published'")
        if self._connection.execute(published, values).first() is None:
            raise RunError(f"run {from_run}, whose results were to be used again, is deleted; repeat the command.")
        return staging.fill_from_run(self._driver, self.run_id, table, from_run, neuron_ids, pairs_of)

    def publish(self, rows: PublishRows) -> None:
        """Make everything staged visible, in one transaction."""
        if "pairs" in staging.tables(self._driver, self.run_id):
            staging.index_pairs(self._driver, self.run_id)
        publish(self.engine, self.run_id, self.spec, rows)
        self._connection.execute(text("ANALYZE"))

    def fail(self, error: str) -> None:
        """Record why the attempt ended; what it staged goes. A dead connection is no second error."""
        try:
            staging.drop(self._driver, self.run_id)
            self._connection.execute(
                text(
                    """UPDATE runs SET status = 'failed', error = :error, finished_at = now()
                       WHERE id = :run_id AND status <> 'published'"""
                ),
                {"error": error[:2000], "run_id": self.run_id},
            )
        except (SQLAlchemyError, psycopg.Error):
            return

    def close(self) -> None:
        """Give the locks back; a second time does nothing."""
        if self._connection.closed:
            return
        self._connection.invalidate()
        self._connection.close()

    def __enter__(self) -> "RunHandle":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.fail(str(error) if isinstance(error, CatalogError) else f"{type(error).__name__}: {error}")
        self.close()


def begin_run(engine: Engine, spec: RunSpec) -> RunHandle:
    """Begin a run, or take over one that was killed or failed.

    Raises:
        RunError: another process is at work on the same run.
    """
    connection = _locked_connection(engine, spec.identity)
    clean_up(connection)
    row = connection.execute(
        text("SELECT id FROM runs WHERE identity = :identity AND status <> 'published'"), {"identity": spec.identity}
    ).first()
    values = _record(spec)
    if row is None:
        statement = """INSERT INTO runs (identity, status, phase, model_family, settings, definition_versions,
                                         code_version, device, host)
                       VALUES (:identity, 'running', 'tokenise', :model_family, CAST(:settings AS jsonb),
                               CAST(:versions AS jsonb), :code_version, :device, CAST(:host AS jsonb)) RETURNING id"""
    else:
        values["run_id"] = row.id
        statement = """UPDATE runs SET status = 'running', phase = 'tokenise', started_at = now(), finished_at = NULL,
                              error = NULL, model_family = :model_family, settings = CAST(:settings AS jsonb),
                              definition_versions = CAST(:versions AS jsonb), code_version = :code_version,
                              device = :device, host = CAST(:host AS jsonb)
                       WHERE id = :run_id RETURNING id"""
    run_id = connection.execute(text(statement), values).scalar_one()
    staging.drop(_driver_of(connection), run_id)
    return RunHandle(engine, connection, run_id, spec, resumed=row is not None)


def begin_parts(engine: Engine, run_id: int, spec: RunSpec) -> RunHandle:
    """Begin to add parts to a published run, which stays published all the time.

    Raises:
        RunError: another process is at work on the same run.
    """
    connection = _locked_connection(engine, spec.identity)
    clean_up(connection)
    staging.drop(_driver_of(connection), run_id)
    return RunHandle(engine, connection, run_id, spec, resumed=False)


def clean_up(connection: Connection) -> None:
    """Runs whose process is gone are marked as failed, and what they staged is dropped."""
    rows = connection.execute(
        text(
            """SELECT r.id, r.identity, r.status FROM runs r
               WHERE r.status = 'running' OR EXISTS (SELECT 1 FROM pg_tables t WHERE t.schemaname = 'staging'
                                                      AND starts_with(t.tablename, 'run_' || r.id || '_'))"""
        )
    ).all()
    for run_id, identity, status in rows:
        free = connection.execute(text(f"SELECT pg_try_advisory_lock({locks.RUN})"), {"identity": identity}).scalar_one()
        if not free:
            continue
        staging.drop(_driver_of(connection), run_id)
        if status == "running":
            connection.execute(
                text("UPDATE runs SET status = 'failed', error = 'interrupted', finished_at = now() WHERE id = :id"),
                {"id": run_id},
            )
        connection.execute(text(f"SELECT pg_advisory_unlock({locks.RUN})"), {"identity": identity})


def delete_run(engine: Engine, run_id: int) -> None:
    """Delete a run with all its rows, in one transaction. Models stay as names without a published run.

    Raises:
        RunError: it is running; or there is no such run.
    """
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({locks.PUBLISH})"))
        row = connection.execute(text("SELECT identity, status FROM runs WHERE id = :id"), {"id": run_id}).first()
        if row is None:
            raise RunError(f"there is no run {run_id}; `catalog runs list` shows those that exist.")
        free = connection.execute(
            text(f"SELECT pg_try_advisory_xact_lock({locks.RUN})"), {"identity": row.identity}
        ).scalar_one()
        if not free:
            raise RunError(f"run {run_id} is being worked on; stop that process first.")
        connection.execute(text(f"DROP TABLE IF EXISTS public.pairs_run_{int(run_id)}"))
        connection.execute(text("DELETE FROM runs WHERE id = :id"), {"id": run_id})
        connection.execute(text("DELETE FROM corpora c WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.corpus_id = c.id)"))


def _locked_connection(engine: Engine, identity: str) -> Connection:
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    # A statement that a killed process left running ends a second later, and its locks with it.
    connection.execute(text("SET client_connection_check_interval = '1s'"))
    deadline = time.monotonic() + TAKE_OVER_SECONDS
    attempt = text(f"SELECT pg_try_advisory_lock({locks.RUN})")
    while not connection.execute(attempt, {"identity": identity}).scalar_one():
        if time.monotonic() > deadline:
            connection.invalidate()
            connection.close()
            raise RunError("another process is at work on this very run; wait for it, or stop it and repeat the command.")
        time.sleep(0.1)
    return connection


def _driver_of(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver


def _record(spec: RunSpec) -> dict[str, Any]:
    versions = {name: installed.version(name) for name in LIBRARIES}
    return {
        "identity": spec.identity,
        "model_family": spec.model_family,
        "settings": json.dumps(spec.settings),
        "versions": json.dumps(spec.definition_versions),
        "code_version": spec.code_version,
        "device": spec.device,
        "host": json.dumps({"platform": platform.platform(), "python": platform.python_version(), **versions}),
    }
