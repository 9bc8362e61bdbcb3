"""What no migration freezes: views, and tables of extensions, are the code's after every upgrade, and rows stay untouched."""

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Integer, Table

from catalog.errors import DatabaseError, SchemaError
from catalog.parts.part import View
from catalog.runs.life import begin_run
from catalog.schema.base import EXTENSION, index, metadata
from catalog.server import migrate
from catalog.server.engine import check_schema, check_views, writer_engine
from catalog.verify.checks import verify
from catalog.views import overview
from tests.database.helpers import everything, execute, one, rows
from tests.published import publish_small_family, spec_of, stage_small_family

FILLED = (
    "pairs", "examples", "logit_effects", "top_tokens", "universality_by_model", "subset_statistics", "next_token_statistics"
)  # fmt: skip
"""Tables with a partition per run that the published family has rows of."""

SCHEMAS = ("public", "history", "staging", "queue")

ADDED = View("neuron_thirds", "100 % made up.", "SELECT m.run_id, m.model, m.run_id % 3 AS layer FROM {members} m")
BROKEN = View("neuron_nothing", "Of no table.", "SELECT m.run_id FROM {members} m JOIN public.nowhere n ON true")


@pytest.fixture
def bare(empty_database_url):
    made = writer_engine(empty_database_url)
    yield made
    made.dispose()


def state(engine: Engine) -> tuple[object, ...]:
    """All that the schemas hold, who may read it, and the versions of tables and views."""
    rights = """SELECT c.oid::regclass::text, c.relacl::text FROM pg_class c
                 WHERE c.relnamespace::regnamespace::text = ANY(:schemas) AND c.relkind IN ('r', 'p', 'v') ORDER BY 1"""
    versions = "SELECT obj_description(to_regclass('alembic_version'), 'pg_class')"
    readers = rows(engine, rights, schemas=list(SCHEMAS))
    return everything(engine, *SCHEMAS), readers, one(engine, versions), migrate.current(engine)


def with_view(monkeypatch: pytest.MonkeyPatch, view: View) -> None:
    """The code of a version that has one more view."""
    monkeypatch.setattr(overview, "OVERVIEW", (*overview.OVERVIEW, view))


@pytest.mark.parametrize(
    "change",
    [
        """CREATE OR REPLACE VIEW topics AS SELECT * FROM history.topics""",
        """DROP VIEW history.topics""",
        """DROP VIEW public.topics""",
        """DROP VIEW history.topics; DROP VIEW public.topics""",
        """CREATE VIEW history.of_older_code AS SELECT id FROM models;
           CREATE VIEW public.of_older_code AS SELECT id FROM models""",
        """COMMENT ON VIEW topics IS 'What somebody else says.'""",
        """REVOKE SELECT ON topics FROM catalog_reader""",
    ],
)
def test_views_that_somebody_changed_are_the_codes_again(engine, change):
    before = state(engine)
    execute(engine, change)
    assert state(engine) != before
    migrate.upgrade(engine)
    assert state(engine) == before
    check_views(engine)


def test_code_with_other_views_says_so_and_brings_them_up_to_date(engine, monkeypatch):
    before = state(engine)
    with monkeypatch.context() as newer:
        with_view(newer, ADDED)
        check_schema(engine)
        with pytest.raises(SchemaError, match="not those of this code; run `catalog db upgrade`"):
            check_views(engine)
        migrate.upgrade(engine)
        check_views(engine)
        for name in ("public.neuron_thirds", "history.neuron_thirds"):
            assert one(engine, f"SELECT has_table_privilege('catalog_reader', '{name}', 'SELECT')") is True
            assert one(engine, f"SELECT obj_description('{name}'::regclass)") == ADDED.comment
    with pytest.raises(SchemaError, match="not those of this code"):
        check_views(engine)
    migrate.upgrade(engine)
    assert state(engine) == before


def test_after_a_downgrade_there_are_no_views(engine):
    publish_small_family(engine)
    migrate.downgrade(engine, "base")
    assert rows(engine, "SELECT viewname FROM pg_views WHERE schemaname IN ('public', 'history')") == []
    with pytest.raises(SchemaError):
        check_views(engine)


@pytest.mark.parametrize("with_tables", [False, True])
def test_a_view_that_is_refused_leaves_tables_views_and_version_as_they_were(bare, monkeypatch, with_tables):
    if with_tables:
        migrate.upgrade(bare)
    before = state(bare)
    with monkeypatch.context() as broken:
        with_view(broken, BROKEN)
        with pytest.raises(DatabaseError, match=r"changed to head \(relation \"public.nowhere\" does not exist") as caught:
            migrate.upgrade(bare)
    assert "\n" not in str(caught.value)
    assert state(bare) == before
    assert migrate.current(bare) == (migrate.head() if with_tables else None)
    migrate.upgrade(bare)
    check_views(bare)


