"""What is kept beside a run's rows so that questions need not read them: sums, and copies for the sake of indexes.

All of it follows from other tables, and is written again in the transaction that changes those: `summarise` at
publication; counts of labels are in `catalog.labels.labelling.totals`.
"""

from sqlalchemy import Connection, text

from catalog.labels.totals import total_labels

_LAYERS = """
INSERT INTO layer_summaries (run_id, model_id, layer, n_neurons, n_universal, n_undecided, n_degenerate, median_excess_corr,
                             median_sparsity, median_kurt, median_l2_penalty, median_vocab_kurt)
SELECT rm.run_id, rm.model_id, n.layer, count(*), count(*) FILTER (WHERE u.universal = 'yes'),
       count(*) FILTER (WHERE u.universal = 'undecided'),
       count(*) FILTER (WHERE a.degenerate),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY u.excess_corr),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY a.sparsity),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY a.kurt),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY w.l2_penalty),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY w.vocab_kurt)
  FROM run_models rm
  JOIN neurons n ON n.model_id = rm.model_id
  LEFT JOIN activation_statistics a ON a.run_id = :run_id AND a.neuron_id = n.id
  LEFT JOIN weight_statistics w ON w.run_id = :run_id AND w.neuron_id = n.id
  LEFT JOIN universality u ON u.run_id = :run_id AND u.neuron_id = n.id
 WHERE rm.run_id = :run_id
 GROUP BY rm.run_id, rm.model_id, n.layer
"""

_DEPTH = """
INSERT INTO depth_summaries (run_id, model_id, layer, other_layer, fraction)
SELECT :run_id, f.model_id, f.layer, f.other_layer, avg(f.fraction)
  FROM (SELECT d.model_id, d.layer, other.layer AS other_layer,
               COALESCE(sum(d.neurons) FILTER (WHERE d.match_layer = other.layer), 0)::double precision
                 / sum(d.neurons)::double precision AS fraction
          FROM (SELECT n.model_id, n.layer, u.other_model_id, o.layer AS match_layer, count(*) AS neurons
                  FROM universality_by_model u
                  JOIN neurons n ON n.id = u.neuron_id
                  JOIN neurons o ON o.id = u.other_neuron_id
                 WHERE u.run_id = :run_id
                 GROUP BY n.model_id, n.layer, u.other_model_id, o.layer) d
          JOIN models om ON om.id = d.other_model_id
         CROSS JOIN LATERAL generate_series(0, om.n_layers - 1) AS other(layer)
         GROUP BY d.model_id, d.layer, d.other_model_id, other.layer) f
 GROUP BY f.model_id, f.layer, f.other_layer
"""

_EXCESS = """
UPDATE labels l SET excess_corr = u.excess_corr, universal = u.universal
  FROM universality u
 WHERE l.run_id = :run_id AND u.run_id = :run_id AND u.neuron_id = l.neuron_id
   AND (l.excess_corr, l.universal) IS DISTINCT FROM (u.excess_corr, u.universal)
"""

def summarise(connection: Connection, run_id: int) -> None:
    """Sum up a run's rows again, after any of its parts has changed."""
    sum_layers(connection, run_id)
    connection.execute(text("DELETE FROM depth_summaries WHERE run_id = :run_id"), {"run_id": run_id})
    connection.execute(text(_DEPTH), {"run_id": run_id})
    connection.execute(text(_EXCESS), {"run_id": run_id})
    total_labels(connection, run_id)


def sum_layers(connection: Connection, run_id: int) -> None:
    """Sum up a run's layers again, after the rules have changed.

    Depth does not depend on them, and the order of its sums is not fixed, so that its last digits would change.
    """
    connection.execute(text("DELETE FROM layer_summaries WHERE run_id = :run_id"), {"run_id": run_id})
    connection.execute(text(_LAYERS), {"run_id": run_id})
