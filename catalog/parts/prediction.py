"""The part `prediction`: which classes of tokens a neuron's effect on the logits is about (UN 5.1, SPEC 7)."""

from sqlalchemy import Double, Integer, SmallInteger

from catalog.parts.part import Part, Rows, Section, View
from catalog.parts.view_text import LABELS, NEURON
from catalog.parts.words import EFFECTS
from catalog.schema.base import check, column, index, number, of_neuron, refers, table

logit_explanations = table(
    "logit_explanations",
    *of_neuron(),
    column("feature_id", Integer, "A vocabulary feature.", refers("features.id"), key=True),
    column("rank", SmallInteger, "By variance_reduction, 1 the largest.", check("rank_positive", "rank >= 1")),
    column("n_in", Integer, "Tokens with the feature."),
    column("n_out", Integer, "Tokens without it."),
    column("mean_in", Double, "Mean of w_out . W_U[:, v] over tokens with it."),
    column("mean_out", Double, "The same over tokens without it."),
    column("mean_difference", Double, "mean_in - mean_out: positive where the neuron promotes these tokens."),
    number("welch_t", "Welch's t of the two means; NULL where a class has one token."),
    column(
        "variance_reduction",
        Double,
        "1 - variance within the two classes / variance over the vocabulary (UN 5.1, SPEC 7).",
        check("variance_reduction_range", "variance_reduction BETWEEN -0.001 AND 1.001"),
    ),
    number("skew_reduction", "How much less skewed the two classes are than all tokens (SPEC 7 d)."),
    number("kurt_reduction", "The share of the kurtosis that goes when the tokens are parted (SPEC 7 e)."),
    comment="The five vocabulary features that explain each neuron's effect on the logits best (UN 5.1). By run.",
    serves="show and neuron_logit_explanations: the features that explain a neuron's effect on the logits",
    by_run=True,
)
index(
    "ix_logit_explanations_run_id_feature_id",
    "logit_ensembles: the neurons that act on one class of tokens",
    logit_explanations.c.run_id,
    logit_explanations.c.feature_id,
    logit_explanations.c.rank,
)

VIEWS = (
    View(
        "neuron_logit_explanations",
        "The vocabulary features that explain each neuron's effect on the logits best; promoted where mean_difference > 0.",
        f"""SELECT {NEURON}, f.name AS feature, x.rank, x.variance_reduction, x.mean_difference, x.welch_t,
       x.n_in, x.n_out, x.mean_in, x.mean_out, x.skew_reduction, x.kurt_reduction, f.family AS feature_family, x.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.logit_explanations x ON x.run_id = m.run_id AND x.neuron_id = n.id
  JOIN public.features f ON f.id = x.feature_id""",
        words={**EFFECTS, "rank": "By variance_reduction, 1 the largest."},
    ),
    View(
        "logit_ensembles",
        "Which prediction, suppression and partition neurons act on the same class of tokens, and with which sign (Fig. 25).",
        f"""SELECT m.run_id, m.model, f.name AS feature, l.layer, l."index" AS neuron, l.family AS class,
       CASE WHEN x.mean_difference > 0 THEN 'promotes' ELSE 'suppresses' END AS sign,
       x.mean_difference, x.welch_t, x.variance_reduction, l.score AS vocab_kurt, l.excess_corr, l.neuron_id
  {LABELS} IN ('prediction', 'suppression', 'partition')
  JOIN public.logit_explanations x ON x.run_id = l.run_id AND x.neuron_id = l.neuron_id AND x.rank = 1
  JOIN public.features f ON f.id = x.feature_id""",
        words={
            "class": "prediction, suppression or partition.",
            "sign": "promotes where mean_difference > 0, else suppresses.",
            "vocab_kurt": "Kurtosis over tokens of cos(W_U[:, v], w_out), 3 for a Gaussian.",
            "mean_difference": EFFECTS["mean_difference"],
            "variance_reduction": EFFECTS["variance_reduction"],
        },
    ),
)

PART = Part(
    name="prediction",
    about="classes of tokens that it promotes or suppresses",
    reads="weights",
    group="roles",
    rows=(Rows(logit_explanations, "some"),),
    views=VIEWS,
    page=(
        Section(
            "logit_explanations",
            "Classes of tokens that it promotes (mean_difference > 0) or suppresses",
            """
SELECT x.rank, f.name AS feature, x.variance_reduction, x.mean_difference, x.welch_t, x.n_in, x.n_out,
       x.skew_reduction, x.kurt_reduction
  FROM logit_explanations x JOIN features f ON f.id = x.feature_id
 WHERE x.run_id = :run AND x.neuron_id = :neuron ORDER BY x.rank""",
        ),
    ),
)
