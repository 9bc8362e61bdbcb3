"""The part `entropy`: what a model predicts when neurons are held at a value (UN 5.2, SPEC 8)."""

from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Double, Integer, Text, text

from catalog.parts.entropy_controls import entropy_controls, tested
from catalog.parts.part import Check, Part, Rows, Section, View
from catalog.parts.rule import Evidence, Rule, Threshold, in_force, threshold
from catalog.parts.view_text import LABEL, LABELS, NEURON
from catalog.parts.words import shown, signed
from catalog.schema.base import check, column, index, number, of_neuron, of_rows, refers, table
from catalog.words import FALSE_DISCOVERIES, METRICS

PURPOSES = ("candidate", "asked")
LEAST_CHANGE = 0.05
"""Nats. Neurons of untrained networks change entropy by up to 0.006 beyond all their controls, the published ones by 0.07 and
more (SPEC 8.5)."""


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
    "entropy_candidates: candidates of a run",
    interventions.c.run_id,
    interventions.c.purpose,
    interventions.c.neuron_id,
    postgresql_where=text("purpose <> 'asked'"),
)

# A candidate counts if it does more to the entropy than chance would have its direction do, and more than the floor.
_ENTROPY = """
SELECT t.neuron_id, '{family}', t.entropy_delta,
       jsonb_build_object('value', t.value, 'entropy_delta', t.entropy_delta, 'entropy_se', t.entropy_se,
                          'scale_delta', t.scale_delta, 'loss_delta', t.loss_delta, 'n_tokens', t.n_tokens,
                          'controls', t.controls, 'compared_tokens', t.compared_tokens,
                          'largest_control', t.largest_control, 'p', t.p, 'adjusted_p', t.adjusted_p,
                          'candidates', t.candidates, 'min_delta', {min_delta},
                          'l2_penalty', w.l2_penalty, 'vocab_var', w.vocab_var, 'opposite_of', o.layer || '.' || o."index")
  FROM ({tested}) t
  LEFT JOIN weight_statistics w ON w.run_id = t.run_id AND w.neuron_id = t.neuron_id
  LEFT JOIN neurons o ON o.id = t.of_neuron_id
 WHERE t.adjusted_p <= {q} AND {sign}t.entropy_delta >= {min_delta} AND {sign}t.scale_delta > 0"""

# A run that was measured when there were no such controls has candidates of which nothing can be said.
_NEEDS = """EXISTS (SELECT FROM entropy_controls WHERE run_id = :run_id)
             OR NOT EXISTS (SELECT FROM interventions WHERE run_id = :run_id AND purpose = 'candidate')"""

_CLOSEST = """SELECT m.model, c.layer, c.neuron, c.delta_entropy, c.delta_scale, c.p, c.adjusted_p, c.controls, c.candidates,
                     p.l2_penalty, p.vocab_var
              FROM m JOIN history.entropy_candidates c USING (run_id, model)
              JOIN history.neuron_profiles p USING (run_id, neuron_id)
              WHERE c.sign = '{family}' ORDER BY c.adjusted_p, {sign}c.delta_entropy DESC, 1, 2, 3 LIMIT :shown"""

_CANDIDATES = """SELECT m.model, count(DISTINCT i.neuron_id) AS candidates
                 FROM m JOIN public.run_parts part ON part.run_id = m.run_id AND part.part = 'entropy'
                 LEFT JOIN (public.interventions i JOIN public.neurons n ON n.id = i.neuron_id)
                        ON i.run_id = m.run_id AND n.model_id = m.model_id AND i.purpose = 'candidate'
                 GROUP BY m.model"""


def _words(evidence: Evidence) -> str:
    opposite = f"; the opposite of {evidence['opposite_of']}" if evidence.get("opposite_of") else ""
    se, floor = shown(evidence["entropy_se"]), shown(evidence["min_delta"])
    most = "none" if evidence["largest_control"] is None else f"at most {signed(evidence['largest_control'])}"
    p, adjusted = shown(evidence["p"]), shown(evidence["adjusted_p"])
    fewer = evidence["compared_tokens"] < evidence["n_tokens"]
    on = f" on {evidence['compared_tokens']:,} of the tokens" if fewer else ""
    return (
        f"held at {shown(evidence['value'])}, entropy {signed(evidence['entropy_delta'], ' nats')} (standard error {se}, floor "
        f"{floor}) and scale {signed(evidence['scale_delta'])}; both along {evidence['controls']} other directions of its "
        f"layer{on}: {most}, p {p}, {adjusted} among {evidence['candidates']} candidates; loss {signed(evidence['loss_delta'])}"
        f"{opposite}"
    )


