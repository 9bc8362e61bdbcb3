"""Runs migrations: one at a time on a database, patient with nobody's lock, all steps in one transaction."""

import re

from alembic import context
from sqlalchemy import Connection, text

from catalog import schema  # noqa: F401  (fills the metadata)
from catalog.base import metadata

LOCK = 7_215_001
"""Advisory lock that two upgrades of one database compete for."""


def include_object(item: object, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:
    """Partitions belong to runs, not to the schema."""
    return not (kind == "table" and reflected and name is not None and re.search(r"_run_\d+$", name))


def run(connection: Connection) -> None:
    """Migrate through an open connection."""
    connection.execute(text("SET statement_timeout = '60s'"))
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
    connection.execute(text("SET lock_timeout = '4s'"))
    connection.commit()
    try:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            include_object=include_object,
            compare_server_default=False,
            transaction_per_migration=False,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("RESET lock_timeout"))
        connection.execute(text("RESET statement_timeout"))
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
        connection.commit()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
elif context.is_offline_mode():
    context.configure(url="postgresql://", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    from catalog.engine import writer_engine

    with writer_engine().connect() as opened:
        run(opened)
