"""Tables of what was measured, one row per run and neuron or per pair of neurons."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    Column,
    Double,
    Identity,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from catalog.base import check, column, index, metadata, refers

CORRELATION = "BETWEEN -1 AND 1"


def of_neuron() -> tuple[Column[Any], Column[Any]]:
    """The key of a measured row."""
    return (
        column("run_id", Integer, "The run that measured it.", refers("runs.id", cascade=True), key=True),
        column("neuron_id", Integer, "The neuron.", refers("neurons.id", cascade=True), key=True),
    )


def place_of_neuron() -> tuple[Column[Any], Column[Any], Column[Any]]:
    """Where the neuron is, beside the numbers of tables that readers search; publication copies it from `neurons`."""
    return (
        column("model_id", Integer, "The neuron's model, from neurons.", refers("models.id", cascade=True)),
        column("layer", SmallInteger, "The neuron's layer, from neurons."),
        column("index", Integer, "The neuron's position in d_mlp, from neurons."),
    )


def number(name: str, comment: str, *constraints: Any) -> Column[Any]:
    """A measured number; NULL where undefined."""
    return column(name, Double, comment, *constraints, null=True)


POSITION_PATTERNS = ("oscillatory", "both_extremes", "one_extreme", "other")

position_statistics = Table(
    "position_statistics",
    metadata,
    *of_neuron(),
    column("n_rows", Integer, "Rows of the corpus, each with one token per position."),
    number(
        "mutual_information",
        "Of being active and the position, without BOS, in nats (VO 5.1, SPEC 12.8); NULL below 1,000 rows.",
        check("mutual_information_range", "mutual_information BETWEEN 0 AND 0.6932"),
    ),
    number("mutual_information_bos", "The same with BOS's position."),
    number("pos_std", "Standard deviation over positions of the mean post."),
    number("pos_std_mean", "Mean over positions of the standard deviation of post over rows."),
    column(
        "pattern",
        Text,
        "How the frequency depends on the position (VO 5.2, SPEC 12.9); NULL below 1,000 rows.",
        check("pattern_known", f"pattern IN {POSITION_PATTERNS}"),
        null=True,
    ),
    column("strength", Text, "strong or weak.", check("strength_known", "strength IN ('strong', 'weak')"), null=True),
    number("tolerance", "Distance from 0 and 1 within which a frequency is extreme; NULL for the pattern other."),
    column("alternations", SmallInteger, "Changes between runs of low and of high frequency.", null=True),
    number("coverage", "Share of positions in such runs.", check("coverage_range", "coverage BETWEEN 0 AND 1")),
    number("predictability", "1 - mean squared distance from the neighbours' mean / variance of the frequency."),
    column("runs", JSONB, "The runs: first position, last position, high or low."),
    column(
        "curve",
        ARRAY(REAL),
        "Frequency at each position, BOS first; of neurons with at least 0.01 nats.",
        null=True,
    ),
    comment="How being active depends on the position in the row.",
)
index(
    "ix_position_statistics_positional",
    "position_neurons: the positional neurons of a run, most informative first",
    position_statistics.c.run_id,
    position_statistics.c.mutual_information.desc(),
    postgresql_where=text("mutual_information > 0.05"),
)

ngram_statistics = Table(
    "ngram_statistics",
    metadata,
    *of_neuron(),
    column("n_tokens", BigInteger, "Kept tokens that were looked at, the first of the corpus."),
    column("activations_1", BigInteger, "Of them, those on which the neuron was active (pre > 0)."),
    column("activations_2", BigInteger, "Those that end a bigram without BOS."),
    column("activations_3", BigInteger, "Those that end a trigram without BOS."),
    *(
        column(
            f"cover_{n}",
            Integer,
            f"Smallest number of {what} with 95 % of these activations (VO 4.1, SPEC 12.3); NULL without activations.",
            check(f"cover_{n}_range", f"cover_{n} BETWEEN 1 AND activations_{n}"),
            null=True,
        )
        for n, what in ((1, "tokens"), (2, "bigrams"), (3, "trigrams"))
    ),
    comment="How few n-grams cover the activations of each neuron.",
)

detected_ngrams = Table(
    "detected_ngrams",
    metadata,
    *of_neuron(),
    column("n", SmallInteger, "1 or 3.", check("n_known", "n IN (1, 3) AND n = cardinality(token_ids)"), key=True),
    column("rank", Integer, "1 has the most activations.", key=True),
    column("token_ids", ARRAY(Integer), "The n-gram, first token first."),
    column("count", Integer, "How often it ends at one of the tokens that were looked at."),
    column(
        "activations",
        Integer,
        "How often the neuron is active there.",
        check("activations_range", "activations BETWEEN 0 AND count"),
    ),
    column("effect", REAL, "w_out . W_U[:, v] of its last token v, processed weights (VO 4.4, SPEC 12.7)."),
    column("effect_raw", REAL, "The same with the weights of the file."),
    column(
        "percentile",
        REAL,
        "Rank of effect among all tokens, 0 to 100 (SPEC 3.7).",
        check("percentile_range", "percentile BETWEEN 0 AND 100"),
    ),
    comment="n-grams that activate a neuron more often than not, of neurons that few n-grams cover; for the rules.",
)

activation_statistics = Table(
    "activation_statistics",
    metadata,
    *of_neuron(),
    column("n_tokens", BigInteger, "Kept tokens (SPEC 0.3, M_corr)."),
    number("mean", "Mean pre-activation (SPEC 3.1)."),
    number("var", "Population variance of pre."),
    number("skew", "Skewness of pre; NULL if the variance is 0."),
    number("kurt", "Kurtosis of pre, 3 for a Gaussian; NULL if the variance is 0."),
    number("post_mean", "Mean post-activation."),
    number("post_var", "Population variance of post."),
    number("post_skew", "Skewness of post."),
    number("post_kurt", "Kurtosis of post, 3 for a Gaussian."),
    number(
        "sparsity",
        "Activation frequency: fraction of tokens with pre > 0 (SPEC 3.2).",
        check("sparsity_fraction", "sparsity BETWEEN 0 AND 1"),
    ),
    column("degenerate", Boolean, "The variance of post is too small for a correlation (SPEC 2.1)."),
    comment="Moments and frequency of each neuron's activations (UN 4.2, SPEC 3).",
)
index(
    "ix_activation_statistics_rare",
    "dead_neurons: the neurons of a run that are never or hardly ever active",
    activation_statistics.c.run_id,
    activation_statistics.c.neuron_id,
    postgresql_where=text("sparsity < 0.000001"),
)

weight_statistics = Table(
    "weight_statistics",
    metadata,
    *of_neuron(),
    number("w_in_norm", "L2 norm of the input weights, processed (SPEC 4)."),
    number("w_out_norm", "L2 norm of the output weights, processed."),
    number("input_bias", "b_in after folding the layer norm."),
    number("in_out_sim", "Cosine of input and output weights."),
    number("l2_penalty", "w_in_norm^2 + w_out_norm^2."),
    number("vocab_mean", "Mean over tokens of cos(W_U[:, v], w_out)."),
    number("vocab_var", "Population variance of that cosine."),
    number("vocab_skew", "Skewness of that cosine; NULL if the variance is 0."),
    number("vocab_kurt", "Kurtosis of that cosine, 3 for a Gaussian."),
    number("logit_var", "Variance over tokens of w_out . W_U[:, v]."),
    number("logit_skew", "Skewness of that effect."),
    number("logit_kurt", "Kurtosis of that effect."),
    column("vocab_n", Integer, "Tokens in these moments."),
    comment="What the weights alone say of each neuron (UN 4.2, SPEC 4).",
)

pairs = Table(
    "pairs",
    metadata,
    *of_neuron(),
    column("other_neuron_id", Integer, "A neuron of another model.", refers("neurons.id", cascade=True), key=True),
    column("other_model_id", Integer, "That neuron's model.", refers("models.id", cascade=True)),
    column(
        "correlation",
        REAL,
        "Pearson correlation of post (SPEC 2.1).",
        check("correlation_range", f"correlation {CORRELATION}"),
    ),
    column("rank", SmallInteger, "1 is the best partner in that model.", check("rank_positive", "rank >= 1")),
    column("mutual_best", Boolean, "Each is the other's best partner."),
    comment="The k most correlated partners of each neuron in each other model; partitioned by run.",
    postgresql_partition_by="LIST (run_id)",
)

universality = Table(
    "universality",
    metadata,
    *of_neuron(),
    number("max_corr", "Largest over other models of the best correlation there (SPEC 2.4)."),
    number("mean_corr", "Mean over other models of the best correlation."),
    number("min_corr", "Smallest over other models of the best correlation."),
    number("max_baseline", "Largest over other models of the best correlation with rotated units."),
    number("mean_baseline", "Mean over other models of that baseline."),
    number("min_baseline", "Smallest over other models of that baseline."),
    number("excess_corr", "mean_corr - mean_baseline; universal if above 0.5 (UN eq. 3)."),
    column("n_models", SmallInteger, "Other models in which the neuron's correlation is defined."),
    column("n_degenerate", SmallInteger, "Other models in which it is not."),
    *place_of_neuron(),
    comment="Universality of each neuron over the other models of the run (UN 4.1).",
)
index(
    "ix_universality_by_excess",
    "universal: neurons of a model above 0.5 or another threshold, highest excess correlation first",
    universality.c.run_id,
    universality.c.model_id,
    universality.c.excess_corr.desc(),
    universality.c.layer,
)
index(
    "ix_universality_by_place",
    "universal neurons of a model, by layer and index",
    universality.c.run_id,
    universality.c.model_id,
    universality.c.layer,
    universality.c.index,
    postgresql_where=text("excess_corr > 0.5"),
)

universality_by_model = Table(
    "universality_by_model",
    metadata,
    *of_neuron(),
    column("other_model_id", Integer, "The other model.", refers("models.id", cascade=True), key=True),
    column(
        "max_corr",
        REAL,
        "Best correlation in that model; NULL if degenerate.",
        check("max_corr_range", f"max_corr {CORRELATION}"),
        null=True,
    ),
    column("other_neuron_id", Integer, "The neuron that has it.", refers("neurons.id", cascade=True), null=True),
    column("baseline", REAL, "Best correlation with rotated units of that model, mean over draws (SPEC 2.2).", null=True),
    column("baseline_sd", REAL, "Standard deviation over draws; NULL for one draw.", null=True),
    column("baseline_layer", SmallInteger, "Layer of the largest baseline.", null=True),
    column("diag_corr", REAL, "Correlation with the neuron of equal layer and index; NULL if shapes differ.", null=True),
    column("mutual_best", Boolean, "The best partner's best partner is this neuron."),
    comment="Best match and baseline of each neuron in each other model. By run.",
    postgresql_partition_by="LIST (run_id)",
)

neuron_groups = Table(
    "neuron_groups",
    metadata,
    column("id", Integer, "Surrogate key.", Identity(), key=True),
    column("run_id", Integer, "The run.", refers("runs.id", cascade=True)),
    column("size", SmallInteger, "Neurons in the group, one per model.", check("size_two_or_more", "size >= 2")),
    column("lowest_corr", REAL, "Lowest correlation between two of them."),
    comment="Cliques of mutual best matches; a neuron is in one group of a run at most.",
)
index(
    "ix_neuron_groups_run_id_size",
    "groups, largest first and then the most alike",
    neuron_groups.c.run_id,
    neuron_groups.c.size.desc(),
    neuron_groups.c.lowest_corr.desc(),
)

group_members = Table(
    "group_members",
    metadata,
    column("group_id", Integer, "The group.", refers("neuron_groups.id", cascade=True), key=True),
    column("neuron_id", Integer, "A neuron in it.", refers("neurons.id", cascade=True), key=True),
    column("run_id", Integer, "The group's run.", refers("runs.id", cascade=True)),
    UniqueConstraint("run_id", "neuron_id"),
    comment="Neurons of each group.",
)

top_tokens = Table(
    "top_tokens",
    metadata,
    *of_neuron(),
    column("rank", SmallInteger, "1 is the token with the largest mean.", key=True),
    column("token_id", Integer, "Id in the model's tokenizer."),
    column("mean", Double, "Mean post-activation on the token."),
    column("n", BigInteger, "Occurrences of the token."),
    comment="Tokens on which each neuron is most active on average, of those that occur often enough (SPEC 3.3). By run.",
    postgresql_partition_by="LIST (run_id)",
)

logit_effects = Table(
    "logit_effects",
    metadata,
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
    postgresql_partition_by="LIST (run_id)",
)
