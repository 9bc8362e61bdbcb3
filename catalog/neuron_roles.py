"""What one neuron does: to the logits, to heads, to predictions when it is held, and which neurons are like it."""

from sqlalchemy import Connection

from catalog.answers import Rows, Values, ask

SHOWN_SIMILAR = 3
"""Neurons at each end, of each kind of weights."""
SHOWN_HEADS = 8


def logit_explanations(connection: Connection, values: Values) -> Rows:
    """One row per vocabulary feature that explains the effect on the logits, best first."""
    return ask(
        connection,
        """SELECT x.rank, f.name AS feature, x.variance_reduction, x.mean_difference, x.welch_t, x.n_in, x.n_out,
                  x.skew_reduction, x.kurt_reduction
           FROM logit_explanations x JOIN features f ON f.id = x.feature_id
           WHERE x.run_id = :run AND x.neuron_id = :neuron ORDER BY x.rank""",
        values,
    )


def similar(connection: Connection, values: Values) -> Rows:
    """The three nearest and the three most opposite neurons by input and by output weights."""
    return ask(
        connection,
        """SELECT s.kind, CASE WHEN s.opposite THEN 'opposite' ELSE 'nearest' END AS relation, s.rank,
                  o.layer AS other_layer, o."index" AS other_neuron, s.cosine, s.mutual
           FROM similar_neurons s JOIN neurons o ON o.id = s.other_neuron_id
           WHERE s.run_id = :run AND s.neuron_id = :neuron AND s.rank <= :shown ORDER BY s.kind, s.opposite, s.rank""",
        {**values, "shown": SHOWN_SIMILAR},
    )


def heads(connection: Connection, values: Values) -> Rows:
    """The heads of later layers that the neuron turns most towards BOS, or away, and what ablation found."""
    return ask(
        connection,
        """SELECT s.head_layer, s.head, s.h, s.h_sd, s.head_rank, p.n_tokens AS ablated_at, p.delta_p_bos, p.delta_o_norm,
                  r.pearson AS correlation, r.spearman
           FROM head_scores s
           LEFT JOIN path_ablations p USING (run_id, neuron_id, head_layer, head)
           LEFT JOIN ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                           = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)
            AND r.x = 'activation' AND r.y = 'delta_p_bos'
           WHERE s.run_id = :run AND s.neuron_id = :neuron
           ORDER BY abs(s.h) DESC, s.head_layer, s.head, p.n_rows LIMIT :shown""",
        {**values, "shown": SHOWN_HEADS},
    )


def interventions(connection: Connection, values: Values) -> Rows:
    """What the model predicts when this neuron is held: one row per kind, value and number of tokens."""
    return ask(
        connection,
        """SELECT i.kind, i.value, (SELECT string_agg(o.layer || '.' || o."index", ', ' ORDER BY o.layer, o."index")
                                    FROM unnest(i.together) AS other(id) JOIN neurons o ON o.id = other.id) AS together,
                  i.purpose, i.n_tokens, i.entropy, i.entropy_delta AS delta_entropy, i.scale_delta AS delta_scale,
                  i.loss_delta AS delta_loss, i.recip_rank_delta AS delta_recip_rank, i.kl
           FROM interventions i WHERE i.run_id = :run AND i.neuron_id = :neuron
           ORDER BY i.n_rows, cardinality(i.together), i.kind, i.value""",
        values,
    )
