"""What must hold between the rows of a published run, as SQL: each statement selects what is against the rule."""

from typing import NamedTuple


class Rule(NamedTuple):
    """One rule."""

    name: str
    part: str | None
    """The part of a run that has it; None: every run."""
    select: str
    """Rows with a column `what`, one per offence, of the run :run_id."""


_OWN_NEURONS = """(SELECT n.id, n.model_id FROM neurons n JOIN run_models rm ON rm.model_id = n.model_id
                   WHERE rm.run_id = :run_id)"""

_SHAPE = """
SELECT m.name || ' with ' || count(n.id) || ' neurons instead of ' || m.n_layers * m.d_mlp AS what
  FROM run_models rm JOIN models m ON m.id = rm.model_id LEFT JOIN neurons n ON n.model_id = m.id
 WHERE rm.run_id = :run_id
 GROUP BY m.id
HAVING count(n.id) <> m.n_layers * m.d_mlp OR max(n.layer) >= m.n_layers OR max(n.index) >= m.d_mlp"""


# Over the models as they stand in the run; a part of other models was computed by another function, or from other weights.
_MODELS_OF_PARTS = """
SELECT p.part || CASE WHEN p.models_sha256 IS NULL THEN ', of models that were not recorded' ELSE ', of other models' END
       AS what
  FROM run_parts p
 WHERE p.run_id = :run_id AND p.models_sha256 IS DISTINCT FROM (
       SELECT encode(sha256(convert_to(string_agg(m.identity, E'\\n' ORDER BY m.identity COLLATE "C"), 'UTF8')), 'hex')
         FROM run_models rm JOIN models m ON m.id = rm.model_id WHERE rm.run_id = p.run_id)"""

_BEHAVIOUR = """
SELECT m.name AS what
  FROM run_models rm JOIN models m ON m.id = rm.model_id
 WHERE rm.run_id = :run_id
   AND (m.architecture, m.activation_function, m.n_layers, m.d_model, m.n_heads, m.d_vocab, m.n_ctx) IS DISTINCT FROM
       (m.behaviour ->> 'architecture', m.behaviour ->> 'activation_function', (m.behaviour ->> 'n_layers')::int,
        (m.behaviour ->> 'd_model')::int, (m.behaviour ->> 'n_heads')::int, (m.behaviour ->> 'd_vocab')::int,
        (m.behaviour ->> 'n_ctx')::int)"""


# Two parts, each with the whole of the same activations: another activation function in one of them moves these means.
_SUBSETS_SUM_UP = """
SELECT 'neuron ' || neuron_id || ' with mean ' || whole.post_mean || ' and ' || pooled.post_mean || ' over its subsets' AS what
  FROM activation_statistics whole
  JOIN (SELECT neuron_id, sum(n_tokens) AS n_tokens, sum(n_tokens * post_mean) / sum(n_tokens) AS post_mean,
               sum(n_tokens * mean) / sum(n_tokens) AS mean
          FROM subset_statistics WHERE run_id = :run_id AND n_tokens > 0 GROUP BY neuron_id) AS pooled USING (neuron_id)
 WHERE whole.run_id = :run_id
   AND (whole.n_tokens <> pooled.n_tokens
        OR abs(whole.mean - pooled.mean) > 1e-3 * sqrt(whole.var) + 1e-6 * abs(whole.mean) + 1e-6
        OR abs(whole.post_mean - pooled.post_mean) > 1e-3 * sqrt(whole.post_var) + 1e-6 * abs(whole.post_mean) + 1e-6)"""


def _every_neuron(table: str) -> str:
    return f"""
SELECT CASE WHEN t.neuron_id IS NULL THEN 'neuron ' || n.id || ' without a row'
            ELSE 'a row of neuron ' || t.neuron_id || ', which is in no model of the run' END AS what
  FROM {_OWN_NEURONS} AS n
  FULL JOIN (SELECT neuron_id FROM {table} WHERE run_id = :run_id) AS t ON t.neuron_id = n.id
 WHERE n.id IS NULL OR t.neuron_id IS NULL"""


