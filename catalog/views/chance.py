"""How many neurons of a family chance gives, beside how many there are: by the controls of a run, or by a formula.

A control of a run is a model of one of its shapes whose neurons read permuted weights. What the rules label of it, they label
by chance. It counts for a family if it has the very parts that decide who is of the family, by the definitions of the run.
"""

from catalog import parts

LARGEST = 0.05
"""Share of a family's neurons that chance may give before the family is marked."""

WORDS = {
    "expected_by_chance": (
        "Neurons that the rule labels by chance: their share among the neurons of the run's controls, times the neurons that "
        "there are. NULL without a control, and of families that follow from more than activations on the corpus. Of io_class "
        "by a formula, of random directions; io_class_counts tells classes apart."
    ),
    "chance_ratio": "expected_by_chance / neurons; NULL where there are none.",
    "chance_ratio_upper": (
        "The same at the upper limit, one-sided at 95 %, of the number of labels in the controls, a Poisson number (by Byar's "
        "formula, within 1 %): above 0 where controls have none. chance_ratio where a formula gives it."
    ),
    "control": (
        f"Whether chance_ratio is above {LARGEST:.0%}, of no neuron as of one; or that there is no control, or none of this "
        "kind."
    ),
}
"""Of the columns that tell it."""

# With k labels in the controls; 1.6449 is the 95th percentile of a normal number.
_UPPER = "(k + 1) * power(1 - 1 / (9.0 * (k + 1)) + 1.6449 / (3 * sqrt(k + 1)), 3)"

_COUNTS = """SELECT m.run_id, m.model, {layer_shown}t.family, t.neurons, t.universal_neurons, t.undecided_neurons,
       c.expected AS expected_by_chance, c.expected / NULLIF(t.neurons, 0) AS chance_ratio,
       c.upper / NULLIF(t.neurons, 0) AS chance_ratio_upper,
       CASE WHEN t.family NOT IN ({known}) THEN 'no control of this kind' WHEN c.expected IS NULL THEN 'no control'
            WHEN c.expected > {largest} * greatest(t.neurons, 1) THEN 'above {percent}' ELSE 'at most {percent}' END AS control
  FROM {{members}} m
  JOIN public.models o ON o.id = m.model_id
 CROSS JOIN LATERAL (SELECT {layer}t.family, sum(t.neurons) AS neurons, sum(t.universal_neurons) AS universal_neurons,
                             sum(t.undecided_neurons) AS undecided_neurons
                       FROM public.label_totals t WHERE t.run_id = m.run_id AND t.model_id = m.model_id
                      GROUP BY {layer}t.family ORDER BY {layer}t.family) t
  LEFT JOIN LATERAL (
       SELECT s.k / s.controls AS expected, {upper} / s.controls AS upper
         FROM (SELECT sum(a.neurons)::double precision AS k, count(DISTINCT a.run_id) AS controls
                 FROM public.models cm
                 JOIN public.label_totals a ON a.model_id = cm.id AND a.family = t.family{of_layer}
                 JOIN public.run_controls rc ON rc.run_id = m.run_id AND rc.control_run_id = a.run_id
                 JOIN public.runs cr ON cr.id = rc.control_run_id AND cr.published_at IS NOT NULL
                WHERE (cm.n_layers, cm.d_model, cm.d_mlp) = (o.n_layers, o.d_model, o.d_mlp) AND cm.control_of IS NOT NULL
                  AND NOT EXISTS (
                      SELECT FROM (VALUES {read}) AS read(family, part)
                        LEFT JOIN public.run_parts p ON p.run_id = m.run_id AND p.part = read.part
                        LEFT JOIN public.run_parts their ON their.run_id = rc.control_run_id AND their.part = read.part
                       WHERE read.family = t.family
                         AND (p.definition_version, p.settings) IS DISTINCT FROM (their.definition_version, their.settings))) s
        WHERE s.controls > 0 AND t.family IN ({families})
        UNION ALL
       SELECT f.share * {neurons}, f.share * {neurons}
         FROM (SELECT CASE t.family {formulas} END AS share) f WHERE f.share IS NOT NULL) c ON true"""


def counts(layer: str) -> str:
    """The neurons of each family, of a model or of its layers.

    Args:
        layer: SQL of the layer of `t`; empty: over all layers.
    """
    read = parts.controlled()
    families = ", ".join(f"'{family}'" for family in read)
    formulas = parts.by_chance()
    pairs = ", ".join(f"('{family}', '{part}')" for family, of_family in read.items() for part in of_family)
    grouped = f"{layer}, " if layer else ""
    return _COUNTS.format(
        layer_shown=grouped,
        layer=grouped,
        of_layer=f" AND a.layer = {layer}" if layer else "",
        families=families,
        known=", ".join([families, *(f"'{family}'" for family in formulas)]),
        formulas=" ".join(f"WHEN '{family}' THEN {share}" for family, share in formulas.items()),
        neurons="o.d_mlp" if layer else "(o.n_layers * o.d_mlp)",
        read=pairs,
        upper=_UPPER.replace("k", "s.k"),
        largest=LARGEST,
        percent=f"{LARGEST * 100:.0f} %",
    )
