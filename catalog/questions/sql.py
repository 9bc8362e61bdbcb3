"""Any question in SQL, asked by a role that cannot write.

The connection logs in as catalog_reader (a superuser's SET ROLE could be reset), sends one statement by the extended
protocol (which takes no second one), inside a read-only transaction that is rolled back, under a time limit.
"""

import re
from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy.exc import OperationalError

from catalog.answers import Rows, from_driver
from catalog.errors import DatabaseError, InputError, did_you_mean
from catalog.server.engine import check_catalog, reader_engine, unreachable

TIME_LIMIT_SECONDS = 60
NEAR = 40
"""Characters of a statement that are shown from where it fails."""
LACKING = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)
NOTHING_THERE = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.InsufficientPrivilege)


def run_reader_sql(statement: str, url: str | None = None) -> Rows:
    """The rows of one statement that reads.

    Raises:
        InputError: the statement fails, writes, or is more than one.
        DatabaseError: the database cannot be reached as catalog_reader.
    """
    engine = reader_engine(url)
    try:
        connection = engine.raw_connection()
    except (OperationalError, psycopg.OperationalError) as error:  # the pool does not wrap what the driver raises
        raise _cannot_log_in(engine.url.username, error, unreachable(engine, error), url) from None
    driver = connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        driver.read_only = True
        with driver.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{TIME_LIMIT_SECONDS}s"])
            # prepare=True sends Parse and Execute, which carry one statement only
            cursor.execute(statement.encode(), prepare=True)
            if cursor.description is None:
                raise InputError("the statement returns no rows; give one SELECT.")
            return from_driver(cursor.description, cursor.fetchall())
    except psycopg.Error as error:
        if isinstance(error, NOTHING_THERE):
            check_catalog(url)  # a database without a schema, or with an older one, lacks what a statement names
        raise InputError(_sentence(error, statement, _views(driver, error))) from None
    finally:
        connection.invalidate()
        engine.dispose()


def _sentence(error: psycopg.Error, statement: str, views: Sequence[str]) -> str:
    reason = (error.diag.message_primary or str(error)).strip().rstrip(".")
    if isinstance(error, (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)):
        return f"`catalog sql` only reads ({reason}); use the commands of `catalog --help` to change the catalog."
    if isinstance(error, psycopg.errors.QueryCanceled):
        return f"the statement took longer than {TIME_LIMIT_SECONDS} s; narrow it down."
    hint = _clause(error.diag.message_hint) or "correct it"
    if isinstance(error, LACKING) and not error.diag.message_hint:
        missing = re.search(r'relation "(?:\w+\.)?(\w+)"', reason)
        nearest = did_you_mean(missing[1], views) if missing else ""
        hint = f"README.md lists the views{nearest}, `\\d+ VIEW` in psql their columns"
    return f"the statement fails{_place(error.diag.statement_position, statement)} ({reason}); {hint}."


def _views(driver: "psycopg.Connection[Any]", error: psycopg.Error) -> list[str]:
    """The views and tables that a statement may have meant, if it named one that is not there."""
    if not isinstance(error, psycopg.errors.UndefinedTable):
        return []
    driver.rollback()
    public = "relnamespace = 'public'::regnamespace"
    names = driver.execute(f"SELECT relname FROM pg_class WHERE {public} AND relkind IN ('v', 'r', 'p')")
    return [name for (name,) in names]


def _place(position: str | None, statement: str) -> str:
    """Where the server stopped reading, counted from 1, and what stands there."""
    if position is None:
        return ""
    there = " ".join(statement[int(position) - 1 :].split())
    near = there if len(there) <= NEAR else there[:NEAR] + "…"
    return f" at character {position}, near `{near}`" if near else f" at its end, character {position}"


def _clause(hint: str | None) -> str:
    """The server's hint as a part of a sentence."""
    sentences = [part for part in (hint or "").strip().rstrip(".").split(". ") if part]
    return "; ".join(part[0].lower() + part[1:] for part in sentences)


def _cannot_log_in(user: str | None, error: Exception, otherwise: DatabaseError, url: str | None) -> DatabaseError:
    if not any(word in str(error) for word in ("password", "authentication", "role")):
        return otherwise
    try:
        check_catalog(url)  # which makes the role
    except DatabaseError as missing:
        return missing
    return DatabaseError(
        f"the server does not let {user} in; set CATALOG_READER_PASSWORD and run `catalog db upgrade`, which gives the "
        "role that password."
    )
