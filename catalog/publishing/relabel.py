"""Labels of every published run by the newest rules, without computing anything."""

from sqlalchemy import Engine, text

from catalog import locks
from catalog.labels.labelling import label_run
from catalog.labels.thresholds import newest_version
from catalog.publishing import checksums, summaries


def relabel(engine: Engine) -> dict[int, dict[str, int]]:
    """Apply the newest rules to every published run, in one transaction; a draft becomes the published version.

    Returns:
        Labels per family, by run.
    """
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({locks.PUBLISH})"))
        version = newest_version(connection, drafts=True)
        runs = connection.execute(text("SELECT id FROM runs WHERE published_at IS NOT NULL ORDER BY id")).scalars().all()
        counts = {run: label_run(connection, run, version) for run in runs}
        for run in runs:
            summaries.sum_layers(connection, run)
            checksums.record(connection, run, checksums.by_rules())
        connection.execute(
            text("UPDATE rule_versions SET published_at = COALESCE(published_at, now()) WHERE version = :version"),
            {"version": version},
        )
    return counts
