"""The part `weights`: what the weights alone say of each neuron, and whom it promotes or suppresses (UN 4.2, 5.1)."""

from sqlalchemy import REAL, Integer, SmallInteger, Text

from catalog.parts.part import Part, Rows, Section, View
from catalog.parts.rule import Evidence, Rule, Threshold, in_force, threshold
from catalog.parts.view_text import LABEL, LABELS
from catalog.parts.words import EFFECTS, OF_FAMILY, percent, shown, signed
from catalog.schema.base import check, column, number, of_neuron, table
from catalog.schema.identity import COUNTED_DISTINCT
from catalog.words import TENSORS

weight_statistics = table(
    "weight_statistics",
    *of_neuron(),
    number("w_in_norm", "L2 norm of the input weights, processed (SPEC 4).", ranked=True),
    number("w_out_norm", "L2 norm of the output weights, processed.", ranked=True),
    number("input_bias", "b_in after folding the layer norm.", ranked=True),
    number("in_out_sim", "Cosine of input and output weights.", ranked=True),
    number("l2_penalty", "w_in_norm^2 + w_out_norm^2.", ranked=True),
    number("vocab_mean", "Mean over tokens of cos(W_U[:, v], w_out).", ranked=True),
    number(
        "vocab_var",
        "Population variance of that cosine.",
        ranked=True,
        in_views="Population variance over tokens of cos(W_U[:, v], w_out).",
    ),
    number(
        "vocab_skew",
        "Skewness of that cosine; NULL if the variance is 0.",
        ranked=True,
        in_views="Skewness over tokens of cos(W_U[:, v], w_out); NULL if the variance is 0.",
    ),
    number(
        "vocab_kurt",
        "Kurtosis of that cosine, 3 for a Gaussian.",
        ranked=True,
        in_views="Kurtosis over tokens of cos(W_U[:, v], w_out), 3 for a Gaussian.",
    ),
    number(
        "logit_var",
        "Variance over tokens of w_out . W_U[:, v].",
        ranked=True,
        in_views="Variance over tokens of w_out . W_U[:, v], (logits per unit of activation)^2.",
    ),
    number(
        "logit_skew",
        "Skewness of that effect.",
        ranked=True,
        in_views="Skewness over tokens of w_out . W_U[:, v]; NULL if the variance is 0.",
    ),
    number(
        "logit_kurt",
        "Kurtosis of that effect.",
        ranked=True,
        in_views="Kurtosis over tokens of w_out . W_U[:, v], 3 for a Gaussian.",
    ),
    column(
        "vocab_n", Integer, "Tokens in these moments.", in_views="Tokens that the moments over the vocabulary are taken over."
    ),
    comment="What the weights alone say of each neuron (UN 4.2, SPEC 4).",
)

logit_effects = table(
    "logit_effects",
    *of_neuron(),
    column(
        "direction",
        Text,
        "promoted or suppressed.",
        check("direction_known", "direction IN ('promoted', 'suppressed')"),
        key=True,
    ),
    column("rank", SmallInteger, "1 is the strongest.", key=True),
    column("token_id", Integer, "Id in the model's tokenizer."),
    column("effect", REAL, "w_out . W_U[:, v]: logits per unit of activation."),
    comment="Tokens whose logits each neuron raises and lowers most. By run.",
    serves="show: the tokens that a neuron promotes and suppresses, in order",
    by_run=True,
)

# The name is the class of tokens on which the neuron's effect differs most, where explanations of it are known.
_PREDICTION = """
SELECT w.neuron_id, COALESCE(f.name, '{family}'), w.vocab_kurt,
       jsonb_build_object('vocab_kurt', w.vocab_kurt, 'vocab_skew', w.vocab_skew, 'vocab_var', w.vocab_var,
                          'scaled_var', w.vocab_var * m.d_model, 'high_vocab_var', w.vocab_var * m.d_model > {least_variance},
                          'feature', f.name, 'variance_reduction', x.variance_reduction,
                          'mean_difference', x.mean_difference, 'welch_t', x.welch_t, 'threshold', {shown})
  FROM weight_statistics w
  JOIN neurons n ON n.id = w.neuron_id
  JOIN models m ON m.id = n.model_id
  LEFT JOIN logit_explanations x ON x.run_id = w.run_id AND x.neuron_id = w.neuron_id AND x.rank = 1
  LEFT JOIN features f ON f.id = x.feature_id
 WHERE w.run_id = :run_id AND {condition}"""

