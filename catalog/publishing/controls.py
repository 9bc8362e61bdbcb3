"""What a published control changes: the labels of the runs that it is the control of."""

from sqlalchemy import Connection, text

from catalog.labels.labelling import label_run
from catalog.labels.thresholds import newest_version
from catalog.publishing import checksums
from catalog.publishing.summaries import sum_layers

# Another number of tokens makes another control of the same model, which takes the place of the one before.
_REPLACED = """
DELETE FROM run_controls k USING runs other, runs own, run_models om, run_models tm, models o, models t
 WHERE own.id = :control AND other.id = k.control_run_id AND other.id <> own.id AND other.published_at IS NOT NULL
   AND k.run_id IN (SELECT run_id FROM run_controls WHERE control_run_id = :control)
   AND om.run_id = other.id AND o.id = om.model_id AND tm.run_id = own.id AND t.id = tm.model_id
   AND t.control_of = o.control_of AND (other.superseded OR other.corpus_id <> own.corpus_id)"""


def take_effect(connection: Connection, control: int) -> None:
    """Label the published runs that a published control is the control of again; of a run that is no control there are none.

    Args:
        control: the run of the control; within a transaction that has the right to publish.
    """
    connection.execute(text(_REPLACED), {"control": control})
    runs = connection.execute(
        text(
            """SELECT r.id FROM run_controls k JOIN runs r ON r.id = k.run_id
               WHERE k.control_run_id = :control AND r.published_at IS NOT NULL ORDER BY r.id"""
        ),
        {"control": control},
    )
    for run in runs.scalars().all():
        label_again(connection, run, newest_version(connection, drafts=False))


def label_again(connection: Connection, run_id: int, version: int) -> dict[str, int]:
    """Label a published run by a version of the rules, and sum it up; returns how many labels each family has."""
    counts = label_run(connection, run_id, version)
    sum_layers(connection, run_id)
    checksums.record(connection, run_id, checksums.by_rules())
    return counts
