"""The part `entropy`: what a model predicts when neurons are held at a value (UN 5.2, SPEC 8)."""

from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Double, Integer, Text, text

from catalog.parts.part import Check, Part, Rows, Section, View
from catalog.parts.rule import Evidence, Rule, Threshold, threshold
from catalog.parts.view_text import LABEL, LABELS, NEURON
from catalog.parts.words import shown, signed
from catalog.schema.base import check, column, index, number, of_neuron, of_rows, refers, table
from catalog.words import CONTROLS, METRICS

PURPOSES = ("candidate", "control", "asked")


def _metric(name: str, meaning: str) -> tuple[Column[Any], Column[Any], Column[Any]]:
    return (
        number(name, f"Mean {meaning}, under the intervention."),
        number(f"{name}_delta", "Its mean difference to the model left alone."),
        number(f"{name}_se", "Standard error of that difference, paired by token."),
    )


interventions = table(
    "interventions",
    *of_neuron(),
    column("together", ARRAY(Integer), "Other neurons held at once, ascending; neuron_id is the least.", key=True),
    column(
        "kind",
        Text,
        "fix and multiply act on post; zero, threshold (the least of pre and the value) and relu on pre.",
        check("kind_known", "kind IN ('fix', 'zero', 'threshold', 'relu', 'multiply')"),
        key=True,
    ),
    column("value", Double, "To what post is fixed, the threshold, or the factor; 0 for zero and relu.", key=True),
    of_rows(),
    column("n_tokens", BigInteger, "Tokens in the means: not the last of a row, nor BOS (SPEC 0.3, M_next)."),
    column("purpose", Text, "Why.", check("purpose_known", f"purpose IN {PURPOSES}")),
    column("of_neuron_id", Integer, "The candidate whose opposite it is.", refers("neurons.id", cascade=True), null=True),
    *(made for name, meaning in METRICS.items() for made in _metric(name, meaning)),
    number("kl", "KL(model left alone, under the intervention) in nats."),
    number("kl_se", "Its standard error over tokens."),
    column("code_version", Text, "git commit of the code, where it is not the run's.", null=True),
    column("device", Text, "What computed it, where it is not the run's device.", null=True),
    column("measured_at", DateTime(timezone=True), "When it was stored, if after its run.", null=True),
    comment="What the model predicts when neurons are held at a value at every position (UN 5.2, SPEC 8).",
    serves="show and neuron_interventions: what was measured with a neuron held",
)
index(
    "ix_interventions_chosen",
    "entropy_neurons: candidates and controls of a run",
    interventions.c.run_id,
    interventions.c.purpose,
    interventions.c.neuron_id,
    postgresql_where=text("purpose <> 'asked'"),
)

# A candidate counts if it does more to the entropy than every control of its model.
_ENTROPY = """
SELECT i.neuron_id, '{family}', i.entropy_delta,
       jsonb_build_object('value', i.value, 'entropy_delta', i.entropy_delta, 'entropy_se', i.entropy_se,
                          'scale_delta', i.scale_delta, 'loss_delta', i.loss_delta, 'n_tokens', i.n_tokens,
                          'controls', control.n, 'largest_control', control.most, 'largest_control_scale', control.most_scale,
                          'l2_penalty', w.l2_penalty, 'vocab_var', w.vocab_var, 'opposite_of', o.layer || '.' || o."index")
  FROM interventions i
  JOIN neurons n ON n.id = i.neuron_id
  LEFT JOIN weight_statistics w ON w.run_id = i.run_id AND w.neuron_id = i.neuron_id
  LEFT JOIN neurons o ON o.id = i.of_neuron_id
  JOIN (SELECT own.model_id, count(*) AS n, max(abs(c.entropy_delta)) AS most, max(abs(c.scale_delta)) AS most_scale
          FROM interventions c JOIN neurons own ON own.id = c.neuron_id
         WHERE c.run_id = :run_id AND c.purpose = 'control' AND c.kind = 'fix' AND c.value = {value}
         GROUP BY own.model_id) control ON control.model_id = n.model_id
 WHERE i.run_id = :run_id AND i.purpose = 'candidate' AND i.kind = 'fix' AND i.value = {value}
   AND i.entropy_delta {sign} 0 AND i.scale_delta {sign} 0
   AND control.n >= {controls} AND abs(i.entropy_delta) > control.most"""


