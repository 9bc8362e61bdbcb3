"""What must hold between a run's pairs, universality and groups."""

from catalog.parts.part import OWN_NEURONS, Check
from catalog.parts.rule import decided, in_force
from catalog.parts.view_text import JACKKNIFE

_MODEL_PAIRS = """
SELECT a.model_id || ' and ' || b.model_id AS what
  FROM run_models a
  JOIN run_models b ON b.run_id = a.run_id AND b.model_id > a.model_id
  LEFT JOIN run_pairs p ON (p.run_id, p.model_id, p.other_model_id) = (a.run_id, a.model_id, b.model_id)
 WHERE a.run_id = :run_id AND p.run_id IS NULL"""

_PARTNERS = f"""
SELECT 'neuron ' || p.neuron_id || ' with the partner ' || p.other_neuron_id AS what
  FROM pairs p
  LEFT JOIN {OWN_NEURONS} AS n ON n.id = p.neuron_id
  LEFT JOIN {OWN_NEURONS} AS o ON o.id = p.other_neuron_id
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
          FROM counted c JOIN {OWN_NEURONS} AS own ON own.id = c.neuron_id) AS compared
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
 WHERE (u.other_neuron_id, u.max_corr, u.max_corr_se, u.mutual_best)
       IS DISTINCT FROM (p.other_neuron_id, p.correlation, p.correlation_se, p.mutual_best)"""

# The estimates are float4.
_JACKKNIFE = f"""
SELECT 'neuron ' || u.neuron_id || ' in model ' || u.other_model_id AS what
  FROM universality_by_model u
 CROSS JOIN LATERAL (SELECT count(*) AS n, {JACKKNIFE.format("d::double precision")} AS se
                       FROM unnest(u.without_blocks) AS d) AS b
 WHERE u.run_id = :run_id AND u.without_blocks IS NOT NULL
   AND (b.n < 10 OR abs(b.se - u.max_corr_se) > 1e-6)"""

# Blocks are the same in all models, of best correlations and of baselines; draws are independent. The estimates are float4.
_ERRORS = f"""
WITH m AS (SELECT neuron_id, without_blocks, baseline_without_blocks, baseline_se, max_corr, baseline,
                  count(max_corr) OVER own AS n_corr, count(baseline) OVER own AS n_baseline
             FROM universality_by_model WHERE run_id = :run_id WINDOW own AS (PARTITION BY neuron_id)),
     draws AS (SELECT neuron_id, bool_or(max_corr IS NOT NULL AND without_blocks IS NULL) AS unknown,
                      bool_or(baseline IS NOT NULL AND (baseline_se IS NULL OR baseline_without_blocks IS NULL))
                      AS unknown_excess,
                      sqrt(sum(baseline_se::double precision ^ 2)) / NULLIF(count(baseline), 0) AS se FROM m GROUP BY 1),
     blocks AS (SELECT m.neuron_id, block.number, sum(block.corr::double precision / m.n_corr) AS corr,
                       sum(block.corr::double precision / m.n_corr - block.baseline::double precision / m.n_baseline) AS excess
                  FROM m CROSS JOIN LATERAL unnest(m.without_blocks, m.baseline_without_blocks)
                             WITH ORDINALITY AS block(corr, baseline, number) GROUP BY 1, 2),
     jackknife AS (SELECT neuron_id, {JACKKNIFE.format("corr")} AS corr, {JACKKNIFE.format("excess")} AS excess
                     FROM blocks GROUP BY 1)
SELECT 'neuron ' || u.neuron_id AS what
  FROM universality u JOIN draws USING (neuron_id) LEFT JOIN jackknife USING (neuron_id)
 WHERE u.run_id = :run_id AND u.n_models > 0
   AND ((u.mean_corr_se IS NULL) <> draws.unknown OR (u.excess_se IS NULL) <> (draws.unknown OR draws.unknown_excess)
        OR abs(u.mean_corr_se - jackknife.corr) > 1e-6
        OR abs(u.excess_se - sqrt(jackknife.excess ^ 2 + draws.se ^ 2)) > 1e-6)"""

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

_DECIDED = f"""
SELECT 'neuron ' || neuron_id AS what
  FROM universality WHERE run_id = :run_id AND universal <> {decided(in_force("universal", "min_excess"))}"""

_GROUPS = f"""
SELECT 'group ' || g.id || ' of ' || g.size AS what
  FROM neuron_groups g
  LEFT JOIN group_members gm ON gm.group_id = g.id AND gm.run_id = g.run_id
  LEFT JOIN {OWN_NEURONS} AS n ON n.id = gm.neuron_id
 WHERE g.run_id = :run_id
 GROUP BY g.id
HAVING g.size <> count(n.id) OR g.size <> count(DISTINCT n.model_id)"""

CHECKS = (
    Check("every two models of the run are a pair", _MODEL_PAIRS),
    Check("partners belong to another model of the run, the one named", _PARTNERS),
    Check("partners are ranked 1, 2, 3, … by falling correlation", _RANKS),
    Check("neurons of a model have equally many partners in another", _PARTNER_COUNTS),
    Check("mutual_best says whose best partner's best partner it is", _MUTUAL),
    Check("universality_by_model repeats the partners of rank 1", _BEST),
    Check("max_corr_se is the jackknife over the blocks left out", _JACKKNIFE),
    Check("universality sums universality_by_model up", _SUMMARY),
    Check("errors of universality come from those of universality_by_model", _ERRORS),
    Check("universal is what the rules say of the excess correlation and its error", _DECIDED),
    Check("groups have as many neurons as they say, each of another model", _GROUPS),
)
