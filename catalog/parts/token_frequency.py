"""Token-frequency neurons (Stolfo et al. 2024): tables of their tests, SQL that tests them, and their rule.

A candidate is a neuron of the last layer whose output weights lie most along the direction of token frequency. What it does
through that direction is |change of the loss| by mean ablation less the same with logits held along it. A control is the
candidate's own change, token by token, along the output weights of another neuron of the layer; of n controls, p is (1 + those
that are as extreme) / (1 + n), where as extreme is one that promotes tokens of the same kind and does as much. The false
discovery rate is Benjamini and Hochberg's, over the candidates of a model.
"""

from sqlalchemy import BigInteger, Integer

from catalog.parts.rule import Evidence, Rule, Threshold, threshold
from catalog.parts.words import shown, signed
from catalog.schema.base import column, number, of_neuron, refers, table
from catalog.words import FALSE_DISCOVERIES

LEAST_EFFECT, LEAST_SHARE, LEAST_COSINE = 0.001, 0.2, 0.2
"""Nats per token, share of the total effect, and how far along the direction a neuron writes: another scale of the final norm
moves logits along it, too."""

_OF_EFFECT = "|change of the loss| by mean ablation less that with logits held along the direction of token frequency, nats"

frequency_tests = table(
    "frequency_tests",
    *of_neuron(),
    column("n_tokens", BigInteger, "Tokens in the means of the candidate and of its controls, of those of `confidence`."),
    number("frequency_effect", f"On these tokens, mean of {_OF_EFFECT}."),
    comment="Candidates for token-frequency neurons on the tokens on which they are compared with their controls.",
)

frequency_controls = table(
    "frequency_controls",
    *of_neuron(),
    column(
        "along_neuron_id",
        Integer,
        "Another neuron of its layer, along whose output weights its change is written, as long as its own.",
        refers("neurons.id", cascade=True),
        key=True,
    ),
    number("frequency_effect", f"Mean of {_OF_EFFECT}, on the candidate's tokens."),
    comment="What a candidate for a token-frequency neuron would do if it wrote along another neuron of its layer.",
    serves="token_frequency_candidates: the controls of a candidate",
)


def tested(condition: str = "true") -> str:
    """SQL: run_id, model_id and neuron_id of each candidate, how far it stands out, and among how many candidates.

    Args:
        condition: SQL: which rows `t` of frequency_tests.
    """
    return f"""
SELECT p.*, least(1, min(p.p * p.candidates / p.rank) OVER (PARTITION BY p.run_id, p.model_id ORDER BY p.p DESC)) AS adjusted_p
  FROM (SELECT c.*, count(*) OVER (PARTITION BY c.run_id, c.model_id) AS candidates,
               count(*) OVER (PARTITION BY c.run_id, c.model_id ORDER BY c.p) AS rank
          FROM (SELECT t.run_id, n.model_id, t.neuron_id, t.n_tokens AS tested_tokens, t.frequency_effect AS tested_effect,
                       f.frequency_cosine, f.frequency_effect, f.frequency_effect_se, f.frequency_share, f.frequency_share_se,
                       f.total_effect, f.divergence_delta, f.n_tokens, own.controls, own.largest_control,
                       CASE WHEN f.frequency_cosine > 0 THEN 'frequent' ELSE 'rare' END AS promotes,
                       (1 + own.as_extreme)::double precision / (1 + own.controls) AS p
                  FROM public.frequency_tests t
                  JOIN public.neurons n ON n.id = t.neuron_id
                  JOIN public.confidence f ON f.run_id = t.run_id AND f.neuron_id = t.neuron_id
                 CROSS JOIN LATERAL (
                       SELECT count(*) AS controls,
                              max(o.frequency_effect) FILTER (WHERE sign(along.frequency_cosine) = sign(f.frequency_cosine))
                              AS largest_control,
                              count(*) FILTER (WHERE o.frequency_effect >= t.frequency_effect
                                                 AND sign(along.frequency_cosine) = sign(f.frequency_cosine)) AS as_extreme
                         FROM public.frequency_controls o
                         JOIN public.confidence along ON along.run_id = o.run_id AND along.neuron_id = o.along_neuron_id
                        WHERE o.run_id = t.run_id AND o.neuron_id = t.neuron_id AND o.frequency_effect IS NOT NULL) own
                 WHERE {condition} AND t.frequency_effect IS NOT NULL AND own.controls > 0) c) p"""


