"""The part `ngrams`: on how few tokens, bigrams and trigrams a neuron is active (VO 4, SPEC 12.3 to 12.5)."""

from sqlalchemy import ARRAY, REAL, BigInteger, Integer, SmallInteger

from catalog.parts.ngram_views import VIEWS
from catalog.parts.part import Part, Rows, Section
from catalog.parts.rule import Evidence, Rule, Threshold, threshold
from catalog.parts.words import shown
from catalog.schema.base import check, column, of_neuron, table
from catalog.words import DETECTING, LEAST_ACTIVATIONS, LEAST_COUNT, LEAST_PROBABILITY

ngram_statistics = table(
    "ngram_statistics",
    *of_neuron(),
    column("n_tokens", BigInteger, "Kept tokens that were looked at, the first of the corpus."),
    column("activations_1", BigInteger, "Of them, those on which the neuron was active (pre > 0)."),
    column("activations_2", BigInteger, "Those that end a bigram without BOS."),
    column("activations_3", BigInteger, "Those that end a trigram without BOS."),
    *(
        column(
            f"cover_{n}",
            Integer,
            f"Smallest number of {what} with 95 % of these activations (VO 4.1, SPEC 12.3); NULL without activations.",
            check(f"cover_{n}_range", f"cover_{n} BETWEEN 1 AND activations_{n}"),
            null=True,
        )
        for n, what in ((1, "tokens"), (2, "bigrams"), (3, "trigrams"))
    ),
    comment="How few n-grams cover the activations of each neuron.",
)

detected_ngrams = table(
    "detected_ngrams",
    *of_neuron(),
    column("n", SmallInteger, "1 or 3.", check("n_known", "n IN (1, 3) AND n = cardinality(token_ids)"), key=True),
    column("rank", Integer, "1 has the most activations.", key=True),
    column("token_ids", ARRAY(Integer), "The n-gram, first token first."),
    column("count", Integer, "How often it ends at one of the tokens that were looked at."),
    column(
        "activations",
        Integer,
        "How often the neuron is active there.",
        check("activations_range", "activations BETWEEN 0 AND count"),
    ),
    column(
        "effect",
        REAL,
        "w_out . W_U[:, v] of its last token v, processed weights (VO 4.4, SPEC 12.7); NULL where run_undefined says why.",
        null=True,
    ),
    column("effect_raw", REAL, "The same with the weights of the file.", null=True),
    column(
        "percentile",
        REAL,
        "Rank of effect among all tokens, 0 to 100 (SPEC 3.7).",
        check("percentile_range", "percentile BETWEEN 0 AND 100"),
        null=True,
    ),
    comment="n-grams that activate a neuron more often than not, of neurons that few n-grams cover; for the rules.",
    serves="token_detectors: a neuron's detected n-grams in order",
)

_KEPT = "n-grams of neurons that are rarer, more or less telling than that are not kept, and would have to be counted again"

# Tok(i) are the n-grams that occur often enough and activate the neuron often enough (SPEC 12.4); the label names the first.
_DETECTOR = """
SELECT s.neuron_id, {subtype}, tok.activations / s.activations_{n},
       jsonb_build_object('n', {n}, 'cover', s.cover_{n}, 'activations', s.activations_{n}, 'n_tokens', s.n_tokens,
                          'detected', tok.detected, 'min_count', {min_count}, 'min_probability', {min_probability},
                          'suppressing', tok.effect < 0, 'mean_effect', tok.effect, 'mean_effect_raw', tok.effect_raw,
                          'share_negative', tok.share_negative, 'lowest_percentile', tok.percentile)
  FROM ngram_statistics s
 CROSS JOIN LATERAL (
       SELECT sum(d.activations)::double precision AS activations, count(*) AS detected,
              avg(d.effect) AS effect, avg(d.effect_raw) AS effect_raw, min(d.percentile) AS percentile,
              avg((d.effect < 0)::int)::double precision AS share_negative, min(d.rank) AS first
         FROM detected_ngrams d
        WHERE d.run_id = s.run_id AND d.neuron_id = s.neuron_id AND d.n = {n} AND d.count >= {min_count}
          AND d.activations::double precision / d.count >= {min_probability}) tok
 WHERE s.run_id = :run_id AND s.cover_{n} <= {max_cover} AND s.activations_{n} >= {min_activations}
   AND tok.activations / s.activations_{n} >= {min_share}"""

_FIRST_TOKEN = r"""(
         SELECT COALESCE(NULLIF(lower(btrim(t.text, E' \t\r\n')), ''), t.text)
           FROM detected_ngrams d
           JOIN neurons own ON own.id = d.neuron_id
           JOIN models m ON m.id = own.model_id
           JOIN tokens t ON t.tokenizer_id = m.tokenizer_id AND t.token_id = d.token_ids[1]
          WHERE d.run_id = s.run_id AND d.neuron_id = s.neuron_id AND d.n = 1 AND d.rank = tok.first)"""


