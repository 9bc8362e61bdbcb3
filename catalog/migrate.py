"""The schema's versions: upgrade, downgrade, and what there is."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from catalog import settings
from catalog.errors import DatabaseError

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; `connection` is what env.py migrates."""
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.attributes["connection"] = connection
    return made


def head() -> str:
    """The revision that this code needs."""
    found = ScriptDirectory.from_config(config()).get_current_head()
    assert found is not None
    return found


def known() -> set[str]:
    """All revisions of this code."""
    return {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}


def current(engine: Engine) -> str | None:
    """The revision of the database; None if it has no schema."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the schema up to `revision`, under a lock, and give the reader its password if one is set.

    Raises:
        DatabaseError: the database refuses a step, or another command is changing the schema; nothing is changed.
    """
    _migrate(engine, command.upgrade, revision)
    password = settings.reader_password()
    if password is not None:
        _set_reader_password(engine, password)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema down to `revision`.

    Raises:
        DatabaseError: as `upgrade`.
    """
    _migrate(engine, command.downgrade, revision)


def _migrate(engine: Engine, step: Any, revision: str) -> None:
    try:
        with engine.connect() as connection:
            step(config(connection), revision)
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise DatabaseError(
            f"the schema cannot be changed to {revision} ({reason}); nothing was changed, so mend that and repeat the "
            "command, as a role that may create extensions and roles."
        ) from error


def _set_reader_password(engine: Engine, password: str) -> None:
    """The password is hashed here, so that neither the server's log nor its statistics see it."""
    from psycopg import sql

    with engine.begin() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        hashed = driver.pgconn.encrypt_password(password.encode(), b"catalog_reader", b"scram-sha-256").decode()
        driver.execute(sql.SQL("ALTER ROLE catalog_reader PASSWORD {}").format(sql.Literal(hashed)))
