"""The schema's versions: upgrade, downgrade, and what there is. Views are in no version: see `catalog.views.unfrozen`.

Every command asks whether the schema is the one it needs; Alembic takes half a second to load, so only changes load it.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from catalog import settings
from catalog.errors import DatabaseError, SchemaError

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parents[2] / "migrations"
ATTEMPTS = 50
"""Tries, a tenth of a second apart, while another database of the same server changes the role that they share, or goes."""
PASSING = ("tuple concurrently updated", "cache lookup failed for database")
"""What the server says meanwhile: of the role, and of a database that is dropped while the role's rights are looked up."""
_REVISION = r'^(revision|down_revision) = (?:"(\w+)"|None)$'


def config(connection: Connection | None = None) -> "Config":
    """Alembic's configuration; `connection` is what env.py migrates."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.attributes["connection"] = connection
    return made


def head() -> str:
    """The revision that this code needs."""
    scripts = _scripts()
    (last,) = scripts.keys() - set(scripts.values())
    return last


def known() -> set[str]:
    """All revisions of this code."""
    return set(_scripts())


def current(engine: Engine) -> str | None:
    """The revision of the database; None if it has no schema."""
    with engine.connect() as connection:
        if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def check_known(revision: str | None) -> None:
    """Raises:
    SchemaError: the revision of a database is none of this code's.
    """
    if revision is not None and revision not in known():
        raise SchemaError(
            f"the schema is at {revision}, which is newer than this code ({head()}) or older than its first version; update "
            "the code, or use another database."
        )


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the schema up to `revision`, under a lock, and give the reader its password if one is set.

    At the newest revision the views are made anew from the code, also where nothing else is to be done.

    Raises:
        DatabaseError: the database refuses a step, or another command is changing the schema; nothing is changed.
        SchemaError: the schema is at a revision that this code does not know.
    """
    _migrate(engine, "upgrade", revision)
    password = settings.reader_password()
    if password is not None:
        _set_reader_password(engine, password)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema down to `revision`, without any views.

    Raises:
        DatabaseError: as `upgrade`.
    """
    _migrate(engine, "downgrade", revision)


def _scripts() -> dict[str, str | None]:
    """The revisions of migrations/versions, each with the one before it."""
    scripts = {}
    for path in (MIGRATIONS / "versions").glob("*.py"):
        named = dict(re.findall(_REVISION, path.read_text(encoding="utf-8"), re.MULTILINE))
        scripts[named["revision"]] = named["down_revision"] or None
    return scripts


def _migrate(engine: Engine, step: Literal["upgrade", "downgrade"], revision: str) -> None:
    from alembic import command

    check_known(current(engine))

    def migrate() -> None:
        with engine.connect() as connection:
            getattr(command, step)(config(connection), revision)

    try:
        _patiently(migrate)
    except DBAPIError as error:
        raise DatabaseError(
            f"the schema cannot be changed to {revision} ({_reason(error)}); nothing was changed, so mend that and repeat the "
            "command, as a role that may create extensions and roles."
        ) from error


def _reason(error: DBAPIError) -> str:
    """What the server says, in one line, with the first of what it says in detail."""
    said = str(error.orig).strip().splitlines()
    details = [line.removeprefix("DETAIL:").strip() for line in said if line.startswith("DETAIL:")]
    return ": ".join([said[0], *details[:1]])


def _patiently(change: Callable[[], None]) -> None:
    """Repeat a change of what all databases of a server share while another one changes it: no lock of a database covers it."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return change()
        except (DBAPIError, psycopg.Error) as error:
            if not left or not any(said in str(error) for said in PASSING):
                raise
            time.sleep(0.1)


def _set_reader_password(engine: Engine, password: str) -> None:
    """The password is hashed here, so that neither the server's log nor its statistics see it."""
    from psycopg import sql

    def change() -> None:
        with engine.begin() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            hashed = driver.pgconn.encrypt_password(password.encode(), b"catalog_reader", b"scram-sha-256").decode()
            driver.execute(sql.SQL("ALTER ROLE catalog_reader PASSWORD {}").format(sql.Literal(hashed)))

    _patiently(change)
