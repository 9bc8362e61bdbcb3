"""Reading-and-writing classes: how what a neuron reads is directed to what it writes (Gerstner & Schütze 2025).

c1 = in_out_sim, c2 = gate_out_sim, c3 = gate_in_sim, all of processed weights; c is large where |c| > t. The class of a gated
neuron follows from the sign of c1 where it is large, from whether c2 is, and from whether c3 is what these two make of it. Of a
neuron without a gate c1 alone decides. docs/formulas.md has the table.
"""

from catalog.parts.part import View
from catalog.parts.rule import Evidence, Rule, Threshold, in_force, measured, threshold
from catalog.parts.view_text import NEURON
from catalog.parts.words import shown, signed
from catalog.words import IO_CLASSES

FAMILY, PARAMETER = "io_class", "min_cosine"
WEIGHTS = "processed weights: the gain of the norm folded into gate and input, output weights centred where the norm centres"
"""Which weights the classes are made from."""

_CLASS = """CASE WHEN {c1} IS NULL OR {gated} AND ({c2} IS NULL OR {c3} IS NULL) THEN NULL
            WHEN abs({c1}) > {t} THEN
                 CASE WHEN NOT {gated} OR abs({c2}) > {t} AND {c3} * sign({c1}) * sign({c2}) > {t} THEN ''
                      WHEN abs({c2}) > {t} THEN 'atypical ' WHEN abs({c3}) > {t} THEN 'atypical conditional '
                      ELSE 'conditional ' END || CASE WHEN {c1} > 0 THEN 'strengthening' ELSE 'weakening' END
            WHEN {gated} AND abs({c2}) > {t} THEN
                 CASE WHEN abs({c3}) > {t} THEN 'atypical ' ELSE '' END || 'proportional change'
            ELSE 'orthogonal' END"""


def class_of(least: str, mismatched: bool = False) -> str:
    """SQL: the class of a row `w` of weight_statistics; NULL where a cosine that it takes is undefined.

    Args:
        least: SQL: above which a cosine is large.
        mismatched: with the output weights of the other neuron of its layer.
    """
    drawn = "mismatched_" if mismatched else ""
    return _CLASS.format(
        c1=f"w.{drawn}in_out_sim", c2=f"w.{drawn}gate_out_sim", c3="w.gate_in_sim", gated="(w.w_gate_norm IS NOT NULL)", t=least
    )


_ABOVE = """public.cosine_above({least}, o.d_model - (o.weight_processing LIKE '%center_writing_weights%')::int)"""
"""SQL: how probable a cosine of two random directions is to be above the threshold, in the dimensions of the weights of a model
`o`: one less where their mean over d_model is taken away."""

_IS_GATED = """EXISTS (SELECT FROM public.neurons n JOIN public.weight_statistics w ON w.neuron_id = n.id
                     WHERE w.run_id = m.run_id AND n.model_id = o.id AND n.layer = 0 AND n."index" = 0
                       AND w.w_gate_norm IS NOT NULL)"""

LABELLED_BY_CHANCE = f"""(SELECT 2 * a.p * (1 + {_IS_GATED}::int * (1 - 2 * a.p))
          FROM (SELECT {_ABOVE.format(least=in_force(FAMILY, PARAMETER))} AS p OFFSET 0) a)"""
"""SQL: the share of neurons of a model `o` of the member `m` whose class is not orthogonal if their directions are random; the
cosines with one output direction are independent."""

_SELECT = f"""
SELECT w.neuron_id, c.class, CASE WHEN abs(w.in_out_sim) > t.least THEN abs(w.in_out_sim) ELSE abs(w.gate_out_sim) END,
       jsonb_build_object('in_out_sim', w.in_out_sim, 'gate_out_sim', w.gate_out_sim, 'gate_in_sim', w.gate_in_sim,
                          'threshold', t.least)
  FROM (SELECT {threshold(FAMILY, PARAMETER)} AS least) t
 CROSS JOIN weight_statistics w
 CROSS JOIN LATERAL (SELECT {class_of("t.least")} AS class) c
 WHERE w.run_id = :run_id AND c.class <> 'orthogonal'"""


def _words(evidence: Evidence) -> str:
    cosines = [f"cosine of input and output weights {signed(evidence['in_out_sim'])}"]
    if evidence["gate_in_sim"] is not None:
        cosines += [
            f"of gate and output {signed(evidence['gate_out_sim'])}",
            f"of gate and input {signed(evidence['gate_in_sim'])}",
        ]
    return f"{', '.join(cosines)}; large beyond ±{shown(evidence['threshold'])}"


