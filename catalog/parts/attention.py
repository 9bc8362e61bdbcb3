"""The part `attention`: which heads of later layers a neuron turns towards BOS or away, by weights (UN 5.3, SPEC 4, 9.1)."""

from sqlalchemy import ARRAY, REAL, Boolean, SmallInteger

from catalog.parts.part import Part, Rows, Section, View
from catalog.parts.rule import Evidence, Rule, Threshold, threshold
from catalog.parts.view_text import LABEL, LABELS, NEURON
from catalog.parts.words import shown, signed
from catalog.schema.base import column, index, of_head, of_model, of_neuron, table

head_scores = table(
    "head_scores",
    *of_neuron(),
    *of_head(),
    column("h", REAL, "w_out / |w_out| . W_Q k_BOS / sqrt(d_head); positive raises attention to BOS (UN 5.3, SPEC 9.1)."),
    column("h_sd", REAL, "Standard deviation over destinations p >= T/2 of rotary positions, whose mean h is.", null=True),
    column("h_scaled", REAL, "h with the model's further divisor of scores, layer + 1."),
    column("head_rank", SmallInteger, "Place by |h| among all neurons, for the 50 first of the head; else NULL.", null=True),
    column("largest", Boolean, "Whether it is the neuron's largest h."),
    column("smallest", Boolean, "Whether it is the neuron's smallest h."),
    comment="How each neuron's output moves heads of later layers towards BOS: the first 50 of a head, the ends of a neuron. "
    "None of runs whose rows begin without BOS.",
    serves="show and neuron_head_scores: the heads that a neuron moves",
)
index(
    "ix_head_scores_by_head",
    "the neurons that act most on one head",
    head_scores.c.run_id,
    head_scores.c.head_layer,
    head_scores.c.head,
    head_scores.c.head_rank,
)

head_baselines = table(
    "head_baselines",
    *of_model(),
    *of_head(),
    column("max_abs_h", REAL, "Largest |h| of random unit vectors in place of the neurons, seeded (SPEC 9.1)."),
    column("sd_h", REAL, "Standard deviation of their h."),
    comment="What h is by chance, per head; of runs whose rows begin with BOS.",
    serves="head_summaries: what h is by chance on the heads of a model",
)

head_compositions = table(
    "head_compositions",
    *of_neuron(),
    column("q", ARRAY(REAL), "Q-composition of w_out with the heads of later layers, in order of layer and head (SPEC 4)."),
    column("k", ARRAY(REAL), "K-composition with the same heads."),
    column("v", ARRAY(REAL), "V-composition with the same heads."),
    column("o", ARRAY(REAL), "O-composition of w_in with the heads that write before it, in order of layer and head."),
    comment="How much each neuron's output is read, and its input written, by each head (SPEC 4).",
)

# What h promises an ablation must show, where one was done: less attention to BOS without a neuron that raises it.
_ATTENTION = """
SELECT s.neuron_id, 'A' || s.head_layer || '.H' || s.head, abs(s.h),
       jsonb_build_object('head_layer', s.head_layer, 'head', s.head, 'h', s.h, 'h_sd', s.h_sd, 'chance', chance.h,
                          'threshold', {multiple} * chance.h, 'correlation', r.pearson, 'spearman', r.spearman,
                          'delta_p_bos', p.delta_p_bos, 'fractional_o_norm', p.fractional_o_norm, 'n_tokens', p.n_tokens)
  FROM head_scores s
  JOIN neurons n ON n.id = s.neuron_id
  JOIN (SELECT model_id, max(max_abs_h) AS h FROM head_baselines WHERE run_id = :run_id GROUP BY model_id) chance
    ON chance.model_id = n.model_id
  LEFT JOIN path_ablations p ON (p.run_id, p.neuron_id, p.head_layer, p.head)
                              = (s.run_id, s.neuron_id, s.head_layer, s.head) AND p.purpose = 'chosen'
  LEFT JOIN ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                  = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)
                                AND r.x = 'activation' AND r.y = 'delta_p_bos'
 WHERE s.run_id = :run_id AND s.{end} AND {signed} >= {multiple} * chance.h
   AND (p.neuron_id IS NULL OR r.pearson {test})"""


