"""Labels of every published run by the newest rules, without computing anything."""

from sqlalchemy import Engine, text

from catalog import locks
from catalog.labels.thresholds import newest_version
from catalog.publishing.controls import label_again

_PUBLISHED = """
SELECT r.id, EXISTS (SELECT FROM run_models rm JOIN models m ON m.id = rm.model_id
                      WHERE rm.run_id = r.id AND m.control_of IS NOT NULL)
  FROM runs r WHERE r.published_at IS NOT NULL ORDER BY r.id"""


def relabel(engine: Engine) -> dict[int, dict[str, int]]:
    """Apply the newest rules to every published run, in one transaction; a draft becomes the published version.

    Returns:
        Labels per family, by run; those of controls are not told.
    """
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({locks.PUBLISH})"))
        version = newest_version(connection, drafts=True)
        runs = connection.execute(text(_PUBLISHED)).all()
        counts = {run: label_again(connection, run, version) for run, _ in runs}
        connection.execute(
            text("UPDATE rule_versions SET published_at = COALESCE(published_at, now()) WHERE version = :version"),
            {"version": version},
        )
    return {run: counts[run] for run, is_control in runs if not is_control}
