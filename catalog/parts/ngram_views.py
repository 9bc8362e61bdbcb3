"""Views of n-grams: how few cover a neuron, which detect what, and what a layer detects."""

from catalog.parts.part import View

_BUCKETS = {
    1: ((6, 11, 21, 51, 201, 1001, 2001), "1-5 6-10 11-20 21-50 51-200 201-1k 1k-2k 2k-50k"),
    2: ((51, 101, 201, 501, 1001, 2001, 5001), "1-50 51-100 101-200 201-500 501-1k 1k-2k 2k-5k 5k-1M"),
    3: ((51, 101, 201, 501, 1001, 5001, 20001), "1-50 51-100 101-200 201-500 501-1k 1k-5k 5k-20k 20k-3M"),
}
"""Of each n: the covers with which the second to last bucket begin, and the buckets' names (SPEC 12.3)."""


def _bucket(n: int) -> str:
    edges, names = _BUCKETS[n]
    quoted = ", ".join(f"'{name}'" for name in names.split())
    return f"""CASE WHEN s.activations_{n} < 20 AND s.cover_{n} IS NOT NULL THEN 'too_rare'
            ELSE (ARRAY[{quoted}])[1 + width_bucket(s.cover_{n}, ARRAY[{", ".join(map(str, edges))}])] END"""


# What the rule that made the label found: its thresholds are in the evidence.
_DETECTED = """d.run_id = l.run_id AND d.neuron_id = l.neuron_id AND d.n = (l.evidence ->> 'n')::int
                  AND d.count >= (l.evidence ->> 'min_count')::double precision
                  AND d.activations::double precision / d.count >= (l.evidence ->> 'min_probability')::double precision"""

