"""The label rules of what neurons do: rules 8 to 10 and 13 of SPEC 6.6, as SQL; see `catalog.labels`."""

from catalog.label_text import INSERT, NEURON, PLACE, Rule, threshold

# The name is the class of tokens on which the neuron's effect differs most, where explanations of it are known.
_PREDICTION = """{insert}SELECT w.run_id, w.neuron_id, '{family}', COALESCE(f.name, '{family}'), w.vocab_kurt, :version,
       jsonb_build_object('vocab_kurt', w.vocab_kurt, 'vocab_skew', w.vocab_skew, 'vocab_var', w.vocab_var,
                          'scaled_var', w.vocab_var * m.d_model, 'high_vocab_var', w.vocab_var * m.d_model > {least_variance},
                          'feature', f.name, 'variance_reduction', x.variance_reduction,
                          'mean_difference', x.mean_difference, 'welch_t', x.welch_t, 'threshold', {shown}),
       {place}
  FROM weight_statistics w
  {neuron}
  JOIN models m ON m.id = n.model_id
  LEFT JOIN logit_explanations x ON x.run_id = w.run_id AND x.neuron_id = w.neuron_id AND x.rank = 1
  LEFT JOIN features f ON f.id = x.feature_id
 WHERE w.run_id = :run_id AND {condition}
"""

_LEAST_VARIANCE = threshold("partition", "min_variance")


def _prediction(family: str, condition: str, shown: str) -> str:
    return _PREDICTION.format(
        insert=INSERT, place=PLACE, neuron=NEURON.format(alias="w"), family=family, condition=condition, shown=shown,
        least_variance=_LEAST_VARIANCE,
    )  # fmt: skip


def _peaked(family: str, sign: str) -> str:
    least = threshold(family, "min_kurtosis")
    return _prediction(family, f"w.vocab_kurt > {least} AND w.vocab_skew {sign} 0", least)


_PARTITION = _prediction(
    "partition",
    f"w.vocab_var * m.d_model > {_LEAST_VARIANCE} AND w.vocab_kurt <= {threshold('partition', 'max_kurtosis')}",
    _LEAST_VARIANCE,
)

# A candidate counts if it does more to the entropy than every control of its model.
_ENTROPY = """{insert}SELECT i.run_id, i.neuron_id, '{family}', '{family}', i.entropy_delta, :version,
       jsonb_build_object('value', i.value, 'entropy_delta', i.entropy_delta, 'entropy_se', i.entropy_se,
                          'scale_delta', i.scale_delta, 'loss_delta', i.loss_delta, 'n_tokens', i.n_tokens,
                          'controls', control.n, 'largest_control', control.most, 'largest_control_scale', control.most_scale,
                          'l2_penalty', w.l2_penalty, 'vocab_var', w.vocab_var, 'opposite_of', o.layer || '.' || o."index"),
       {place}
  FROM interventions i
  {neuron}
  LEFT JOIN weight_statistics w ON w.run_id = i.run_id AND w.neuron_id = i.neuron_id
  LEFT JOIN neurons o ON o.id = i.of_neuron_id
  JOIN (SELECT own.model_id, count(*) AS n, max(abs(c.entropy_delta)) AS most, max(abs(c.scale_delta)) AS most_scale
          FROM interventions c JOIN neurons own ON own.id = c.neuron_id
         WHERE c.run_id = :run_id AND c.purpose = 'control' AND c.kind = 'fix' AND c.value = {value}
         GROUP BY own.model_id) control ON control.model_id = n.model_id
 WHERE i.run_id = :run_id AND i.purpose = 'candidate' AND i.kind = 'fix' AND i.value = {value}
   AND i.entropy_delta {sign} 0 AND i.scale_delta {sign} 0
   AND control.n >= {controls} AND abs(i.entropy_delta) > control.most
"""


def _entropy(family: str, sign: str) -> str:
    thresholds = {"value": threshold(family, "value"), "controls": threshold(family, "min_controls")}
    return _ENTROPY.format(insert=INSERT, place=PLACE, neuron=NEURON.format(alias="i"), family=family, sign=sign, **thresholds)