def _no_orphan(table: str) -> str:
    return f"""
SELECT 'a row of neuron ' || t.neuron_id || ', which is in no model of the run' AS what
  FROM {table} AS t LEFT JOIN {_OWN_NEURONS} AS n ON n.id = t.neuron_id
 WHERE t.run_id = :run_id AND n.id IS NULL"""


def _known_feature(table: str) -> str:
    return f"""
SELECT 'a row of neuron ' || t.neuron_id || ' with the unknown feature ' || t.feature_id AS what
  FROM {table} AS t LEFT JOIN features f ON f.id = t.feature_id
 WHERE t.run_id = :run_id AND f.id IS NULL"""


_MODEL_PAIRS = """
SELECT a.model_id || ' and ' || b.model_id AS what
  FROM run_models a
  JOIN run_models b ON b.run_id = a.run_id AND b.model_id > a.model_id
  LEFT JOIN run_pairs p ON (p.run_id, p.model_id, p.other_model_id) = (a.run_id, a.model_id, b.model_id)
 WHERE a.run_id = :run_id AND p.run_id IS NULL"""

_PARTNERS = f"""
SELECT 'neuron ' || p.neuron_id || ' with the partner ' || p.other_neuron_id AS what
  FROM pairs p
  LEFT JOIN {_OWN_NEURONS} AS n ON n.id = p.neuron_id
  LEFT JOIN {_OWN_NEURONS} AS o ON o.id = p.other_neuron_id
 WHERE p.run_id = :run_id
   AND (n.id IS NULL OR o.id IS NULL OR o.model_id <> p.other_model_id OR o.model_id = n.model_id)"""

_RANKS = """
SELECT 'neuron ' || neuron_id || ' with rank ' || rank AS what
  FROM (SELECT neuron_id, rank, correlation, row_number() OVER best AS place, lag(correlation) OVER best AS before
          FROM pairs WHERE run_id = :run_id
        WINDOW best AS (PARTITION BY neuron_id, other_model_id ORDER BY rank)) AS placed
 WHERE rank <> place OR correlation > before"""

# A neuron has partners in another model or none there; how many is decided by top_k and that model's defined neurons.
_PARTNER_COUNTS = f"""
WITH counted AS (SELECT neuron_id, other_model_id, count(*) AS n FROM pairs WHERE run_id = :run_id GROUP BY 1, 2)
SELECT 'neuron ' || neuron_id || ' with ' || n || ' partners instead of ' || most AS what
  FROM (SELECT c.*, max(c.n) OVER (PARTITION BY own.model_id, c.other_model_id) AS most
          FROM counted c JOIN {_OWN_NEURONS} AS own ON own.id = c.neuron_id) AS compared
 WHERE n <> most"""

_MUTUAL = """
WITH best AS (SELECT neuron_id, other_neuron_id, mutual_best FROM pairs WHERE run_id = :run_id AND rank = 1)
SELECT 'neuron ' || one.neuron_id || ' and its best partner ' || one.other_neuron_id AS what
  FROM best one LEFT JOIN best back ON back.neuron_id = one.other_neuron_id AND back.other_neuron_id = one.neuron_id
 WHERE one.mutual_best <> (back.neuron_id IS NOT NULL)
 UNION ALL
SELECT 'neuron ' || neuron_id || ' and its partner of rank ' || rank FROM pairs
 WHERE run_id = :run_id AND rank > 1 AND mutual_best"""

_BEST = """
SELECT 'neuron ' || COALESCE(u.neuron_id, p.neuron_id) || ' in model ' || COALESCE(u.other_model_id, p.other_model_id) AS what
  FROM (SELECT * FROM universality_by_model WHERE run_id = :run_id AND other_neuron_id IS NOT NULL) AS u
  FULL JOIN (SELECT * FROM pairs WHERE run_id = :run_id AND rank = 1) AS p
    ON p.neuron_id = u.neuron_id AND p.other_model_id = u.other_model_id
 WHERE (u.other_neuron_id, u.max_corr, u.mutual_best) IS DISTINCT FROM (p.other_neuron_id, p.correlation, p.mutual_best)"""

