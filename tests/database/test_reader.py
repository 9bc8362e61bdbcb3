"""The role catalog_reader reads what is published and can write nothing, however it is asked."""

import psycopg
import pytest
from sqlalchemy import event

from catalog.errors import CatalogError, DatabaseError
from catalog.questions.sql import run_reader_sql
from catalog.server.engine import reader_engine
from tests.conftest import READER_PASSWORD
from tests.database.helpers import one, rows, visible
from tests.published import spec_of, stage_small_family
from tests.published_rows import MODELS, N


@pytest.fixture
def published(published_family, engine):
    return engine


def test_rows_come_back_with_their_types(published, database_url):
    answer = run_reader_sql(
        """SELECT model, layer, neuron, excess_corr, universal, n_models::int AS n, NULL::int AS nothing, 1.5::numeric AS x
           FROM neuron_profiles ORDER BY model, layer, neuron LIMIT 5""",
        database_url,
    ).frame()
    kinds = {name: str(kind) for name, kind in answer.dtypes.items()}
    assert kinds == {
        "model": "str", "layer": "int64", "neuron": "int64", "excess_corr": "float64", "universal": "str", "n": "int64",
        "nothing": "Int64", "x": "float64",
    }  # fmt: skip
    assert answer["excess_corr"].isna().tolist() == [True, False, False, False, False]
    answer = run_reader_sql("SELECT current_user AS a, session_user AS b, '100%' AS c", database_url)
    assert list(answer) == [("catalog_reader", "catalog_reader", "100%")]


WRITING = {
    "reset the role": "RESET ROLE",
    "become another": "SET ROLE postgres",
    "two statements": "COMMIT; DELETE FROM labels",
    "end the transaction": "COMMIT",
    "begin another": "BEGIN READ WRITE",
    "delete": "DELETE FROM labels",
    "writing CTE": "WITH gone AS (DELETE FROM labels RETURNING *) SELECT count(*) FROM gone",
    "program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "file": "COPY (SELECT 1) TO '/tmp/never'",
    "copy out": "COPY labels TO STDOUT",
    "copy in": "COPY labels FROM STDIN",
    "read write": "SET TRANSACTION READ WRITE",
    "read write by a function": "SELECT set_config('transaction_read_only', 'off', false)",
    "read write from now on": "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "anonymous block": "DO $$ BEGIN DELETE FROM labels; END $$",
    "block that commits": "DO $$ BEGIN COMMIT; DELETE FROM labels; END $$",
    "table": "CREATE TABLE mine (a int)",
    "temporary table": "CREATE TEMPORARY TABLE mine AS SELECT 1",
    "table by selecting": "SELECT * INTO mine FROM models",
    "sequence": "SELECT nextval('runs_id_seq')",
    "drop": "DROP VIEW neuron_profiles",
    "truncate": "TRUNCATE labels",
    "large object": "SELECT lo_create(0)",
    "lock": "LOCK TABLE labels IN ACCESS EXCLUSIVE MODE",
    "lock of rows": "SELECT * FROM labels FOR UPDATE",
    "no SQL": "show me the neurons",
    "empty": "",
}


@pytest.mark.parametrize("statement", WRITING.values(), ids=WRITING)
def test_every_attempt_to_write_is_refused_with_one_sentence(published, database_url, statement):
    before = visible(published)
    if "lo_create" in statement and one(published, "SHOW server_version_num") < "160000":
        run_reader_sql(statement, database_url)  # before version 16 the server lets it pass, and we roll it back
        assert one(published, "SELECT count(*) FROM pg_largeobject_metadata") == 0
        return
    with pytest.raises(CatalogError) as caught:
        run_reader_sql(statement, database_url)
    message = str(caught.value)
    assert "\n" not in message and message.endswith("."), message
    assert visible(published) == before


@pytest.mark.parametrize(
    "statement", ["DELETE FROM labels", "CREATE TABLE mine (a int)", "UPDATE rules SET value = 0", "TRUNCATE models"]
)
def test_the_role_cannot_write_even_in_a_transaction_that_may(published, database_url, statement):
    """Read-only transactions are the second lock; the first is that the role has no rights."""
    reader = reader_engine(database_url)
    with reader.connect() as connection:
        driver = connection.connection.driver_connection
        driver.execute("SET default_transaction_read_only = off")
        driver.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            driver.execute(statement)
    reader.dispose()


