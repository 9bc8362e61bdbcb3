"""Migrations: what they make is what the code declares, they go back, and they follow the house law."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import CommandLine
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.schema import CreateSchema, DropSchema

import catalog.schema  # noqa: F401  (fills the metadata)
from catalog.errors import DatabaseError, SchemaError
from catalog.schema.base import metadata
from catalog.server import migrate
from catalog.server.engine import check_schema, check_views, driver_of, writer_engine
from catalog.views import functions, index_words, overview
from tests.database.helpers import everything, execute, one, rows

VERSIONS = sorted((migrate.MIGRATIONS / "versions").glob("*.py"))

LINT_EXCLUDED = {
    "ban-drop-constraint": "a CHECK is widened by putting another in its place, in the same transaction",
    "prefer-bigint-over-int": "keys count models, neurons and runs; layers and indices are small by design",
    "prefer-bigint-over-smallint": "a layer or a rank never exceeds 32,767",
}
"""Rules of the linter that do not hold here, with the reason."""

DOWNGRADE_EXCLUDED = ("ban-drop-table", "ban-drop-schema", "ban-drop-view", "ban-drop-column", "ban-drop-function")
"""Going back is dropping."""


VIEWS_THERE = "SELECT count(*) FROM pg_views WHERE schemaname IN ('public', 'history')"


def frozen(path: Path) -> tuple[str, str]:
    """The text of a migration, up and down."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.UPGRADE, module.DOWNGRADE


@pytest.fixture
def bare(empty_database_url):
    made = writer_engine(empty_database_url)
    yield made
    made.dispose()


def test_there_is_one_head_and_one_line_of_descent():
    scripts = ScriptDirectory.from_config(migrate.config())
    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1
    assert len(list(scripts.walk_revisions())) == len(VERSIONS)


def test_the_head_that_commands_ask_for_is_alembics(bare):
    """They read it off the files, since Alembic loads slowly."""
    scripts = ScriptDirectory.from_config(migrate.config())
    assert migrate.head() == scripts.get_current_head()
    assert migrate.known() == {script.revision for script in scripts.walk_revisions()}
    assert migrate.current(bare) is None
    for revision in (migrate.head(), "base"):
        (migrate.upgrade if revision == migrate.head() else migrate.downgrade)(bare, revision)
        with bare.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        assert migrate.current(bare) == found == (None if revision == "base" else revision)


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_a_version_is_dated_and_named_for_what_it_does(path):
    found = re.fullmatch(r"(\d{4})_(\d{2})_(\d{2})_[a-z][a-z0-9_]*[a-z0-9]", path.stem)
    assert found, path.stem
    assert date(*map(int, found.groups())) <= date.today()


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_a_version_is_frozen(path):
    """It imports nothing of the catalog, whose code goes on changing."""
    tree = ast.parse(path.read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in names if name.split(".")[0] in ("catalog", "ingest", "cli")], names


