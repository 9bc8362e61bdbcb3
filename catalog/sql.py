"""Any question in SQL, asked by a role that cannot write.

The connection logs in as catalog_reader (a superuser's SET ROLE could be reset), sends one statement by the extended
protocol (which takes no second one), inside a read-only transaction that is rolled back, under a time limit.
"""

import psycopg
from sqlalchemy.exc import OperationalError

from catalog.answers import Rows, from_driver
from catalog.engine import reader_engine, unreachable
from catalog.errors import DatabaseError, InputError

TIME_LIMIT_SECONDS = 60


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
        raise _cannot_log_in(engine.url.username, error, unreachable(engine, error)) from None
    try:
        driver = connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        driver.read_only = True
        with driver.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{TIME_LIMIT_SECONDS}s"])
            # prepare=True sends Parse and Execute, which carry one statement only
            cursor.execute(statement.encode(), prepare=True)
            if cursor.description is None:
                raise InputError("the statement returns no rows; give one SELECT.")
            return from_driver(cursor.description, cursor.fetchall())
    except psycopg.Error as error:
        raise InputError(_sentence(error)) from None
    finally:
        connection.invalidate()
        engine.dispose()


def _sentence(error: psycopg.Error) -> str:
    reason = (error.diag.message_primary or str(error)).strip().rstrip(".")
    if isinstance(error, (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)):
        return f"`catalog sql` only reads ({reason}); use the commands of `catalog --help` to change the catalog."
    if isinstance(error, psycopg.errors.QueryCanceled):
        return f"the statement took longer than {TIME_LIMIT_SECONDS} s; narrow it down."
    return f"the statement fails ({reason}); the views and their columns stand in README.md."


def _cannot_log_in(user: str | None, error: Exception, otherwise: DatabaseError) -> DatabaseError:
    if any(word in str(error) for word in ("password", "authentication", "role")):
        return DatabaseError(
            f"the server does not let {user} in; set CATALOG_READER_PASSWORD and run `catalog db upgrade`, which gives the "
            "role that password."
        )
    return otherwise
