"""What tests of the database share: everything a reader can see, and all that schemas hold, as values; processes to kill."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import Engine, text

ROOT = Path(__file__).parents[2]
HERE = "waiting to be killed\n"
"""What a process says on stderr."""


def visible(engine: Engine) -> dict[str, str]:
    """A digest of each relation that a reader may read, the runs and their jobs excepted: equal digests mean equal rows."""
    with engine.connect() as connection:
        names = connection.execute(
            text(
                """SELECT quote_ident(schemaname) || '.' || quote_ident(name) FROM (
                     SELECT schemaname, tablename AS name FROM pg_tables
                     UNION ALL SELECT schemaname, viewname FROM pg_views) AS relations
                   WHERE schemaname IN ('public', 'history')
                 AND name NOT IN ('runs', 'run_jobs', 'run_job_results') ORDER BY 1"""
            )
        ).scalars()
        statement = "SELECT count(*) || ' ' || COALESCE(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {} AS t"
        return {name: connection.execute(text(statement.format(name))).scalar_one() for name in list(names)}


def rows(engine: Engine, statement: str, **values: object) -> list[tuple]:
    """The rows of a statement as plain tuples."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def one(engine: Engine, statement: str, **values: object) -> object:
    """The only value of a statement."""
    ((value,),) = rows(engine, statement, **values)
    return value


def execute(engine: Engine, statement: str, **values: object) -> None:
    """Run one statement and commit."""
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def everything(engine: Engine, *schemas: str) -> list[tuple]:
    """What the schemas hold, as the server describes it."""
    columns = """
        SELECT c.relkind::text, c.oid::regclass::text, a.attname::text,
               CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) ELSE pg_get_indexdef(c.oid) END,
               format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text, pg_get_expr(d.adbin, d.adrelid),
               CASE WHEN a.attname IS NULL THEN obj_description(c.oid, 'pg_class')
                    ELSE col_description(c.oid, a.attnum) END
        FROM pg_class c
        LEFT JOIN LATERAL (SELECT NULL::name AS attname, NULL::oid AS atttypid, NULL::int AS atttypmod,
                                  NULL::bool AS attnotnull, NULL::"char" AS attidentity, 0::smallint AS attnum
                           UNION ALL
                           SELECT attname, atttypid, atttypmod, attnotnull, attidentity, attnum FROM pg_attribute
                           WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a ON true
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace::regnamespace::text = ANY(:schemas) AND c.relname NOT LIKE 'alembic_version%'
        ORDER BY 2, a.attnum"""
    constraints = """
        SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace::regnamespace::text = ANY(:schemas)
          AND conrelid::regclass::text NOT LIKE '%alembic_version' ORDER BY 2, 3"""
    functions_of = """
        SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc')
        FROM pg_proc p WHERE p.pronamespace::regnamespace::text = ANY(:schemas)
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') ORDER BY 2"""
    return [row for asked in (columns, constraints, functions_of) for row in rows(engine, asked, schemas=list(schemas))]


def python_until(program: str, line: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python program and wait until it has printed `line`; it goes on running."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    for said in process.stdout:
        if said.strip() == line:
            return process
    raise AssertionError(process.stderr.read())