RULE = Rule(
    FAMILY,
    "Neurons that write along what they read or are gated by, or against it (Gerstner & Schütze 2025). Orthogonal ones, which "
    "do neither, have no label.",
    _SELECT,
    _words,
    (
        Threshold(
            PARAMETER,
            0.5,
            f"Beyond which, to either side, a cosine of input, gate and output weights is large ({WEIGHTS}).",
            least=0.05,
            most=0.95,
            beyond="beyond these all neurons are of one class",
        ),
    ),
    closest=measured(
        "public.weight_statistics",
        "s.in_out_sim, s.gate_out_sim, s.gate_in_sim",
        "greatest(abs(s.in_out_sim),abs(s.gate_out_sim)) DESC",
    ),
    by_chance=LABELLED_BY_CHANCE,
)

_SHARES = {
    "strengthening": "{p} * 2 * {p} * {p}",
    "atypical strengthening": "{p} * 2 * {p} * (1 - {p})",
    "conditional strengthening": "{p} * {z} * {z}",
    "atypical conditional strengthening": "{p} * {z} * 2 * {p}",
    "proportional change": "{z} * 2 * {p} * {z}",
    "atypical proportional change": "{z} * 2 * {p} * 2 * {p}",
    "orthogonal": "{z} * {z}",
}
"""SQL: how probable a class is by chance, of a gated neuron. p: a cosine is above the threshold; z: it is not large."""


def _shares(p: str, z: str) -> str:
    """SQL: rows (gated, class, share) for every class that there is, given SQL of p and z."""
    gated = {name: _SHARES[name.replace("weakening", "strengthening")] for name in IO_CLASSES}
    others = {"strengthening": "{p}", "orthogonal": "{z}", "weakening": "{p}"}
    rows = [("true", *each) for each in gated.items()] + [("false", *each) for each in others.items()]
    return ", ".join(f"({is_gated}, '{name}', {share.format(p=p, z=z)})" for is_gated, name, share in rows)


_LEAST = f"(SELECT {in_force(FAMILY, PARAMETER)} AS least) t"
_COUNTS = f"""SELECT m.run_id, m.model, own.layer, own.class, own.neurons, own.expected_by_chance, own.mismatched_neurons
  FROM {{members}} m
 CROSS JOIN {_LEAST}
  JOIN public.models o ON o.id = m.model_id
 CROSS JOIN LATERAL (SELECT {_ABOVE.format(least="t.least")} AS p OFFSET 0) a
 CROSS JOIN LATERAL (
       SELECT found.layer, chance.class, coalesce(sum(found.n) FILTER (WHERE found.class = chance.class), 0)::int AS neurons,
              (sum(found.n) FILTER (WHERE found.class IS NOT NULL))::int * chance.share AS expected_by_chance,
              CASE WHEN count(found.mismatched) > 0
                   THEN coalesce(sum(found.n) FILTER (WHERE found.mismatched = chance.class), 0)::int END AS mismatched_neurons
         FROM (SELECT of_layer.layer, of_layer.gated, of_layer.class, of_layer.mismatched, count(*) AS n
                 FROM (SELECT n.layer, w.w_gate_norm IS NOT NULL AS gated, {class_of("t.least")} AS class,
                              {class_of("t.least", mismatched=True)} AS mismatched
                         FROM public.neurons n
                         JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id
                        WHERE n.model_id = m.model_id) of_layer
                GROUP BY 1, 2, 3, 4) found
         JOIN (VALUES {_shares("a.p", "(1 - 2 * a.p)")}) AS chance(gated, class, share) ON chance.gated = found.gated
        GROUP BY found.layer, chance.class, chance.share ORDER BY found.layer, chance.class) own"""

VIEWS = (
    View(
        "io_classes",
        "The reading-and-writing class of each neuron (Gerstner & Schütze 2025), and the cosines that decide it.",
        f"""SELECT {NEURON}, {class_of("t.least")} AS class, w.in_out_sim, w.gate_out_sim, w.gate_in_sim,
       {class_of("t.least", mismatched=True)} AS mismatched_class, w.neuron_id
  FROM {{members}} m
 CROSS JOIN {_LEAST}
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id""",
        words={
            "class": f"By io_class.min_cosine of the rules, from {WEIGHTS}. NULL where a cosine is undefined.",
            "mismatched_class": "What its class would be with the output weights of the other neuron of its layer, drawn.",
        },
    ),
    View(
        "io_class_counts",
        "Neurons of each reading-and-writing class, beside what random directions give and what mismatched neurons give.",
        _COUNTS,
        words={
            "layer": "Transformer block, from 0.",
            "class": "One of those that there are; of models without gates strengthening, orthogonal or weakening.",
            "neurons": "Neurons of the layer that are of the class.",
            "expected_by_chance": "Neurons of the class if directions were random, the cosine c of two of them such that"
            " (c + 1) / 2 ~ Beta((d - 1) / 2, (d - 1) / 2), d = d_model, one less where weights are centred; three as if they"
            " were independent, which they are in pairs.",
            "mismatched_neurons": "Neurons that would be of the class with the output weights of another neuron of their layer,"
            " each drawn once; NULL where that was not measured.",
        },
    ),
)
