"""Tables to which rows are added after their run is published: what somebody asks for, which is no part of the run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, func, text
from sqlalchemy.dialects.postgresql import insert

from catalog import locks, parts
from catalog.errors import RunError


def store(
    engine: Engine, run_id: int, tables: Iterable[tuple[str, Mapping[str, np.ndarray]]], code_version: str, device: str
) -> None:
    """Keep rows with their run, in one transaction; what was asked for before is replaced, the run's own stay.

    Args:
        tables: names with columns, of tables whose part says `asked_too`; an ablation before its relations.
    Raises:
        RunError: the run was deleted meanwhile.
    """
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({locks.PUBLISH})"))
        published = text("SELECT 1 FROM runs WHERE id = :id AND published_at IS NOT NULL")
        run = connection.execute(published, {"id": run_id}).first()
        if run is None:
            raise RunError(f"run {run_id} was deleted meanwhile, so there is nothing to keep what was measured with.")
        for name, columns in tables:
            _replace(connection, name, columns, {"run_id": run_id, "code_version": code_version, "device": device})


def _replace(connection: Connection, name: str, columns: Mapping[str, np.ndarray], origin: Mapping[str, Any]) -> None:
    rows_too = parts.asked_too()[name]
    table = rows_too.table
    known = {key: value for key, value in origin.items() if key in table.columns}
    rows = [{**dict(zip(columns, row, strict=True)), **known} for row in zip(*map(_values, columns.values()), strict=True)]
    statement = insert(table).values({"measured_at": func.now()} if "measured_at" in table.columns else {})
    replaced = {column.name: column for column in statement.excluded if not table.columns[column.name].primary_key}
    statement = statement.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=replaced, where=text(f"NOT ({rows_too.condition_on(name)})")
    )
    connection.execute(statement, rows)


def _values(column: np.ndarray) -> Sequence[Any]:
    """Python values, None where undefined."""
    missing = np.ma.getmaskarray(column)
    items = np.ma.getdata(column).tolist()
    return [
        None if gone or (isinstance(item, float) and item != item) else item for gone, item in zip(missing, items, strict=True)
    ]


def give_way(connection: psycopg.Connection[Any], table: str, staged: sql.Composable) -> None:
    """Delete from a table what was asked for before the run itself came to measure it.

    Args:
        staged: the table of the run's own rows, which are about to follow.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, parts.asked_too()[table].measured_by))
    connection.execute(
        sql.SQL("DELETE FROM public.{} WHERE ({}) IN (SELECT {} FROM {})").format(sql.Identifier(table), names, names, staged)
    )
