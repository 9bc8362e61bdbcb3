"""The part `distributions`: histograms, quantiles, BOS, and moments per subset of the corpus (SPEC 3.1, 6.7)."""

from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, Text

from catalog.parts import context_rules
from catalog.parts.explained import OF_SUBSETS, explained_by
from catalog.parts.part import Check, Part, Rows, Section, View
from catalog.parts.rule import Evidence, Rule, Threshold, measured, threshold
from catalog.parts.view_text import LABEL, LABELS
from catalog.parts.words import shown
from catalog.schema.base import check, column, error_of, number, of_neuron, table
from catalog.words import QUANTILES

histograms = table(
    "histograms",
    *of_neuron(),
    *(
        column(name, ARRAY(BigInteger), f"{what}; 257 counts.", check(f"{name}_bins", f"cardinality({name}) = 257"))
        for name, what in (
            ("pre", "Kept tokens per bin of pre"),
            ("post", "Kept tokens per bin of post"),
            ("pre_masked", "Other positions, BOS and newlines, per bin of pre"),
        )
    ),
    comment="Counts in the bins of the published histograms: 256 edges from -10 to 15, upper edge included (SPEC 3.1).",
)


def _quantile_name(values: str, share: str) -> str:
    return f"{values}_p{share.replace('.', '_')}"


def _quantile(values: str, share: str) -> Column[Any]:
    return number(_quantile_name(values, share), f"{share} % of kept tokens have {values} up to this, within 1/16 of it.")


distribution_statistics = table(
    "distribution_statistics",
    *of_neuron(),
    *(_quantile(values, share) for values in ("pre", "post") for share in QUANTILES),
    number("bos_activation", "Post on BOS, at position 0 (SPEC 6.7); NULL where rows begin without BOS."),
    number("bos_ratio", "bos_activation over the larger of 0.1 and the 99.9th percentile of post; NULL where that is."),
    comment="Quantiles of activations on kept tokens, and the activation on BOS.",
)


def _moments() -> list[Column[Any]]:
    return [
        number("mean", "Mean pre-activation (SPEC 3.1)."),
        number("var", "Population variance of pre."),
        number("skew", "Skewness of pre; NULL if the variance is 0."),
        number("kurt", "Kurtosis of pre, 3 for a Gaussian; NULL if the variance is 0."),
        number("sparsity", "Fraction of these tokens with pre > 0."),
        number("post_mean", "Mean post-activation."),
        number("post_var", "Population variance of post."),
        number("post_skew", "Skewness of post."),
        number("post_kurt", "Kurtosis of post."),
    ]


late_statistics = table(
    "late_statistics",
    *of_neuron(),
    column("n_tokens", BigInteger, "Kept tokens at position 10 or later."),
    *_moments(),
    comment="Moments and frequency of each neuron's activations without the first ten positions of every row.",
)

subset_statistics = table(
    "subset_statistics",
    *of_neuron(),
    column("subset", Text, "The corpus's subset.", key=True),
    column("n_tokens", BigInteger, "Kept tokens of the subset."),
    *_moments(),
    number(
        "variance_reduction",
        "By whether a token is in the subset (UN eq. 4); NULL below 100 tokens in or out of it.",
        check("variance_reduction_range", "variance_reduction BETWEEN -0.001 AND 1.001"),
    ),
    number("rectified", "Mean of max(post, 0)."),
    *(
        error_of(name)
        for name in ("sparsity", "rectified", "mean", "post_mean", "kurt", "variance_reduction")
    ),
    comment="Moments and frequency of each neuron's activations on each subset of the corpus. By run.",
    serves="show and neuron_subsets: a neuron on each subset",
    by_run=True,
)

_LEAST_RATIO = threshold("bos", "min_ratio")

_BOS = f"""
SELECT d.neuron_id, 'bos', d.bos_ratio,
       jsonb_build_object('bos_activation', d.bos_activation, 'post_p99_9', d.post_p99_9, 'ratio', d.bos_ratio,
                          'threshold', {_LEAST_RATIO})
  FROM distribution_statistics d
 WHERE d.run_id = :run_id AND d.bos_activation > 0 AND d.bos_ratio > {_LEAST_RATIO}"""


def _words(evidence: Evidence) -> str:
    return (
        f"{shown(evidence['bos_activation'])} on BOS, {shown(evidence['ratio'])} times the larger of 0.1 and what 99.9 % of "
        f"other tokens do not exceed, {shown(evidence['post_p99_9'])}"
    )