_FAMILY = "token_frequency"
_Q, _EFFECT, _SHARE, _COSINE = (threshold(_FAMILY, name) for name in ("q", "min_effect", "min_share", "min_cosine"))

_SELECT = f"""
SELECT t.neuron_id, t.promotes, t.frequency_effect,
       jsonb_build_object('promotes', t.promotes, 'frequency_effect', t.frequency_effect,
                          'frequency_effect_se', t.frequency_effect_se, 'frequency_share', t.frequency_share,
                          'total_effect', t.total_effect, 'frequency_cosine', t.frequency_cosine,
                          'divergence_delta', t.divergence_delta, 'n_tokens', t.n_tokens,
                          'controls', t.controls, 'largest_control', t.largest_control, 'tested_effect', t.tested_effect,
                          'p', t.p, 'adjusted_p', t.adjusted_p, 'candidates', t.candidates,
                          'min_effect', {_EFFECT}, 'min_share', {_SHARE}, 'min_cosine', {_COSINE})
  FROM ({tested("t.run_id = :run_id")}) t
 WHERE t.adjusted_p <= {_Q} AND t.frequency_effect >= {_EFFECT} AND t.frequency_share >= {_SHARE}
   AND abs(t.frequency_cosine) >= {_COSINE}"""

_CLOSEST = """SELECT m.model, c.layer, c.neuron, c.promotes, c.frequency_effect, c.frequency_share, c.frequency_cosine, c.p,
                     c.adjusted_p, c.controls, c.candidates
              FROM m JOIN history.token_frequency_candidates c USING (run_id, model)
              ORDER BY c.adjusted_p, c.frequency_effect DESC, 1, 2, 3 LIMIT :shown"""

_CANDIDATES = """SELECT m.model, count(t.neuron_id) AS candidates
                 FROM m JOIN public.run_parts part ON part.run_id = m.run_id AND part.part = 'confidence'
                 LEFT JOIN (public.frequency_tests t JOIN public.neurons n ON n.id = t.neuron_id)
                        ON t.run_id = m.run_id AND n.model_id = m.model_id
                 GROUP BY m.model"""


def _words(evidence: Evidence) -> str:
    most = "none" if evidence["largest_control"] is None else f"at most {shown(evidence['largest_control'])}"
    return (
        f"promotes {evidence['promotes']} tokens, cosine {signed(evidence['frequency_cosine'])} with their log frequency; at "
        f"its mean, the loss changes by {shown(evidence['total_effect'])} nats, of which {shown(evidence['frequency_effect'])} "
        f"(standard error {shown(evidence['frequency_effect_se'])}, floor {shown(evidence['min_effect'])}), a share of "
        f"{shown(evidence['frequency_share'])}, through them; along {evidence['controls']} other directions of its layer "
        f"{most} (itself {shown(evidence['tested_effect'])}), p {shown(evidence['p'])}, {shown(evidence['adjusted_p'])} among "
        f"{evidence['candidates']} candidates; KL from token frequency {signed(evidence['divergence_delta'], ' nats')}"
    )


RULE = Rule(
    _FAMILY,
    (
        "Neurons of the last layer that move logits along the log frequency of tokens, towards frequent tokens or rare ones, "
        "and change the loss that way (Stolfo et al. 2024)."
    ),
    _SELECT,
    _words,
    (
        Threshold(
            "q",
            FALSE_DISCOVERIES,
            "Largest false discovery rate among the candidates of a model, against other directions of their layers.",
            least=FALSE_DISCOVERIES,
            most=1,
            beyond="more controls would have to be measured",
        ),
        Threshold("min_effect", LEAST_EFFECT, "Least part of |change of the loss| through token frequency, nats per token."),
        Threshold("min_share", LEAST_SHARE, "Least share of |change of the loss| through token frequency."),
        Threshold("min_cosine", LEAST_COSINE, "Least |cosine| of its effect on the logits with the log frequency of tokens."),
    ),
    candidates=_CANDIDATES,
    closest=_CLOSEST,
    unless="no neuron of the last layer writes along the log frequency of tokens, or all tokens are as frequent",
    is_cause=True,
)
