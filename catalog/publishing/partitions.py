"""Tables with a partition per run: what is staged becomes it; see `catalog.publishing.staging`.

Those of several rows per neuron: an INSERT looks every foreign key up row by row, which took three quarters of a publication; a
partition's are joined once when it is attached.
"""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from catalog import parts
from catalog.publishing.staging import name_of
from catalog.views.index_words import comments

LOCK_ATTEMPTS = 50
"""Tries, a fifth of a second each, to have no reader of a partitioned table at the moment of publication."""


class _Index(NamedTuple):
    """An index of a partitioned table."""

    name: str
    is_key: bool
    columns: list[str]


def partition_of(run_id: int, table: str) -> str:
    """The partition of a table that holds a run's rows."""
    return f"{table}_run_{int(run_id)}"


def prepare(connection: psycopg.Connection[Any], run_id: int, table: str) -> None:
    """Give staged rows what a partition needs, so that attaching it scans nothing for it, and the planner its statistics."""
    staged = sql.Identifier("staging", name_of(run_id, table))
    for index in _indexes(connection, table):
        _build(connection, staged, index, f"{index.name}_run_{int(run_id)}")
    one_run = sql.Identifier(f"ck_{partition_of(run_id, table)}_one_run")
    connection.execute(
        sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} CHECK (run_id = {})").format(staged, one_run, sql.Literal(run_id))
    )
    connection.execute(sql.SQL("ANALYZE {}").format(staged))


def _build(connection: psycopg.Connection[Any], staged: sql.Identifier, index: _Index, name: str) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, index.columns))
    made = "ALTER TABLE {staged} ADD CONSTRAINT {name} PRIMARY KEY ({columns})"
    if not index.is_key:
        made = "CREATE INDEX {name} ON {staged} ({columns})"
    connection.execute(sql.SQL(made).format(staged=staged, name=sql.Identifier(name), columns=columns))
    serves = sql.Literal(comments()[index.name])
    connection.execute(sql.SQL("COMMENT ON INDEX {} IS {}").format(sql.Identifier("staging", name), serves))


def _indexes(connection: psycopg.Connection[Any], table: str) -> list[_Index]:
    """Indexes of a partitioned table, the key's first; all are of plain columns."""
    rows = connection.execute(
        """SELECT i.indexrelid::regclass::text, i.indisprimary, array_agg(a.attname::text ORDER BY key.place)
             FROM pg_index i
            CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS key(number, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key.number
            WHERE i.indrelid = %s::regclass GROUP BY i.indexrelid, i.indisprimary ORDER BY i.indisprimary DESC, 1""",
        [f"public.{table}"],
    )
    return [_Index(*row) for row in rows]


def attach(connection: psycopg.Connection[Any], run_id: int, table: str) -> None:
    """Staged rows become the partition of their run."""
    staged, partition = name_of(run_id, table), sql.Identifier(partition_of(run_id, table))
    connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA public").format(sql.Identifier("staging", staged)))
    connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier("public", staged), partition))
    told = sql.Literal(f"The rows of run {run_id} of {table}.")
    connection.execute(sql.SQL("COMMENT ON TABLE public.{} IS {}").format(partition, told))
    connection.execute(
        sql.SQL("ALTER TABLE public.{} ATTACH PARTITION public.{} FOR VALUES IN ({})").format(
            sql.Identifier(table), partition, sql.Literal(run_id)
        )
    )


def drop(connection: psycopg.Connection[Any], run_id: int, tables: Iterable[str]) -> None:
    """Drop the partitions that tables have for a run, if they do; within a transaction."""
    there = [table for table in tables if table in parts.partitioned() and _is_there(connection, partition_of(run_id, table))]
    let_readers_pass(connection, there)
    for table in there:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("public", partition_of(run_id, table))))


def _is_there(connection: psycopg.Connection[Any], table: str) -> bool:
    return connection.execute("SELECT to_regclass(%s)", [f"public.{table}"]).fetchone() != (None,)


def let_readers_pass(connection: psycopg.Connection[Any], tables: list[str]) -> None:
    """Hold partitioned tables alone while the transaction commits; a reader who keeps one for long is not waited for.

    A commit is seen a moment before the other sessions hear of the new partition, for which attaching it does not lock
    them out: without this, a reader who begins in that moment finds the run published and its pairs missing. All tables are
    taken or none, for a reader of two of them would wait for the one that is held while it holds the one that is not.
    """
    for _ in range(LOCK_ATTEMPTS):
        if _hold(connection, tables, patience="100ms"):
            return
        time.sleep(0.1)
    for table in tables:
        _hold(connection, [table], patience="1ms")


def _hold(connection: psycopg.Connection[Any], tables: list[str], patience: str) -> bool:
    """Whether nobody else holds any of the tables now; they are locked until the end of the transaction if so."""
    if not tables:
        return True
    names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(table)) for table in tables)
    try:
        with connection.transaction():
            connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(patience)))
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))
            # it would outlast the savepoint, and what is waited for afterwards with it
            connection.execute("SET LOCAL lock_timeout TO DEFAULT")
    except psycopg.errors.LockNotAvailable:
        return False
    return True
