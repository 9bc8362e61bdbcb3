"""Tables of meaning: features, explanations, rules and labels."""

from sqlalchemy import BigInteger, DateTime, Double, Identity, Integer, Text, func
from sqlalchemy.dialects.postgresql import JSONB

from catalog.schema.base import check, column, error_of, index, number, of_neuron, place_of_neuron, refers, table, unique
from catalog.schema.identity import OF_TOKENIZERS
from catalog.words import UNIVERSAL_STATES

FEATURE_FAMILIES = (
    "type", "symbol", "numeric", "pronoun", "starts", "suffix", "prefix", "word_group", "unigram",
    "spacy_pos", "spacy_dep", "spacy_morph", "spacy_ent", "spacy_misc",
    "topic", "machine_topic", "subset",
)  # fmt: skip

_DIRECTED = "; NULL for features of tokens alone and of the previous token"

features = table(
    "features",
    column("id", Integer, "Surrogate key.", Identity(), key=True),
    column("name", Text, "As in SPEC 5; unigrams end in _unigram, others begin with spacy_, topic_ or subset_."),
    column("family", Text, "Group of SPEC 5.", check("family_known", f"family IN {FEATURE_FAMILIES}")),
    column("ordinal", Integer, "Column order; of equal scores the earlier feature wins."),
    column("definition", Text, "The rule in words."),
    unique("name", serves="publication: whether a feature is known"),
    comment="Yes-or-no properties of tokens.",
    used="t.id IN {features}",
    serves="the joins of explanations with their feature",
)

feature_tokens = table(
    "feature_tokens",
    column("tokenizer_id", Integer, "The tokenizer.", refers("tokenizers.id", cascade=True), key=True),
    column("feature_id", Integer, "The feature.", refers("features.id", cascade=True), key=True),
    column("token_id", Integer, "A token that has it.", key=True, autoincrement=False),
    comment="Which tokens have which feature.",
    used=f"t.tokenizer_id IN {OF_TOKENIZERS} AND t.feature_id IN {{features}}",
    serves="topics: the tokens that have a feature",
)

explanations = table(
    "explanations",
    *of_neuron(),
    column("feature_id", Integer, "The feature.", refers("features.id"), key=True),
    column("shift", Text, "current or previous token.", check("shift_known", "shift IN ('current', 'previous')"), key=True),
    column(
        "variance_reduction",
        Double,
        "1 - variance within the two classes / variance (UN eq. 4, SPEC 6.1).",
        check("variance_reduction_range", "variance_reduction BETWEEN -0.001 AND 1.001"),
    ),
    column("n_in", BigInteger, "Tokens with the feature."),
    column("n_out", BigInteger, "Tokens without it."),
    column("mean_in", Double, "Mean post on tokens with it."),
    column("mean_out", Double, "Mean post on tokens without it."),
    number("cohen_d", "Difference of the means over the pooled standard deviation."),
    column(
        "rank",
        Integer,
        "Rank of chosen_variance_reduction among all features and both shifts, 1 the best; exact up to 5.",
    ),
    number("chosen_variance_reduction", "On the half of the documents in which features are chosen."),
    number(
        "held_out_variance_reduction",
        "On the other half, which is what rules ask; NULL where either class has too few tokens there.",
    ),
    error_of("variance_reduction"),
    error_of("held_out_variance_reduction"),
    error_of("mean_in"),
    error_of("mean_out"),
    number("frequency_in", f"Fraction of the tokens with the feature that have pre > 0{_DIRECTED}."),
    number("frequency_out", f"Fraction of the tokens without it that have pre > 0{_DIRECTED}."),
    error_of("frequency_in"),
    error_of("frequency_out"),
    number("rectified_in", f"Mean of max(post, 0), of gated neurons of max(pre, 0), on tokens with the feature{_DIRECTED}."),
    number("rectified_out", f"Mean of max(post, 0), of gated neurons of max(pre, 0), on tokens without it{_DIRECTED}."),
    error_of("rectified_in"),
    error_of("rectified_out"),
    number(
        "partial_effect",
        "What the feature adds to post given the current token, in standard deviations within tokens; NULL where tokens are in"
        " its class always or never, and where frequency_in is.",
    ),
    number("partial_variance_reduction", "Share of the variance within tokens that it explains; NULL where partial_effect is."),
    number(
        "overlap",
        "Sum over tokens of count * share in the class * share out of it, over the tokens with the feature: 0 where a token"
        " is in the class or not, near 1 where the class is rare among all tokens; NULL where frequency_in is.",
    ),
    comment="The features that explain each neuron best, of each part of the run five and the best of each shift.",
    serves="show and neuron_explanations: the features that explain a neuron",
)
index(
    "ix_explanations_run_id_feature_id",
    "the neurons that one feature explains, best first",
    explanations.c.run_id,
    explanations.c.feature_id,
    explanations.c.variance_reduction.desc(),
)

