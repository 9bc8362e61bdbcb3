"""Tables of what neurons do: to the logits, to other neurons, to heads, and what happens when they are held fixed."""

from typing import Any

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)

from catalog.base import check, column, index, metadata, refers
from catalog.schema.statistics import number, of_neuron
from catalog.words import VECTOR_KINDS

COSINE = "BETWEEN -1.00001 AND 1.00001"

logit_explanations = Table(
    "logit_explanations",
    metadata,
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
    postgresql_partition_by="LIST (run_id)",
)
index(
    "ix_logit_explanations_run_id_feature_id",
    "logit_ensembles: the neurons that act on one class of tokens",
    logit_explanations.c.run_id,
    logit_explanations.c.feature_id,
    logit_explanations.c.rank,
)

class_activity = Table(
    "class_activity",
    metadata,
    *of_neuron(),
    column("feature_id", Integer, "The class of tokens that the neuron acts on most.", refers("features.id")),
    column("n_in", BigInteger, "Kept tokens before a token of the class."),
    column("n_out", BigInteger, "Kept tokens before another token; the last one of a row is before none."),
    number("mean_in", "Mean pre before tokens of the class."),
    number("mean_out", "Mean pre before others."),
    number("freq_in", "Fraction with pre > 0 before tokens of the class.", check("freq_in_range", "freq_in BETWEEN 0 AND 1")),
    number("freq_out", "Fraction with pre > 0 before others.", check("freq_out_range", "freq_out BETWEEN 0 AND 1")),
    number("cohen_d", "Difference of the means over the pooled standard deviation."),
    comment="Whether neurons of peaked effects on the logits are active before the tokens they act on (UN Fig. 25, SPEC 3.5).",
)

similar_neurons = Table(
    "similar_neurons",
    metadata,
    *of_neuron(),
    column("kind", Text, "The weights compared.", check("kind_known", "kind IN ('w_in', 'w_out')"), key=True),
    column("opposite", Boolean, "Whether the row is of the most opposite neurons, not the nearest.", key=True),
    column("rank", SmallInteger, "1 is the nearest, or the most opposite.", key=True),
    column("other_neuron_id", Integer, "A neuron of the same model.", refers("neurons.id", cascade=True)),
    column("cosine", REAL, "Cosine of the processed weights.", check("cosine_range", f"cosine {COSINE}")),
    column("mutual", Boolean, "Each is the other's rank 1."),
    comment="The neurons of the same model whose weights are nearest and most opposite to each neuron's (UN App. C, SPEC 10). "
    "By run.",
    postgresql_partition_by="LIST (run_id)",
)

neuron_vectors = Table(
    "neuron_vectors",
    metadata,
    *of_neuron(),
    column("kind", Text, "What it is.", check("kind_known", f"kind IN {VECTOR_KINDS}"), key=True),
    column("model_id", Integer, "The neuron's model.", refers("models.id", cascade=True)),
    column(
        "vector",
        HALFVEC(),
        "Of norm 1: processed weights, or the effect on the logits in a basis that the run's models share.",
    ),
    comment="Weight vectors for the search by similarity; effects may be compared between the models of a run. By run.",
    postgresql_partition_by="LIST (run_id)",
)


index(
    "ix_neuron_vectors_by_kind",
    "similar: the vectors of one kind, of a model or of all in a run",
    neuron_vectors.c.run_id,
    neuron_vectors.c.kind,
    neuron_vectors.c.model_id,
)


def of_model() -> tuple[Column[Any], Column[Any]]:
    """The key of a row that is measured per model."""
    return (
        column("run_id", Integer, "The run that measured it.", refers("runs.id", cascade=True), key=True),
        column("model_id", Integer, "The model.", refers("models.id", cascade=True), key=True),
    )


def of_head() -> tuple[Column[Any], Column[Any]]:
    """Which head of the neuron's or the row's model."""
    return (
        column("head_layer", SmallInteger, "The head's layer.", key=True, autoincrement=False),
        column("head", SmallInteger, "The head within its layer.", key=True, autoincrement=False),
    )


head_compositions = Table(
    "head_compositions",
    metadata,
    *of_neuron(),
    column("q", ARRAY(REAL), "Q-composition of w_out with the heads of later layers, in order of layer and head (SPEC 4)."),
    column("k", ARRAY(REAL), "K-composition with the same heads."),
    column("v", ARRAY(REAL), "V-composition with the same heads."),
    column("o", ARRAY(REAL), "O-composition of w_in with the heads that write before it, in order of layer and head."),
    comment="How much each neuron's output is read, and its input written, by each head (SPEC 4).",
)

