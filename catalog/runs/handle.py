"""The right to work on one run: its phases, its keys, what it stages, and its publication."""

import json
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from catalog import aliases, locks, parts
from catalog.endings import interruption, record_end
from catalog.errors import CatalogError, InputError, RunError
from catalog.publishing import partitions, staging
from catalog.publishing.publish import publish
from catalog.rows import Definition, FeatureRow, ModelIds, ModelRow, PublishRows, RunSpec
from catalog.runs import reuse
from catalog.server.engine import driver_of, give_back, transaction

ANALYZE_ONLY = 180000
"""The first version of PostgreSQL that analyzes a partitioned table without its partitions."""
PHASES = ("tokenise", "accumulate", "stage", "merge", "publish")


class RunHandle:
    """The right to work on one run, given back at the end of a `with`; an error that ends it is written into the row."""

    run_id: int
    resumes: str | None
    """How an earlier attempt ended, as the beginning of a sentence; None if there was none."""
    published: bool
    """What was staged is visible; what is left to do is to tidy up."""

    def __init__(self, engine: Engine, connection: Connection, run_id: int, spec: RunSpec, resumes: str | None = None) -> None:
        self.engine = engine
        self.run_id = run_id
        self.spec = spec
        self.resumes = resumes
        self.published = False
        self._indexed = False
        self._connection = connection

    @property
    def _driver(self) -> psycopg.Connection[Any]:
        return driver_of(self._connection)

    def set_phase(self, phase: str) -> None:
        """Record the phase that begins; visible to other sessions at once."""
        assert phase in PHASES, phase
        self._connection.execute(
            text("UPDATE runs SET phase = :phase WHERE id = :run_id"), {"phase": phase, "run_id": self.run_id}
        )

    def folder(self, root: Path) -> Path:
        """The run's own folder of sums and checkpoints: the one it has if it can be written, else a new name below `root`."""
        values: dict[str, Any] = {"run_id": self.run_id}
        folder = self._connection.execute(text("SELECT staging_folder FROM runs WHERE id = :run_id"), values).scalar()
        if folder is not None and os.access(folder, os.W_OK):
            return Path(folder)
        values["folder"] = str(root / f"run-{self.run_id}-{secrets.token_hex(4)}")
        self._connection.execute(text("UPDATE runs SET staging_folder = :folder WHERE id = :run_id"), values)
        return Path(values["folder"])

    def forget_folder(self) -> None:
        """The folder is removed."""
        self._connection.execute(text("UPDATE runs SET staging_folder = NULL WHERE id = :id"), {"id": self.run_id})

    def queue(self) -> None:
        """Leave the run to workers; nobody holds it until its last job is done. What failed before is forgotten."""
        values = {"id": self.run_id}
        with transaction(self._connection):
            queued = "UPDATE runs SET status = 'queued', left_to_workers = true, failures = 0 WHERE id = :id"
            self._connection.execute(text(queued), values)
            self._connection.execute(text("UPDATE run_jobs SET failures = 0 WHERE run_id = :id"), values)

    def reserve(self, models: Sequence[ModelRow], tokenizer: str) -> list[ModelIds]:
        """Keys for the models and their neurons, without rows that a reader could see.

        From here on no other run of this database stages or publishes.

        Args:
            tokenizer: sha256 of the one that the models share.
        Raises:
            InputError: the name and revision belong to another model, or are another name of one: with other weights, config
            or tokenizer.
        """
        self._connection.execute(text(f"SELECT pg_advisory_lock({locks.PUBLISH})"))
        return [self._reserve(model, tokenizer) for model in models]

    def _reserve(self, model: ModelRow, tokenizer: str) -> ModelIds:
        known = self._connection.execute(
            text(
                """SELECT m.id, m.identity, m.weights_sha256, m.behaviour, t.sha256 AS tokenizer,
                          EXISTS (SELECT 1 FROM run_models r WHERE r.model_id = m.id) AS used
                   FROM models m JOIN tokenizers t ON t.id = m.tokenizer_id WHERE name = :name AND revision = :revision"""
            ),
            {"name": model.name, "revision": model.revision},
        ).first()
        other = None if known is None else _other(known, model, tokenizer)
        if known is not None and other is None:
            neurons = self._connection.execute(
                text('SELECT id FROM neurons WHERE model_id = :id ORDER BY layer, "index"'), {"id": known.id}
            )
            return ModelIds(known.id, np.array(neurons.scalars().all(), dtype=np.int32), False)
        if known is not None and known.used:
            raise InputError(
                f"the catalog has another model named {model.name!r} with {other}; give this one a name of its own as "
                f"NEWNAME={model.source}."
            )
        meant = self._connection.execute(
            text(
                """SELECT n.model FROM model_aliases a JOIN history.model_names n ON n.model_id = a.model_id
                   WHERE a.name = :name AND EXISTS (SELECT 1 FROM run_models r WHERE r.model_id = a.model_id)"""
            ),
            {"name": aliases.shown(model.name, model.revision)},
        ).scalar()
        if meant is not None:
            raise InputError(
                f"the catalog knows {model.name!r} as another name of {meant}, which is another model; give this one a name of "
                f"its own as NEWNAME={model.source}."
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
        part: str,
        model: ModelIds | None = None,
        pairs_of: tuple[int, int] | None = None,
    ) -> int:
        """Stage rows of an earlier run: of one model, or between two models. Returns the number of rows.

        Args:
            part: whose rows are wanted, for several parts may fill a table.
        Raises:
            RunError: the earlier run has been deleted since it was found; from `reserve` on it cannot be.
        """
        values = {"run_id": from_run}
        published = text("SELECT 1 FROM runs WHERE id = :run_id AND published_at IS NOT NULL")
        if self._connection.execute(published, values).first() is None:
            raise RunError(f"run {from_run}, whose results were to be used again, is deleted; repeat the command.")
        return staging.fill_from_run(self._driver, self.run_id, table, from_run, model, pairs_of, part)

    def check_sources(self, runs: Collection[int], definitions: Mapping[str, Definition]) -> None:
        """Raises:
        RunError: an earlier run, whose results are to be used again, has been deleted or has the parts by other settings.
        """
        if not reuse.serves(self._connection, runs, definitions):
            named = ", ".join(map(str, sorted(runs)))
            raise RunError(f"what was to be used again of run {named} is not there any more; repeat the command.")

    def index_staged(self) -> None:
        """Build the indexes of what will be partitions, once; `publish` does it if nobody has."""
        if self._indexed:
            return
        for table in staging.tables(self._driver, self.run_id):
            if table in parts.partitioned():
                partitions.prepare(self._driver, self.run_id, table)
        self._indexed = True

    def publish(self, rows: PublishRows) -> None:
        """Make everything staged visible, in one transaction of the session that holds the run: who lost it cannot."""
        self.index_staged()
        with transaction(self._connection):
            publish(self._connection, self.run_id, self.spec, rows)
        self.published = True
        self._analyze(rows.parts)

    def _analyze(self, written: Collection[str]) -> None:
        """Tell the planner of what the parts have written; partitions were analyzed where they were staged."""
        # counts of labels read indexes alone only where the table is vacuumed
        self._connection.execute(text("VACUUM (ANALYZE) labels"))
        if self._driver.info.server_version < ANALYZE_ONLY:
            self._connection.execute(text("ANALYZE"))
            return
        tables = self._connection.execute(
            text(
                """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                   AND NOT relispartition AND relname <> 'labels' AND relname <> ALL(:others) ORDER BY relname"""
            ),
            {"others": list(parts.tables().keys() - parts.filled_by(written))},
        )
        names = sql.SQL(", ").join(sql.Identifier("public", name) for name in tables.scalars())
        self._driver.execute(sql.SQL("ANALYZE ONLY {}").format(names))

    @property
    def resumed(self) -> bool:
        """Whether there was an earlier attempt."""
        return self.resumes is not None

    def fail(self, error: BaseException) -> None:
        """Record why the attempt ended; what it staged goes. A dead connection is no second error."""
        by = interruption(error)
        told = str(error) if isinstance(error, CatalogError) else f"{type(error).__name__}: {error}"
        try:
            staging.drop(self._driver, self.run_id)
            record_end(self._connection, self.run_id, "interrupted" if by else "failed", by or told)
        except (SQLAlchemyError, psycopg.Error):
            return

    def close(self) -> None:
        """Give the locks back; a second time does nothing."""
        give_back(self._connection)

    def __enter__(self) -> "RunHandle":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.fail(error)
        self.close()


def _other(of_that_name: Any, model: ModelRow, tokenizer: str) -> str | None:
    """What a known model of this name has otherwise; None if it is this one."""
    if of_that_name.weights_sha256 != model.weights_sha256:
        return "other weights"
    if of_that_name.identity != model.identity:
        new, known = json.loads(model.behaviour), of_that_name.behaviour
        differing = [name for name in sorted({*new, *known}) if new.get(name) != known.get(name)]
        return f"another config ({', '.join(f'{name} {known.get(name)}, not {new.get(name)}' for name in differing)})"
    return "another tokenizer" if of_that_name.tokenizer != tokenizer else None
