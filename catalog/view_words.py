"""What views' columns are, in words, where they are not a table's column under its own comment; see `catalog.view_columns`."""

from catalog.schema.roles import METRICS

EVERYWHERE = {
    "run_id": "The published run that measured the row.",
    "model": "The model: its name, or name@revision where a name has several revisions.",
    "layer": "The neuron's transformer block, from 0.",
    "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
    "neuron_id": "The neuron: id of neurons.",
    "other_model": "The model of the other neuron: its name, or name@revision.",
    "other_layer": "The other neuron's transformer block, from 0.",
    "other_neuron": "The other neuron's position in d_mlp, from 0.",
    "other_neuron_id": "The other neuron: id of neurons.",
    "feature": "Name of the feature of tokens, as in SPEC 5.",
    "feature_family": "Group of SPEC 5 that the feature is of.",
}
"""By the name of the column, in every view that has no words of its own for it."""

PASSED_ON = {
    "weight_statistics.vocab_var": "Population variance over tokens of cos(W_U[:, v], w_out).",
    "weight_statistics.vocab_skew": "Skewness over tokens of cos(W_U[:, v], w_out); NULL if the variance is 0.",
    "weight_statistics.vocab_kurt": "Kurtosis over tokens of cos(W_U[:, v], w_out), 3 for a Gaussian.",
    "weight_statistics.vocab_n": "Tokens that the moments over the vocabulary are taken over.",
    "weight_statistics.logit_skew": "Skewness over tokens of w_out . W_U[:, v]; NULL if the variance is 0.",
    "weight_statistics.logit_kurt": "Kurtosis over tokens of w_out . W_U[:, v], 3 for a Gaussian.",
    "weight_statistics.logit_var": "Variance over tokens of w_out . W_U[:, v], (logits per unit of activation)^2.",
    "class_activity.mean_out": "Mean pre before other tokens.",
    "class_activity.freq_out": "Fraction with pre > 0 before other tokens.",
}
"""By table and column, where the column's own comment leans on that of the column before it."""

_FAMILY = {"family": "The group of seeds of one architecture that the model belongs to."}
_MEMBERS = {**_FAMILY, "model_id": "The model: id of models."}
_EFFECT = {
    "n_in": "Tokens of the vocabulary with the feature.",
    "n_out": "Tokens of the vocabulary without it.",
    "mean_difference": "Mean effect on logits of tokens with the feature less that of others; above 0 it promotes them.",
    "variance_reduction": "Share of the variance of the effects that the feature explains (UN 5.1, SPEC 7).",
}
_COUNTS = {
    "family": "Family of labels.",
    "neurons": "Distinct neurons with a label of the family; 0: looked for, none found.",
    "universal_neurons": "Those of them with excess_corr above 0.5.",
}
_PERCENTILE = "Rank of {} among the neurons of its layer, 0 to 100, ties averaged."
_PARTNERS = {
    "cosine": "Cosine of the two neurons' processed output weights.",
    "mutual": "Each is the other's most opposite neuron.",
}


def _profile(share: int) -> str:
    return f"Of the layer's neurons {share} % have the statistic up to this, interpolated."


