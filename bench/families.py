"""What the families of labels are, and the neurons that come closest to each, for the page of findings.

A family that is not known here is told by its rule alone.
"""

from typing import Any

from sqlalchemy import Connection, text

from bench.about import VERSION, About, threshold
from bench.role_families import ROLES
from catalog import parts


def _explained(condition: str) -> str:
    """The highest scores, and the highest of those that are their neuron's best, which alone make a label."""
    scores = f"""(SELECT model, layer, neuron, feature, shift, variance_reduction, rank AS rank_among_all_features
                  FROM neuron_explanations WHERE {condition}"""
    order = "ORDER BY variance_reduction DESC, model, layer, neuron LIMIT"
    return f"""SELECT * FROM ({scores} {order} :shown) UNION {scores} AND rank = 1 {order} 1)) found
               ORDER BY variance_reduction DESC, model, layer, neuron"""


def _measured(table: str, columns: str, order: str) -> str:
    return f"""SELECT m.model, n.layer, n."index" AS neuron, {columns}
               FROM members m JOIN neurons n ON n.model_id = m.model_id
               JOIN {table} s ON s.run_id = m.run_id AND s.neuron_id = n.id
               WHERE {order.split()[0]} IS NOT NULL ORDER BY {order}, 1, 2, 3 LIMIT :shown"""


def _detected(family: str, n: int) -> str:
    """By the share of a neuron's activations that are on n-grams which nearly always activate it."""
    return f"""SELECT c.model, c.layer, c.neuron, c.cover_{n}, s.activations_{n} AS activations,
                      coalesce(t.activations / s.activations_{n}, 0) AS share_on_detected
               FROM ngram_coverage c JOIN ngram_statistics s USING (run_id, neuron_id)
               CROSS JOIN LATERAL (
                    SELECT sum(d.activations)::double precision AS activations FROM detected_ngrams d
                    WHERE d.run_id = s.run_id AND d.neuron_id = s.neuron_id AND d.n = {n}
                      AND d.count >= {threshold(family, "min_count")}
                      AND d.activations::double precision / d.count >= {threshold(family, "min_probability")}) t
               WHERE s.activations_{n} >= {threshold(family, "min_activations")}
               ORDER BY share_on_detected DESC, c.cover_{n}, 1, 2, 3 LIMIT :shown"""


_OTHERS = "('subset', 'topic', 'machine_topic')"
_VOCABULARY = f"feature_family <> 'unigram' AND NOT starts_with(feature_family, 'spacy_') AND feature_family NOT IN {_OTHERS}"

ABOUT = {
    "alphabet": About(
        "Neurons of one letter: the letter alone, with or without space and capital, then words that begin with it, then "
        "all else (UN Figs. 1a and 18).",
        _measured(
            "letter_scores",
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
                SELECT model, layer, neuron, subset AS feature, variance_reduction FROM neuron_subsets
                WHERE variance_reduction IS NOT NULL
                UNION ALL SELECT model, layer, neuron, feature, variance_reduction FROM neuron_explanations
                WHERE feature_family IN {_OTHERS}) found
            ORDER BY variance_reduction DESC, model, layer, neuron LIMIT :shown""",
        "the corpus has no subsets",
    ),
    "position": About(
        "Neurons whose activity tells the position in the row (UN Figs. 1c and 20, VO 5); the pattern says how.",
        _measured("position_statistics", "s.mutual_information, s.pattern, s.strength, s.n_rows", "s.mutual_information DESC"),
        "no run has the 1,000 rows that it takes to tell (SPEC 12.8)",
    ),
    "bos": About(
        "Neurons that the first token, BOS, activates far more than anything else (UN App. C.2). BOS is no example, so that "
        "excerpts show what else they answer to.",
        _measured("distribution_statistics", "s.bos_activation, s.post_p99_9, s.bos_ratio", "s.bos_ratio DESC"),
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
        _measured("activation_statistics", "s.sparsity AS frequency, s.n_tokens AS tokens", "s.sparsity"),
    ),
    "near_dead": About(
        "Neurons that hardly any token activates, but at least one (SPEC 12.1).",
        _measured(
            "(SELECT * FROM activation_statistics WHERE sparsity > 0)",
            "s.sparsity AS frequency, s.n_tokens AS tokens",
            "s.sparsity",
        ),
    ),
    "unexplained": About(
        "Universal neurons whose best feature is below the threshold, and that no rule of position, bos, prediction,"
        " suppression, partition, entropy or attention labels: what is left to find out."
        " Not every universal neuron without a label is one.",
        """SELECT u.model, u.layer, u.neuron, e.feature, e.variance_reduction, u.excess_corr
           FROM universal_neurons u JOIN neuron_explanations e USING (run_id, neuron_id) WHERE e.rank = 1
           ORDER BY e.variance_reduction, 1, 2, 3 LIMIT :shown""",
        "no neuron is universal",
    ),
    **ROLES,
}


def rules_of(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """The thresholds that labels are made by (parameter, value, description), by family; of some rules there are none."""
    found = connection.execute(
        text(f"SELECT family, parameter, value, description FROM rules WHERE rule_version = {VERSION} ORDER BY 1, 2")
    )
    rules: dict[str, list[dict[str, Any]]] = {rule.family: [] for rule in parts.rules()}
    for row in found:
        rules.setdefault(row.family, []).append(dict(row._mapping))
    return rules


def parts_of(family: str) -> list[str]:
    """The parts of a run of which a rule needs one; none where no rule is known."""
    known = {rule.family for rule in parts.rules()}
    return [*parts.parts_of_rule(family)] if family in known else []


def closest(connection: Connection, family: str, shown: int) -> list[dict[str, Any]]:
    """The neurons that come closest to a family, best first, by what its rule measures."""
    statement = ABOUT[family].closest if family in ABOUT else ""
    if not statement:
        return []
    return [dict(row._mapping) for row in connection.execute(text(statement), {"shown": shown})]