_LEAST_VARIANCE = threshold("partition", "min_variance")
_MOST_KURTOSIS = threshold("partition", "max_kurtosis")


def _words(evidence: Evidence) -> str:
    said = f"kurtosis {shown(evidence['vocab_kurt'])} and skewness {shown(evidence['vocab_skew'])} over the vocabulary"
    if evidence["feature"] is None:
        return said
    return (
        f"{said}; {evidence['feature']} explains {percent(evidence['variance_reduction'])} of its effect: "
        f"{signed(evidence['mean_difference'])} logits per unit of activation on these tokens "
        f"(t = {shown(evidence['welch_t'])})"
    )


def _rule(family: str, about: str, condition: str, decides: str, closest: str, *thresholds: Threshold) -> Rule:
    """Args:
    decides: SQL of the threshold that the evidence shows.
    """
    select = _PREDICTION.format(family=family, condition=condition, shown=decides, least_variance=_LEAST_VARIANCE)
    return Rule(family, about, select, _words, thresholds, closest=closest, is_cause=True)


def _peaked(family: str, about: str, sign: str, skewed: str) -> Rule:
    least = threshold(family, "min_kurtosis")
    words = f"The kurtosis over the vocabulary that a {family} neuron exceeds; its skewness is {skewed} (SPEC 7)."
    condition = f"w.vocab_kurt > {least} AND w.vocab_skew {sign} 0"
    closest = f"""SELECT p.model, p.layer, p.neuron, p.vocab_kurt, p.vocab_skew, e.feature, e.mean_difference
               FROM m JOIN history.neuron_profiles p USING (run_id, model)
               LEFT JOIN history.neuron_logit_explanations e USING (run_id, neuron_id)
               WHERE p.vocab_skew {sign} 0 AND COALESCE(e.rank, 1) = 1
               ORDER BY p.vocab_kurt DESC, 1, 2, 3 LIMIT :shown"""
    return _rule(family, about, condition, least, closest, Threshold("min_kurtosis", 10, words))


_CLOSEST_TO_PARTITION = """SELECT p.model, p.layer, p.neuron, p.vocab_var * o.d_model AS scaled_var, p.vocab_kurt, e.feature
           FROM m JOIN public.models o ON o.id = m.model_id JOIN history.neuron_profiles p USING (run_id, model)
           LEFT JOIN history.neuron_logit_explanations e USING (run_id, neuron_id)
           WHERE p.vocab_var IS NOT NULL AND COALESCE(e.rank, 1) = 1 ORDER BY scaled_var DESC, 1, 2, 3 LIMIT :shown"""

_STATISTIC = "vocab_kurt, vocab_skew, or that of the neurons with vocab_kurt above prediction.min_kurtosis of the rules."
_PERCENTILES = (5, 10, 50, 90, 95)

