"""Databases for tests: a real server, templates that are made once per session, a copy of one of them per test.

The server is the one that TEST_DATABASE_URL names, else an embedded one in a temporary folder, which all workers of a
session share. No test sees the user's own catalog.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL, Engine, make_url

if "PYTEST_XDIST_WORKER" in os.environ:  # there is a worker for each processor; torch reads this when it is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.shapes import check_annotations_of

check_annotations_of("ingest")  # before any of it is imported

import ingest  # noqa: E402, F401  (before torch, for it says how threads wait)
from catalog import api  # noqa: E402
from catalog.server import embedded, migrate  # noqa: E402
from catalog.server import engine as engines  # noqa: E402
from catalog.server.engine import writer_engine  # noqa: E402
from tests.faults.launcher import REMEMBERED_WEIGHTS, Launcher  # noqa: E402

SESSION = "CATALOG_TEST_SESSION"
"""Name of the session, which its workers inherit; its templates are called so."""

PREFIX = "catalog-test-"
"""Of folders outside of pytest's: another session of pytest takes those away from all users but root, a server's among them."""

MEMORY, ROOM = Path("/dev/shm"), 2 * 2**30
"""Where files lie in memory, and the least room in bytes that tests want there: a copy of a database is 500 small files, which
a disk makes ten times as slowly."""

READER_PASSWORD = "only-for-tests"


def pytest_configure(config: pytest.Config) -> None:
    """Give the session, and with it its workers, a home of its own."""
    os.environ.pop("CATALOG_DATABASE_URL", None)
    if SESSION not in os.environ:
        os.environ[SESSION] = f"template_{uuid.uuid4().hex[:12]}"
        os.environ["CATALOG_HOME"] = new_folder()
        config.stash[OWNER] = True


OWNER = pytest.StashKey[bool]()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The process that began the session clears up after all workers."""
    if not config.stash.get(OWNER, False):
        return
    home = Path(os.environ["CATALOG_HOME"])
    if os.environ.get("TEST_DATABASE_URL"):
        with maintenance(server_url()) as connection:
            made = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
            for (name,) in connection.execute(made, [os.environ[SESSION]]).fetchall():
                drop_database(connection, name)
    embedded.stop()
    shutil.rmtree(home, ignore_errors=True)
    del os.environ[SESSION]


def new_folder() -> str:
    """For a server: in memory where there is room, else where temporary folders are."""
    roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    return tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY if roomy else None)


def server_url() -> URL:
    """The server of this session, at its maintenance database.

    An embedded one waits for no disk: to drop a database took 2.6 s, fifty times as long, and the server is thrown away. It
    looks after no tables by itself, for none lives long, and compiles no queries, for all tables are small.
    """
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        return make_url(given).set(drivername="postgresql+psycopg")
    server = embedded.start().set(database="postgres")
    with maintenance(server) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum", "jit"):
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        connection.execute("SELECT pg_reload_conf()")
    return server


@contextmanager
def folder_of_a_server() -> Iterator[Path]:
    """A new folder for the files of an embedded server, gone afterwards; the caller stops the server before."""
    folder = Path(new_folder())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def maintenance(server: URL) -> Iterator[psycopg.Connection]:
    with psycopg.connect(text_of(server), autocommit=True) as connection:
        yield connection


def text_of(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def copy_database(connection: psycopg.Connection, name: str, template: str) -> None:
    # as files, which is the fastest where nobody waits for a disk; the default writes every page into the log
    how = "" if os.environ.get("TEST_DATABASE_URL") else " STRATEGY FILE_COPY"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}" + how)
    connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))