# By the share of a neuron's activations that are on n-grams which nearly always activate it.
_CLOSEST = """SELECT m.model, o.layer, o."index" AS neuron, s.cover_{n}, s.activations_{n} AS activations,
                      coalesce(t.activations / s.activations_{n}, 0) AS share_on_detected
               FROM m JOIN public.neurons o ON o.model_id = m.model_id
               JOIN public.ngram_statistics s ON s.run_id = m.run_id AND s.neuron_id = o.id
               CROSS JOIN LATERAL (
                    SELECT sum(d.activations)::double precision AS activations FROM public.detected_ngrams d
                    WHERE d.run_id = s.run_id AND d.neuron_id = s.neuron_id AND d.n = {n} AND d.count >= {min_count}
                      AND d.activations::double precision / d.count >= {min_probability}) t
               WHERE s.activations_{n} >= {min_activations}
               ORDER BY share_on_detected DESC, s.cover_{n}, 1, 2, 3 LIMIT :shown"""


def _words(evidence: Evidence) -> str:
    units = {1: "tokens", 2: "bigrams", 3: "trigrams"}.get(evidence["n"], "n-grams")
    said = (
        f"{shown(evidence['cover'])} {units} cover 95 % of its {shown(evidence['activations'])} activations; "
        f"{shown(evidence['detected'])} nearly always activate it"
    )
    if evidence["mean_effect"] is None:
        return said
    does = "suppresses" if evidence["suppressing"] else "promotes"
    return f"{said}; it {does} them, by {shown(evidence['mean_effect'])} logits per unit of activation on average"


def _rule(family: str, about: str, n: int, subtype: str, ngrams: str, most: Threshold) -> Rule:
    thresholds = (
        most,
        Threshold(
            "min_count",
            10,
            f"Occurrences that one of its {ngrams} needs; 5 at least are known.",
            least=LEAST_COUNT,
            beyond=_KEPT,
        ),
        Threshold(
            "min_probability",
            0.95,
            f"Share of the occurrences of one of its {ngrams} on which it is active; 0.5 at least is known.",
            least=LEAST_PROBABILITY,
            beyond=_KEPT,
        ),
        Threshold("min_share", 0.95, "Share of its activations that are on them."),
        Threshold(
            "min_activations",
            20,
            "Activations that it needs to be judged; 10 at least are known.",
            least=LEAST_ACTIVATIONS,
            beyond=_KEPT,
        ),
    )
    values = {each.parameter: threshold(family, each.parameter) for each in thresholds}
    return Rule(
        family,
        about,
        _DETECTOR.format(n=n, subtype=subtype, **values),
        _words,
        thresholds,
        closest=_CLOSEST.format(n=n, **values),
        unless="no neuron is active often enough to be judged",
        of_activations=True,
    )


PART = Part(
    name="ngrams",
    about="on how few tokens, bigrams and trigrams it is active",
    reads="corpus",
    settings=("ngram_tokens",),
    rows=(Rows(ngram_statistics, "neuron"), Rows(detected_ngrams, "some")),
    views=VIEWS,
    rules=(
        _rule(
            "token_detector",
            "Neurons that are active on very few tokens, and nearly always there (VO 4.2).",
            1,
            _FIRST_TOKEN,
            "tokens",
            Threshold(
                "max_cover",
                5,
                "Most tokens that cover 95 % of its activations (VO 4.2); 20 are known at most.",
                most=DETECTING[1],
                beyond=_KEPT,
            ),
        ),
        _rule(
            "ngram_detector",
            "Neurons that are active on few trigrams, and nearly always there (VO App. A.2).",
            3,
            "'trigram'",
            "trigrams",
            Threshold(
                "max_cover",
                50,
                "Most trigrams that cover 95 % of its activations (VO App. A.2); 200 are known at most.",
                most=DETECTING[3],
                beyond=_KEPT,
            ),
        ),
    ),
    page=(
        Section(
            "ngrams",
            "How few tokens (n = 1), bigrams and trigrams hold 95 % of the activations",
            """
SELECT v.n, v.cover, v.activations, s.n_tokens FROM ngram_statistics s
 CROSS JOIN LATERAL (VALUES (1, s.cover_1, s.activations_1), (2, s.cover_2, s.activations_2),
                            (3, s.cover_3, s.activations_3)) AS v(n, cover, activations)
 WHERE s.run_id = :run AND s.neuron_id = :neuron ORDER BY v.n""",
        ),
    ),
)
