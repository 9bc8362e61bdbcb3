"""Views of what neurons do: to predictions, to entropy, to attention, and which neurons repeat or undo one another.

See `catalog.views`, which creates them with all others.
"""

from catalog.activity_views import View
from catalog.schema.roles import METRICS

_NEURON = 'm.run_id, m.model, n.layer, n."index" AS neuron'
_LABEL = 'm.run_id, m.model, l.layer, l."index" AS neuron'
_LABELS = "FROM {members} m\n  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family"
_PERCENTILES = (5, 10, 50, 90, 95)

_OUTCOMES = ", ".join(f"i.{name}, i.{name}_delta AS delta_{name}, i.{name}_se AS {name}_standard_error" for name in METRICS)

RANKED = ("sparsity", "mean", "skew", "kurt", "input_bias", "in_out_sim", "l2_penalty", "vocab_kurt")
"""Statistics whose percentiles within the layer tell universal neurons from others (UN Fig. 3, SPEC 3.7)."""


def _percentile(name: str) -> str:
    """Of a value among those of its layer, ties averaged: 50 (#{x < v} + #{x <= v} + 1) / n."""
    of_layer = f"PARTITION BY s.layer ORDER BY s.{name}"
    return (
        f"CASE WHEN s.{name} IS NOT NULL THEN 50.0::double precision * (rank() OVER ({of_layer})"
        f" + count(s.{name}) OVER ({of_layer})) / count(s.{name}) OVER (PARTITION BY s.layer) END AS {name}_percentile"
    )


_PERCENTILES_OF_LAYER = ",\n              ".join(_percentile(name) for name in RANKED)

# A partner is the neuron of rank 1; `{{opposite}}` says at which end.
_PARTNER = """JOIN public.similar_neurons s
    ON s.run_id = l.run_id AND s.neuron_id = l.neuron_id AND s.kind = '{kind}' AND s.opposite = {opposite} AND s.rank = 1
  JOIN public.neurons o ON o.id = s.other_neuron_id"""

