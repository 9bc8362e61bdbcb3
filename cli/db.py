"""`catalog db`: the database and its schema; `catalog sql`: any question, as the role that may only read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.errors import InputError
from cli.options import FormatOption
from cli.output import Format, show_rows, talk, tell_why, write

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(name="db", help="The database: schema, address, start, stop.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(sql)


def sql(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One statement that reads.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """The rows of one SQL statement. It runs as the role catalog_reader, which may only read."""
    from catalog.questions.sql import run_reader_sql

    answer = run_reader_sql(statement)
    show_rows(answer, format, as_asked=True)
    tell_why(len(answer), lambda: "the statement has no rows")


@contextmanager
def opened() -> "Iterator[Engine]":
    """The writer's engine, closed afterwards."""
    from catalog.server.engine import writer_engine

    engine = writer_engine()
    try:
        yield engine
    finally:
        engine.dispose()


@app.command()
def upgrade() -> None:
    """Create the schema and its views, or bring them up to this version."""
    from catalog.server import migrate

    with opened() as engine:
        before = migrate.current(engine)
        migrate.upgrade(engine)
        after = migrate.current(engine)
    talk(f"the schema is at {after}" + (" already" if after == before else f", before at {before or 'nothing'}"))


@app.command()
def check() -> None:
    """Whether schema and views are those that are needed; exit 1 if not."""
    from catalog.server import migrate
    from catalog.server.engine import check_schema, check_views

    with opened() as engine:
        check_schema(engine)
        check_views(engine)
        talk(f"the schema is at {migrate.current(engine)}, as it should be")


@app.command()
def url(
    show_password: Annotated[bool, typer.Option("--show-password", help="Print the password, too.")] = False,
) -> None:
    """The database's address, for psql and other clients."""
    from catalog.server.engine import address, database_url, has_password

    at = database_url()
    write(address(at, hide_password=not show_password) + "\n")
    if has_password(at) and not show_password:
        talk("the password is left out: psql asks for it, or takes it from PGPASSWORD; --show-password prints it")


@app.command()
def start() -> None:
    """Start the embedded PostgreSQL. CATALOG_DATABASE_URL names a server of your own instead."""
    from catalog.server import embedded

    _refuse_own_server("start")
    was_running = embedded.running()
    embedded.start()
    talk(
        f"the embedded PostgreSQL {'was running already' if was_running else 'is running'}; its files are in "
        f"{embedded.data_folder()}"
    )


@app.command()
def stop() -> None:
    """Stop the embedded PostgreSQL; its data stay."""
    from catalog.server import embedded

    _refuse_own_server("stop")
    talk("the embedded PostgreSQL is stopped" if embedded.stop() else "the embedded PostgreSQL was not running")


def _refuse_own_server(verb: str) -> None:
    from catalog import settings

    if settings.database_url() is not None:
        raise InputError(
            f"CATALOG_DATABASE_URL names a server of your own, which is not ours to {verb}; unset it to {verb} the "
            "embedded one."
        )