# universality is float64, universality_by_model float4: they differ by the rounding of a correlation.
_SUMMARY = """
SELECT 'neuron ' || u.neuron_id AS what
  FROM universality u
  LEFT JOIN (SELECT neuron_id, count(max_corr) AS n, max(max_corr) AS c_max, avg(max_corr) AS c_mean, min(max_corr) AS c_min,
                    max(baseline) AS b_max, avg(baseline) AS b_mean, min(baseline) AS b_min
               FROM universality_by_model WHERE run_id = :run_id GROUP BY 1) AS m USING (neuron_id)
 WHERE u.run_id = :run_id
   AND (u.n_models <> COALESCE(m.n, 0)
        OR u.n_models + u.n_degenerate + 1 <> (SELECT count(*) FROM run_models WHERE run_id = :run_id)
        OR (u.max_corr IS NULL) <> (m.c_max IS NULL) OR (u.mean_baseline IS NULL) <> (m.b_mean IS NULL)
        OR greatest(abs(u.max_corr - m.c_max), abs(u.mean_corr - m.c_mean), abs(u.min_corr - m.c_min),
                    abs(u.max_baseline - m.b_max), abs(u.mean_baseline - m.b_mean), abs(u.min_baseline - m.b_min),
                    abs(u.excess_corr - (u.mean_corr - u.mean_baseline))) > 1e-6)"""

_GROUPS = f"""
SELECT 'group ' || g.id || ' of ' || g.size AS what
  FROM neuron_groups g
  LEFT JOIN group_members gm ON gm.group_id = g.id AND gm.run_id = g.run_id
  LEFT JOIN {_OWN_NEURONS} AS n ON n.id = gm.neuron_id
 WHERE g.run_id = :run_id
 GROUP BY g.id
HAVING g.size <> count(n.id) OR g.size <> count(DISTINCT n.model_id)"""

_SIMILAR = """
SELECT 'neuron ' || neuron_id || ' by ' || kind || ' with rank ' || rank AS what
  FROM (SELECT s.*, n.model_id, o.model_id AS other_model_id, row_number() OVER best AS place,
               lag(s.cosine) OVER best AS before
          FROM similar_neurons s JOIN neurons n ON n.id = s.neuron_id JOIN neurons o ON o.id = s.other_neuron_id
         WHERE s.run_id = :run_id
        WINDOW best AS (PARTITION BY s.neuron_id, s.kind, s.opposite ORDER BY s.rank)) AS placed
 WHERE rank <> place OR model_id <> other_model_id OR neuron_id = other_neuron_id
    OR CASE WHEN opposite THEN cosine < before ELSE cosine > before END"""

_MUTUAL_SIMILAR = """
WITH best AS (SELECT * FROM similar_neurons WHERE run_id = :run_id AND rank = 1)
SELECT 'neuron ' || one.neuron_id || ' by ' || one.kind AS what
  FROM best one
  LEFT JOIN best back ON (back.neuron_id, back.kind, back.opposite, back.other_neuron_id)
                       = (one.other_neuron_id, one.kind, one.opposite, one.neuron_id)
 WHERE one.mutual <> (back.neuron_id IS NOT NULL)
 UNION ALL
SELECT 'neuron ' || neuron_id || ' by ' || kind || ' with rank ' || rank FROM similar_neurons
 WHERE run_id = :run_id AND rank > 1 AND mutual"""

_RELATIONS = """
SELECT 'neuron ' || p.neuron_id || ' and head ' || p.head_layer || '.' || p.head AS what
  FROM path_ablations p
  LEFT JOIN ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                  = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)
 WHERE p.run_id = :run_id
 GROUP BY p.neuron_id, p.head_layer, p.head, p.n_rows
HAVING count(r.x) <> 9"""

_HELD = """
WITH held AS (SELECT neuron_id, array_agg(value ORDER BY value) AS at FROM interventions
               WHERE run_id = :run_id AND purpose <> 'asked' GROUP BY neuron_id)
SELECT 'neuron ' || neuron_id AS what FROM held WHERE at <> (SELECT max(at) FROM held)"""