def drop_database(connection: psycopg.Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def database(server: URL, template: str) -> Iterator[str]:
    """URL of a new database, gone afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    with maintenance(server) as connection:
        copy_database(connection, name, template)
    try:
        yield text_of(server.set(database=name))
    finally:
        with maintenance(server) as connection:
            drop_database(connection, name)


@pytest.fixture(scope="session")
def remembered_weights() -> Path:
    """Folder of the session for weights that were folded and proved."""
    return Path(os.environ["CATALOG_HOME"]) / "weights"


@pytest.fixture(scope="session")
def launcher(remembered_weights: Path) -> Iterator[Launcher]:
    """Starts commands as processes; one for the session, for it takes longer to load than most of what it starts."""
    made = Launcher(**{REMEMBERED_WEIGHTS: str(remembered_weights)})
    yield made
    made.close()


@pytest.fixture(scope="module")
def one_engine_each() -> Iterator[None]:
    """Commands of a module that ask share an engine for each address: a server plans views several times as fast in a session
    that has done so before. Commands that are processes of their own, and all that write, open what they need."""
    open_engine, known = api.writer_engine, dict[str, Engine]()

    def shared(url: str | None) -> Engine:
        address = text_of(engines.database_url(url))
        if address not in known:
            known[address] = open_engine(url)
            patch.setattr(known[address], "dispose", lambda close=True: None)
        return known[address]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "writer_engine", shared)
        yield
    for each in known.values():
        each.dispose()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads of computation, however many processors a worker has: what is divided among threads is divided here."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def server() -> URL:
    """A PostgreSQL server with pgvector."""
    return server_url()


def template_of(server: URL, name: str, source: str, fill: Callable[[Engine], object]) -> str:
    """Name of a database that this session copies: made once, by the first worker that needs it.

    Args:
        name: tells it from other templates of the session.
        source: the database of which it is a copy before it is filled.
        fill: writes what the copies shall hold.
    """
    made = f"{os.environ[SESSION]}{name}"
    with maintenance(server) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [made])
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [made]).fetchone() is None:
            half_done = f"{made}_half_done"
            copy_database(connection, half_done, source)
            with pytest.MonkeyPatch.context() as patch:
                if os.environ.get("TEST_DATABASE_URL"):
                    patch.setenv("CATALOG_READER_PASSWORD", READER_PASSWORD)
                engine = writer_engine(text_of(server.set(database=half_done)))
                fill(engine)
                engine.dispose()
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            connection.execute(rename.format(sql.Identifier(half_done), sql.Identifier(made)))
        connection.execute("SELECT pg_advisory_unlock(hashtext(%s))", [made])
    return made


@pytest.fixture(scope="session")
def template(server: URL) -> str:
    """Name of a migrated database without rows."""
    return template_of(server, "", "template1", migrate.upgrade)


@pytest.fixture(scope="session")
def family_template(server: URL, template: str) -> str:
    """Name of a database that holds the small published family as run 1."""
    from tests.published import publish_small_family

    return template_of(server, "_family", template, publish_small_family)


@pytest.fixture(scope="session")
def every_family_template(server: URL, template: str) -> str:
    """Name of a database that holds the published family with every family of labels as run 1."""
    from tests.every_family import publish_every_family

    return template_of(server, "_every_family", template, publish_every_family)


@pytest.fixture
def published_family() -> int:
    """A test that asks for it finds the small published family in its database, as the run of this id."""
    return 1


@pytest.fixture
def published_every_family() -> int:
    """The same for the published family with every family of labels."""
    return 1


@pytest.fixture
def database_url(server: URL, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a migrated database of this test alone, without rows unless the test asks for a published family."""
    asked = {"published_family": "family_template", "published_every_family": "every_family_template"}
    source = next((made for family, made in asked.items() if family in request.fixturenames), "template")
    if os.environ.get("TEST_DATABASE_URL"):
        monkeypatch.setenv("CATALOG_READER_PASSWORD", READER_PASSWORD)
    with database(server, request.getfixturevalue(source)) as url:
        yield url


@pytest.fixture
def empty_database_url(server: URL) -> Iterator[str]:
    """URL of a database without a schema, of this test alone."""
    with database(server, "template1") as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A writer's engine on the database of the test."""
    made = writer_engine(database_url)
    yield made
    made.dispose()