ROLE_VIEWS = (
    View(
        "prediction_neurons",
        "Neurons that promote or suppress a class of tokens (kurtosis over the vocabulary above 10), or part it (UN 5.1).",
        f"""SELECT {_LABEL}, l.family AS class, w.vocab_kurt, w.vocab_skew, w.vocab_var,
       NULLIF(l.subtype, l.family) AS feature, (l.evidence ->> 'mean_difference')::double precision AS mean_difference,
       (l.evidence ->> 'variance_reduction')::double precision AS variance_reduction,
       (l.evidence ->> 'high_vocab_var')::boolean AS high_vocab_var,
       w.logit_kurt, w.logit_skew, w.logit_var, w.vocab_n, l.excess_corr, l.neuron_id
  {_LABELS} IN ('prediction', 'suppression', 'partition')
  JOIN public.weight_statistics w ON w.run_id = l.run_id AND w.neuron_id = l.neuron_id""",
    ),
    View(
        "neuron_logit_explanations",
        "The vocabulary features that explain each neuron's effect on the logits best; promoted where mean_difference > 0.",
        f"""SELECT {_NEURON}, f.name AS feature, x.rank, x.variance_reduction, x.mean_difference, x.welch_t,
       x.n_in, x.n_out, x.mean_in, x.mean_out, x.skew_reduction, x.kurt_reduction, f.family AS feature_family, x.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.logit_explanations x ON x.run_id = m.run_id AND x.neuron_id = n.id
  JOIN public.features f ON f.id = x.feature_id""",
    ),
    View(
        "logit_ensembles",
        "Which prediction, suppression and partition neurons act on the same class of tokens, and with which sign (Fig. 25).",
        f"""SELECT m.run_id, m.model, f.name AS feature, l.layer, l."index" AS neuron, l.family AS class,
       CASE WHEN x.mean_difference > 0 THEN 'promotes' ELSE 'suppresses' END AS sign,
       x.mean_difference, x.welch_t, x.variance_reduction, l.score AS vocab_kurt, l.excess_corr, l.neuron_id
  {_LABELS} IN ('prediction', 'suppression', 'partition')
  JOIN public.logit_explanations x ON x.run_id = l.run_id AND x.neuron_id = l.neuron_id AND x.rank = 1
  JOIN public.features f ON f.id = x.feature_id""",
    ),
    View(
        "prediction_activity",
        "Whether prediction and suppression neurons are active before the tokens that they act on (UN Fig. 25).",
        f"""SELECT {_LABEL}, l.family AS class, f.name AS feature, a.n_in, a.n_out, a.freq_in, a.freq_out,
       a.mean_in, a.mean_out, a.cohen_d, l.neuron_id
  {_LABELS} IN ('prediction', 'suppression')
  JOIN public.class_activity a ON a.run_id = l.run_id AND a.neuron_id = l.neuron_id
  JOIN public.features f ON f.id = a.feature_id""",
    ),
    View(
        "prediction_profiles",
        "Percentiles per layer of the kurtosis and the skewness over the vocabulary; and of the latter where the former > 10.",
        f"""SELECT m.run_id, m.model, m.family, t.layer, t.statistic, t.n,
       {", ".join(f"t.p[{place}] AS p{share}" for place, share in enumerate(_PERCENTILES, start=1))}
  FROM {{members}} m
 CROSS JOIN LATERAL (
       SELECT n.layer, v.statistic, count(v.value) AS n,
              percentile_cont(ARRAY[{", ".join(f"0.{share:02}" for share in _PERCENTILES)}]::double precision[])
                WITHIN GROUP (ORDER BY v.value) AS p
         FROM public.neurons n
         JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id
        CROSS JOIN LATERAL (VALUES ('vocab_kurt', w.vocab_kurt), ('vocab_skew', w.vocab_skew),
          ('vocab_skew where vocab_kurt > 10', CASE WHEN w.vocab_kurt > 10 THEN w.vocab_skew END)) AS v(statistic, value)
        WHERE n.model_id = m.model_id
        GROUP BY n.layer, v.statistic ORDER BY n.layer, v.statistic) t""",
    ),
    View(
        "prediction_profiles_over_seeds",
        "The percentiles of prediction_profiles over the models of a family: mean, lowest and highest (UN Fig. 6).",
        """SELECT p.run_id, p.family, p.layer, p.statistic, v.percentile, count(v.value) AS models, avg(v.value) AS mean,
       min(v.value) AS lowest, max(v.value) AS highest, avg(p.n)::double precision AS mean_n
  FROM {schema}.prediction_profiles p
 CROSS JOIN LATERAL (VALUES """
        + ", ".join(f"({share}, p.p{share})" for share in _PERCENTILES)
        + """) AS v(percentile, value)
 GROUP BY p.run_id, p.family, p.layer, p.statistic, v.percentile""",
    ),
    View(
        "neuron_interventions",
        "What a model predicts when neurons are held at a value at every position, against the model left alone (UN 5.2).",
        f"""SELECT {_NEURON},
       (SELECT array_agg(o.layer || '.' || o."index" ORDER BY o.layer, o."index")
          FROM unnest(i.together) AS other(id) JOIN public.neurons o ON o.id = other.id) AS together,
       i.kind, i.value, i.purpose, i.n_tokens, {_OUTCOMES}, i.kl, i.kl_se AS kl_standard_error, i.n_rows, i.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.interventions i ON i.run_id = m.run_id AND i.neuron_id = n.id""",
    ),
    View(
        "entropy_neurons",
        "Neurons of large weights that hardly move any logit, but the scale of all of them: held on, entropy rises or falls.",
        f"""SELECT {_LABEL}, l.family AS sign, i.entropy_delta AS delta_entropy, i.scale_delta AS delta_scale,
       i.loss_delta AS delta_loss, i.recip_rank_delta AS delta_recip_rank, i.kl, i.value,
       (l.evidence ->> 'largest_control')::double precision AS largest_control, (l.evidence ->> 'controls')::int AS controls,
       o.layer AS opposite_of_layer, o."index" AS opposite_of_neuron, w.l2_penalty, w.vocab_var, i.n_tokens, l.neuron_id
  {_LABELS} IN ('entropy', 'anti_entropy')
  JOIN public.interventions i ON i.run_id = l.run_id AND i.neuron_id = l.neuron_id AND i.purpose = 'candidate'
   AND i.kind = 'fix' AND i.value = (l.evidence ->> 'value')::double precision
  LEFT JOIN public.neurons o ON o.id = i.of_neuron_id
  LEFT JOIN public.weight_statistics w ON w.run_id = l.run_id AND w.neuron_id = l.neuron_id""",
    ),
    View(
        "attention_neurons",
        "Neurons that turn a head of a later layer towards BOS, which deactivates it, or away from BOS (UN 5.3).",
        f"""SELECT {_LABEL}, s.head_layer, s.head, s.h, r.pearson AS correlation, l.family AS class,
       (l.evidence ->> 'chance')::double precision AS chance, s.h_sd, s.h_scaled, p.delta_p_bos, p.delta_o_norm,
       p.fractional_o_norm, p.n_tokens, l.neuron_id
  {_LABELS} IN ('attn_deactivation', 'attn_activation')
  JOIN public.head_scores s ON s.run_id = l.run_id AND s.neuron_id = l.neuron_id
   AND (s.head_layer, s.head) = ((l.evidence ->> 'head_layer')::smallint, (l.evidence ->> 'head')::smallint)
  LEFT JOIN public.path_ablations p ON (p.run_id, p.neuron_id, p.head_layer, p.head)
                                     = (s.run_id, s.neuron_id, s.head_layer, s.head) AND p.purpose = 'chosen'
  LEFT JOIN public.ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                         = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)
   AND r.x = 'activation' AND r.y = 'delta_p_bos'""",
    ),
    View(
        "neuron_head_scores",
        "h of neurons and heads of later layers: the first 50 of each head, the ends of each neuron; and h over chance.",
        f"""SELECT {_NEURON}, s.head_layer, s.head, s.h, s.h_sd, s.h_scaled, s.head_rank, s.largest, s.smallest,
       abs(s.h) / chance.h AS multiple_of_chance, s.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.head_scores s ON s.run_id = m.run_id AND s.neuron_id = n.id
 CROSS JOIN LATERAL (SELECT NULLIF(max(b.max_abs_h), 0) AS h FROM public.head_baselines b
                      WHERE b.run_id = m.run_id AND b.model_id = m.model_id) chance""",
    ),
    View(
        "head_summaries",
        "Per head: what h is by chance, and how little the head writes when it attends to BOS.",
        """SELECT m.run_id, m.model, b.head_layer, b.head, b.max_abs_h AS chance_max_abs_h, b.sd_h AS chance_sd_h,
       v.bos_norm_ratio, v.bos_norm_ratio_with_bias, v.n_tokens
  FROM {members} m
 CROSS JOIN LATERAL (
       SELECT COALESCE(b.head_layer, v.head_layer) AS head_layer, COALESCE(b.head, v.head) AS head, b.max_abs_h, b.sd_h
         FROM (SELECT * FROM public.head_baselines b WHERE b.run_id = m.run_id AND b.model_id = m.model_id) b
         FULL JOIN (SELECT * FROM public.head_norms v WHERE v.run_id = m.run_id AND v.model_id = m.model_id) v
              USING (head_layer, head)) b
  LEFT JOIN public.head_norms v ON (v.run_id, v.model_id, v.head_layer, v.head)
                                 = (m.run_id, m.model_id, b.head_layer, b.head)""",
    ),
    View(
        "neuron_head_compositions",
        "How much each later head reads what a neuron writes (q, k, v), and each head before it writes what it reads (o).",
        f"""SELECT {_NEURON}, c.head_layer, c.head, c.q, c.k, c.v, c.o, c.neuron_id
  FROM {{members}} m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.neurons n ON n.model_id = m.model_id
 CROSS JOIN LATERAL (
       SELECT h.neuron_id, (n.layer + 1 + (t.place - 1) / mo.n_heads)::smallint AS head_layer,
              mod(t.place - 1, mo.n_heads)::smallint AS head, t.q, t.k, t.v, NULL::real AS o
         FROM public.head_compositions h
        CROSS JOIN LATERAL unnest(h.q, h.k, h.v) WITH ORDINALITY AS t(q, k, v, place)
        WHERE h.run_id = m.run_id AND h.neuron_id = n.id
        UNION ALL
       SELECT h.neuron_id, ((t.place - 1) / mo.n_heads)::smallint, mod(t.place - 1, mo.n_heads)::smallint,
              NULL, NULL, NULL, t.o
         FROM public.head_compositions h
        CROSS JOIN LATERAL unnest(h.o) WITH ORDINALITY AS t(o, place)
        WHERE h.run_id = m.run_id AND h.neuron_id = n.id) c""",
    ),
    View(
        "neuron_path_ablations",
        "What one head does when one neuron is taken from its queries: mean changes, and how they go with the activation.",
        f"""SELECT {_NEURON}, p.head_layer, p.head, p.n_tokens, p.activation, p.activation_sd, p.p_bos, p.delta_p_bos,
       p.z_norm, p.delta_z_norm, p.fractional_z_norm, p.o_norm, p.delta_o_norm, p.fractional_o_norm,
       r.x, r.y, r.pearson, r.spearman, r.slope, r.intercept, p.purpose, p.n_rows, p.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.path_ablations p ON p.run_id = m.run_id AND p.neuron_id = n.id
  JOIN public.ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                    = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)""",
    ),
    View(
        "neuron_similarities",
        "The neurons of the same model whose weights are nearest and most opposite to each neuron's, exactly (UN App. C).",
        f"""SELECT {_NEURON}, s.kind, s.opposite, s.rank, o.layer AS other_layer, o."index" AS other_neuron,
       s.cosine, s.mutual, s.neuron_id, s.other_neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.similar_neurons s ON s.run_id = m.run_id AND s.neuron_id = n.id
  JOIN public.neurons o ON o.id = s.other_neuron_id""",
    ),
    View(
        "antipodal_pairs",
        "Neurons that write the opposite of another one of their model; mutual where each is the other's most opposite.",
        f"""SELECT {_LABEL}, o.layer AS other_layer, o."index" AS other_neuron, s.cosine, s.mutual,
       l.excess_corr, l.neuron_id, s.other_neuron_id
  {_LABELS} = 'antipodal'
  {_PARTNER.format(kind="w_out", opposite="true")}""",
    ),
    View(
        "duplicate_neurons",
        "Neurons that read what another one of their model reads, and write alike; cosine is of the input weights.",
        f"""SELECT {_LABEL}, o.layer AS other_layer, o."index" AS other_neuron, s.cosine, s.mutual,
       (l.evidence ->> 'out_cosine')::double precision AS out_cosine,
       (l.evidence ->> 'same_partner')::boolean AS same_partner, l.excess_corr, l.neuron_id, s.other_neuron_id
  {_LABELS} = 'duplicate'
  {_PARTNER.format(kind="w_in", opposite="false")}""",
    ),
    View(
        "universal_neuron_properties",
        "Percentiles of universal neurons among all neurons of their layer (UN Fig. 3, SPEC 3.7).",
        f"""SELECT m.run_id, m.model, t.layer, t.neuron, t.excess_corr, {", ".join(f"t.{name}_percentile" for name in RANKED)},
       t.neuron_id
  FROM {{members}} m
 CROSS JOIN LATERAL (
       SELECT s.layer, s.neuron, s.neuron_id, s.excess_corr,
              {_PERCENTILES_OF_LAYER}
         FROM {{schema}}.neuron_profiles s WHERE s.run_id = m.run_id AND s.model = m.model) t
 WHERE t.excess_corr > 0.5""",
    ),
    View(
        "cosine_frequency",
        "Per model: the correlation of the activation frequency with the cosine of input and output weights (UN Fig. 9).",
        """SELECT m.run_id, m.model, t.neurons, t.correlation, t.lowest_in_out_sim, t.highest_in_out_sim
  FROM {members} m
 CROSS JOIN LATERAL (
       SELECT count(*) AS neurons, corr(a.sparsity, w.in_out_sim) AS correlation, min(w.in_out_sim) AS lowest_in_out_sim,
              max(w.in_out_sim) AS highest_in_out_sim
         FROM public.neurons n
         JOIN public.activation_statistics a ON a.run_id = m.run_id AND a.neuron_id = n.id
         JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id AND w.in_out_sim IS NOT NULL
        WHERE n.model_id = m.model_id) t""",
    ),
    View(
        "redundancy_universality",
        "Per model: the correlation of excess_corr with the cosine of the nearest and of the most opposite neuron (Fig. 10).",
        """SELECT m.run_id, m.model, t.kind, t.opposite, t.neurons, t.correlation
  FROM {members} m
 CROSS JOIN LATERAL (
       SELECT s.kind, s.opposite, count(*) AS neurons, corr(u.excess_corr, s.cosine) AS correlation
         FROM public.universality u
         JOIN public.similar_neurons s ON s.run_id = u.run_id AND s.neuron_id = u.neuron_id AND s.rank = 1
        WHERE u.run_id = m.run_id AND u.model_id = m.model_id AND u.excess_corr IS NOT NULL
        GROUP BY s.kind, s.opposite ORDER BY s.kind, s.opposite) t""",
    ),
)