VIEWS = (
    View(
        "ngram_coverage",
        "How few tokens, bigrams and trigrams cover 0.95 of each neuron's activations, and the buckets of VO App. A.1.",
        f"""SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.cover_1, s.cover_2, s.cover_3,
       {_bucket(1)} AS bucket_1,
       {_bucket(2)} AS bucket_2,
       {_bucket(3)} AS bucket_3,
       s.activations_1 AS activations, s.activations_2, s.activations_3, s.n_tokens, s.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.ngram_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id""",
        words={
            **{
                f"bucket_{n}": f"Range that cover_{n} is in, as VO App. A.1 names it; too_rare: fewer than 20 activations."
                for n in (1, 2, 3)
            },
            "activations": "Of the tokens looked at, those on which the neuron was active (pre > 0).",
            "activations_2": "Of the activations, those that end a bigram without BOS.",
            "activations_3": "Of the activations, those that end a trigram without BOS.",
        },
    ),
    View(
        "ngram_coverage_by_half",
        "Neurons per bucket of coverage in each half of the layers; VO looked at the bottom one.",
        """SELECT m.run_id, m.model, t.half, t.n, t.bucket, t.neurons
  FROM {members} m
 CROSS JOIN LATERAL (
       SELECT CASE WHEN 2 * c.layer < mo.n_layers THEN 'bottom' ELSE 'top' END AS half, b.n, b.bucket, count(*) AS neurons
         FROM {schema}.ngram_coverage c
         JOIN public.models mo ON mo.id = m.model_id
        CROSS JOIN LATERAL (VALUES (1, c.bucket_1), (2, c.bucket_2), (3, c.bucket_3)) AS b(n, bucket)
        WHERE c.run_id = m.run_id AND c.model = m.model
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3) t""",
        words={
            "half": "bottom: the first half of the layers; top: the rest.",
            "n": "1: tokens, 2: bigrams, 3: trigrams.",
            "bucket": "Range of the cover, as in ngram_coverage; NULL for neurons that are never active.",
            "neurons": "Neurons of the half in the bucket.",
        },
    ),
    View(
        "token_detectors",
        "Neurons that are active on few tokens (n = 1) or trigrams (n = 3) and nearly always there (VO 4.2, App. A.2).",
        f"""SELECT m.run_id, m.model, l.layer, l."index" AS neuron, d.n, d.tokens, l.score AS share,
       (l.evidence ->> 'suppressing')::boolean AS suppressing,
       (l.evidence ->> 'mean_effect')::double precision AS mean_effect,
       (l.evidence ->> 'mean_effect_raw')::double precision AS mean_effect_raw,
       (l.evidence ->> 'share_negative')::double precision AS share_negative,
       (l.evidence ->> 'lowest_percentile')::double precision AS lowest_percentile,
       (l.evidence ->> 'cover')::int AS cover, (l.evidence ->> 'activations')::bigint AS activations, l.neuron_id,
       d.tokens_bytes
  FROM {{members}} m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.labels l
    ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('token_detector', 'ngram_detector')
 CROSS JOIN LATERAL (
       SELECT g.n, array_agg(public.readable(g.bytes) ORDER BY g.rank) AS tokens,
              array_agg(g.bytes ORDER BY g.rank) AS tokens_bytes
         FROM (SELECT d.n, d.rank,
                      string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY part.place) AS bytes
                 FROM public.detected_ngrams d
                CROSS JOIN LATERAL unnest(d.token_ids) WITH ORDINALITY AS part(token_id, place)
                 JOIN public.tokens t ON t.tokenizer_id = mo.tokenizer_id AND t.token_id = part.token_id
                WHERE {_DETECTED}
                GROUP BY d.n, d.rank) g
        GROUP BY g.n) d""",
        words={
            "n": "1: tokens, 3: trigrams.",
            "tokens": "Texts of the detected n-grams, most activations first; what is no UTF-8 is escaped as \\xNN.",
            "share": "Share of the neuron's activations that are at the detected n-grams, 0 to 1.",
            "suppressing": "Whether it lowers the logits of the detected tokens, the last ones of trigrams, on average.",
            "mean_effect": "Mean over detected tokens v of w_out . W_U[:, v], logits per unit of activation, processed "
            "weights.",
            "mean_effect_raw": "The mean effect with the weights of the file.",
            "share_negative": "Share of the detected tokens whose logit it lowers, 0 to 1.",
            "lowest_percentile": "Lowest percentile, 0 to 100, of its effect on a detected token among those on all tokens.",
            "cover": "Smallest number of n-grams with 95 % of the neuron's activations.",
            "activations": "Activations (pre > 0) that end an n-gram of this length.",
            "tokens_bytes": "Bytes of the detected n-grams, in the order of tokens.",
        },
    ),
    View(
        "covered_tokens_by_layer",
        "Tokens that detectors of each layer detect: all, in no layer below, not in the layer below, so far (VO 4.3).",
        f"""SELECT m.run_id, m.model, t.layer, t.covered, t.new_overall, t.new_vs_previous, t.cumulative
  FROM {{members}} m
  JOIN public.run_parts part ON part.run_id = m.run_id AND part.part = 'ngrams'
 CROSS JOIN LATERAL (
       SELECT place.layer::smallint AS layer, count(p.token_id) AS covered,
              count(p.token_id) FILTER (WHERE p.below IS NULL) AS new_overall,
              count(p.token_id) FILTER (WHERE p.below IS DISTINCT FROM place.layer - 1) AS new_vs_previous,
              (sum(count(p.token_id) FILTER (WHERE p.below IS NULL)) OVER (ORDER BY place.layer))::bigint AS cumulative
         FROM public.models mo
        CROSS JOIN LATERAL generate_series(0, mo.n_layers - 1) AS place(layer)
         LEFT JOIN (SELECT f.layer, f.token_id, lag(f.layer) OVER (PARTITION BY f.token_id ORDER BY f.layer) AS below
                      FROM (SELECT DISTINCT l.layer, d.token_ids[1] AS token_id
                              FROM public.labels l
                              JOIN public.detected_ngrams d ON {_DETECTED}
                             WHERE l.run_id = m.run_id AND l.model_id = m.model_id AND l.family = 'token_detector') f
                   ) p ON p.layer = place.layer
        WHERE mo.id = m.model_id
        GROUP BY place.layer ORDER BY place.layer) t""",
        words={
            "layer": "Transformer block, from 0.",
            "covered": "Distinct tokens that token detectors of the layer detect.",
            "new_overall": "Those of them that no layer below detects.",
            "new_vs_previous": "Those of them that the layer directly below does not detect.",
            "cumulative": "Distinct tokens detected in this layer or below.",
        },
    ),
)
