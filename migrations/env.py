"""Runs migrations: one at a time on a database, patient with nobody's lock, all steps and the views in one transaction."""

import re

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, text

from catalog.schema.base import metadata
from catalog.views import overview, unfrozen

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
            move(connection)
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("RESET lock_timeout"))
        connection.execute(text("RESET statement_timeout"))
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
        connection.commit()


def move(connection: Connection) -> None:
    """Run the steps of a command. One that moves the database has no views in its way; the newest tables get them back."""
    progress = context.get_context()
    if "destination_rev" not in progress.opts:
        context.run_migrations()
        return
    statements = overview.statements()
    if progress.get_current_revision() is not None:
        unfrozen.drop_views(connection, statements)
    context.run_migrations()
    if progress.get_current_revision() == context.get_head_revision():
        unfrozen.create(connection, statements)


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
elif context.is_offline_mode():
    raise CommandError("SQL alone does not do: which views are in the way, the database says; name it and leave out --sql.")
else:
    from catalog.server.engine import writer_engine

    engine = writer_engine()
    try:
        with engine.connect() as opened:
            run(opened)
    finally:
        engine.dispose()
