"""What tests of the database share: everything a reader can see, as one value; and processes that are killed."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import Engine, text

ROOT = Path(__file__).parents[2]


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