_CLOSEST = """SELECT s.model, s.layer, s.neuron, s.head_layer, s.head, s.h, s.multiple_of_chance, a.pearson AS correlation
               FROM m JOIN history.neuron_head_scores s USING (run_id, model)
               LEFT JOIN (SELECT * FROM history.neuron_path_ablations WHERE x = 'activation' AND y = 'delta_p_bos') a
                      USING (run_id, neuron_id, head_layer, head)
               ORDER BY s.h {order}, 1, 2, 3 LIMIT :shown"""


# Of a model with one layer there is no h either, and yet it was looked for.
_WITH_BOS = """NOT EXISTS (SELECT FROM run_parts
             WHERE run_id = :run_id AND part = 'attention' AND settings ->> 'bos' = 'never')"""


def _words(evidence: Evidence) -> str:
    head = f"{evidence['head_layer']}.{evidence['head']}"
    said = f"h = {signed(evidence['h'])} on head {head}, by chance at most {shown(evidence['chance'])}"
    if evidence["correlation"] is None:
        return f"{said}; not ablated"
    return (
        f"{said}; without it attention to BOS changes by {signed(evidence['delta_p_bos'])} on average, "
        f"correlation with the activation {signed(evidence['correlation'])}"
    )


def _rule(family: str, about: str, end: str, signed_h: str, test: str, correlation: Threshold) -> Rule:
    name = signed_h.replace("s.", "")
    multiple = Threshold("min_multiple", 2, f"Least {name} over the largest |h| of random vectors (SPEC 9.4).")
    decides = f"{test} {threshold(family, correlation.parameter)}"
    select = _ATTENTION.format(end=end, signed=signed_h, test=decides, multiple=threshold(family, "min_multiple"))
    closest = _CLOSEST.format(order="DESC" if end == "largest" else "ASC")
    return Rule(
        family, about, select, _words, (multiple, correlation), needs=_WITH_BOS, lacking="its rows begin without BOS",
        closest=closest, unless="the models have no later layer", is_cause=True,
    )  # fmt: skip


