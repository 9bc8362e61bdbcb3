"""What the families of labels are, in one sentence each, and the neurons that come closest to a family which none has.

A family that is not known here is told by its rule alone. Statements are about the members `m` (run_id, model_id, model), and
bind `:version`, that of the rules, and `:shown`, how many neurons they give.
"""

from dataclasses import dataclass

from catalog.label_text import threshold


@dataclass(frozen=True)
class About:
    """What a person needs to know of a family."""

    what: str
    closest: str = ""
    """SQL: neurons by what the rule measures, best first; model, layer, neuron, and columns that explain themselves."""
    unless: str = ""
    """When no neuron has what the rule measures."""


def _explained(condition: str) -> str:
    """The highest scores, and the highest of those that are their neuron's best, which alone make a label."""
    scores = f"""(SELECT model, layer, neuron, feature, shift, variance_reduction, rank AS rank_among_all_features
                  FROM m JOIN history.neuron_explanations USING (run_id, model) WHERE {condition}"""
    order = "ORDER BY variance_reduction DESC, model, layer, neuron LIMIT"
    return f"""SELECT * FROM ({scores} {order} :shown) UNION {scores} AND rank = 1 {order} 1)) found
               ORDER BY variance_reduction DESC, model, layer, neuron"""


def _measured(table: str, columns: str, order: str) -> str:
    return f"""SELECT m.model, n.layer, n."index" AS neuron, {columns}
               FROM m JOIN public.neurons n ON n.model_id = m.model_id
               JOIN {table} s ON s.run_id = m.run_id AND s.neuron_id = n.id
               WHERE {order.split()[0]} IS NOT NULL ORDER BY {order}, 1, 2, 3 LIMIT :shown"""


def _detected(family: str, n: int) -> str:
    """By the share of a neuron's activations that are on n-grams which nearly always activate it."""
    columns = f"""s.cover_{n}, s.activations_{n} AS activations,
                      coalesce(t.activations / s.activations_{n}, 0) AS share_on_detected"""
    return f"""SELECT m.model, o.layer, o."index" AS neuron, {columns}
               FROM m JOIN public.neurons o ON o.model_id = m.model_id
               JOIN public.ngram_statistics s ON s.run_id = m.run_id AND s.neuron_id = o.id
               CROSS JOIN LATERAL (
                    SELECT sum(d.activations)::double precision AS activations FROM public.detected_ngrams d
                    WHERE d.run_id = s.run_id AND d.neuron_id = s.neuron_id AND d.n = {n}
                      AND d.count >= {threshold(family, "min_count")}
                      AND d.activations::double precision / d.count >= {threshold(family, "min_probability")}) t
               WHERE s.activations_{n} >= {threshold(family, "min_activations")}
               ORDER BY share_on_detected DESC, s.cover_{n}, 1, 2, 3 LIMIT :shown"""


def _peaked(sign: str) -> str:
    return f"""SELECT p.model, p.layer, p.neuron, p.vocab_kurt, p.vocab_skew, e.feature, e.mean_difference
               FROM m JOIN history.neuron_profiles p USING (run_id, model)
               LEFT JOIN history.neuron_logit_explanations e USING (run_id, neuron_id)
               WHERE p.vocab_skew {sign} 0 AND COALESCE(e.rank, 1) = 1
               ORDER BY p.vocab_kurt DESC, 1, 2, 3 LIMIT :shown"""


def _held(order: str) -> str:
    """Candidates if there are any; else what the candidates' rule would take next."""
    return f"""SELECT * FROM (
                 SELECT i.model, i.layer, i.neuron, i.purpose, i.delta_entropy, i.delta_scale, p.l2_penalty, p.vocab_var
                 FROM m JOIN history.neuron_interventions i USING (run_id, model)
                 JOIN history.neuron_profiles p USING (run_id, neuron_id)
                 WHERE i.purpose <> 'control' AND i.kind = 'fix' AND i.value = {threshold("entropy", "value")}
                   AND i.together IS NULL) found
               ORDER BY purpose = 'candidate' DESC, delta_entropy {order}, 1, 2, 3 LIMIT :shown"""


def _turning(order: str) -> str:
    return f"""SELECT s.model, s.layer, s.neuron, s.head_layer, s.head, s.h, s.multiple_of_chance, a.pearson AS correlation
               FROM m JOIN history.neuron_head_scores s USING (run_id, model)
               LEFT JOIN (SELECT * FROM history.neuron_path_ablations WHERE x = 'activation' AND y = 'delta_p_bos') a
                      USING (run_id, neuron_id, head_layer, head)
               ORDER BY s.h {order}, 1, 2, 3 LIMIT :shown"""


def _alike(kind: str, opposite: str, order: str) -> str:
    return f"""SELECT s.model, s.layer, s.neuron, s.other_layer, s.other_neuron, s.cosine, s.mutual
               FROM m JOIN history.neuron_similarities s USING (run_id, model)
               WHERE s.kind = '{kind}' AND s.opposite = {opposite} AND s.rank = 1
               ORDER BY s.cosine {order}, 1, 2, 3 LIMIT :shown"""