@pytest.mark.parametrize("direction", [0, 1], ids=["up", "down"])
@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_the_linter_finds_nothing(path, direction, tmp_path):
    settings = "SET lock_timeout = '4s'; SET statement_timeout = '60s';\n"  # as env.py does
    file = tmp_path / f"{path.stem}.sql"
    file.write_text(settings + frozen(path)[direction])
    excluded = [*LINT_EXCLUDED, *(DOWNGRADE_EXCLUDED if direction else ())]
    command = [str(Path(sys.executable).parent / "squawk"), "--pg-version", "15.0", "--assume-in-transaction"]
    answer = subprocess.run([*command, "--exclude", ",".join(excluded), str(file)], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_up_down_and_up_again_give_the_same_schema(bare):
    migrate.upgrade(bare)
    first = everything(bare, "public", "history", "staging")
    scripts = [script.revision for script in ScriptDirectory.from_config(migrate.config()).walk_revisions()]
    for older in [*scripts[1:], "base"]:
        migrate.downgrade(bare, older)
        assert one(bare, VIEWS_THERE) == 0
    assert everything(bare, "public", "history", "staging") == []
    assert one(bare, "SELECT count(*) FROM pg_namespace WHERE nspname IN ('history', 'staging')") == 0
    for newer in reversed(scripts):
        migrate.upgrade(bare, newer)
    assert everything(bare, "public", "history", "staging") == first
    assert migrate.current(bare) == migrate.head()


def test_going_back_takes_runs_with_it(engine):
    from tests.published import publish_small_family

    publish_small_family(engine)
    migrate.downgrade(engine, "base")
    assert rows(engine, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("alembic_version",)]
    migrate.upgrade(engine)
    assert publish_small_family(engine) == 1


def test_the_comparison_of_migrated_and_declared_is_empty(engine):
    with engine.connect() as connection:
        options = {"compare_type": True, "include_object": _include}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def _include(item, name, kind, reflected, compare_to):
    return not (kind == "table" and re.search(r"_run_\d+$", name))


def test_migrated_is_declared_in_every_word(engine, bare):
    """Tables, columns, defaults, constraints, indexes, views and all comments, as the server prints them."""
    with bare.begin() as connection:
        connection.execute(text("CREATE EXTENSION vector"))
        connection.execute(CreateSchema("history"))
        metadata.create_all(connection)
        for statement in [*index_words.statements(), *functions.statements(), *overview.statements()]:
            driver_of(connection).execute(statement)
    execute(engine, "DROP TABLE alembic_version")
    migrated, declared = everything(engine, "public", "history"), everything(bare, "public", "history")
    assert migrated == declared
    kinds = {kind for kind, *_ in migrated}
    assert kinds == {"r", "p", "v", "i", "I", "S", "constraint", "function"}
    with bare.begin() as connection:
        connection.execute(DropSchema("history", cascade=True))


def test_everything_that_a_reader_sees_has_a_comment(engine):
    """Tables and their partitions, views, every column of both, functions, and every index: keys and partitions included."""
    from tests.published import publish_small_family

    publish_small_family(engine)
    execute(engine, "DROP TABLE alembic_version")
    relations = rows(
        engine,
        """SELECT c.relkind::text, c.oid::regclass::text, a.attname::text,
                  CASE WHEN a.attname IS NULL THEN obj_description(c.oid, 'pg_class') ELSE col_description(c.oid, a.attnum) END
             FROM pg_class c
             LEFT JOIN LATERAL (SELECT NULL::name AS attname, 0::smallint AS attnum
                                UNION ALL SELECT attname, attnum FROM pg_attribute
                                 WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND c.relkind IN ('r', 'p', 'v')
                               ) a ON true
            WHERE c.relnamespace::regnamespace::text IN ('public', 'history') AND c.relkind <> 'S'
              AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')""",
    )
    count = Counter((kind, column is None) for kind, _, column, _ in relations)
    assert count["v", False] > 580 and count["v", True] > 80 and count["i", True] > 70 and count["r", False] > 300
    assert any(name == "pk_pairs_run_1" for _, name, _, _ in relations)
    assert any(name == "pairs_run_1" and column == "correlation" for _, name, column, _ in relations)
    assert [row[:3] for row in relations if not row[3]] == []
    functions_of_ours = rows(
        engine,
        """SELECT p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc') FROM pg_proc p
            WHERE p.pronamespace = 'public'::regnamespace
              AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')""",
    )
    assert [name for name, said in functions_of_ours if said] == ["readable(bytea)"]


def test_every_constraint_has_a_name_of_ours(engine):
    execute(engine, "DROP TABLE alembic_version")
    found = everything(engine, "public", "history")
    # PostgreSQL 18 keeps NOT NULL as a named constraint of its own naming
    names = [row[2] for row in found if row[0] == "constraint" and "NOT NULL" not in str(row[3]).split()[:2]]
    names = [name for name in names if not name.endswith("_not_null")]
    assert [name for name in names if not re.match(r"(pk|fk|uq|ck)_", name)] == []


def test_upgrades_at_once_wait_for_each_other(bare, empty_database_url):
    program = f"from catalog.server import engine, migrate; migrate.upgrade(engine.writer_engine({empty_database_url!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[1] for process in processes] == [b""] * 3
    assert [process.returncode for process in processes] == [0] * 3
    check_schema(bare)
    check_views(bare)


def test_a_refused_step_is_one_sentence_and_changes_nothing(bare):
    execute(bare, "CREATE TABLE models (mine int)")
    with pytest.raises(DatabaseError, match=r"cannot be changed to head \(relation \"models\" already exists") as caught:
        migrate.upgrade(bare)
    assert "\n" not in str(caught.value)
    assert migrate.current(bare) is None
    assert rows(bare, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("models",)]


@pytest.mark.parametrize(("read", "revision"), [("models", "base"), ("neuron_profiles", "head")])
def test_an_upgrade_does_not_wait_long_for_a_lock(engine, read, revision):
    """Somebody reads a table, or a view, that a step wants: the step gives up, and nobody queues behind it."""
    with engine.connect() as reader:
        reader.execute(text(f"SELECT * FROM {read}"))
        with pytest.raises(DatabaseError, match="lock timeout"):
            (migrate.downgrade if revision == "base" else migrate.upgrade)(engine, revision)
    check_schema(engine)
    check_views(engine)


ADVISORY_LOCKS = """SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def test_timeouts_and_lock_are_given_back(bare):
    migrate.upgrade(bare)
    with bare.connect() as connection:
        for setting in ("lock_timeout", "statement_timeout"):
            assert connection.execute(text(f"SHOW {setting}")).scalar_one() == "0"
    assert one(bare, ADVISORY_LOCKS) == 0


def test_an_old_schema_names_the_command(bare, engine):
    with pytest.raises(SchemaError, match="missing; run `catalog db upgrade`"):
        check_schema(bare)
    check_schema(engine)
    execute(engine, "UPDATE alembic_version SET version_num = '2099_01_01_from_the_future'")
    for change in (check_schema, migrate.upgrade, lambda engine: migrate.downgrade(engine, "base")):
        with pytest.raises(SchemaError, match="newer than this code"):
            change(engine)


def test_a_second_catalog_on_the_cluster_keeps_the_reader(engine, bare):
    """Roles belong to the cluster: the second upgrade finds the role, the first downgrade leaves it."""
    migrate.upgrade(bare)
    migrate.downgrade(bare, "base")
    assert one(engine, "SELECT count(*) FROM pg_roles WHERE rolname = 'catalog_reader'") == 1
    assert one(engine, "SELECT has_table_privilege('catalog_reader', 'models', 'SELECT')") is True


def test_alembics_own_command_line_finds_the_migrations(database_url):
    command = [str(Path(sys.executable).parent / "alembic"), "current"]
    environment = {"PATH": "", "CATALOG_DATABASE_URL": database_url}
    answer = subprocess.run(
        command, cwd=migrate.MIGRATIONS.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout.strip()) == (0, f"{migrate.head()} (head)"), answer.stderr


def test_alembics_own_command_line_makes_the_views_too(bare, empty_database_url, monkeypatch):
    """But only where it moves the schema: to ask where it is, or whether it is as declared, changes nothing."""
    monkeypatch.chdir(migrate.MIGRATIONS.parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("CATALOG_DATABASE_URL", empty_database_url)
    alembic = CommandLine("alembic").main
    alembic(["upgrade", "head"])
    check_schema(bare)
    check_views(bare)
    execute(bare, "CREATE OR REPLACE VIEW topics AS SELECT * FROM history.topics")
    changed = everything(bare, "public", "history")
    alembic(["current"])
    alembic(["check"])
    with pytest.raises(SystemExit):
        alembic(["upgrade", "head", "--sql"])
    assert everything(bare, "public", "history") == changed
    alembic(["downgrade", "-1"])
    assert one(bare, VIEWS_THERE) == 0
