"""Engines: the writer's and the reader's, on the embedded server or on the one that CATALOG_DATABASE_URL names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from catalog import settings
from catalog.errors import CatalogError, DatabaseError, SchemaError
from catalog.server import embedded, migrate

READER = "catalog_reader"
CONNECT_TIMEOUT_SECONDS = 10
LEAST_SERVER = 150_000
LEAST_VECTOR = (0, 7)
SECRETS = ("password", "sslpassword")
"""Parameters of a URL that are told to nobody."""
_SPELLING = "write it as postgresql://USER@HOST:PORT/DATABASE, and the password after USER and a colon, or in PGPASSWORD"


def database_url(url: str | None = None) -> URL:
    """The URL given, else CATALOG_DATABASE_URL, else the embedded server, which is started.

    Raises:
        DatabaseError: the text is no PostgreSQL URL, or the embedded server does not start.
    """
    chosen = url or settings.database_url()
    if chosen is None:
        return embedded.start()
    try:
        parsed = make_url(chosen)
    except (ArgumentError, ValueError):
        raise DatabaseError(
            f"CATALOG_DATABASE_URL is no database URL; {_SPELLING}."
        ) from None
    if not parsed.drivername.startswith("postgres"):
        raise DatabaseError(
            f"CATALOG_DATABASE_URL names {parsed.drivername!r}, but the catalog lives in PostgreSQL; {_SPELLING}."
        )
    return parsed.set(drivername="postgresql+psycopg")


def writer_engine(url: str | None = None) -> Engine:
    """An engine that may write, checked to reach a server that is new enough and has pgvector.

    Raises:
        DatabaseError: it cannot be reached, is older than PostgreSQL 15, or lacks pgvector 0.7; no password is told.
    """
    engine = _engine(database_url(url))
    try:
        _check_server(engine)
    except DatabaseError:
        engine.dispose()
        raise
    return engine


def engine_if_there(url: str | None = None) -> Engine | None:
    """The writer's engine; None where there is no database yet, or none that can be reached. Nothing is created."""
    if not (url or settings.database_url() or (embedded.data_folder() / "PG_VERSION").exists()):
        return None
    try:
        return writer_engine(url)
    except CatalogError:
        return None


def reader_engine(url: str | None = None) -> Engine:
    """An engine that logs in as `catalog_reader`, so that not even a mistake in our own code could write."""
    at = database_url(url)
    return _engine(URL.create(at.drivername, READER, settings.reader_password(), at.host, at.port, at.database, at.query))


def address(url: URL, hide_password: bool = True) -> str:
    """The URL as psql and libpq read it, which do not take `+` for a blank in the name of a folder.

    A password that is not shown is left out, so that psql asks for it, or takes it from PGPASSWORD.
    """
    shown = url.set(drivername="postgresql")
    if hide_password:
        shown = URL.create(
            shown.drivername, shown.username, None, shown.host, shown.port, shown.database, shown.query
        ).difference_update_query(SECRETS)
    text = shown.render_as_string(hide_password=False)
    place, mark, query = text.partition("?")
    return place + mark + query.replace("+", "%20")


def has_password(url: URL) -> bool:
    """Whether `address` leaves something out."""
    return url.password is not None or any(name in url.query for name in SECRETS)


def _engine(url: URL) -> Engine:
    arguments = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "neuron-catalog"}
    return create_engine(url, connect_args=arguments, pool_pre_ping=True)


def driver_of(connection: Connection) -> psycopg.Connection[Any]:
    """The driver's connection below."""
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver


def lock_session(engine: Engine) -> Connection:
    """A connection that commits each statement by itself, for locks that last as long as its session: see `give_back`."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    # A statement that a killed process left running ends a second later, and its locks with it.
    connection.execute(text("SET client_connection_check_interval = '1s'"))
    return connection


def give_back(connection: Connection) -> None:
    """Close a connection with the locks that its session holds; a second time does nothing."""
    if connection.closed:
        return
    connection.invalidate()
    connection.close()


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction on a connection that commits each statement by itself because its session holds locks."""
    with driver_of(connection).transaction():
        yield


def unreachable(engine: Engine, error: Exception) -> DatabaseError:
    """The one sentence for a server that does not answer."""
    reason = str(getattr(error, "orig", error)).strip().splitlines()[0:1]
    shown = address(engine.url)
    return DatabaseError(
        f"the database {shown} cannot be reached ({reason[0] if reason else type(error).__name__}); start it, or "
        "correct CATALOG_DATABASE_URL, or unset it to use the embedded server."
    )


def _check_server(engine: Engine) -> None:
    try:
        with engine.connect() as connection:
            version = connection.execute(text("SHOW server_version_num")).scalar_one()
            vector = connection.execute(
                text(
                    """SELECT COALESCE(installed_version, default_version)
                       FROM pg_available_extensions WHERE name = 'vector'"""
                )
            ).scalar()
    except OperationalError as error:
        raise unreachable(engine, error) from None
    except DBAPIError as error:
        raise DatabaseError(f"the database refuses to say what it is ({error.orig}); try another server.") from None
    if int(version) < LEAST_SERVER:
        raise DatabaseError(
            f"the server is PostgreSQL {int(version) // 10000}, and 15 is the oldest that works; use a newer one."
        )
    if vector is None or tuple(int(part) for part in vector.split(".")[:2]) < LEAST_VECTOR:
        has = "lacks pgvector" if vector is None else f"has pgvector {vector}"
        raise DatabaseError(f"the server {has}, and 0.7 is the least that works; install pgvector on it.")


def check_schema(engine: Engine) -> None:
    """Raises:
    SchemaError: the schema is not the one this code needs; the sentence names the command that mends it.
    """
    try:
        revision = migrate.current(engine)
    except OperationalError as error:
        raise unreachable(engine, error) from None
    needed = migrate.head()
    if revision == needed:
        return
    migrate.check_known(revision)
    raise SchemaError(f"the schema is {'missing' if revision is None else 'old, at ' + revision}; run `catalog db upgrade`.")


def check_views(engine: Engine) -> None:
    """Not what every command asks: the text of the views takes longer to make than most answers.

    Raises:
        SchemaError: the views were made from other code; the sentence names the command that mends it.
    """
    from catalog.views import unfrozen

    with engine.connect() as connection:
        if not unfrozen.is_current(connection):
            raise SchemaError("the views are not those of this code; run `catalog db upgrade`.")


def check_catalog(url: str | None = None) -> None:
    """Raises:
    DatabaseError: the catalog cannot be reached, or its schema is not the one this code needs.
    """
    engine = writer_engine(url)
    try:
        check_schema(engine)
    finally:
        engine.dispose()
