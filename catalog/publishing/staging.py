"""Tables of rows that no reader may see yet: one per run and table, in the schema `staging`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from catalog import parts
from catalog.copy import copy_columns
from catalog.rows import ModelIds

PLACE = ("model_id", "layer", "index")
"""Where a neuron is: staged rows leave that out, for new neurons have no row yet."""


def name_of(run_id: int, table: str) -> str:
    """The staging table of a run's rows for `table`, without its schema."""
    return f"run_{run_id}_{table}"


def ensure(connection: psycopg.Connection[Any], run_id: int, table: str) -> str:
    """Create the staging table unless it exists; returns its qualified name."""
    name = name_of(run_id, table)
    qualified = f"staging.{name}"
    if connection.execute("SELECT to_regclass(%s)", [qualified]).fetchone() != (None,):
        return qualified
    like = "LIKE public.{} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS"
    create = sql.SQL(f"CREATE TABLE IF NOT EXISTS staging.{{}} ({like}){{}}")
    stored = parts.tables()[table].info["stored"]
    options = sql.SQL(f" WITH ({stored})" if stored else "")
    statement = create.format(sql.Identifier(name), sql.Identifier(table), options)
    if table in parts.placed():
        dropped = sql.SQL(", ").join(sql.SQL("DROP COLUMN IF EXISTS {}").format(sql.Identifier(column)) for column in PLACE)
        # one message, one transaction: nobody sees the table with those columns
        statement = sql.SQL("{}; ALTER TABLE staging.{} {}").format(statement, sql.Identifier(name), dropped)
    connection.execute(statement)
    return qualified


def fill(connection: psycopg.Connection[Any], run_id: int, table: str, columns: Mapping[str, np.ndarray]) -> int:
    """COPY rows into the run's staging table; `run_id` is filled in. Returns the number of rows."""
    qualified = ensure(connection, run_id, table)
    n_rows = len(next(iter(columns.values())))
    return copy_columns(connection, qualified, {"run_id": np.full(n_rows, run_id, dtype=np.int32), **columns})


def fill_from_run(
    connection: psycopg.Connection[Any],
    run_id: int,
    table: str,
    from_run: int,
    model: ModelIds | None,
    pairs_of: tuple[int, int] | None,
    part: str,
) -> int:
    """Copy rows of an earlier run: those of a model and its neurons, or those between the two models `pairs_of`.

    Args:
        part: whose rows are wanted, for several parts may fill a table.
    """
    ensure(connection, run_id, table)
    left_out = ("run_id", *PLACE) if table in parts.placed() else ("run_id",)
    names = [name for name in column_names(connection, table) if name not in left_out]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    if pairs_of is None:
        assert model is not None
        condition: sql.Composable = sql.SQL("neuron_id = ANY({})").format(sql.Literal(model.neuron_ids.tolist()))
        if "neuron_id" not in names:
            condition = sql.SQL("model_id = {}").format(sql.Literal(model.model_id))
    else:
        one, other = pairs_of
        condition = sql.SQL(
            "(other_model_id = {0} AND neuron_id IN (SELECT id FROM public.neurons WHERE model_id = {1})"
            " OR other_model_id = {1} AND neuron_id IN (SELECT id FROM public.neurons WHERE model_id = {0}))"
        ).format(sql.Literal(one), sql.Literal(other))
    statement = sql.SQL(
        "INSERT INTO staging.{target} (run_id, {columns}) SELECT {run}, {columns} FROM public.{table}"
        " WHERE run_id = {from_run} AND {condition} AND {of_the_part}"
    ).format(
        target=sql.Identifier(name_of(run_id, table)),
        columns=columns,
        run=sql.Literal(run_id),
        table=sql.Identifier(table),
        from_run=sql.Literal(from_run),
        condition=condition,
        of_the_part=sql.SQL(parts.rows_in(part, table).condition_on(table)),
    )
    return connection.execute(statement).rowcount


def move_placed(connection: psycopg.Connection[Any], run_id: int, table: str) -> None:
    """Move the staged rows of a table that says where neurons are, with the place of each neuron."""
    columns = [name for name in column_names(connection, table) if name not in PLACE]
    statement = sql.SQL(
        "INSERT INTO public.{table} ({columns}, {place})"
        " SELECT {staged}, {found} FROM staging.{source} s JOIN public.neurons n ON n.id = s.neuron_id"
    ).format(
        table=sql.Identifier(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        place=sql.SQL(", ").join(map(sql.Identifier, PLACE)),
        staged=sql.SQL(", ").join(sql.Identifier("s", name) for name in columns),
        found=sql.SQL(", ").join(sql.Identifier("n", name) for name in PLACE),
        source=sql.Identifier(name_of(run_id, table)),
    )
    connection.execute(statement)


def column_names(connection: psycopg.Connection[Any], table: str) -> list[str]:
    """Columns of a public table, in order."""
    rows = connection.execute(
        """SELECT attname FROM pg_attribute
           WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
        [f"public.{table}"],
    )
    return [name for (name,) in rows]


def tables(connection: psycopg.Connection[Any], run_id: int) -> list[str]:
    """The public tables that the run has staged rows for."""
    prefix = f"run_{run_id}_"
    rows = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'staging' AND starts_with(tablename, %s) ORDER BY 1",
        [prefix],
    )
    return [name.removeprefix(prefix) for (name,) in rows]


def drop(connection: psycopg.Connection[Any], run_id: int) -> None:
    """Drop all staging tables of a run."""
    for table in tables(connection, run_id):
        connection.execute(sql.SQL("DROP TABLE staging.{}").format(sql.Identifier(name_of(run_id, table))))
