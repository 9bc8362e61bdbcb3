"""What no migration freezes, for it is made from the code after all of them: the views, and the tables of extensions.

A view holds no rows, so that all can be dropped and made anew. `migrations/env.py` does both, in the transaction of the
migrations themselves. Where the tables are older than the code there are no views.
"""

import hashlib
import re

from sqlalchemy import Connection, text

from catalog import parts
from catalog.schema.base import EXTENSION, metadata
from catalog.views import index_words, overview

_THRESHOLD = """
INSERT INTO rules (rule_version, family, parameter, value, description)
SELECT version, :family, :parameter, :value, :about FROM rule_versions
    ON CONFLICT (rule_version, family, parameter) DO UPDATE SET description = excluded.description"""
_MADE_FROM = "Version of the tables. The views were made from statements of sha256 "
_OURS = """
SELECT c.oid::regclass::text FROM pg_class c
 WHERE c.relkind = 'v' AND (c.relnamespace = to_regnamespace('history') OR c.relnamespace = 'public'::regnamespace AND (
       c.oid = ANY (SELECT to_regclass(name) FROM unnest(CAST(:names AS text[])) AS name)
       OR EXISTS (SELECT FROM pg_class twin WHERE twin.relkind = 'v' AND twin.relname = c.relname
                                              AND twin.relnamespace = to_regnamespace('history'))))
 ORDER BY c.oid DESC"""
# The latest first: a reader, too, takes the locks of a view before those of the views that it stands on.


def drop_views(connection: Connection, statements: list[str]) -> None:
    """Drop the catalog's views, those of other versions included: all of `history`, and in `public` those of like names.

    Args:
        statements: those of `catalog.views.overview`.

    A view of somebody's own that stands on one of them makes the server refuse, so that nothing of theirs is lost.
    """
    names = connection.execute(text(_OURS), {"names": _names(statements)}).scalars().all()
    if names:
        connection.exec_driver_sql(f"DROP VIEW {', '.join(names)}")
    connection.exec_driver_sql("COMMENT ON TABLE alembic_version IS NULL")


def create(connection: Connection, statements: list[str]) -> None:
    """Make what is missing of extensions' tables and of thresholds, then the views, which must not be there.

    Args:
        statements: those of `catalog.views.overview`.
    """
    _create_extensions(connection)
    said = f"COMMENT ON TABLE alembic_version IS '{_MADE_FROM}{_sha256(statements)}'"
    granted = f"GRANT SELECT ON {', '.join(_names(statements))} TO catalog_reader"
    _execute(connection, [*statements, granted, said])


def is_current(connection: Connection) -> bool:
    """Whether the views were made from this code's statements; what somebody changed by hand since does not show."""
    said = connection.execute(text("SELECT obj_description(to_regclass('alembic_version'), 'pg_class')")).scalar()
    return said == _MADE_FROM + _sha256(overview.statements())


def _create_extensions(connection: Connection) -> None:
    parts.tables()  # which fills the metadata
    tables = [table for table in metadata.sorted_tables if table.info.get(EXTENSION)]
    metadata.create_all(connection, tables=tables)
    for table in tables:
        granted = f"GRANT SELECT ON {table.name} TO catalog_reader"
        _execute(connection, [granted, *index_words.statements([table])])
    for (family, parameter), threshold in parts.thresholds().items():
        values = {"family": family, "parameter": parameter, "value": threshold.value, "about": threshold.about}
        connection.execute(text(_THRESHOLD), values)


def _names(statements: list[str]) -> list[str]:
    """Of the views, with their schemas, in order of creation."""
    matches = [re.match(r"CREATE VIEW (\w+\.\w+) AS\n", statement) for statement in statements]
    return [match[1] for match in matches if match is not None]


def _execute(connection: Connection, statements: list[str]) -> None:
    """All at once, and without parameters, so that % is left as it is."""
    connection.exec_driver_sql(";\n".join(statements), execution_options={"no_parameters": True})


def _sha256(statements: list[str]) -> str:
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()