def test_what_the_role_may(published):
    rights = rows(
        published,
        """SELECT c.relkind::text, bool_and(has_table_privilege('catalog_reader', c.oid, 'SELECT')),
                  bool_or(has_table_privilege('catalog_reader', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER'))
           FROM pg_class c WHERE c.relnamespace IN ('public'::regnamespace, 'history'::regnamespace)
             AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
                 AND c.relname NOT IN ('alembic_version', 'run_job_results') GROUP BY 1""",
    )
    assert sorted(rights) == [("p", True, False), ("r", True, False), ("v", True, False)]
    for schema in ("public", "history"):
        assert one(published, f"SELECT has_schema_privilege('catalog_reader', '{schema}', 'USAGE')") is True
        assert one(published, f"SELECT has_schema_privilege('catalog_reader', '{schema}', 'CREATE')") is False
    assert one(published, "SELECT has_schema_privilege('catalog_reader', 'staging', 'USAGE')") is False
    ((can_login, elevated),) = rows(
        published,
        """SELECT rolcanlogin, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
           FROM pg_roles WHERE rolname = 'catalog_reader'""",
    )
    assert (can_login, elevated) == (True, False)


def test_what_is_staged_cannot_be_read(engine, database_url):
    from catalog.runs.life import begin_run

    with begin_run(engine, spec_of("staged")) as handle:
        stage_small_family(handle)
        with pytest.raises(CatalogError, match="permission denied for schema staging"):
            run_reader_sql(f"SELECT * FROM staging.run_{handle.run_id}_pairs", database_url)
        assert len(run_reader_sql("SELECT * FROM neuron_profiles", database_url)) == 0
        assert run_reader_sql("SELECT status FROM runs", database_url).column("status") == ["running"]


def test_pairs_of_a_new_run_are_readable_at_once(published, database_url):
    """A partition brings no rights of its own; the role reads it through its parent."""
    answer = run_reader_sql("SELECT count(*) AS n FROM pairs", database_url)
    assert answer.column("n") == [len(MODELS) * 2 * 2 * (N - 1)]


def test_a_statement_that_takes_too_long_is_ended(published, database_url, monkeypatch):
    monkeypatch.setattr("catalog.questions.sql.TIME_LIMIT_SECONDS", 0.2)
    with pytest.raises(CatalogError, match=r"took longer than 0.2 s; narrow it down\."):
        run_reader_sql("SELECT pg_sleep(30)", database_url)


def test_a_wrong_column_is_one_sentence_with_the_servers_reason(published, database_url):
    with pytest.raises(CatalogError, match='column "colour" does not exist'):
        run_reader_sql("SELECT colour FROM neuron_profiles", database_url)


def test_without_a_schema_the_sentence_names_the_command(empty_database_url, server, monkeypatch):
    with pytest.raises(CatalogError) as caught:
        run_reader_sql("SELECT * FROM neuron_profiles", empty_database_url)
    assert "\n" not in str(caught.value)


def test_the_password_is_stored_as_a_hash_and_told_to_nobody(engine, monkeypatch, caplog):
    from catalog.server import migrate

    # the same one in every test: roles belong to the server, and other tests log in at the same time
    monkeypatch.setenv("CATALOG_READER_PASSWORD", READER_PASSWORD)
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(str(arguments[2:4])))
    migrate.upgrade(engine)
    stored = one(engine, "SELECT rolpassword FROM pg_authid WHERE rolname = 'catalog_reader'")
    assert str(stored).startswith("SCRAM-SHA-256$")
    assert READER_PASSWORD not in f"{stored} {statements} {caplog.text}"


def test_an_unreachable_server_is_one_sentence_without_the_password(monkeypatch):
    monkeypatch.setenv("CATALOG_READER_PASSWORD", "hidden-too")
    with pytest.raises(DatabaseError) as caught:
        run_reader_sql("SELECT 1", "postgresql://writer:hidden@localhost:1/catalog")
    assert "hidden" not in str(caught.value) and "\n" not in str(caught.value)