def test_views_of_ones_own_are_not_lost(engine):
    """One that stands on the catalog's is in the way, and the server says so; others stay."""
    execute(engine, "CREATE VIEW public.mine AS SELECT id FROM models")
    migrate.upgrade(engine)
    assert one(engine, "SELECT count(*) FROM mine") == 0
    execute(engine, "CREATE SCHEMA mine; CREATE VIEW mine.profiles AS SELECT * FROM neuron_profiles")
    before = state(engine)
    with pytest.raises(DatabaseError, match=r"depend on them: view mine\.profiles depends on view neuron_profiles\)"):
        migrate.upgrade(engine)
    assert state(engine) == before and one(engine, "SELECT count(*) FROM mine.profiles") == 0


def test_a_database_with_such_a_view_of_its_own_is_refused(bare):
    execute(bare, "CREATE VIEW public.topics AS SELECT 1 AS mine")
    with pytest.raises(DatabaseError, match=r"relation \"topics\" already exists"):
        migrate.upgrade(bare)
    assert rows(bare, "SELECT * FROM topics") == [(1,)] and migrate.current(bare) is None


def test_partitions_staged_rows_and_tables_beside_ours_stay_untouched(engine):
    """Not even their files are others, so that an upgrade without a step takes no longer in a big catalog."""
    publish_small_family(engine)
    execute(engine, "CREATE TABLE mine AS SELECT 1 AS kept")
    with begin_run(engine, spec_of("staged")) as handle:
        stage_small_family(handle)
        named = r"SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' AND relname LIKE '%\_run\_1' ORDER BY 1"
        partitions = [name for (name,) in rows(engine, named)]
        assert partitions == sorted(f"{table}_run_1" for table in FILLED)
        staged = [name for (name,) in rows(engine, "SELECT tablename FROM pg_tables WHERE schemaname = 'staging' ORDER BY 1")]
        assert staged
        seen = ["neuron_examples", "neuron_profiles", "history.neuron_matches"]
        kept = [*partitions, *seen, *(f"staging.{name}" for name in staged), "mine"]

        def contents() -> dict[str, list[str]]:
            return {name: sorted(map(repr, rows(engine, f"SELECT * FROM {name}"))) for name in kept}

        def files() -> list[tuple]:
            of_tables = "SELECT oid, relfilenode FROM pg_class WHERE relkind IN ('r', 'i') AND oid >= 16384 ORDER BY 1"
            return rows(engine, of_tables)

        before, words, stored = contents(), state(engine), files()
        assert all(before[name] for name in [*partitions, *seen, "mine"])
        migrate.upgrade(engine)
        assert contents() == before and state(engine) == words and files() == stored
    assert {finding.status for finding in verify(engine, 1)} == {"ok"}


@pytest.fixture
def throw_away():
    """A table that is declared for the length of a test."""
    table = Table(
        "throw_away_probes",
        metadata,
        Column("run_id", Integer, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, comment="The run."),
        Column("score", Integer, nullable=False, comment="100 % made up."),
        index("ix_throw_away_probes_score", "nobody's question: 100 %", "score"),
        comment="A part of this test.",
        info={EXTENSION: True},
    )
    yield table
    metadata.remove(table)


def test_the_table_of_an_extension_is_made_once_and_kept(engine, throw_away):
    run = publish_small_family(engine)
    before = {row[1] for row in everything(engine, *SCHEMAS)}
    migrate.upgrade(engine)
    made = everything(engine, *SCHEMAS)
    assert {row[1] for row in made} - before == {
        "throw_away_probes", "pk_throw_away_probes", "ix_throw_away_probes_score"
    }  # fmt: skip
    comments = {row[1]: row[8] for row in made if row[0] in "ri" and row[2] is None}
    assert comments["ix_throw_away_probes_score"] == "Serves nobody's question: 100 %."
    assert comments["pk_throw_away_probes"] == "Serves what is asked of throw_away_probes by its key."
    assert comments["throw_away_probes"] == "A part of this test."
    assert one(engine, "SELECT has_table_privilege('catalog_reader', 'throw_away_probes', 'SELECT')") is True
    execute(engine, "INSERT INTO throw_away_probes VALUES (:run, 7)", run=run)
    migrate.upgrade(engine)
    metadata.remove(throw_away)
    migrate.upgrade(engine)
    assert rows(engine, "SELECT * FROM throw_away_probes") == [(run, 7)]
    assert everything(engine, *SCHEMAS) == made
