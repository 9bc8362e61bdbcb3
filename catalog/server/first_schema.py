"""The schema of a catalog that is opened for the first time."""

from collections.abc import Callable

from sqlalchemy import Engine

from catalog import settings
from catalog.errors import SchemaError
from catalog.server.engine import check_schema, writer_engine


def open_for_ingest(url: str | None, say: Callable[[str], None]) -> Engine:
    """A writer's engine on a schema that this code needs; an embedded database that has none yet gets it.

    A server that CATALOG_DATABASE_URL names is somebody's own: there nothing is created, the sentence asks for it.

    Args:
        say: told if a schema was created.
    Raises:
        DatabaseError: the database cannot be reached.
        SchemaError: the schema is missing on a server, or is another version's.
    """
    engine = writer_engine(url)
    try:
        try:
            check_schema(engine)
        except SchemaError:
            from catalog.server import migrate

            if (url or settings.database_url()) is not None or migrate.current(engine) is not None:
                raise
            migrate.upgrade(engine)
            say(f"the embedded database was empty; its schema is made, at {migrate.current(engine)}")
    except BaseException:
        engine.dispose()
        raise
    return engine