def _rule(family: str, about: str, sign: str) -> Rule:
    values = {name: threshold(family, name) for name in ("q", "min_delta")}
    chosen = tested(sign, threshold(family, "value"), "i.run_id = :run_id")
    return Rule(
        family,
        about,
        _ENTROPY.format(family=family, sign=sign, tested=chosen, **values),
        _words,
        (
            Threshold(
                "value",
                6,
                "To what post is fixed (SPEC 8.1).",
                among="SELECT DISTINCT value FROM entropy_controls",
                beyond="controls would have to be measured at it",
            ),
            Threshold(
                "q",
                FALSE_DISCOVERIES,
                "Largest false discovery rate among the candidates of a model, against other directions of their layers.",
                least=FALSE_DISCOVERIES,
                most=1,
                beyond="more controls would have to be measured",
            ),
            Threshold(
                "min_delta",
                LEAST_CHANGE,
                "Least change of entropy in nats, {} (SPEC 8.5).".format("upwards" if sign == "+" else "downwards"),
            ),
        ),
        needs=_NEEDS,
        lacking="its candidates have no controls; repeat its `catalog ingest` with --only entropy",
        closest=_CLOSEST.format(family=family, sign=sign),
        candidates=_CANDIDATES,
        unless="no neuron of the last two layers has both weights among the largest of the model and a variance over the "
        "vocabulary among the smallest of its layer",
        lowest_is_best=sign == "-",
        is_cause=True,
    )


_OUTCOMES = ", ".join(f"i.{name}, i.{name}_delta AS delta_{name}, i.{name}_se AS {name}_standard_error" for name in METRICS)

_OF_CONTROLS = {
    "p": "(1 + controls that move scale and entropy to its side, entropy as much) / (1 + controls); 1 if its scale does not.",
    "adjusted_p": "The least false discovery rate at which it counts, among the candidates of its model (Benjamini, Hochberg).",
    "largest_control": "Farthest change of entropy to its side, in nats, by controls that move the scale there; NULL: none.",
    "controls": "Other neurons of the layer along which its change was written, as long as its own.",
    "candidates": "Candidates of the model.",
}
_SIGN = "entropy: the entropy of predictions rises; anti_entropy: it falls."
_OPPOSITE_OF = {
    "opposite_of_layer": "Transformer block of the candidate whose opposite it is; NULL for candidates themselves.",
    "opposite_of_neuron": "Position in d_mlp of that candidate.",
}
_SIDES = " UNION ALL ".join(
    f"SELECT '{family}' AS sign, side.* FROM ({tested(sign, in_force(family, 'value'))}) side"
    for family, sign in (("entropy", "+"), ("anti_entropy", "-"))
)

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
            "purpose": "candidate: chosen by the run; asked: measured later.",
        },
    ),
    View(
        "entropy_neurons",
        "Neurons of large weights that hardly move any logit, but the scale of all of them: held on, entropy rises or falls.",
        f"""SELECT {LABEL}, l.family AS sign, i.entropy_delta AS delta_entropy, i.scale_delta AS delta_scale,
       i.loss_delta AS delta_loss, i.recip_rank_delta AS delta_recip_rank, i.kl, i.value,
       (l.evidence ->> 'p')::double precision AS p, (l.evidence ->> 'adjusted_p')::double precision AS adjusted_p,
       (l.evidence ->> 'largest_control')::double precision AS largest_control, (l.evidence ->> 'controls')::int AS controls,
       (l.evidence ->> 'candidates')::int AS candidates,
       o.layer AS opposite_of_layer, o."index" AS opposite_of_neuron, w.l2_penalty, w.vocab_var, i.n_tokens, l.neuron_id
  {LABELS} IN ('entropy', 'anti_entropy')
  JOIN public.interventions i ON i.run_id = l.run_id AND i.neuron_id = l.neuron_id AND i.purpose = 'candidate'
   AND i.kind = 'fix' AND i.value = (l.evidence ->> 'value')::double precision
  LEFT JOIN public.neurons o ON o.id = i.of_neuron_id
  LEFT JOIN public.weight_statistics w ON w.run_id = l.run_id AND w.neuron_id = l.neuron_id""",
        words={
            "sign": _SIGN,
            "value": "To what post was fixed.",
            "delta_entropy": "Mean change of the entropy of the prediction, in nats.",
            "delta_scale": "Mean change of the final layer norm's denominator.",
            "delta_loss": "Mean change of -ln p of the next token, in nats.",
            "delta_recip_rank": "Mean change of 1 / (rank of the next token from 0 + 1).",
            **_OF_CONTROLS,
            **_OPPOSITE_OF,
        },
    ),
    View(
        "entropy_candidates",
        "Neurons that were tested for being entropy neurons, to both sides, against other output directions of their layers.",
        f"""SELECT {NEURON}, t.sign AS sign, t.value AS value, t.entropy_delta AS delta_entropy,
       t.entropy_se AS entropy_standard_error, t.scale_delta AS delta_scale, t.p AS p, t.adjusted_p AS adjusted_p,
       t.largest_control AS largest_control, t.controls AS controls, t.candidates AS candidates,
       o.layer AS opposite_of_layer, o."index" AS opposite_of_neuron, t.n_tokens AS n_tokens, t.neuron_id
  FROM {{members}} m
  JOIN ({_SIDES}) t ON t.run_id = m.run_id AND t.model_id = m.model_id
  JOIN public.neurons n ON n.id = t.neuron_id
  LEFT JOIN public.neurons o ON o.id = t.of_neuron_id""",
        words={
            "sign": _SIGN,
            "value": "To what post was fixed.",
            "delta_entropy": "Mean change of the entropy of the prediction, in nats.",
            "entropy_standard_error": "Standard error of delta_entropy, paired by token.",
            "delta_scale": "Mean change of the final layer norm's denominator.",
            "n_tokens": "Tokens in the means.",
            **_OF_CONTROLS,
            **_OPPOSITE_OF,
        },
    ),
)

