"""Checksums of a run's rows, one per table, which do not depend on the order of the rows.

Of every row h = hash_record_extended(columns, 0), 64 bits over the values of all columns, is taken; a table's checksum
is count(*), bit_xor(h) and sum(hashint8extended(h, 0)). A single changed value (one ulp of a float included), a row more
or less, or values swapped between rows change both sums except with probability about 2^-32 or less. A record's hash is
linear in its columns' hashes, so a plain sum of h would miss swapped ids; the second hash makes it notice, and the sum
notices the pairs of equal rows that cancel in bit_xor.

They are what partitions by hash rely on, so pg_upgrade and dump and restore keep them. A server of the other byte order,
of another encoding, or a column whose type was changed does not. Columns that are added later do not enter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from catalog import parts
from catalog.publishing import staging
from catalog.schema.base import metadata
from catalog.schema.identity import models
from catalog.server.engine import driver_of

_HASHED_AS = {"HALFVEC": "halfvec_send({})"}
"""How values of types that have no hash of their own are hashed."""

_FIXED = {
    "runs": ["id", "identity", "corpus_id", "settings", "code_version"],
    "models": [column.name for column in models.columns if column.name != "init_of"],
}
"""The columns of a table that publication alone writes, where others may change later."""


@dataclass(frozen=True)
class Checksum:
    """What is known of a run's rows of one table."""

    n_rows: int
    bits: int
    total: int


def _always() -> list[str]:
    """What describes the run as a whole, and sums: written at every publication of the run."""
    return _tables("hashed", "always")


def _once() -> list[str]:
    """What was read, shared with other runs and never changed: written once."""
    return _tables("hashed", "once")


def by_rules() -> list[str]:
    """Tables whose rows change with the rules."""
    return _tables("by_rules", True)


def _tables(what: str, value: object) -> list[str]:
    """Those of which `catalog.schema.base.table` was told so."""
    parts.tables()  # which fills the metadata
    return [name for name, table in metadata.tables.items() if table.info.get(what) == value]


def tables_of(names: Iterable[str]) -> list[str]:
    """The tables whose checksums a run with these parts has."""
    tables: list[str] = []
    for part in map(parts.part_named, names):
        tables += [name for rows in part.rows if parts.points_to_features(rows.table) for name in _USED_FEATURES]
        tables += [*(table.name for table in part.uses), *(rows.name for rows in part.rows)]
    return list(dict.fromkeys([*_always(), *_once(), *tables]))


_USED_FEATURES = ("features", "feature_tokens")
"""Tables that rows with a feature point to."""


def _rows_of_run(table: str) -> str:
    """SQL: which rows `t` of a table the run :run_id has, or uses."""
    used = str(metadata.tables[table].info["used"])
    if table in _USED_FEATURES:
        feature_ids = " UNION ".join(f"SELECT feature_id FROM {name} WHERE run_id = :run_id" for name in parts.with_features())
        used = used.format(features=f"({feature_ids})")
    people = parts.asked_too().get(table)
    return used if people is None else f"{used} AND {people.condition_on('t')}"


def record_publication(connection: Connection, run_id: int, published: Iterable[str]) -> None:
    """Write the checksums of what has just been published; those of parts that were there before stay as they are."""
    have = connection.execute(text("SELECT table_name FROM run_checksums WHERE run_id = :run_id"), {"run_id": run_id})
    kept = set(have.scalars()) & set(_once())
    record(connection, run_id, [table for table in tables_of(published) if table not in kept])


def record(connection: Connection, run_id: int, tables: Iterable[str]) -> None:
    """Write, or replace, the checksums of a run's rows of some tables."""
    driver = driver_of(connection)
    version = connection.execute(text("SELECT current_setting('server_version_num')::int / 10000")).scalar_one()
    statement = text(
        """INSERT INTO run_checksums (run_id, table_name, columns, n_rows, bits, total, server_version)
           VALUES (:run_id, :table_name, :columns, :n_rows, :bits, :total, :server_version)
           ON CONFLICT (run_id, table_name) DO UPDATE
           SET (columns, n_rows, bits, total, server_version)
             = (excluded.columns, excluded.n_rows, excluded.bits, excluded.total, excluded.server_version)"""
    )
    for table in tables:
        columns = _FIXED.get(table) or staging.column_names(driver, table)
        sums = checksum(connection, run_id, table, columns)
        values = {"run_id": run_id, "table_name": table, "columns": columns, "server_version": version}
        connection.execute(statement, {**values, "n_rows": sums.n_rows, "bits": sums.bits, "total": sums.total})


def checksum(connection: Connection, run_id: int, table: str, columns: list[str]) -> Checksum:
    """The checksum of these columns of a run's rows, as they are now."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    kinds = {column.name: str(column.type) for column in metadata.tables[table].columns}
    values = [_HASHED_AS.get(kinds.get(name, ""), "{}").format(f"t.{quote(name)}") for name in columns]
    row_hash = f"hash_record_extended(ROW({', '.join(values)}), 0)"
    answer = connection.execute(
        text(
            f"""SELECT count(*), COALESCE(bit_xor({row_hash}), 0), COALESCE(sum(hashint8extended({row_hash}, 0)), 0)
                FROM public.{quote(table)} AS t WHERE {_rows_of_run(table)}"""
        ),
        {"run_id": run_id},
    ).one()
    return Checksum(int(answer[0]), int(answer[1]), int(answer[2]))