# Candidates if there are any; else what the candidates' rule would take next.
_CLOSEST = """SELECT * FROM (
                 SELECT i.model, i.layer, i.neuron, i.purpose, i.delta_entropy, i.delta_scale, p.l2_penalty, p.vocab_var
                 FROM m JOIN history.neuron_interventions i USING (run_id, model)
                 JOIN history.neuron_profiles p USING (run_id, neuron_id)
                 WHERE i.purpose <> 'control' AND i.kind = 'fix' AND i.value = {value} AND i.together IS NULL) found
               ORDER BY purpose = 'candidate' DESC, delta_entropy {order}, 1, 2, 3 LIMIT :shown"""


def _words(evidence: Evidence) -> str:
    opposite = f"; the opposite of {evidence['opposite_of']}" if evidence.get("opposite_of") else ""
    return (
        f"held at {shown(evidence['value'])}, entropy {signed(evidence['entropy_delta'], ' nats')} and scale "
        f"{signed(evidence['scale_delta'])}, against at most {shown(evidence['largest_control'])} nats by "
        f"{evidence['controls']} controls; loss {signed(evidence['loss_delta'])}{opposite}"
    )


def _rule(family: str, about: str, sign: str, lowest_is_best: bool) -> Rule:
    values = {"value": threshold(family, "value"), "controls": threshold(family, "min_controls")}
    return Rule(
        family,
        about,
        _ENTROPY.format(family=family, sign=sign, **values),
        _words,
        (
            Threshold(
                "value",
                6,
                "To what post is fixed (SPEC 8.1).",
                among="SELECT DISTINCT value FROM interventions WHERE purpose <> 'asked' AND kind = 'fix'",
                beyond="candidates and controls would have to be held at it",
            ),
            Threshold(
                "min_controls",
                20,
                "Least number of controls, all of which a neuron must exceed.",
                most=CONTROLS,
                beyond="more controls would have to be held",
            ),
        ),
        closest=_CLOSEST.format(value=threshold("entropy", "value"), order="ASC" if lowest_is_best else "DESC"),
        unless="no neuron of the last two layers has both weights among the largest of the model and a variance over the "
        "vocabulary among the smallest of its layer",
        lowest_is_best=lowest_is_best,
        is_cause=True,
    )


_OUTCOMES = ", ".join(f"i.{name}, i.{name}_delta AS delta_{name}, i.{name}_se AS {name}_standard_error" for name in METRICS)

