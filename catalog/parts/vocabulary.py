"""The part `vocabulary`: which features of single tokens, and of the token before, explain a neuron (UN 4.3, SPEC 5, 6)."""

from sqlalchemy import BigInteger, Double, Integer, SmallInteger, Text

from catalog.parts.explained import (
    DECIDABLE,
    LACKING,
    OF_TOKENS,
    OF_TOPICS,
    ORDERED,
    PARTIAL,
    SUBTYPE,
    best_feature,
    by_score,
    explained_by,
)
from catalog.parts.part import Part, Rows, Section
from catalog.parts.rule import Evidence, Rule, Threshold, measured, threshold
from catalog.parts.words import percent, percent_with_error, shown
from catalog.schema.base import check, column, error_of, number, of_neuron, refers, table

letter_scores = table(
    "letter_scores",
    *of_neuron(),
    column("letter", Text, "The letter whose tokens explain the neuron best.", check("letter_a_to_z", "letter ~ '^[a-z]$'")),
    column("feature_id", Integer, "Its unigram feature.", refers("features.id")),
    column("variance_reduction", Double, "Of that feature."),
    number("mean_a", "Mean post on the letter's own tokens (SPEC 6.5)."),
    number("mean_b", "Mean post on other tokens that start with the letter."),
    number("mean_c", "Mean post on the rest."),
    number("chosen_variance_reduction", "On the half of the documents in which the letter was chosen."),
    number(
        "held_out_variance_reduction", "On the other half, which is what the rule asks; NULL where tokens are too few there."
    ),
    error_of("variance_reduction"),
    error_of("held_out_variance_reduction"),
    comment="The best letter of each neuron, for the alphabet rule.",
)

top_tokens = table(
    "top_tokens",
    *of_neuron(),
    column("rank", SmallInteger, "1 is the token with the largest mean.", key=True),
    column("token_id", Integer, "Id in the model's tokenizer."),
    column("mean", Double, "Mean post-activation on the token."),
    column("n", BigInteger, "Occurrences of the token."),
    comment="Tokens on which each neuron is most active on average, of those that occur often enough (SPEC 3.3). By run.",
    serves="show: a neuron's top tokens in order",
    by_run=True,
)

_LEAST_LETTER = threshold("alphabet", "min_variance_reduction")

# One label per neuron: the letter whose own tokens explain it best (UN Figs. 1a, 18). An empty class of other words
# with that letter cannot contradict the order of the means.
_ALPHABET = f"""
SELECT l.neuron_id, l.letter, l.held_out_variance_reduction,
       jsonb_build_object('feature', f.name, 'held_out_variance_reduction', l.held_out_variance_reduction,
                          'held_out_variance_reduction_se', l.held_out_variance_reduction_se,
                          'variance_reduction', l.variance_reduction, 'variance_reduction_se', l.variance_reduction_se,
                          'chosen_variance_reduction', l.chosen_variance_reduction, 'mean_a', l.mean_a,
                          'mean_b', l.mean_b, 'mean_c', l.mean_c, 'threshold', {_LEAST_LETTER})
  FROM letter_scores l
  JOIN features f ON f.id = l.feature_id
 WHERE l.run_id = :run_id
   AND l.held_out_variance_reduction >= {_LEAST_LETTER}
   AND ({threshold("alphabet", "require_ordered_means")} = 0
        OR (l.mean_a > COALESCE(l.mean_b, l.mean_c)
            AND COALESCE(l.mean_b > l.mean_c, true)
            AND COALESCE(l.mean_a > l.mean_c, true)))"""

_MOST_EXPLAINED = threshold("unexplained", "max_variance_reduction")

