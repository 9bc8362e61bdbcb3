"""The rules of contexts, of the part `distributions`: neurons of one subset of the corpus, whatever the token (SPEC 6.6)."""

from catalog.parts.explained import DECIDABLE, EVIDENCE, LACKING, LESS_ACTIVE, MORE_ACTIVE, SUBTYPE, in_words
from catalog.parts.rule import Rule, Threshold, threshold

_DECIDABLE = f"""EXISTS (SELECT 1 FROM subset_statistics WHERE run_id = :run_id AND variance_reduction IS NOT NULL)
 AND {DECIDABLE}"""
_LACKING = f"its corpus has no subsets, or {LACKING}"

# One subset speaks for a neuron: the best by the half of the documents that chose of those that have a direction. The other
# features need not be worse, for it has to add something when the token is known: more post, or less; what gated neurons add
# may have either sign where their gate is open.
_CONTEXT = """
SELECT e.neuron_id, {subtype}, e.held_out_variance_reduction, {evidence} || jsonb_build_object(
           'threshold', {least}, 'min_partial_effect', {least_effect}, 'min_partial_variance_reduction', {least_partial})
  FROM (SELECT DISTINCT ON (x.neuron_id) x.* FROM explanations x JOIN features y ON y.id = x.feature_id
         WHERE x.run_id = :run_id AND y.family = 'subset' AND ({more_active} OR {less_active})
         ORDER BY x.neuron_id, x.rank) e
  JOIN features f ON f.id = e.feature_id
  JOIN neurons n ON n.id = e.neuron_id
  JOIN models m ON m.id = n.model_id
  LEFT JOIN LATERAL (SELECT x.* FROM explanations x JOIN features y ON y.id = x.feature_id
                      WHERE x.run_id = :run_id AND x.neuron_id = e.neuron_id AND y.family = 'subset' AND x.rank > e.rank
                        AND {side_of_second} ORDER BY x.rank LIMIT 1) second ON true
  LEFT JOIN features runner_up ON runner_up.id = second.feature_id
 WHERE {side} AND e.held_out_variance_reduction >= {least} AND e.overlap >= {least_overlap}
   AND e.partial_variance_reduction >= {least_partial}
   AND CASE WHEN m.gated THEN abs(e.partial_effect) ELSE {sign}e.partial_effect END >= {least_effect}"""


def _context(side: str, sign: str) -> str:
    return _CONTEXT.format(
        subtype=SUBTYPE,
        evidence=EVIDENCE,
        more_active=MORE_ACTIVE.format(e="x"),
        less_active=LESS_ACTIVE.format(e="x"),
        side=side.format(e="e"),
        side_of_second=side.format(e="x"),
        sign=sign,
        least=threshold("context", "min_variance_reduction"),
        least_effect=threshold("context", "min_partial_effect"),
        least_partial=threshold("context", "min_partial_variance_reduction"),
        least_overlap=threshold("context", "min_overlap"),
    )


def _closest(side: str) -> str:
    return f"""SELECT model, layer, neuron, feature, held_out_variance_reduction, frequency_in, frequency_out, partial_effect,
                      partial_variance_reduction
               FROM m JOIN history.neuron_explanations e USING (run_id, model)
               WHERE feature_family = 'subset' AND held_out_variance_reduction IS NOT NULL AND {side.format(e="e")}
               ORDER BY held_out_variance_reduction DESC, model, layer, neuron LIMIT :shown"""


# 0.2 is a small effect by Cohen's words; half of what a subset must explain at all has to be left when the token is known.
CONTEXT_THRESHOLDS = (
    Threshold("min_variance_reduction", 0.05, "Least variance reduction of the subset of the corpus, held out (SPEC 6.6)."),
    Threshold(
        "min_partial_effect",
        0.2,
        "Least difference of post inside and outside the subset given the token, in standard deviations within tokens.",
    ),
    Threshold("min_partial_variance_reduction", 0.025, "Least share of the variance within tokens that the subset explains."),
    Threshold("min_overlap", 0.1, "Least overlap of the subset's tokens with others: below, what it adds given them is NULL."),
)


def _rule(family: str, about: str, side: str, sign: str, thresholds: tuple[Threshold, ...] = ()) -> Rule:
    return Rule(
        family,
        about,
        _context(side, sign),
        in_words,
        thresholds,
        needs=_DECIDABLE,
        lacking=_LACKING,
        closest=_closest(side),
        unless="the corpus has no subsets",
        of_activations=True,
    )


RULES = (
    _rule(
        "context",
        (
            "Neurons of a kind of text: active in one subset of the corpus more often and more strongly than elsewhere, "
            "on the same tokens too (UN Figs. 1d and 22)."
        ),
        MORE_ACTIVE,
        "",
        CONTEXT_THRESHOLDS,
    ),
    _rule(
        "context_off",
        (
            "Neurons that fall silent in a kind of text: active in one subset of the corpus less often and less strongly "
            "than elsewhere, on the same tokens too; by the thresholds of context."
        ),
        LESS_ACTIVE,
        "-",
    ),
)