head_scores = Table(
    "head_scores",
    metadata,
    *of_neuron(),
    *of_head(),
    column("h", REAL, "w_out / |w_out| . W_Q k_BOS / sqrt(d_head); positive raises attention to BOS (UN 5.3, SPEC 9.1)."),
    column("h_sd", REAL, "Standard deviation over destinations p >= T/2 of rotary positions, whose mean h is.", null=True),
    column("h_scaled", REAL, "h with the model's further divisor of scores, layer + 1."),
    column("head_rank", SmallInteger, "Place by |h| among all neurons, for the 50 first of the head; else NULL.", null=True),
    column("largest", Boolean, "Whether it is the neuron's largest h."),
    column("smallest", Boolean, "Whether it is the neuron's smallest h."),
    comment="How each neuron's output moves heads of later layers towards BOS: the first 50 of a head, the ends of a neuron.",
)
index(
    "ix_head_scores_by_head",
    "the neurons that act most on one head",
    head_scores.c.run_id,
    head_scores.c.head_layer,
    head_scores.c.head,
    head_scores.c.head_rank,
)

head_baselines = Table(
    "head_baselines",
    metadata,
    *of_model(),
    *of_head(),
    column("max_abs_h", REAL, "Largest |h| of random unit vectors in place of the neurons, seeded (SPEC 9.1)."),
    column("sd_h", REAL, "Standard deviation of their h."),
    comment="What h is by chance, per head.",
)

head_norms = Table(
    "head_norms",
    metadata,
    *of_model(),
    *of_head(),
    column("n_tokens", BigInteger, "Kept tokens in the mean."),
    number("bos_norm_ratio", "Mean |W_O v| over tokens / |W_O v| of BOS, value biases folded away (UN 5.3, SPEC 9.2)."),
    number("bos_norm_ratio_with_bias", "The same with the value biases."),
    comment="How little each head writes when it attends to BOS.",
)


def of_rows() -> Column[Any]:
    """How much of the corpus was read, as a part of a key."""
    return column("n_rows", Integer, "Rows of the corpus, the first ones.", key=True, autoincrement=False)


path_ablations = Table(
    "path_ablations",
    metadata,
    *of_neuron(),
    *of_head(),
    of_rows(),
    column(
        "purpose",
        Text,
        "chosen by h, or asked for later.",
        check("purpose_known", "purpose IN ('chosen', 'asked')"),
    ),
    column("n_tokens", BigInteger, "Destinations, in the second half of the context and not BOS."),
    number("activation", "Mean post at them."),
    number("activation_sd", "Its standard deviation."),
    number("p_bos", "Mean attention to BOS, clean."),
    number("delta_p_bos", "Mean change of it without the neuron (UN 5.3, SPEC 9.3)."),
    number("z_norm", "Mean norm of the head's mix of values z, clean."),
    number("delta_z_norm", "Mean change of it."),
    number("fractional_z_norm", "Mean change of it over the clean norm."),
    number("o_norm", "Mean norm of W_O z, clean."),
    number("delta_o_norm", "Mean change of it."),
    number("fractional_o_norm", "Mean change of it over the clean norm."),
    column("code_version", Text, "git commit of the code, where it is not the run's.", null=True),
    column("device", Text, "What computed it, where it is not the run's device.", null=True),
    column("measured_at", DateTime(timezone=True), "When it was stored, if after its run.", null=True),
    comment="What one head does when one neuron is taken from its queries.",
)

ABLATION_CAUSES = ("activation", "delta_p_bos")
ABLATION_EFFECTS = ("delta_p_bos", "delta_z_norm", "delta_o_norm", "fractional_z_norm", "fractional_o_norm")

ablation_relations = Table(
    "ablation_relations",
    metadata,
    *of_neuron(),
    *of_head(),
    of_rows(),
    column("x", Text, "A column of path_ablations per destination.", check("x_known", f"x IN {ABLATION_CAUSES}"), key=True),
    column("y", Text, "Another one.", check("y_known", f"y IN {ABLATION_EFFECTS}"), key=True),
    number("pearson", "Correlation over destinations; NULL if either is constant."),
    number("spearman", "Rank correlation."),
    number("slope", "Of the least-squares line of y on x."),
    number("intercept", "Of that line."),
    comment="How the changes under path ablation go with the activation and with each other (SPEC 9.3).",
)

PURPOSES = ("candidate", "control", "asked")
METRICS = {
    "scale": "the final layer norm's denominator",
    "entropy": "entropy of the prediction in nats",
    "loss": "-ln p of the next token in nats",
    "rank": "rank of the next token from 0",
    "recip_rank": "1 / (rank + 1)",
    "logit_var": "variance of the logits over the vocabulary",
}


def _metric(name: str, meaning: str) -> tuple[Column[Any], Column[Any], Column[Any]]:
    return (
        number(name, f"Mean {meaning}, under the intervention."),
        number(f"{name}_delta", "Its mean difference to the model left alone."),
        number(f"{name}_se", "Standard error of that difference, paired by token."),
    )


interventions = Table(
    "interventions",
    metadata,
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
)
index(
    "ix_interventions_chosen",
    "entropy_neurons: candidates and controls of a run",
    interventions.c.run_id,
    interventions.c.purpose,
    interventions.c.neuron_id,
    postgresql_where=text("purpose <> 'asked'"),
)