# The evidence says which rules of causes could be asked, for a run without their parts knows less. Where documents held out are
# too few to score the best feature, its score on all documents decides.
_UNEXPLAINED = f"""
SELECT u.neuron_id, 'universal', best.variance_reduction,
       jsonb_build_object('variance_reduction', best.variance_reduction, 'excess_corr', u.excess_corr,
                          'evaluated', to_jsonb(CAST(:evaluated AS text[])), 'threshold', {_MOST_EXPLAINED})
  FROM universality u
 CROSS JOIN LATERAL (
       SELECT COALESCE((SELECT COALESCE(e.held_out_variance_reduction, e.variance_reduction) FROM explanations e
                         WHERE e.run_id = u.run_id AND e.neuron_id = u.neuron_id AND e.rank = 1), 0) AS variance_reduction
       ) AS best
 WHERE u.run_id = :run_id AND u.universal = 'yes' AND best.variance_reduction < {_MOST_EXPLAINED}
   AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.run_id = u.run_id AND l.neuron_id = u.neuron_id
                      AND l.family = ANY(CAST(:causes AS text[])))"""


def _letter_words(evidence: Evidence) -> str:
    means = ", ".join(
        f"{shown(evidence[name])} on {what}"
        for name, what in (("mean_a", "the letter"), ("mean_b", "words that begin with it"), ("mean_c", "the rest"))
        if evidence[name] is not None
    )
    score = percent_with_error(evidence["held_out_variance_reduction"], evidence["held_out_variance_reduction_se"])
    return f"the letter explains {score} of the variance in documents that did not choose it; mean {means}"


def _unexplained_words(evidence: Evidence) -> str:
    asked = ", ".join(evidence["evaluated"]) or "nothing"
    return (
        f"the best feature explains {percent(evidence['variance_reduction'])} of the variance; excess correlation "
        f"{shown(evidence['excess_corr'])}; what else could explain it and was looked for: {asked}"
    )


RULES = (
    Rule(
        "alphabet",
        (
            "Neurons of one letter: the letter alone, with or without space and capital, then words that begin with "
            "it, then all else (UN Figs. 1a and 18)."
        ),
        _ALPHABET,
        _letter_words,
        (
            Threshold("min_variance_reduction", 0.37, "Least variance reduction of the best letter (UN Fig. 18)."),
            Threshold(
                "require_ordered_means",
                1,
                "1: mean on the letter > mean on words that start with it > mean on the rest.",
            ),
        ),
        closest=measured(
            "public.letter_scores",
            "s.letter, s.held_out_variance_reduction, s.held_out_variance_reduction_se, s.mean_a AS on_letter, "
            "s.mean_b AS on_words_with_it, s.mean_c AS elsewhere",
            "s.held_out_variance_reduction DESC",
        ),
        needs=DECIDABLE,
        lacking=LACKING,
        unless="no letter is frequent enough",
        of_activations=True,
    ),
    best_feature(
        "unigram",
        "Neurons of one word, whatever its case and the space before it (UN Figs. 4a and 17).",
        "regexp_replace(f.name, '_unigram$', '')",
        Threshold("min_variance_reduction", 0.5, "Least variance reduction, where the best feature is a unigram."),
        by_score("shift = 'current' AND feature_family = 'unigram'"),
        "no word is frequent enough in four spellings",
    ),
    best_feature(
        "token_class",
        (
            "Neurons of a class of tokens: one that the vocabulary alone defines, as numbers, a punctuation mark, an ending "
            "(SPEC 5), or a topic, which is a set of tokens (SPEC 5.10)."
        ),
        SUBTYPE,
        Threshold(
            "min_variance_reduction", 0.5, "Least variance reduction, where the best feature is a class of tokens or a topic."
        ),
        by_score(
            f"shift = 'current' AND feature_family <> 'unigram' AND ({OF_TOKENS} OR {OF_TOPICS})".replace(
                "f.family", "feature_family"
            )
        ),
        also=("topics",),
        more=f" || CASE WHEN {OF_TOPICS} THEN jsonb_build_object('machine_named', f.family = 'machine_topic') ELSE '{{}}' END",
    ),
    best_feature(
        "previous_token",
        ("Neurons that answer to the token before the current one, which an attention head must bring (UN Figs. 1b and 19)."),
        SUBTYPE,
        Threshold(
            "min_variance_reduction", 0.2, "Least variance reduction, where the best feature is one of the previous token."
        ),
        by_score("shift = 'previous'"),
        also=("syntax", "topics"),
    ),
    Rule(
        "unexplained",
        (
            "Universal neurons whose best feature is below the threshold, and that no rule of position, bos, "
            "prediction, suppression, partition, entropy or attention labels: what is left to find out. Not every "
            "universal neuron without a label is one."
        ),
        _UNEXPLAINED,
        _unexplained_words,
        (
            Threshold(
                "max_variance_reduction",
                0.05,
                "Variance reduction of the best feature below which a universal neuron is unexplained, if no rule of position, "
                "bos, prediction, suppression, partition, entropy or attention labels it.",
            ),
        ),
        needs="EXISTS (SELECT 1 FROM run_parts WHERE run_id = :run_id AND part = 'correlations')",
        closest="""SELECT u.model, u.layer, u.neuron, e.feature, e.variance_reduction, u.excess_corr
           FROM m JOIN history.universal_neurons u USING (run_id, model)
           JOIN history.neuron_explanations e USING (run_id, neuron_id) WHERE e.rank = 1
           ORDER BY e.variance_reduction, 1, 2, 3 LIMIT :shown""",
        unless="no neuron is universal",
        lowest_is_best=True,
        asks_others=True,
    ),
)