VIEWS = (
    View(
        "bos_neurons",
        "Neurons that BOS activates more than other tokens, by the rule bos (SPEC 6.7).",
        f"""SELECT {LABEL}, d.bos_activation, d.bos_ratio AS ratio, d.post_p99_9,
       d.neuron_id
  {LABELS} = 'bos'
  JOIN public.distribution_statistics d ON d.run_id = l.run_id AND d.neuron_id = l.neuron_id""",
        words={"ratio": "bos_activation over the larger of 0.1 and the 99.9th percentile of post."},
    ),
    View(
        "neuron_subsets",
        "Moments and frequency of each neuron on each subset, and how much the subset explains.",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.subset, s.n_tokens, s.mean, s.var, s.skew, s.kurt,
       s.sparsity, s.post_mean, s.post_var, s.post_skew, s.post_kurt, s.variance_reduction, s.rectified, s.mean_se,
       s.kurt_se, s.sparsity_se, s.post_mean_se, s.variance_reduction_se, s.rectified_se, s.neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.subset_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id""",
    ),
)

# Two parts, each with the whole of the same activations: another activation function in one of them moves these means.
_SUBSETS_SUM_UP = """
SELECT 'neuron ' || neuron_id || ' with mean ' || whole.post_mean || ' and ' || pooled.post_mean || ' over its subsets' AS what
  FROM activation_statistics whole
  JOIN (SELECT neuron_id, sum(n_tokens) AS n_tokens, sum(n_tokens * post_mean) / sum(n_tokens) AS post_mean,
               sum(n_tokens * mean) / sum(n_tokens) AS mean
          FROM subset_statistics WHERE run_id = :run_id AND n_tokens > 0 GROUP BY neuron_id) AS pooled USING (neuron_id)
 WHERE whole.run_id = :run_id
   AND (whole.n_tokens <> pooled.n_tokens
        OR abs(whole.mean - pooled.mean) > 1e-3 * sqrt(whole.var) + 1e-6 * abs(whole.mean) + 1e-6
        OR abs(whole.post_mean - pooled.post_mean) > 1e-3 * sqrt(whole.post_var) + 1e-6 * abs(whole.post_mean) + 1e-6)"""

_BOS_KNOWN = """
SELECT 'neuron ' || d.neuron_id AS what
  FROM distribution_statistics d JOIN runs r ON r.id = d.run_id JOIN corpora c ON c.id = r.corpus_id
 WHERE d.run_id = :run_id AND (d.bos_activation IS NOT NULL) <> c.begins_with_bos"""

_SHARES = ", ".join(
    f"({share}::double precision, d.{_quantile_name('pre', share)}, d.{_quantile_name('post', share)})" for share in QUANTILES
)

PAGE = (
    Section(
        "quantiles",
        "Quantiles: so many percent of the tokens have pre, and post, up to this",
        f"""
SELECT v.percent, v.pre, v.post
  FROM distribution_statistics d CROSS JOIN LATERAL (VALUES {_SHARES}) AS v(percent, pre, post)
 WHERE d.run_id = :run AND d.neuron_id = :neuron ORDER BY v.percent""",
    ),
    Section(
        "bos",
        "Activation on BOS, and its ratio to the 99.9th percentile of other tokens",
        "SELECT bos_activation, bos_ratio FROM distribution_statistics WHERE run_id = :run AND neuron_id = :neuron",
    ),
    Section(
        "subsets",
        "Subsets of the corpus",
        """
SELECT subset, n_tokens, sparsity, sparsity_se, rectified, rectified_se, mean, mean_se, post_mean, post_mean_se, kurt, kurt_se,
       variance_reduction, variance_reduction_se FROM subset_statistics
 WHERE run_id = :run AND neuron_id = :neuron ORDER BY subset""",
    ),
)

PART = Part(
    name="distributions",
    about="histograms, quantiles, BOS, moments per subset",
    reads="corpus",
    version=3,
    defined_by_bos="the activation on BOS",
    rows=(
        Rows(histograms, "neuron"),
        Rows(distribution_statistics, "neuron"),
        Rows(late_statistics, "neuron"),
        Rows(subset_statistics, "some"),
        explained_by(OF_SUBSETS),
    ),
    views=VIEWS,
    rules=(
        Rule(
            "bos",
            (
                "Neurons that the first token, BOS, activates far more than anything else (UN App. C.2). BOS is no "
                "example, so that excerpts show what else they answer to."
            ),
            _BOS,
            _words,
            (
                Threshold(
                    "min_ratio", 3, "Activation on BOS over the 99.9th percentile of post that more than suffices (SPEC 6.7)."
                ),
            ),
            needs="EXISTS (SELECT FROM distribution_statistics WHERE run_id = :run_id AND bos_ratio IS NOT NULL)",
            lacking="its rows begin without BOS",
            closest=measured(
                "public.distribution_statistics", "s.bos_activation, s.post_p99_9, s.bos_ratio", "s.bos_ratio DESC"
            ),
            is_cause=True,
            of_activations=True,
        ),
        *context_rules.RULES,
    ),
    checks=(
        Check("activations on all subsets are those of the whole", _SUBSETS_SUM_UP),
        Check("the activation on BOS is known where rows begin with it, and nowhere else", _BOS_KNOWN),
    ),
    page=PAGE,
)