VIEWS = (
    View(
        "neuron_interventions",
        "What a model predicts when neurons are held at a value at every position, against the model left alone (UN 5.2).",
        f"""SELECT {NEURON},
       (SELECT array_agg(o.layer || '.' || o."index" ORDER BY o.layer, o."index")
          FROM unnest(i.together) AS other(id) JOIN public.neurons o ON o.id = other.id) AS together,
       i.kind, i.value, i.purpose, i.n_tokens, {_OUTCOMES}, i.kl, i.kl_se AS kl_standard_error, i.n_rows, i.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.interventions i ON i.run_id = m.run_id AND i.neuron_id = n.id""",
        words={
            **{f"delta_{name}": f"Mean difference of {name} to the model left alone." for name in METRICS},
            **{f"{name}_standard_error": f"Standard error of delta_{name}, paired by token." for name in METRICS},
            "together": "LAYER.INDEX of other neurons that were held at once; NULL where there are none.",
            "kl_standard_error": "Standard error of kl over tokens.",
            "purpose": "candidate and control: chosen by the run; asked: measured later.",
        },
    ),
    View(
        "entropy_neurons",
        "Neurons of large weights that hardly move any logit, but the scale of all of them: held on, entropy rises or falls.",
        f"""SELECT {LABEL}, l.family AS sign, i.entropy_delta AS delta_entropy, i.scale_delta AS delta_scale,
       i.loss_delta AS delta_loss, i.recip_rank_delta AS delta_recip_rank, i.kl, i.value,
       (l.evidence ->> 'largest_control')::double precision AS largest_control, (l.evidence ->> 'controls')::int AS controls,
       o.layer AS opposite_of_layer, o."index" AS opposite_of_neuron, w.l2_penalty, w.vocab_var, i.n_tokens, l.neuron_id
  {LABELS} IN ('entropy', 'anti_entropy')
  JOIN public.interventions i ON i.run_id = l.run_id AND i.neuron_id = l.neuron_id AND i.purpose = 'candidate'
   AND i.kind = 'fix' AND i.value = (l.evidence ->> 'value')::double precision
  LEFT JOIN public.neurons o ON o.id = i.of_neuron_id
  LEFT JOIN public.weight_statistics w ON w.run_id = l.run_id AND w.neuron_id = l.neuron_id""",
        words={
            "sign": "entropy: the entropy of predictions rises; anti_entropy: it falls.",
            "value": "To what post was fixed.",
            "delta_entropy": "Mean change of the entropy of the prediction, in nats.",
            "delta_scale": "Mean change of the final layer norm's denominator.",
            "delta_loss": "Mean change of -ln p of the next token, in nats.",
            "delta_recip_rank": "Mean change of 1 / (rank of the next token from 0 + 1).",
            "largest_control": "Largest change of the entropy that a control neuron makes at the same value, in nats.",
            "controls": "Control neurons.",
            "opposite_of_layer": "Transformer block of the candidate whose opposite it is; NULL for candidates themselves.",
            "opposite_of_neuron": "Position in d_mlp of that candidate.",
        },
    ),
)

_HELD = """
WITH held AS (SELECT neuron_id, array_agg(value ORDER BY value) AS at FROM interventions
               WHERE run_id = :run_id AND purpose <> 'asked' GROUP BY neuron_id)
SELECT 'neuron ' || neuron_id AS what FROM held WHERE at <> (SELECT max(at) FROM held)"""

PART = Part(
    name="entropy",
    about="what is predicted when it is held at a value",
    reads="corpus",
    settings=("intervention_tokens",),
    group="roles",
    rows=(Rows(interventions, "some", condition="{t}.purpose <> 'asked'", asked_too=True),),
    views=VIEWS,
    rules=(
        _rule(
            "entropy",
            (
                "Neurons of large weights that move no logit against the others, but the final layer norm's scale of all "
                "of them: held on, they make predictions less sure (UN 5.2, Fig. 7)."
            ),
            ">",
            False,
        ),
        _rule(
            "anti_entropy",
            "The opposite of entropy neurons: held on, they make predictions surer (UN 5.2, Fig. 7).",
            "<",
            True,
        ),
    ),
    checks=(Check("every candidate and control is held at the same values", _HELD),),
    page=(
        Section(
            "interventions",
            "Predictions when it is held at a value, against the model left alone",
            """
SELECT i.kind, i.value, (SELECT string_agg(o.layer || '.' || o."index", ', ' ORDER BY o.layer, o."index")
                           FROM unnest(i.together) AS other(id) JOIN neurons o ON o.id = other.id) AS together,
       i.purpose, i.n_tokens, i.entropy, i.entropy_delta AS delta_entropy, i.scale_delta AS delta_scale,
       i.loss_delta AS delta_loss, i.recip_rank_delta AS delta_recip_rank, i.kl
  FROM interventions i WHERE i.run_id = :run AND i.neuron_id = :neuron
 ORDER BY i.n_rows, cardinality(i.together), i.kind, i.value""",
        ),
    ),
)
