"""The command line in this process, on an embedded server of its own that holds the small published family."""

import atexit
import functools
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from cli.main import main
from tests.published import publish_small_family


@functools.cache
def published_home() -> Path:
    """A CATALOG_HOME whose embedded server holds the family, one for each test process; its settings are in place."""
    from catalog import embedded, migrate
    from catalog.engine import writer_engine

    home = Path(tempfile.mkdtemp(prefix="catalog-"))
    before = dict(os.environ)
    os.environ["CATALOG_HOME"] = str(home)
    os.environ.pop("CATALOG_DATABASE_URL", None)

    def end() -> None:
        os.environ["CATALOG_HOME"] = str(home)
        embedded.stop()
        shutil.rmtree(home, ignore_errors=True)

    atexit.register(end)
    try:
        engine = writer_engine()
        migrate.upgrade(engine)
        publish_small_family(engine)
        engine.dispose()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return home


def copied_database(template: str = "catalog") -> str:
    """URL of a new database on the family's server: a copy of the family's, or of another template."""
    from catalog import embedded
    from catalog.engine import writer_engine

    name = f"copy_{uuid.uuid4().hex}"
    server = embedded.start()
    engine = writer_engine(server.set(database="postgres").render_as_string(hide_password=False))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    engine.dispose()
    return server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


class Answer(NamedTuple):
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)


@pytest.fixture(name="settings")
def use_published_home(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment in which commands find the family; more may be set in it."""
    monkeypatch.setenv("CATALOG_HOME", str(published_home()))
    monkeypatch.delenv("CATALOG_DATABASE_URL", raising=False)
    return monkeypatch


@pytest.fixture(name="catalog")
def run_catalog(settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`catalog("find", "--limit", "3")` runs the real command line in this process."""

    def run(*arguments: str) -> Answer:
        with pytest.raises(SystemExit) as exit:
            main(list(arguments))
        captured = capsys.readouterr()
        return Answer(int(exit.value.code or 0), captured.out, captured.err)

    return run