OF_VIEW: dict[str, dict[str, str]] = {
    "model_names": _MEMBERS,
    "members": _MEMBERS,
    "neuron_profiles": {**_FAMILY, "universal": "excess_corr > 0.5."},
    "universal_neurons": {**_FAMILY, "universal": "excess_corr > 0.5: true in every row."},
    "neuron_matches": {
        "rank": "1 is the best partner in the other model.",
        "standard_error": "Of the correlation: (1 - r^2) / sqrt(kept tokens).",
    },
    "neuron_universality_by_model": {
        "other_layer": "Transformer block of the best match in the other model, from 0.",
        "other_neuron": "Position in d_mlp of the best match in the other model, from 0.",
    },
    "neuron_labels": {
        "score": "In the unit of its family: variance reduction; nats for position and entropy, ratio for bos, frequency for"
        " dead and near_dead, share of activations for detectors, vocab_kurt for prediction, suppression and partition, |h| for"
        " attention, |cosine| for antipodal and duplicate. The highest is the best; of anti_entropy, dead, near_dead and"
        " unexplained the lowest.",
    },
    "topics": {
        "topic": "The topic's name, without the mark that tells equal names apart.",
        "machine_named": "Whether a topic model of the corpus made and named it; else a file did.",
        "n_tokens": "Tokens of the vocabulary that are of the topic.",
        "tokens": "Their texts, in order of token id; what is no UTF-8 is escaped as \\xNN.",
        "feature_id": "The topic as a feature: id of features.",
    },
    "position_neurons": {
        "runs": "Ranges of positions of extreme frequency: first position, last position, high or low.",
    },
    "position_teams": {
        "layer": "Transformer block, from 0.",
        "neurons": "The layer's strong oscillatory neurons.",
        "covered": "Positions at which at least one of them is active more often than not: within a run that is high.",
        "positions": "Positions of a row without BOS.",
        "share": "covered / positions, 0 to 1.",
    },
    "ngram_coverage": {
        **{
            f"bucket_{n}": f"Range that cover_{n} is in, as VO App. A.1 names it; too_rare: fewer than 20 activations."
            for n in (1, 2, 3)
        },
        "activations": "Of the tokens looked at, those on which the neuron was active (pre > 0).",
        "activations_2": "Of the activations, those that end a bigram without BOS.",
        "activations_3": "Of the activations, those that end a trigram without BOS.",
    },
    "ngram_coverage_by_half": {
        "half": "bottom: the first half of the layers; top: the rest.",
        "n": "1: tokens, 2: bigrams, 3: trigrams.",
        "bucket": "Range of the cover, as in ngram_coverage; NULL for neurons that are never active.",
        "neurons": "Neurons of the half in the bucket.",
    },
    "token_detectors": {
        "n": "1: tokens, 3: trigrams.",
        "tokens": "Texts of the detected n-grams, most activations first; what is no UTF-8 is escaped as \\xNN.",
        "share": "Share of the neuron's activations that are at the detected n-grams, 0 to 1.",
        "suppressing": "Whether it lowers the logits of the detected tokens, the last ones of trigrams, on average.",
        "mean_effect": "Mean over detected tokens v of w_out . W_U[:, v], logits per unit of activation, processed weights.",
        "mean_effect_raw": "The mean effect with the weights of the file.",
        "share_negative": "Share of the detected tokens whose logit it lowers, 0 to 1.",
        "lowest_percentile": "Lowest percentile, 0 to 100, of its effect on a detected token among those on all tokens.",
        "cover": "Smallest number of n-grams with 95 % of the neuron's activations.",
        "activations": "Activations (pre > 0) that end an n-gram of this length.",
        "tokens_bytes": "Bytes of the detected n-grams, in the order of tokens.",
    },
    "covered_tokens_by_layer": {
        "layer": "Transformer block, from 0.",
        "covered": "Distinct tokens that token detectors of the layer detect.",
        "new_overall": "Those of them that no layer below detects.",
        "new_vs_previous": "Those of them that the layer directly below does not detect.",
        "cumulative": "Distinct tokens detected in this layer or below.",
    },
    "dead_neurons": {
        "activations": "Kept tokens with pre > 0.",
        "upper_bound": "3 / n_tokens: the frequency of a dead neuron is below it with a confidence of 95 %.",
    },
    "bos_neurons": {"ratio": "bos_activation over the larger of 0.1 and the 99.9th percentile of post."},
    "neuron_examples": {
        "kind": "top: the highest values; else a band of quantiles of the neuron's positive post, in percent.",
        "subset": "The subset of the corpus that the row is of; NULL where the corpus has none.",
        "token": "Text of the token; what is no UTF-8 by itself is escaped as \\xNN, a backslash doubled.",
        "before": "Text of the up to 20 tokens before it in the row; what is no UTF-8 is escaped, as in token.",
        "after": "Text of the up to 5 tokens after it in the row; what is no UTF-8 is escaped, as in token.",
        "token_bytes": "The token's bytes, unescaped.",
        "before_bytes": "Bytes of the tokens before it, unescaped.",
        "after_bytes": "Bytes of the tokens after it, unescaped.",
    },
    "prediction_neurons": {
        "class": "prediction, suppression or partition.",
        "feature": "The class of tokens that explains its effect on the logits best; NULL if none is above the threshold.",
        "mean_difference": _EFFECT["mean_difference"],
        "variance_reduction": _EFFECT["variance_reduction"],
        "high_vocab_var": "Whether vocab_var times the width of the residual stream is above the rule's threshold.",
    },
    "neuron_logit_explanations": {**_EFFECT, "rank": "By variance_reduction, 1 the largest."},
    "logit_ensembles": {
        "class": "prediction, suppression or partition.",
        "sign": "promotes where mean_difference > 0, else suppresses.",
        "vocab_kurt": PASSED_ON["weight_statistics.vocab_kurt"],
        "mean_difference": _EFFECT["mean_difference"],
        "variance_reduction": _EFFECT["variance_reduction"],
    },
    "prediction_activity": {
        "class": "prediction or suppression.",
        "feature": "The class of tokens that the neuron acts on most.",
    },
    "prediction_profiles": {
        **_FAMILY,
        "layer": "Transformer block, from 0.",
        "statistic": "vocab_kurt, vocab_skew, or vocab_skew of the neurons with vocab_kurt above 10.",
        "n": "Neurons of the layer with a value.",
        **{f"p{share}": _profile(share) for share in (5, 10, 50, 90, 95)},
    },
    "prediction_profiles_over_seeds": {
        "family": "The group of seeds of one architecture.",
        "layer": "Transformer block, from 0.",
        "statistic": "vocab_kurt, vocab_skew, or vocab_skew of the neurons with vocab_kurt above 10.",
        "percentile": "Which percentile of the layer's neurons: 5, 10, 50, 90 or 95.",
        "models": "Models of the family with a value.",
        "mean": "Mean over models of the percentile.",
        "lowest": "Lowest over models.",
        "highest": "Highest over models.",
        "mean_n": "Mean over models of the number of neurons with a value.",
    },
    "neuron_interventions": {
        **{f"delta_{name}": f"Mean difference of {name} to the model left alone." for name in METRICS},
        **{f"{name}_standard_error": f"Standard error of delta_{name}, paired by token." for name in METRICS},
        "together": "LAYER.INDEX of other neurons that were held at once; NULL where there are none.",
        "kl_standard_error": "Standard error of kl over tokens.",
        "purpose": "candidate and control: chosen by the run; asked: measured later.",
    },
    "entropy_neurons": {
        "sign": "entropy: the entropy of predictions rises; anti_entropy: it falls.",
        "value": "To what post was fixed.",
        "delta_entropy": "Mean change of the entropy of the prediction, in nats.",
        "delta_scale": "Mean change of the final layer norm's denominator.",
        "delta_loss": "Mean change of -ln p of the next token, in nats.",
        "delta_recip_rank": "Mean change of 1 / (rank of the next token from 0 + 1).",
        "largest_control": "Largest change of the entropy that a control neuron makes at the same value, in nats.",
        "controls": "Control neurons.",
        "opposite_of_layer": "Transformer block of the candidate whose opposite it is; NULL for candidates themselves.",
        "opposite_of_neuron": "Position in d_mlp of that candidate.",
    },
    "attention_neurons": {
        "class": "attn_deactivation: towards BOS, which switches the head off; attn_activation: away from it.",
        "correlation": "Of the activation with the change of the attention to BOS; NULL if either is constant.",
        "chance": "Largest |h| of random directions on the model's heads.",
        "delta_p_bos": "Mean change of the attention to BOS without the neuron (UN 5.3, SPEC 9.3).",
        "delta_o_norm": "Mean change, without the neuron, of the norm of what the head writes.",
        "fractional_o_norm": "The same change over the norm with the neuron.",
    },
    "neuron_head_scores": {"multiple_of_chance": "|h| over the largest |h| of random directions on the model's heads."},
    "head_summaries": {
        "head_layer": "The head's layer, from 0.",
        "head": "The head within its layer, from 0.",
        "chance_max_abs_h": "Largest |h| of random unit vectors in place of the neurons, seeded (SPEC 9.1).",
        "chance_sd_h": "Standard deviation of h of the same vectors.",
        "bos_norm_ratio_with_bias": "bos_norm_ratio with the value biases.",
    },
    "neuron_head_compositions": {
        "head_layer": "The head's layer, from 0.",
        "head": "The head within its layer, from 0.",
        "q": "Q-composition of w_out with a head of a later layer; NULL for heads before the neuron.",
        "k": "K-composition of w_out with a head of a later layer; NULL for heads before the neuron.",
        "v": "V-composition of w_out with a head of a later layer; NULL for heads before the neuron.",
        "o": "O-composition of w_in with a head that writes before the neuron; NULL for heads of later layers.",
    },
    "neuron_path_ablations": {
        "activation_sd": "Standard deviation of post at the destinations.",
        "delta_p_bos": "Mean change of the attention to BOS without the neuron (UN 5.3, SPEC 9.3).",
        "delta_z_norm": "Mean change of z_norm without the neuron.",
        "fractional_z_norm": "Mean change of the norm of z over the clean norm.",
        "delta_o_norm": "Mean change of o_norm without the neuron.",
        "fractional_o_norm": "Mean change of the norm of W_O z over the clean norm.",
        "x": "What y is correlated with, per destination: activation or delta_p_bos.",
        "y": "A change that is related to x, per destination.",
        "pearson": "Correlation of x and y over destinations; NULL if either is constant.",
        "spearman": "Rank correlation of x and y over destinations.",
        "slope": "Of the least-squares line of y on x.",
        "intercept": "Of the least-squares line of y on x.",
    },
    "neuron_similarities": {"rank": "1 is the nearest, or the most opposite.", "kind": "The weights compared: w_in or w_out."},
    "antipodal_pairs": _PARTNERS,
    "duplicate_neurons": {
        "cosine": "Cosine of the two neurons' processed input weights.",
        "mutual": "Each is the other's nearest neuron by input weights.",
        "out_cosine": "Cosine of the neuron's output weights and those of the nearest by output weights.",
        "same_partner": "Whether the nearest by input weights and by output weights are one neuron.",
    },
    "universal_neuron_properties": {
        "excess_corr": "mean_corr - mean_baseline, above 0.5 here (UN eq. 3).",
        **{
            f"{name}_percentile": _PERCENTILE.format(name)
            for name in ("sparsity", "mean", "skew", "kurt", "input_bias", "in_out_sim", "l2_penalty", "vocab_kurt")
        },
    },
    "cosine_frequency": {
        "neurons": "Neurons of the model with both numbers.",
        "correlation": "Pearson correlation of the activation frequency with in_out_sim over them.",
        "lowest_in_out_sim": "Lowest cosine of input and output weights.",
        "highest_in_out_sim": "Highest cosine of input and output weights.",
    },
    "redundancy_universality": {
        "kind": "The weights compared: w_in or w_out.",
        "opposite": "Whether the cosine is that of the most opposite neuron, not of the nearest.",
        "neurons": "Neurons of the model with both numbers.",
        "correlation": "Pearson correlation of excess_corr with that cosine over them.",
    },
    "family_counts": _COUNTS,
    "family_counts_by_layer": {**_COUNTS, "layer": "Transformer block, from 0."},
    "depth_matrix": {
        "layer": "Transformer block of the neurons, from 0.",
        "other_layer": "Transformer block of their best matches in the other models, from 0.",
    },
    "layer_profiles": {
        "layer": "Transformer block, from 0.",
        "share_universal": "n_universal / n_neurons, 0 to 1.",
        "median_excess_corr": "Median over the layer's neurons of excess_corr.",
        "median_sparsity": "Median of the activation frequency.",
        "median_kurt": "Median of the kurtosis of pre.",
        "median_l2_penalty": "Median of w_in_norm^2 + w_out_norm^2.",
        "median_vocab_kurt": "Median of the kurtosis over the vocabulary.",
    },
    "neuron_group_members": {"group_id": "The group: id of neuron_groups."},
}
"""By view and column."""
