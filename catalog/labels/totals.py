"""How many labels there are, by model, family and layer: counted whenever labels are made, so that questions need not count."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

_LABELS = """
INSERT INTO label_totals (run_id, model_id, family, subtype, layer, labels, universal_labels, undecided_labels,
                          neurons, universal_neurons, undecided_neurons)
SELECT run_id, model_id, family, subtype, layer, count(*), count(*) FILTER (WHERE universal = 'yes'),
       count(*) FILTER (WHERE universal = 'undecided'), count(*) FILTER (WHERE place = 1),
       count(*) FILTER (WHERE place = 1 AND universal = 'yes'), count(*) FILTER (WHERE place = 1 AND universal = 'undecided')
  FROM (SELECT l.*, row_number() OVER (PARTITION BY l.neuron_id, l.family ORDER BY l.subtype) AS place
          FROM labels l WHERE l.run_id = :run_id) AS found
 GROUP BY run_id, model_id, family, subtype, layer
"""

# A family that was looked for has a row in every layer, so that a reader tells "none" from "not asked".
_LOOKED_FOR = """
INSERT INTO label_totals (run_id, model_id, family, subtype, layer, labels, universal_labels, undecided_labels,
                          neurons, universal_neurons, undecided_neurons)
SELECT rm.run_id, rm.model_id, asked.family, '', place.layer, 0, 0, 0, 0, 0, 0
  FROM run_models rm
  JOIN models m ON m.id = rm.model_id
 CROSS JOIN LATERAL generate_series(0, m.n_layers - 1) AS place(layer)
 CROSS JOIN unnest(CAST(:families AS text[])) AS asked(family)
 WHERE rm.run_id = :run_id
   AND NOT EXISTS (SELECT 1 FROM label_totals t WHERE t.run_id = rm.run_id AND t.model_id = rm.model_id
                      AND t.family = asked.family AND t.layer = place.layer)
"""


def total_labels(connection: Connection, run_id: int, families: Sequence[str] | None = None) -> None:
    """Count a run's labels again, after they have changed.

    Args:
        families: those that were looked for, found or not; None for those that have been counted before.
    """
    values = {"run_id": run_id}
    if families is None:
        counted = text("SELECT DISTINCT family FROM label_totals WHERE run_id = :run_id")
        families = connection.execute(counted, values).scalars().all()
    connection.execute(text("DELETE FROM label_totals WHERE run_id = :run_id"), values)
    connection.execute(text(_LABELS), values)
    connection.execute(text(_LOOKED_FOR), {**values, "families": list(families)})