VIEWS = (
    View(
        "prediction_neurons",
        "Neurons that promote or suppress a class of tokens, or part the vocabulary, by the rules of these names (UN 5.1).",
        f"""SELECT {LABEL}, l.family AS class, w.vocab_kurt, w.vocab_skew, w.vocab_var,
       NULLIF(l.subtype, l.family) AS feature, (l.evidence ->> 'mean_difference')::double precision AS mean_difference,
       (l.evidence ->> 'variance_reduction')::double precision AS variance_reduction,
       (l.evidence ->> 'high_vocab_var')::boolean AS high_vocab_var,
       w.logit_kurt, w.logit_skew, w.logit_var, w.vocab_n, l.excess_corr, l.neuron_id
  {LABELS} IN ('prediction', 'suppression', 'partition')
  JOIN public.weight_statistics w ON w.run_id = l.run_id AND w.neuron_id = l.neuron_id""",
        words={
            "class": "prediction, suppression or partition.",
            "feature": "The class of tokens that explains its effect on the logits best; NULL if none is above the threshold.",
            "mean_difference": EFFECTS["mean_difference"],
            "variance_reduction": EFFECTS["variance_reduction"],
            "high_vocab_var": "Whether vocab_var times the width of the residual stream is above the rule's threshold.",
        },
    ),
    View(
        "prediction_profiles",
        "Percentiles per layer of kurtosis and skewness over the vocabulary; of the latter also where the former is large.",
        f"""SELECT m.run_id, m.model, m.family, t.layer, t.statistic, t.n,
       {", ".join(f"t.p[{place}] AS p{share}" for place, share in enumerate(_PERCENTILES, start=1))}
  FROM {{members}} m
 CROSS JOIN LATERAL (
       SELECT n.layer, v.statistic, count(v.value) AS n,
              percentile_cont(ARRAY[{", ".join(f"0.{share:02}" for share in _PERCENTILES)}]::double precision[])
                WITHIN GROUP (ORDER BY v.value) AS p
         FROM public.neurons n
         JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id
        CROSS JOIN (SELECT {in_force("prediction", "min_kurtosis")} AS least) peaked
        CROSS JOIN LATERAL (VALUES ('vocab_kurt', w.vocab_kurt), ('vocab_skew', w.vocab_skew),
          ('vocab_skew where vocab_kurt > ' || peaked.least, CASE WHEN w.vocab_kurt > peaked.least THEN w.vocab_skew END)
          ) AS v(statistic, value)
        WHERE n.model_id = m.model_id
        GROUP BY n.layer, v.statistic ORDER BY n.layer, v.statistic) t""",
        words={
            **OF_FAMILY,
            "layer": "Transformer block, from 0.",
            "statistic": _STATISTIC,
            "n": "Neurons of the layer with a value.",
            **{
                f"p{share}": f"Of the layer's neurons {share} % have the statistic up to this, interpolated."
                for share in (5, 10, 50, 90, 95)
            },
        },
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
        words={
            "family": "The group of seeds of one architecture.",
            "layer": "Transformer block, from 0.",
            "statistic": _STATISTIC,
            "percentile": "Which percentile of the layer's neurons: 5, 10, 50, 90 or 95.",
            "models": "Models of the family with a value.",
            "mean": "Mean over models of the percentile.",
            "lowest": "Lowest over models.",
            "highest": "Highest over models.",
            "mean_n": "Mean over models of the number of neurons with a value.",
        },
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
        words={
            "neurons": "Neurons of the model with both numbers.",
            "correlation": "Pearson correlation of the activation frequency with in_out_sim over them.",
            "lowest_in_out_sim": "Lowest cosine of input and output weights.",
            "highest_in_out_sim": "Highest cosine of input and output weights.",
        },
    ),
)

_TOKENS = """
SELECT v.rank, t.text AS token, v.token_id, v.effect
  FROM logit_effects v JOIN tokens t ON t.tokenizer_id = :tokenizer AND t.token_id = v.token_id
 WHERE v.run_id = :run AND v.neuron_id = :neuron AND v.direction = '{direction}' ORDER BY v.rank"""

PART = Part(
    name="weights",
    about="norms, cosines and effects on the vocabulary, from weights alone",
    reads="weights",
    rows=(Rows(weight_statistics, "neuron"), Rows(logit_effects, "some")),
    views=VIEWS,
    rules=(
        _peaked(
            "prediction",
            ("Neurons that promote a small class of tokens: the effect on the logits has a long tail above (UN 5.1, Fig. 24)."),
            ">",
            "positive",
        ),
        _peaked(
            "suppression",
            (
                "Neurons that suppress a small class of tokens: the effect on the logits has a long tail below (UN 5.1, "
                "Fig. 24)."
            ),
            "<",
            "negative",
        ),
        _rule(
            "partition",
            "Neurons that part the vocabulary in two large halves, such as tokens with and without a space (UN 5.1).",
            f"w.vocab_var * m.d_model > {_LEAST_VARIANCE} AND w.vocab_kurt <= {_MOST_KURTOSIS}",
            _LEAST_VARIANCE,
            _CLOSEST_TO_PARTITION,
            Threshold("min_variance", 5.12, "What vocab_var times d_model exceeds; 0.005 at d_model = 1024 (SPEC 7)."),
            Threshold(
                "max_kurtosis", 10, "Largest kurtosis over the vocabulary; above it are prediction and suppression neurons."
            ),
        ),
    ),
    thresholds=(
        (
            TENSORS,
            Threshold(
                "min_distinct",
                16,
                "Distinct values that a tensor has at least which tells of models that share it; gains of one, say, have one.",
                most=COUNTED_DISTINCT,
                beyond="distinct values of a tensor are counted up to that",
            ),
        ),
    ),
    page=(
        Section("promoted", "Most promoted tokens", _TOKENS.format(direction="promoted")),
        Section("suppressed", "Least promoted tokens", _TOKENS.format(direction="suppressed")),
    ),
)
