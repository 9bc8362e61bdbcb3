"""The command line in this process, on a database that holds the small published family."""

import functools
import json
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import URL

from cli.main import main
from tests.conftest import copy_database, drop_database, maintenance, text_of


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
def use_published_family(
    server: URL, family_template: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """The environment in which commands find the family, which they must not change; more may be set in it."""
    if os.environ.get("TEST_DATABASE_URL"):
        monkeypatch.setenv("CATALOG_READER_PASSWORD", "only-for-tests")
    monkeypatch.setenv("CATALOG_DATABASE_URL", text_of(server.set(database=_family(server, family_template, request.config))))
    return monkeypatch


@pytest.fixture
def family_copy(server: URL, family_template: str, settings: pytest.MonkeyPatch) -> Iterator[str]:
    """The environment with a copy of the family, for a test that changes it."""
    name = _create(server, family_template)
    settings.setenv("CATALOG_DATABASE_URL", text_of(server.set(database=name)))
    yield name
    _drop(server, name)


@pytest.fixture(name="catalog")
def run_catalog(
    settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_engine_each: None
) -> Callable[..., Answer]:
    """`catalog("find", "--limit", "3")` runs the real command line in this process."""

    def run(*arguments: str) -> Answer:
        with pytest.raises(SystemExit) as exit:
            main(list(arguments))
        captured = capsys.readouterr()
        return Answer(int(exit.value.code or 0), captured.out, captured.err)

    return run


@functools.cache
def _family(server: URL, template: str, config: pytest.Config) -> str:
    """Name of the family's database, one for each test process."""
    name = _create(server, template)
    config.add_cleanup(lambda: _drop(server, name) if os.environ.get("TEST_DATABASE_URL") else None)
    return name


def _create(server: URL, template: str) -> str:
    name = f"family_{uuid.uuid4().hex}"
    with maintenance(server) as connection:
        copy_database(connection, name, template)
    return name


def _drop(server: URL, name: str) -> None:
    with maintenance(server) as connection:
        drop_database(connection, name)
