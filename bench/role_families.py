"""What the families of roles are, for the page of findings; see `bench.families`."""

from bench.about import About, threshold


def _peaked(sign: str) -> str:
    return f"""SELECT p.model, p.layer, p.neuron, p.vocab_kurt, p.vocab_skew, e.feature, e.mean_difference
               FROM neuron_profiles p LEFT JOIN neuron_logit_explanations e USING (run_id, model, layer, neuron)
               WHERE p.vocab_skew {sign} 0 AND COALESCE(e.rank, 1) = 1
               ORDER BY p.vocab_kurt DESC, 1, 2, 3 LIMIT :shown"""


def _held(order: str) -> str:
    """Candidates if there are any; else what the candidates' rule would take next."""
    return f"""SELECT * FROM (
                 SELECT i.model, i.layer, i.neuron, i.purpose, i.delta_entropy, i.delta_scale, p.l2_penalty, p.vocab_var
                 FROM neuron_interventions i JOIN neuron_profiles p USING (run_id, model, layer, neuron)
                 WHERE i.purpose <> 'control' AND i.kind = 'fix' AND i.value = {threshold("entropy", "value")}
                   AND i.together IS NULL) found
               ORDER BY purpose = 'candidate' DESC, delta_entropy {order}, 1, 2, 3 LIMIT :shown"""


def _turning(order: str) -> str:
    return f"""SELECT s.model, s.layer, s.neuron, s.head_layer, s.head, s.h, s.multiple_of_chance, a.pearson AS correlation
               FROM neuron_head_scores s
               LEFT JOIN (SELECT * FROM neuron_path_ablations WHERE x = 'activation' AND y = 'delta_p_bos') a
                      USING (run_id, model, layer, neuron, head_layer, head)
               ORDER BY s.h {order}, 1, 2, 3 LIMIT :shown"""


def _alike(kind: str, opposite: str, order: str) -> str:
    return f"""SELECT s.model, s.layer, s.neuron, s.other_layer, s.other_neuron, s.cosine, s.mutual FROM neuron_similarities s
               WHERE s.kind = '{kind}' AND s.opposite = {opposite} AND s.rank = 1
               ORDER BY s.cosine {order}, 1, 2, 3 LIMIT :shown"""


ROLES = {
    "prediction": About(
        "Neurons that promote a small class of tokens: the effect on the logits has a long tail above (UN 5.1, Fig. 24).",
        _peaked(">"),
    ),
    "suppression": About(
        "Neurons that suppress a small class of tokens: the effect on the logits has a long tail below (UN 5.1, Fig. 24).",
        _peaked("<"),
    ),
    "partition": About(
        "Neurons that part the vocabulary in two large halves, such as tokens with and without a space (UN 5.1).",
        """SELECT p.model, p.layer, p.neuron, p.vocab_var * m.d_model AS scaled_var, p.vocab_kurt, e.feature
           FROM neuron_profiles p JOIN models m ON m.name = p.model
           LEFT JOIN neuron_logit_explanations e USING (run_id, model, layer, neuron)
           WHERE COALESCE(e.rank, 1) = 1 ORDER BY scaled_var DESC NULLS LAST, 1, 2, 3 LIMIT :shown""",
    ),
    "entropy": About(
        "Neurons of large weights that move no logit against the others, but the final layer norm's scale of all of them: held "
        "on, they make predictions less sure (UN 5.2, Fig. 7).",
        _held("DESC"),
        "no neuron of the last two layers has both weights among the largest of the model and a variance over the vocabulary "
        "among the smallest of its layer",
    ),
    "anti_entropy": About(
        "The opposite of entropy neurons: held on, they make predictions surer (UN 5.2, Fig. 7).",
        _held("ASC"),
        "no neuron of the last two layers has both weights among the largest of the model and a variance over the vocabulary "
        "among the smallest of its layer",
    ),
    "attn_deactivation": About(
        "Neurons that turn a head of a later layer to BOS, where it reads nothing, and so switch it off (UN 5.3, Fig. 8).",
        _turning("DESC"),
        "the models have no later layer",
    ),
    "attn_activation": About(
        "Neurons that turn a head of a later layer away from BOS, and so switch it on (UN 5.3, Fig. 8).",
        _turning("ASC"),
        "the models have no later layer",
    ),
    "duplicate": About(
        "Neurons that read what another one of the same model reads, and write alike (UN App. C, Fig. 10).",
        _alike("w_in", "false", "DESC"),
    ),
    "antipodal": About(
        "Neurons that write the opposite of another one of the same model (UN 5.2 and App. C).",
        _alike("w_out", "true", "ASC"),
    ),
}
