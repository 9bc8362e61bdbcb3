"""The views of the part `correlations`."""

from catalog.parts.part import View
from catalog.parts.words import RANK_IN_LAYER

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

VIEWS = (
    View(
        "neuron_matches",
        "The best partners of each neuron in every other model, with the standard error of each correlation.",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       names.model AS other_model, o.layer AS other_layer, o."index" AS other_neuron,
       p.correlation, p.correlation_se, p.rank, p.mutual_best, s.restored, s.restored_se, p.neuron_id, p.other_neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.pairs p ON p.run_id = m.run_id AND p.neuron_id = n.id
  JOIN public.neurons o ON o.id = p.other_neuron_id
  JOIN history.model_names names ON names.model_id = p.other_model_id
  LEFT JOIN public.substitutions s ON s.run_id = p.run_id AND s.neuron_id = p.neuron_id
   AND s.other_model_id = p.other_model_id AND s.kind = CASE p.rank WHEN 1 THEN 'match' WHEN 2 THEN 'second' END""",
        words={
            "rank": "1 is the best partner in the other model.",
            "restored": "Share of what ablation costs that the partner, in the neuron's place, restores; NULL if not measured.",
            "restored_se": "Standard error of restored.",
        },
    ),
    View(
        "neuron_universality_by_model",
        "Best match and rotated baseline of each neuron in each other model.",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron, names.model AS other_model,
       u.max_corr, u.max_corr_se, o.layer AS other_layer, o."index" AS other_neuron,
       u.baseline, u.baseline_sd, u.baseline_se, u.baseline_layer, u.diag_corr, u.mutual_best, u.neuron_id, u.other_neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.universality_by_model u ON u.run_id = m.run_id AND u.neuron_id = n.id
  JOIN history.model_names names ON names.model_id = u.other_model_id
  LEFT JOIN public.neurons o ON o.id = u.other_neuron_id""",
        words={
            "other_layer": "Transformer block of the best match in the other model, from 0.",
            "other_neuron": "Position in d_mlp of the best match in the other model, from 0.",
        },
    ),
    View(
        "universal_neuron_properties",
        "Percentiles of universal neurons among all neurons of their layer (UN Fig. 3, SPEC 3.7).",
        f"""SELECT m.run_id, m.model, t.layer, t.neuron, t.excess_corr, t.excess_se,
       {", ".join(f"t.{name}_percentile" for name in RANKED)},
       t.neuron_id
  FROM {{members}} m
 CROSS JOIN LATERAL (
       SELECT s.layer, s.neuron, s.neuron_id, s.excess_corr, s.excess_se, s.universal,
              {_PERCENTILES_OF_LAYER}
         FROM {{schema}}.neuron_profiles s WHERE s.run_id = m.run_id AND s.model = m.model) t
 WHERE t.universal = 'yes'""",
        words={
            "excess_se": "Standard error of excess_corr, over blocks of documents and draws of the baseline.",
            "excess_corr": "mean_corr - mean_baseline, surely above universal.min_excess of the rules here (UN eq. 3).",
            **{
                f"{name}_percentile": RANK_IN_LAYER.format(name)
                for name in ("sparsity", "mean", "skew", "kurt", "input_bias", "in_out_sim", "l2_penalty", "vocab_kurt")
            },
        },
    ),
    View(
        "depth_matrix",
        "Fraction of a layer's neurons whose best match lies in each layer, mean over other models (SPEC 2.5).",
        """SELECT m.run_id, m.model, d.layer, d.other_layer, d.fraction
  FROM {members} m
 CROSS JOIN LATERAL (SELECT * FROM public.depth_summaries d WHERE d.run_id = m.run_id AND d.model_id = m.model_id
                      ORDER BY d.layer, d.other_layer) d""",
        words={
            "layer": "Transformer block of the neurons, from 0.",
            "other_layer": "Transformer block of their best matches in the other models, from 0.",
        },
    ),
    View(
        "neuron_group_members",
        "Cliques of mutual best matches, one row per neuron; with the group's size and lowest correlation.",
        """SELECT m.run_id, g.id AS group_id, g.size, g.lowest_corr, m.model, n.layer, n."index" AS neuron,
       n.id AS neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.group_members gm ON gm.run_id = m.run_id AND gm.neuron_id = n.id
  JOIN public.neuron_groups g ON g.id = gm.group_id""",
        words={"group_id": "The group: id of neuron_groups."},
    ),
)