_EXAMPLE_ROWS = """
SELECT 'an example of neuron ' || e.neuron_id || ' at row ' || e.row || ', position ' || e.position AS what
  FROM examples e
  JOIN runs r ON r.id = e.run_id
  LEFT JOIN corpus_rows c ON c.corpus_id = r.corpus_id AND c.row = e.row
 WHERE e.run_id = :run_id AND c.tokens[e.position + 1] IS DISTINCT FROM e.token_id"""

_EXAMPLE_RANKS = """
SELECT 'neuron ' || neuron_id || ' with rank ' || rank AS what
  FROM (SELECT neuron_id, rank, value, row_number() OVER best AS place, lag(value) OVER best AS before
          FROM examples WHERE run_id = :run_id AND kind = 0
        WINDOW best AS (PARTITION BY neuron_id ORDER BY rank)) AS placed
 WHERE rank <> place OR value > before"""

STRUCTURE = (
    Rule("every model has n_layers x d_mlp neurons", None, _SHAPE),
    *(
        Rule(f"{table} has one row per neuron of the run", part, _every_neuron(table))
        for table, part in (
            ("weight_statistics", "weights"),
            ("activation_statistics", "activations"),
            ("universality", "correlations"),
            ("position_statistics", "positions"),
            ("histograms", "distributions"),
            ("distribution_statistics", "distributions"),
            ("late_statistics", "distributions"),
            ("ngram_statistics", "ngrams"),
        )
    ),
    *(
        Rule(f"{table} has rows of neurons of the run only", part, _no_orphan(table))
        for table, part in (
            ("logit_effects", "weights"),
            ("universality_by_model", "correlations"),
            ("group_members", "correlations"),
            ("explanations", None),
            ("letter_scores", "vocabulary"),
            ("top_tokens", "vocabulary"),
            ("examples", "examples"),
            ("detected_ngrams", "ngrams"),
            ("labels", None),
            ("subset_statistics", "distributions"),
            ("logit_explanations", "prediction"),
            ("class_activity", "class_activity"),
            ("similar_neurons", "redundancy"),
            ("neuron_vectors", "redundancy"),
            ("head_scores", "attention"),
            ("head_compositions", "attention"),
            ("path_ablations", "ablations"),
            ("interventions", "entropy"),
        )
    ),
    Rule("every part was computed of the models of the run", None, _MODELS_OF_PARTS),
    Rule("models are what their behaviour says", None, _BEHAVIOUR),
    Rule("activations on all subsets are those of the whole", "distributions", _SUBSETS_SUM_UP),
    Rule("every two models of the run are a pair", "correlations", _MODEL_PAIRS),
    Rule("partners belong to another model of the run, the one named", "correlations", _PARTNERS),
    Rule("partners are ranked 1, 2, 3, … by falling correlation", "correlations", _RANKS),
    Rule("neurons of a model have equally many partners in another", "correlations", _PARTNER_COUNTS),
    Rule("mutual_best says whose best partner's best partner it is", "correlations", _MUTUAL),
    Rule("universality_by_model repeats the partners of rank 1", "correlations", _BEST),
    Rule("universality sums universality_by_model up", "correlations", _SUMMARY),
    Rule("groups have as many neurons as they say, each of another model", "correlations", _GROUPS),
    Rule("examples are at their token in rows of the corpus that are stored", "examples", _EXAMPLE_ROWS),
    Rule("top examples are ranked 1, 2, 3, … by falling value", "examples", _EXAMPLE_RANKS),
    Rule("similar neurons are of the same model, ranked 1, 2, 3, …, the most alike first", "redundancy", _SIMILAR),
    Rule("mutual says whose nearest or most opposite neuron's nearest or most opposite it is", "redundancy", _MUTUAL_SIMILAR),
    Rule("every ablated pair has all its relations", "ablations", _RELATIONS),
    Rule("every candidate and control is held at the same values", "entropy", _HELD),
    Rule("explanations of effects point to features", "prediction", _known_feature("logit_explanations")),
    Rule("explanations point to features", None, _known_feature("explanations")),
    Rule("letter scores point to features", "vocabulary", _known_feature("letter_scores")),
)
