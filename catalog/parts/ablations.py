"""The part `ablations`: what heads do when a neuron is taken from their queries, and how little they write at BOS (SPEC 9)."""

from sqlalchemy import BigInteger, DateTime, Text

from catalog.parts.part import Check, Part, Rows, View
from catalog.parts.view_text import NEURON
from catalog.schema.base import check, column, number, of_head, of_model, of_neuron, of_rows, table

head_norms = table(
    "head_norms",
    *of_model(),
    *of_head(),
    column("n_tokens", BigInteger, "Kept tokens in the mean."),
    number("bos_norm_ratio", "Mean |W_O v| over tokens / |W_O v| of BOS, value biases folded away (UN 5.3, SPEC 9.2)."),
    number("bos_norm_ratio_with_bias", "The same with the value biases."),
    comment="How little each head writes when it attends to BOS.",
    serves="head_summaries: what the heads of a model write",
)

path_ablations = table(
    "path_ablations",
    *of_neuron(),
    *of_head(),
    of_rows(),
    column(
        "purpose",
        Text,
        "chosen by h, or asked for later.",
        check("purpose_known", "purpose IN ('chosen', 'asked')"),
    ),
    column("n_tokens", BigInteger, "Destinations, in the second half of the context and not BOS."),
    number("activation", "Mean post at them."),
    number("activation_sd", "Its standard deviation."),
    number("p_bos", "Mean attention to BOS, clean."),
    number("delta_p_bos", "Mean change of it without the neuron (UN 5.3, SPEC 9.3)."),
    number("z_norm", "Mean norm of the head's mix of values z, clean."),
    number("delta_z_norm", "Mean change of it."),
    number("fractional_z_norm", "Mean change of it over the clean norm."),
    number("o_norm", "Mean norm of W_O z, clean."),
    number("delta_o_norm", "Mean change of it."),
    number("fractional_o_norm", "Mean change of it over the clean norm."),
    column("code_version", Text, "git commit of the code, where it is not the run's.", null=True),
    column("device", Text, "What computed it, where it is not the run's device.", null=True),
    column("measured_at", DateTime(timezone=True), "When it was stored, if after its run.", null=True),
    comment="What one head does when one neuron is taken from its queries.",
    serves="neuron_path_ablations: a neuron's ablations from heads",
)

ABLATION_CAUSES = ("activation", "delta_p_bos")
ABLATION_EFFECTS = ("delta_p_bos", "delta_z_norm", "delta_o_norm", "fractional_z_norm", "fractional_o_norm")

ablation_relations = table(
    "ablation_relations",
    *of_neuron(),
    *of_head(),
    of_rows(),
    column("x", Text, "A column of path_ablations per destination.", check("x_known", f"x IN {ABLATION_CAUSES}"), key=True),
    column("y", Text, "Another one.", check("y_known", f"y IN {ABLATION_EFFECTS}"), key=True),
    number("pearson", "Correlation over destinations; NULL if either is constant."),
    number("spearman", "Rank correlation."),
    number("slope", "Of the least-squares line of y on x."),
    number("intercept", "Of that line."),
    comment="How the changes under path ablation go with the activation and with each other (SPEC 9.3).",
    serves="neuron_path_ablations: how the changes of an ablation are related",
)

_OF_THE_RUN = "{t}.purpose <> 'asked'"
_KEY = tuple(column.name for column in path_ablations.primary_key)
_RELATIONS_OF_THE_RUN = (
    f"({', '.join(f'{{t}}.{name}' for name in _KEY)}) IN"
    f" (SELECT {', '.join(_KEY)} FROM public.path_ablations WHERE purpose <> 'asked')"
)
"""Whose relations they are is known by the ablations, and so they are deleted before those."""

_RELATIONS = """
SELECT 'neuron ' || p.neuron_id || ' and head ' || p.head_layer || '.' || p.head AS what
  FROM path_ablations p
  LEFT JOIN ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                  = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)
 WHERE p.run_id = :run_id
 GROUP BY p.neuron_id, p.head_layer, p.head, p.n_rows
HAVING count(r.x) <> 9"""

PART = Part(
    name="ablations",
    about="what heads do without it",
    reads="corpus",
    settings=("intervention_tokens", "ablation_pairs"),
    defined_by_bos="what heads do without neurons that turn them to BOS or away, and how little they write at it",
    needs_bos=True,
    group="roles",
    rows=(
        Rows(ablation_relations, "some", condition=_RELATIONS_OF_THE_RUN, asked_too=True, measurement=_KEY),
        Rows(path_ablations, "some", condition=_OF_THE_RUN, asked_too=True),
        Rows(head_norms, "model"),
    ),
    views=(
        View(
            "neuron_path_ablations",
            "What one head does when one neuron is taken from its queries: mean changes, and how they go with the activation.",
            f"""SELECT {NEURON}, p.head_layer, p.head, p.n_tokens, p.activation, p.activation_sd, p.p_bos, p.delta_p_bos,
       p.z_norm, p.delta_z_norm, p.fractional_z_norm, p.o_norm, p.delta_o_norm, p.fractional_o_norm,
       r.x, r.y, r.pearson, r.spearman, r.slope, r.intercept, p.purpose, p.n_rows, p.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.path_ablations p ON p.run_id = m.run_id AND p.neuron_id = n.id
  JOIN public.ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                    = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)""",
            words={
                "activation_sd": "Standard deviation of post at the destinations.",
                "delta_p_bos": "Mean change of the attention to BOS without the neuron (UN 5.3, SPEC 9.3).",
                "delta_z_norm": "Mean change of z_norm without the neuron.",
                "fractional_z_norm": "Mean change of the norm of z over the clean norm.",
                "delta_o_norm": "Mean change of o_norm without the neuron.",
                "fractional_o_norm": "Mean change of the norm of W_O z over the clean norm.",
                "x": "What y is correlated with, per destination: activation or delta_p_bos.",
                "y": "A change that is related to x, per destination.",
                "pearson": "Correlation of x and y over destinations; NULL if either is constant.",
                "spearman": "Rank correlation of x and y over destinations.",
                "slope": "Of the least-squares line of y on x.",
                "intercept": "Of the least-squares line of y on x.",
            },
        ),
    ),
    checks=(Check("every ablated pair has all its relations", _RELATIONS),),
)
