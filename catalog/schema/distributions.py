"""Tables of how each neuron's activations are distributed."""

from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, Table, Text, text

from catalog.base import check, column, index, metadata
from catalog.schema.statistics import number, of_neuron
from catalog.words import QUANTILES

histograms = Table(
    "histograms",
    metadata,
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


def _quantile(kind: str, share: str) -> Column[Any]:
    return number(f"{kind}_p{share.replace('.', '_')}", f"{share} % of kept tokens have {kind} up to this, within 1/16 of it.")


distribution_statistics = Table(
    "distribution_statistics",
    metadata,
    *of_neuron(),
    *(_quantile(kind, share) for kind in ("pre", "post") for share in QUANTILES),
    number("bos_activation", "Post on BOS, at position 0 (SPEC 6.7)."),
    number("bos_ratio", "bos_activation over the larger of 0.1 and the 99.9th percentile of post."),
    comment="Quantiles of activations on kept tokens, and the activation on BOS.",
)
index(
    "ix_distribution_statistics_bos",
    "bos_neurons: the neurons of a run that BOS activates more than other tokens, highest ratio first",
    distribution_statistics.c.run_id,
    distribution_statistics.c.bos_ratio.desc(),
    postgresql_where=text("bos_ratio > 1"),
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


late_statistics = Table(
    "late_statistics",
    metadata,
    *of_neuron(),
    column("n_tokens", BigInteger, "Kept tokens at position 10 or later."),
    *_moments(),
    comment="Moments and frequency of each neuron's activations without the first ten positions of every row.",
)

subset_statistics = Table(
    "subset_statistics",
    metadata,
    *of_neuron(),
    column("subset", Text, "The corpus's subset.", key=True),
    column("n_tokens", BigInteger, "Kept tokens of the subset."),
    *_moments(),
    number(
        "variance_reduction",
        "By whether a token is in the subset (UN eq. 4); NULL below 100 tokens in or out of it.",
        check("variance_reduction_range", "variance_reduction BETWEEN -0.001 AND 1.001"),
    ),
    comment="Moments and frequency of each neuron's activations on each subset of the corpus. By run.",
    postgresql_partition_by="LIST (run_id)",
)