rule_versions = table(
    "rule_versions",
    column("version", Integer, "Counts up.", key=True, autoincrement=False),
    column("created_at", DateTime(timezone=True), "When it was written.", server_default=func.now()),
    column("published_at", DateTime(timezone=True), "When labels were made by it; NULL for a draft.", null=True),
    comment="Versions of the label rules.",
    serves="relabel: the newest version of the rules",
)

rules = table(
    "rules",
    column("rule_version", Integer, "The version.", refers("rule_versions.version", cascade=True), key=True),
    column("family", Text, "The family of labels that the rule makes.", key=True),
    column("parameter", Text, "Name of the threshold.", key=True),
    column("value", Double, "Its value."),
    column("description", Text, "What it decides."),
    comment="Thresholds of the label rules (SPEC 6.6).",
    serves="rules list and relabel: the thresholds of a version",
)

labels = table(
    "labels",
    *of_neuron(),
    column(
        "family",
        Text,
        "What the neuron is; the families are those of the table rules. unexplained: a universal neuron whose best feature is"
        " below max_variance_reduction and that no rule of position, bos, prediction, suppression, partition, entropy or"
        " attention labels; a universal neuron without any label need not be one.",
        key=True,
    ),
    column("subtype", Text, "Which letter, word, feature or pattern; provisional where tokens are too few to say.", key=True),
    column(
        "score",
        Double,
        "Variance reduction, held out where it is read from activations; mutual information in nats for position, ratio for"
        " bos, frequency for dead and near_dead.",
    ),
    column("rule_version", Integer, "The rules that gave it.", refers("rule_versions.version")),
    column("evidence", JSONB, "What the rule looked at."),
    *place_of_neuron(),
    number("excess_corr", "The neuron's excess correlation, from universality; NULL if undefined."),
    column(
        "universal",
        Text,
        "Whether the neuron is universal, from universality: yes, no or undecided.",
        check("universal_known", f"universal IN {UNIVERSAL_STATES}"),
    ),
    column("sort_key", Double, "Ascending, it puts the labels of one family in order from the best: the score, or -score."),
    comment="What each neuron is, by rules that can be run again (SPEC 6.6).",
    serves="show: the labels of a neuron",
    hashed="always",
    by_rules=True,
)
_OF_MODEL = (labels.c.run_id, labels.c.model_id)
index(
    "ix_labels_by_rank",
    "find, family by family, the best score first; layer and excess are tested in the index",
    *_OF_MODEL,
    labels.c.family,
    labels.c.sort_key,
    labels.c.layer,
    labels.c.excess_corr,
    labels.c.universal,
)
index(
    "ix_labels_by_family",
    "find by family and least score, and its count; layer and excess are tested in the index",
    *_OF_MODEL,
    labels.c.family,
    labels.c.score.desc(),
    labels.c.layer,
    labels.c.excess_corr,
    labels.c.universal,
)
index(
    "ix_labels_by_subtype",
    "find by subtype, family by family, the best score first",
    *_OF_MODEL,
    labels.c.subtype,
    labels.c.family,
    labels.c.sort_key,
)
index(
    "ix_labels_by_place",
    "find by layer range, and find in the order of neurons",
    *_OF_MODEL,
    labels.c.layer,
    labels.c.index,
)
index(
    "ix_labels_by_excess",
    "find by least excess correlation, its count, and find with the highest excess first",
    *_OF_MODEL,
    labels.c.excess_corr.desc().nulls_last(),
    labels.c.layer,
    labels.c.family,
    labels.c.score,
)