_HELD = """
WITH held AS (SELECT neuron_id, array_agg(value ORDER BY value) AS at FROM interventions
               WHERE run_id = :run_id AND purpose <> 'asked' GROUP BY neuron_id)
SELECT 'neuron ' || neuron_id AS what FROM held WHERE at <> (SELECT max(at) FROM held)"""

_CONTROLLED = """
SELECT 'neuron ' || neuron_id || ' along neuron ' || along_neuron_id AS what
  FROM entropy_controls c JOIN neurons own ON own.id = c.neuron_id JOIN neurons other ON other.id = c.along_neuron_id
 WHERE c.run_id = :run_id
   AND ((own.model_id, own.layer) <> (other.model_id, other.layer)
        OR NOT EXISTS (SELECT FROM entropy_controls o WHERE (o.run_id, o.neuron_id, o.value) = (c.run_id, c.neuron_id, c.value)
                          AND o.along_neuron_id = o.neuron_id AND o.n_tokens = c.n_tokens)
        OR NOT EXISTS (SELECT FROM interventions i WHERE i.run_id = c.run_id AND i.neuron_id = c.neuron_id
                          AND i.purpose = 'candidate' AND i.kind = 'fix' AND i.value = c.value))"""

PART = Part(
    name="entropy",
    about="what is predicted when it is held at a value",
    reads="corpus",
    version=3,
    settings=("intervention_tokens", "direction_tokens"),
    group="roles",
    rows=(
        Rows(entropy_controls, "some"),
        Rows(interventions, "some", condition="{t}.purpose <> 'asked'", asked_too=True),
    ),
    views=VIEWS,
    rules=(
        _rule(
            "entropy",
            (
                "Neurons of large weights that move no logit against the others, but the final layer norm's scale of all "
                "of them: held on, they make predictions less sure (UN 5.2, Fig. 7)."
            ),
            "+",
        ),
        _rule(
            "anti_entropy",
            "The opposite of entropy neurons: held on, they make predictions surer (UN 5.2, Fig. 7).",
            "-",
        ),
    ),
    checks=(
        Check("every candidate is held at the same values", _HELD),
        Check("controls are along neurons of a candidate's layer, and itself, on the same tokens", _CONTROLLED),
    ),
    page=(
        Section(
            "interventions",
            "Predictions when it is held at a value, against the model left alone",
            """
SELECT i.kind, i.value, (SELECT string_agg(o.layer || '.' || o."index", ', ' ORDER BY o.layer, o."index")
                           FROM unnest(i.together) AS other(id) JOIN neurons o ON o.id = other.id) AS together,
       i.purpose, i.n_tokens, i.entropy, i.entropy_delta AS delta_entropy, i.scale_delta AS delta_scale,
       i.loss_delta AS delta_loss, i.recip_rank_delta AS delta_recip_rank, i.kl, c.p, c.adjusted_p, c.controls
  FROM interventions i
  LEFT JOIN history.entropy_candidates c ON c.run_id = :run AND c.neuron_id = :neuron AND i.purpose = 'candidate'
   AND c.value = i.value AND c.sign = CASE WHEN i.entropy_delta > 0 THEN 'entropy' ELSE 'anti_entropy' END
 WHERE i.run_id = :run AND i.neuron_id = :neuron
 ORDER BY i.n_rows, cardinality(i.together), i.kind, i.value""",
        ),
    ),
)
