"""Servers that cannot hold a catalog are refused in one sentence, which never tells a password."""

import psycopg
import pytest
from sqlalchemy import make_url

from catalog.errors import DatabaseError
from catalog.server import engine as engines
from catalog.server.engine import address, writer_engine


def refused(url: str) -> str:
    with pytest.raises(DatabaseError) as caught:
        writer_engine(url)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and "secret" not in message, message
    return message


@pytest.mark.parametrize(
    ("default", "installed", "said"),
    [
        (None, None, "lacks pgvector"),
        ("0.5.1", None, "has pgvector 0.5.1"),
        ("0.8.0", "0.6.2", "has pgvector 0.6.2"),
        ("0.7.0", None, None),
        ("0.10.0", None, None),
    ],
)
def test_pgvector_is_needed_and_new_enough(empty_database_url, default, installed, said):
    """The real question to a real server, whose list of extensions is hidden behind one of ours."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA bare")
        connection.execute(
            "CREATE TABLE bare.pg_available_extensions (name text, default_version text, installed_version text)"
        )
        if default is not None:
            connection.execute("INSERT INTO bare.pg_available_extensions VALUES ('vector', %s, %s)", [default, installed])
    url = make_url(empty_database_url).update_query_dict({"options": "-csearch_path=bare,pg_catalog"})
    text = url.render_as_string(hide_password=False)
    if said is None:
        writer_engine(text).dispose()
    else:
        assert refused(text) == f"the server {said}, and 0.7 is the least that works; install pgvector on it."


def test_an_old_server(empty_database_url, monkeypatch):
    monkeypatch.setattr(engines, "LEAST_SERVER", 990_000)
    assert "is the oldest that works; use a newer one." in refused(empty_database_url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://owner:secret@127.0.0.1:1/catalog",
        "postgresql://owner:secret@/catalog?host=/nowhere/at/all",
        "postgres://owner:secret@name.invalid/catalog",
    ],
)
def test_a_server_that_does_not_answer(url):
    assert "cannot be reached" in refused(url)


def test_a_database_that_does_not_exist(empty_database_url):
    missing = make_url(empty_database_url).set(database="missing").render_as_string(hide_password=False)
    assert 'database "missing" does not exist' in refused(missing)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("secret", "is no database URL"),
        ("postgresql://owner:secret@host:port/x", "is no database URL"),
        ("mysql://owner:secret@host/x", "names 'mysql', but the catalog lives in PostgreSQL"),
    ],
)
def test_what_is_no_address_of_a_postgresql_server(url, said):
    assert said in refused(url)


def test_an_address_is_shown_without_its_password_and_as_psql_reads_it():
    url = make_url("postgresql+psycopg://a:secret@/catalog?host=%2Fa+b%2Bc")
    assert address(url) == "postgresql://a@/catalog?host=%2Fa%20b%2Bc"
    assert "secret" in address(url, hide_password=False)