# What h promises an ablation must show, where one was done: less attention to BOS without a neuron that raises it.
_ATTENTION = """{insert}SELECT s.run_id, s.neuron_id, '{family}', 'A' || s.head_layer || '.H' || s.head, abs(s.h), :version,
       jsonb_build_object('head_layer', s.head_layer, 'head', s.head, 'h', s.h, 'h_sd', s.h_sd, 'chance', chance.h,
                          'threshold', {multiple} * chance.h, 'correlation', r.pearson, 'spearman', r.spearman,
                          'delta_p_bos', p.delta_p_bos, 'fractional_o_norm', p.fractional_o_norm, 'n_tokens', p.n_tokens),
       {place}
  FROM head_scores s
  {neuron}
  JOIN (SELECT model_id, max(max_abs_h) AS h FROM head_baselines WHERE run_id = :run_id GROUP BY model_id) chance
    ON chance.model_id = n.model_id
  LEFT JOIN path_ablations p ON (p.run_id, p.neuron_id, p.head_layer, p.head)
                              = (s.run_id, s.neuron_id, s.head_layer, s.head) AND p.purpose = 'chosen'
  LEFT JOIN ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                  = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)
                                AND r.x = 'activation' AND r.y = 'delta_p_bos'
 WHERE s.run_id = :run_id AND s.{end} AND {signed} >= {multiple} * chance.h
   AND (p.neuron_id IS NULL OR r.pearson {test})
"""


def _attention(family: str, end: str, signed: str, test: str) -> str:
    return _ATTENTION.format(
        insert=INSERT, place=PLACE, neuron=NEURON.format(alias="s"), family=family, end=end, signed=signed, test=test,
        multiple=threshold(family, "min_multiple"),
    )  # fmt: skip


_PARTNER = """o.layer || '.' || o."index\""""

_DUPLICATE = f"""{INSERT}SELECT i.run_id, i.neuron_id, 'duplicate', {_PARTNER}, i.cosine, :version,
       jsonb_build_object('other_layer', o.layer, 'other_neuron', o."index", 'in_cosine', i.cosine, 'out_cosine', w.cosine,
                          'same_partner', i.other_neuron_id = w.other_neuron_id, 'mutual', i.mutual,
                          'threshold', {threshold("duplicate", "min_in_cosine")}),
       {PLACE}
  FROM similar_neurons i
  {NEURON.format(alias="i")}
  JOIN neurons o ON o.id = i.other_neuron_id
  JOIN similar_neurons w ON w.run_id = i.run_id AND w.neuron_id = i.neuron_id AND w.kind = 'w_out' AND NOT w.opposite
   AND w.rank = 1
 WHERE i.run_id = :run_id AND i.kind = 'w_in' AND NOT i.opposite AND i.rank = 1
   AND i.cosine >= {threshold("duplicate", "min_in_cosine")} AND w.cosine >= {threshold("duplicate", "min_out_cosine")}
"""

_ANTIPODAL = f"""{INSERT}SELECT s.run_id, s.neuron_id, 'antipodal', {_PARTNER}, abs(s.cosine), :version,
       jsonb_build_object('other_layer', o.layer, 'other_neuron', o."index", 'cosine', s.cosine, 'mutual', s.mutual,
                          'threshold', {threshold("antipodal", "max_cosine")}),
       {PLACE}
  FROM similar_neurons s
  {NEURON.format(alias="s")}
  JOIN neurons o ON o.id = s.other_neuron_id
 WHERE s.run_id = :run_id AND s.kind = 'w_out' AND s.opposite AND s.rank = 1
   AND s.cosine <= {threshold("antipodal", "max_cosine")}
"""

ROLE_RULES = (
    Rule("prediction", ("weights",), _peaked("prediction", ">")),
    Rule("suppression", ("weights",), _peaked("suppression", "<")),
    Rule("partition", ("weights",), _PARTITION),
    Rule("entropy", ("entropy",), _entropy("entropy", ">")),
    Rule("anti_entropy", ("entropy",), _entropy("anti_entropy", "<")),
    Rule(
        "attn_deactivation",
        ("attention",),
        _attention("attn_deactivation", "largest", "s.h", f"<= {threshold('attn_deactivation', 'max_correlation')}"),
    ),
    Rule(
        "attn_activation",
        ("attention",),
        _attention("attn_activation", "smallest", "-s.h", f">= {threshold('attn_activation', 'min_correlation')}"),
    ),
    Rule("duplicate", ("redundancy",), _DUPLICATE),
    Rule("antipodal", ("redundancy",), _ANTIPODAL),
)
