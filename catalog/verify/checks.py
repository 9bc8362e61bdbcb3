"""Whether a published run is as it was published: checksums per table, and what must hold between its rows.

`verify` reads one consistent snapshot and writes nothing. Checksums find any changed value; the checks of `structure`
find what was wrong when it was published, and changes of somebody who rewrote the checksums too.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text

from catalog import locks
from catalog.errors import NotFoundError, RunError, no_such_run
from catalog.publishing import checksums, staging
from catalog.server.engine import driver_of
from catalog.verify.structure import structure


class Finding(NamedTuple):
    """The outcome of one check."""

    check: str
    """checksum, structure or recomputation."""
    subject: str
    """The table, or the rule."""
    status: str
    """ok, differs, or unknown where there is nothing to compare with."""
    finding: str
    """In words."""


def controls_of(engine: Engine, run_id: int) -> list[int]:
    """The published controls of a run."""
    statement = """SELECT c.id FROM run_controls k JOIN runs c ON c.id = k.control_run_id AND c.published_at IS NOT NULL
                   WHERE k.run_id = :run_id ORDER BY c.id"""
    with engine.connect() as connection:
        return list(connection.execute(text(statement), {"run_id": run_id}).scalars())


def verify(engine: Engine, run_id: int) -> list[Finding]:
    """Check one published run, without its controls, which are runs as well.

    Raises:
        NotFoundError: there is no such run.
        RunError: it is not published.
    """
    with engine.connect() as connection:
        reading = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return list(checks(reading, run_id))


def checks(connection: Connection, run_id: int) -> Iterator[Finding]:
    """The same within a transaction."""
    status = connection.execute(text("SELECT status FROM runs WHERE id = :run_id"), {"run_id": run_id}).scalar()
    if status is None:
        raise NotFoundError(no_such_run(run_id))
    if status != "published":
        raise RunError(f"run {run_id} is {status}; only a published run can be verified.")
    parts = connection.execute(text("SELECT part FROM run_parts WHERE run_id = :run_id"), {"run_id": run_id}).scalars().all()
    yield from _checksums(connection, run_id, parts=sorted(parts))
    for part, check in structure():
        if part is None or part in parts:
            statement = f"SELECT count(*), min(what) FROM ({check.select}) AS offending"
            count, example = connection.execute(text(statement), {"run_id": run_id}).one()
            finding = "" if not count else f"{count:,} against the rule, such as {example}"
            yield Finding("structure", check.name, "differs" if count else "ok", finding)
    yield _leftovers(connection, run_id)


def _checksums(connection: Connection, run_id: int, parts: list[str]) -> Iterator[Finding]:
    rows = connection.execute(
        text("SELECT table_name, columns, n_rows, bits, total FROM run_checksums WHERE run_id = :run_id"), {"run_id": run_id}
    )
    recorded = {row.table_name: row for row in rows}
    if not recorded:
        yield Finding("checksum", "all tables", "unknown", "the run was published before checksums were recorded")
        return
    for table in checksums.tables_of(parts):
        row = recorded.get(table)
        if row is None:
            yield Finding("checksum", table, "unknown", "published before checksums were recorded")
            continue
        gone = sorted(set(row.columns) - set(staging.column_names(driver_of(connection), table)))
        if gone:
            yield Finding("checksum", table, "differs", f"the table has no column {gone[0]} any more")
            continue
        actual = checksums.checksum(connection, run_id, table, row.columns)
        finding, differs = f"{actual.n_rows:,} rows", actual != checksums.Checksum(row.n_rows, row.bits, int(row.total))
        if actual.n_rows != row.n_rows:
            finding = f"{actual.n_rows:,} rows, but {row.n_rows:,} were published"
        elif differs:
            finding = f"values in these {actual.n_rows:,} rows are not those that were published"
        yield Finding("checksum", table, "differs" if differs else "ok", finding)


def _leftovers(connection: Connection, run_id: int) -> Finding:
    """Staged rows and results of jobs belong to a process at work on the run, else they are leftovers."""
    rule = "nothing is left of its computation"
    left = connection.execute(
        text(
            """SELECT 'staging.' || tablename FROM pg_tables
               WHERE schemaname = 'staging' AND starts_with(tablename, 'run_' || :run_id || '_')
               UNION ALL SELECT 'job ' || job || ' in run_job_results' FROM run_job_results WHERE run_id = :run_id"""
        ),
        {"run_id": run_id},
    )
    names = left.scalars().all()
    if not names:
        return Finding("structure", rule, "ok", "")
    identity = connection.execute(text("SELECT identity FROM runs WHERE id = :run_id"), {"run_id": run_id}).scalar_one()
    if not connection.execute(text(f"SELECT pg_try_advisory_lock({locks.RUN})"), {"identity": identity}).scalar_one():
        return Finding("structure", rule, "unknown", "a process is adding parts to the run")
    connection.execute(text(f"SELECT pg_advisory_unlock({locks.RUN})"), {"identity": identity})
    return Finding("structure", rule, "differs", f"{len(names):,} things against the rule, such as {names[0]}")