PART = Part(
    name="vocabulary",
    about="features of the token, and of the token before, that explain it",
    reads="corpus",
    version=2,
    settings=("min_count",),
    rows=(explained_by(OF_TOKENS), Rows(letter_scores, "some"), Rows(top_tokens, "some")),
    rules=RULES,
    checks=(ORDERED,),
    page=(
        Section(
            "top_tokens",
            "Tokens with the highest mean activation",
            """
SELECT v.rank, t.text AS token, v.token_id, v.mean, v.n
  FROM top_tokens v JOIN tokens t ON t.tokenizer_id = :tokenizer AND t.token_id = v.token_id
 WHERE v.run_id = :run AND v.neuron_id = :neuron ORDER BY v.rank""",
        ),
        Section(
            "explanations",
            "Explanations by the token's features",
            """
SELECT e.rank, f.name AS feature, e.shift, e.held_out_variance_reduction, e.held_out_variance_reduction_se,
       e.variance_reduction, e.variance_reduction_se, e.n_in, e.n_out, e.mean_in, e.mean_in_se, e.mean_out, e.mean_out_se,
       e.cohen_d
  FROM explanations e JOIN features f ON f.id = e.feature_id
 WHERE e.run_id = :run AND e.neuron_id = :neuron ORDER BY e.rank, e.shift, f.name""",
            also=("distributions", "topics", "syntax"),
        ),
        Section(
            "directions",
            "Where it is active, and what a feature adds when the token is known",
            f"""
SELECT f.name AS feature, e.frequency_in, e.frequency_in_se, e.frequency_out, e.frequency_out_se, e.rectified_in,
       e.rectified_in_se, e.rectified_out, e.rectified_out_se, {PARTIAL}
  FROM explanations e JOIN features f ON f.id = e.feature_id
 WHERE e.run_id = :run AND e.neuron_id = :neuron AND e.frequency_in IS NOT NULL ORDER BY e.rank, f.name""",
            also=("distributions", "topics", "syntax"),
        ),
        Section(
            "letter",
            "Best letter",
            """
SELECT letter, held_out_variance_reduction, held_out_variance_reduction_se, variance_reduction, variance_reduction_se,
       mean_a, mean_b, mean_c FROM letter_scores
 WHERE run_id = :run AND neuron_id = :neuron""",
        ),
    ),
)
