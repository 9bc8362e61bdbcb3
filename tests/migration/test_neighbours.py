"""Several catalogs on one server share a role: what one of them is in the middle of, another waits for."""

import threading

import pytest
from sqlalchemy import text

from catalog.server import migrate
from catalog.server.engine import writer_engine
from tests.database.helpers import execute


@pytest.fixture
def bare(empty_database_url):
    made = writer_engine(empty_database_url)
    yield made
    made.dispose()


@pytest.mark.parametrize("password", [None, "another"], ids=["schema", "password"])
def test_catalogs_on_one_server_may_be_upgraded_at_the_same_time(engine, bare, monkeypatch, password):
    """What one has changed of the role that all share, and not committed yet, another waits for, or does not need."""
    if password is not None:
        monkeypatch.setenv("CATALOG_READER_PASSWORD", password)
    with engine.connect() as first:
        first.execute(text("ALTER ROLE catalog_reader SET default_transaction_read_only = on"))
        committed = threading.Timer(2.0, first.commit)
        committed.start()
        migrate.upgrade(bare)
        committed.join()
    assert migrate.current(bare) == migrate.head()


@pytest.mark.parametrize("said", migrate.PASSING)
def test_what_another_database_of_the_server_is_in_the_middle_of_is_waited_for(bare, monkeypatch, said):
    tries = []

    def upgrade(configuration, revision):
        tries.append(revision)
        if len(tries) < 3:
            execute(bare, f"DO $$ BEGIN RAISE EXCEPTION '{said} 93978' USING ERRCODE = 'XX000'; END $$")

    monkeypatch.setattr("alembic.command.upgrade", upgrade)
    migrate.upgrade(bare)
    assert tries == ["head"] * 3