_OTHERS = "('subset', 'topic', 'machine_topic')"
_VOCABULARY = f"feature_family <> 'unigram' AND NOT starts_with(feature_family, 'spacy_') AND feature_family NOT IN {_OTHERS}"

ABOUT: dict[str, About] = {
    "alphabet": About(
        "Neurons of one letter: the letter alone, with or without space and capital, then words that begin with it, then "
        "all else (UN Figs. 1a and 18).",
        _measured(
            "public.letter_scores",
            "s.letter, s.variance_reduction, s.mean_a AS on_letter, s.mean_b AS on_words_with_it, s.mean_c AS elsewhere",
            "s.variance_reduction DESC",
        ),
        "no letter is frequent enough",
    ),
    "unigram": About(
        "Neurons of one word, whatever its case and the space before it (UN Figs. 4a and 17).",
        _explained("shift = 'current' AND feature_family = 'unigram'"),
        "no word is frequent enough in four spellings",
    ),
    "token_class": About(
        "Neurons of a class of tokens that the vocabulary alone defines: numbers, a punctuation mark, an ending (SPEC 5).",
        _explained(f"shift = 'current' AND {_VOCABULARY}"),
    ),
    "previous_token": About(
        "Neurons that answer to the token before the current one, which an attention head must bring (UN Figs. 1b and 19).",
        _explained("shift = 'previous'"),
    ),
    "syntax": About(
        "Neurons of a part of speech, a dependency, a morphological feature or an entity, which a parser finds and no list "
        "of tokens does (UN Figs. 4b and 21).",
        _explained("shift = 'current' AND starts_with(feature_family, 'spacy_')"),
    ),
    "context": About(
        "Neurons of a kind of text: a subset of the corpus, or a topic, explains them better than any token does (UN Figs. 1d "
        "and 22).",
        f"""SELECT * FROM (
                SELECT model, layer, neuron, subset AS feature, variance_reduction
                FROM m JOIN history.neuron_subsets USING (run_id, model) WHERE variance_reduction IS NOT NULL
                UNION ALL SELECT model, layer, neuron, feature, variance_reduction
                FROM m JOIN history.neuron_explanations USING (run_id, model) WHERE feature_family IN {_OTHERS}) found
            ORDER BY variance_reduction DESC, model, layer, neuron LIMIT :shown""",
        "the corpus has no subsets",
    ),
    "position": About(
        "Neurons whose activity tells the position in the row (UN Figs. 1c and 20, VO 5); the pattern says how.",
        _measured(
            "public.position_statistics",
            "s.mutual_information, s.pattern, s.strength, s.n_rows",
            "s.mutual_information DESC",
        ),
        "no run has the 1,000 rows that it takes to tell (SPEC 12.8)",
    ),
    "bos": About(
        "Neurons that the first token, BOS, activates far more than anything else (UN App. C.2). BOS is no example, so that "
        "excerpts show what else they answer to.",
        _measured("public.distribution_statistics", "s.bos_activation, s.post_p99_9, s.bos_ratio", "s.bos_ratio DESC"),
    ),
    "token_detector": About(
        "Neurons that are active on very few tokens, and nearly always there (VO 4.2).",
        _detected("token_detector", 1),
        "no neuron is active often enough to be judged",
    ),
    "ngram_detector": About(
        "Neurons that are active on few trigrams, and nearly always there (VO App. A.2).",
        _detected("ngram_detector", 3),
        "no neuron is active often enough to be judged",
    ),
    "dead": About(
        "Neurons that no token of the corpus activates (VO 3); provisional as long as the tokens are too few to be sure.",
        _measured("public.activation_statistics", "s.sparsity AS frequency, s.n_tokens AS tokens", "s.sparsity"),
    ),
    "near_dead": About(
        "Neurons that hardly any token activates, but at least one (SPEC 12.1).",
        _measured(
            "(SELECT * FROM public.activation_statistics WHERE sparsity > 0)",
            "s.sparsity AS frequency, s.n_tokens AS tokens",
            "s.sparsity",
        ),
    ),
    "unexplained": About(
        "Universal neurons whose best feature is below the threshold, and that no rule of position, bos, prediction,"
        " suppression, partition, entropy or attention labels: what is left to find out."
        " Not every universal neuron without a label is one.",
        """SELECT u.model, u.layer, u.neuron, e.feature, e.variance_reduction, u.excess_corr
           FROM m JOIN history.universal_neurons u USING (run_id, model)
           JOIN history.neuron_explanations e USING (run_id, neuron_id) WHERE e.rank = 1
           ORDER BY e.variance_reduction, 1, 2, 3 LIMIT :shown""",
        "no neuron is universal",
    ),
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
        """SELECT p.model, p.layer, p.neuron, p.vocab_var * o.d_model AS scaled_var, p.vocab_kurt, e.feature
           FROM m JOIN public.models o ON o.id = m.model_id JOIN history.neuron_profiles p USING (run_id, model)
           LEFT JOIN history.neuron_logit_explanations e USING (run_id, neuron_id)
           WHERE p.vocab_var IS NOT NULL AND COALESCE(e.rank, 1) = 1 ORDER BY scaled_var DESC, 1, 2, 3 LIMIT :shown""",
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
