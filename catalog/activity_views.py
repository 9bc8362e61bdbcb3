"""Views of what neurons are active on: positions, BOS, subsets, topics, n-grams, examples, and what comes next.

See `catalog.views`, which creates them with all others.
"""

from dataclasses import dataclass

from catalog.words import EXAMPLE_KINDS


@dataclass(frozen=True)
class View:
    """A view and what it answers."""

    name: str
    comment: str
    select: str
    """SQL with `{members}` for the relation (run_id, model_id, model, family) and `{schema}` for its own schema."""


_KIND = "CASE e.kind " + " ".join(f"WHEN {number} THEN '{name}'" for number, name in EXAMPLE_KINDS.items()) + " END"


def _bytes_of(first: str, last: str) -> str:
    """The bytes of tokens of a row; places are counted from 1. A token without bytes of its own has those of its name."""
    return f"""(SELECT COALESCE(string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[{first} : {last}]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id)"""


_BEFORE = _bytes_of("greatest(1, e.position - 19)", "e.position")
_AFTER = _bytes_of("e.position + 2", "e.position + 6")


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

ACTIVITY_VIEWS = (
    View(
        "neuron_next_tokens",
        "Classes of next tokens before which each neuron differs most: mean pre and frequency before them and before others.",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron, f.name AS feature, s.rank, s.n_in, s.n_out,
       s.mean_in, s.mean_out, s.freq_in, s.freq_out, s.cohen_d, f.family AS feature_family, s.neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.next_token_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id
  JOIN public.features f ON f.id = s.feature_id""",
    ),
    View(
        "topics",
        "The topics that explanations were looked for among, with their tokens; machine-named ones come from a topic model.",
        """SELECT m.run_id, m.model, t.ordinal, regexp_replace(f.name, '^topic_(.*)#[0-9a-f]{{8}}$', '\\1') AS topic,
       f.family = 'machine_topic' AS machine_named, members.n_tokens, members.tokens, t.feature_id
  FROM {members} m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.run_topics t ON t.run_id = m.run_id
  JOIN public.features f ON f.id = t.feature_id
 CROSS JOIN LATERAL (
       SELECT count(*) AS n_tokens, array_agg(tokens.text ORDER BY tokens.token_id) AS tokens
         FROM public.feature_tokens x
         JOIN public.tokens ON tokens.tokenizer_id = x.tokenizer_id AND tokens.token_id = x.token_id
        WHERE x.tokenizer_id = mo.tokenizer_id AND x.feature_id = t.feature_id) members""",
    ),
    View(
        "position_neurons",
        "Neurons whose activity tells the position: more than 0.05 nats of mutual information (VO 5.1).",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron, p.mutual_information, p.pattern, p.strength,
       p.alternations, p.coverage, p.predictability, p.pos_std, p.pos_std_mean, p.runs, p.curve, p.n_rows, p.neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.position_statistics p ON p.run_id = m.run_id AND p.neuron_id = n.id AND p.mutual_information > 0.05""",
    ),
    View(
        "position_teams",
        "Per layer: the positions at which at least one of its strong oscillatory neurons is active (VO Fig. 9).",
        """SELECT m.run_id, m.model, t.layer, t.neurons, t.covered, t.positions,
       t.covered::double precision / NULLIF(t.positions, 0) AS share
  FROM {members} m
 CROSS JOIN LATERAL (
       SELECT n.layer, count(DISTINCT n.id) AS neurons, count(DISTINCT place.position) AS covered,
              max(c.context_length) - 1 AS positions
         FROM public.neurons n
         JOIN public.position_statistics p
           ON p.run_id = m.run_id AND p.neuron_id = n.id AND p.pattern = 'oscillatory' AND p.strength = 'strong'
         JOIN public.runs r ON r.id = m.run_id
         JOIN public.corpora c ON c.id = r.corpus_id
        CROSS JOIN LATERAL jsonb_array_elements(p.runs) AS run(span)
         LEFT JOIN LATERAL generate_series((run.span ->> 0)::int, (run.span ->> 1)::int) AS place(position)
           ON run.span ->> 2 = 'high'
        WHERE n.model_id = m.model_id
        GROUP BY n.layer ORDER BY n.layer) t""",
    ),
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
    ),
    View(
        "dead_neurons",
        "Neurons that were never active, or on less than one of a million tokens; 3/n bounds the frequency of a dead one.",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron, round(a.sparsity * a.n_tokens)::bigint AS activations,
       a.n_tokens, 3.0 / NULLIF(a.n_tokens, 0) AS upper_bound, a.neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.activation_statistics a ON a.run_id = m.run_id AND a.neuron_id = n.id AND a.sparsity < 0.000001""",
    ),
    View(
        "bos_neurons",
        "Neurons that BOS activates more than the 99.9th percentile of other tokens; above 3 they are labelled (SPEC 6.7).",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron, d.bos_activation, d.bos_ratio AS ratio, d.post_p99_9,
       d.neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.distribution_statistics d ON d.run_id = m.run_id AND d.neuron_id = n.id AND d.bos_ratio > 1""",
    ),
    View(
        "neuron_subsets",
        "Moments and frequency of each neuron on each subset, and how much the subset explains.",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.subset, s.n_tokens, s.mean, s.var, s.skew, s.kurt,
       s.sparsity, s.post_mean, s.post_var, s.post_skew, s.post_kurt, s.variance_reduction, s.neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.subset_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id""",
    ),
    View(
        "neuron_examples",
        "Tokens on which each neuron is most active, and a sample of every strength, with 20 tokens before and 5 after.",
        f"""SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       {_KIND} AS kind, e.rank, e.value, r.subset, e.row, e.position,
       token.text AS token,
       public.readable({_BEFORE}) AS before,
       public.readable({_AFTER}) AS after,
       e.quantile, e.neuron_id, token.bytes AS token_bytes,
       {_BEFORE} AS before_bytes,
       {_AFTER} AS after_bytes
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.examples e ON e.run_id = m.run_id AND e.neuron_id = n.id
  JOIN public.runs ON runs.id = m.run_id
  JOIN public.corpora c ON c.id = runs.corpus_id
  JOIN public.tokens token ON token.tokenizer_id = c.tokenizer_id AND token.token_id = e.token_id
  JOIN public.corpus_rows r ON r.corpus_id = c.id AND r.row = e.row""",
    ),
)