VIEWS = (
    View(
        "attention_neurons",
        "Neurons that turn a head of a later layer towards BOS, which deactivates it, or away from BOS (UN 5.3).",
        f"""SELECT {LABEL}, s.head_layer, s.head, s.h, r.pearson AS correlation, l.family AS class,
       (l.evidence ->> 'chance')::double precision AS chance, s.h_sd, s.h_scaled, p.delta_p_bos, p.delta_o_norm,
       p.fractional_o_norm, p.n_tokens, l.neuron_id
  {LABELS} IN ('attn_deactivation', 'attn_activation')
  JOIN public.head_scores s ON s.run_id = l.run_id AND s.neuron_id = l.neuron_id
   AND (s.head_layer, s.head) = ((l.evidence ->> 'head_layer')::smallint, (l.evidence ->> 'head')::smallint)
  LEFT JOIN public.path_ablations p ON (p.run_id, p.neuron_id, p.head_layer, p.head)
                                     = (s.run_id, s.neuron_id, s.head_layer, s.head) AND p.purpose = 'chosen'
  LEFT JOIN public.ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                         = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)
   AND r.x = 'activation' AND r.y = 'delta_p_bos'""",
        words={
            "class": "attn_deactivation: towards BOS, which switches the head off; attn_activation: away from it.",
            "correlation": "Of the activation with the change of the attention to BOS; NULL if either is constant.",
            "chance": "Largest |h| of random directions on the model's heads.",
            "delta_p_bos": "Mean change of the attention to BOS without the neuron (UN 5.3, SPEC 9.3).",
            "delta_o_norm": "Mean change, without the neuron, of the norm of what the head writes.",
            "fractional_o_norm": "The same change over the norm with the neuron.",
        },
    ),
    View(
        "neuron_head_scores",
        "h of neurons and heads of later layers: the first 50 of each head, the ends of each neuron; and h over chance.",
        f"""SELECT {NEURON}, s.head_layer, s.head, s.h, s.h_sd, s.h_scaled, s.head_rank, s.largest, s.smallest,
       abs(s.h) / chance.h AS multiple_of_chance, s.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.head_scores s ON s.run_id = m.run_id AND s.neuron_id = n.id
 CROSS JOIN LATERAL (SELECT NULLIF(max(b.max_abs_h), 0) AS h FROM public.head_baselines b
                      WHERE b.run_id = m.run_id AND b.model_id = m.model_id) chance""",
        words={"multiple_of_chance": "|h| over the largest |h| of random directions on the model's heads."},
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
        words={
            "head_layer": "The head's layer, from 0.",
            "head": "The head within its layer, from 0.",
            "chance_max_abs_h": "Largest |h| of random unit vectors in place of the neurons, seeded (SPEC 9.1).",
            "chance_sd_h": "Standard deviation of h of the same vectors.",
            "bos_norm_ratio_with_bias": "bos_norm_ratio with the value biases.",
        },
    ),
    View(
        "neuron_head_compositions",
        "How much each later head reads what a neuron writes (q, k, v), and each head before it writes what it reads (o).",
        f"""SELECT {NEURON}, c.head_layer, c.head, c.q, c.k, c.v, c.o, c.neuron_id
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
        words={
            "head_layer": "The head's layer, from 0.",
            "head": "The head within its layer, from 0.",
            "q": "Q-composition of w_out with a head of a later layer; NULL for heads before the neuron.",
            "k": "K-composition of w_out with a head of a later layer; NULL for heads before the neuron.",
            "v": "V-composition of w_out with a head of a later layer; NULL for heads before the neuron.",
            "o": "O-composition of w_in with a head that writes before the neuron; NULL for heads of later layers.",
        },
    ),
)

SHOWN_HEADS = 8

PART = Part(
    name="attention",
    about="heads of later layers that it turns towards BOS or away",
    reads="weights",
    settings=("context", "seed", "bos"),
    defined_by_bos="h of neurons and heads",
    group="roles",
    rows=(Rows(head_scores, "some"), Rows(head_baselines, "model"), Rows(head_compositions, "some")),
    views=VIEWS,
    rules=(
        _rule(
            "attn_deactivation",
            (
                "Neurons that turn a head of a later layer to BOS, where it reads nothing, and so switch it off (UN 5.3, "
                "Fig. 8)."
            ),
            "largest",
            "s.h",
            "<=",
            Threshold(
                "max_correlation",
                -0.5,
                "Largest correlation of activation and change of attention to BOS, if ablated (SPEC 9.4).",
            ),
        ),
        _rule(
            "attn_activation",
            "Neurons that turn a head of a later layer away from BOS, and so switch it on (UN 5.3, Fig. 8).",
            "smallest",
            "-s.h",
            ">=",
            Threshold(
                "min_correlation", 0.5, "Least correlation of activation and change of attention to BOS, if ablated (SPEC 9.4)."
            ),
        ),
    ),
    page=(
        Section(
            "heads",
            "Heads of later layers that it turns towards BOS (h > 0) or away, and what ablation found",
            f"""
SELECT s.head_layer, s.head, s.h, s.h_sd, s.head_rank, p.n_tokens AS ablated_at, p.delta_p_bos, p.delta_o_norm,
       r.pearson AS correlation, r.spearman
  FROM head_scores s
  LEFT JOIN path_ablations p USING (run_id, neuron_id, head_layer, head)
  LEFT JOIN ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                  = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)
   AND r.x = 'activation' AND r.y = 'delta_p_bos'
 WHERE s.run_id = :run AND s.neuron_id = :neuron
 ORDER BY abs(s.h) DESC, s.head_layer, s.head, p.n_rows LIMIT {SHOWN_HEADS}""",
        ),
    ),
)
