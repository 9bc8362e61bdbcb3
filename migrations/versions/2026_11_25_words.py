"""Every column of a view and every index says what it is; texts of examples are of their bytes, and found by their token.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_25_words"
down_revision = "2026_11_25_left_to_workers"
branch_labels = None
depends_on = None

COLUMNS = {
    "model_names": {
        "model_id": "The model: id of models.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "family": "The group of seeds of one architecture that the model belongs to.",
    },
    "members": {
        "run_id": "The published run that measured the row.",
        "model_id": "The model: id of models.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "family": "The group of seeds of one architecture that the model belongs to.",
    },
    "neuron_profiles": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "family": "The group of seeds of one architecture that the model belongs to.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "mean": "Mean pre-activation (SPEC 3.1).",
        "var": "Population variance of pre.",
        "skew": "Skewness of pre; NULL if the variance is 0.",
        "kurt": "Kurtosis of pre, 3 for a Gaussian; NULL if the variance is 0.",
        "sparsity": "Activation frequency: fraction of tokens with pre > 0 (SPEC 3.2).",
        "w_in_norm": "L2 norm of the input weights, processed (SPEC 4).",
        "w_out_norm": "L2 norm of the output weights, processed.",
        "input_bias": "b_in after folding the layer norm.",
        "in_out_sim": "Cosine of input and output weights.",
        "l2_penalty": "w_in_norm^2 + w_out_norm^2.",
        "vocab_mean": "Mean over tokens of cos(W_U[:, v], w_out).",
        "vocab_var": "Population variance over tokens of cos(W_U[:, v], w_out).",
        "vocab_skew": "Skewness over tokens of cos(W_U[:, v], w_out); NULL if the variance is 0.",
        "vocab_kurt": "Kurtosis over tokens of cos(W_U[:, v], w_out), 3 for a Gaussian.",
        "max_corr": "Largest over other models of the best correlation there (SPEC 2.4).",
        "mean_corr": "Mean over other models of the best correlation.",
        "min_corr": "Smallest over other models of the best correlation.",
        "max_baseline": "Largest over other models of the best correlation with rotated units.",
        "mean_baseline": "Mean over other models of that baseline.",
        "min_baseline": "Smallest over other models of that baseline.",
        "excess_corr": "mean_corr - mean_baseline; universal if above 0.5 (UN eq. 3).",
        "n_models": "Other models in which the neuron's correlation is defined.",
        "n_degenerate": "Other models in which it is not.",
        "universal": "excess_corr > 0.5.",
        "n_tokens": "Kept tokens (SPEC 0.3, M_corr).",
        "degenerate": "The variance of post is too small for a correlation (SPEC 2.1).",
        "post_mean": "Mean post-activation.",
        "post_var": "Population variance of post.",
        "post_skew": "Skewness of post.",
        "post_kurt": "Kurtosis of post, 3 for a Gaussian.",
        "logit_var": "Variance over tokens of w_out . W_U[:, v], (logits per unit of activation)^2.",
        "logit_skew": "Skewness over tokens of w_out . W_U[:, v]; NULL if the variance is 0.",
        "logit_kurt": "Kurtosis over tokens of w_out . W_U[:, v], 3 for a Gaussian.",
        "vocab_n": "Tokens that the moments over the vocabulary are taken over.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "universal_neurons": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "family": "The group of seeds of one architecture that the model belongs to.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "mean": "Mean pre-activation (SPEC 3.1).",
        "var": "Population variance of pre.",
        "skew": "Skewness of pre; NULL if the variance is 0.",
        "kurt": "Kurtosis of pre, 3 for a Gaussian; NULL if the variance is 0.",
        "sparsity": "Activation frequency: fraction of tokens with pre > 0 (SPEC 3.2).",
        "w_in_norm": "L2 norm of the input weights, processed (SPEC 4).",
        "w_out_norm": "L2 norm of the output weights, processed.",
        "input_bias": "b_in after folding the layer norm.",
        "in_out_sim": "Cosine of input and output weights.",
        "l2_penalty": "w_in_norm^2 + w_out_norm^2.",
        "vocab_mean": "Mean over tokens of cos(W_U[:, v], w_out).",
        "vocab_var": "Population variance over tokens of cos(W_U[:, v], w_out).",
        "vocab_skew": "Skewness over tokens of cos(W_U[:, v], w_out); NULL if the variance is 0.",
        "vocab_kurt": "Kurtosis over tokens of cos(W_U[:, v], w_out), 3 for a Gaussian.",
        "max_corr": "Largest over other models of the best correlation there (SPEC 2.4).",
        "mean_corr": "Mean over other models of the best correlation.",
        "min_corr": "Smallest over other models of the best correlation.",
        "max_baseline": "Largest over other models of the best correlation with rotated units.",
        "mean_baseline": "Mean over other models of that baseline.",
        "min_baseline": "Smallest over other models of that baseline.",
        "excess_corr": "mean_corr - mean_baseline; universal if above 0.5 (UN eq. 3).",
        "n_models": "Other models in which the neuron's correlation is defined.",
        "n_degenerate": "Other models in which it is not.",
        "universal": "excess_corr > 0.5: true in every row.",
        "n_tokens": "Kept tokens (SPEC 0.3, M_corr).",
        "degenerate": "The variance of post is too small for a correlation (SPEC 2.1).",
        "post_mean": "Mean post-activation.",
        "post_var": "Population variance of post.",
        "post_skew": "Skewness of post.",
        "post_kurt": "Kurtosis of post, 3 for a Gaussian.",
        "logit_var": "Variance over tokens of w_out . W_U[:, v], (logits per unit of activation)^2.",
        "logit_skew": "Skewness over tokens of w_out . W_U[:, v]; NULL if the variance is 0.",
        "logit_kurt": "Kurtosis over tokens of w_out . W_U[:, v], 3 for a Gaussian.",
        "vocab_n": "Tokens that the moments over the vocabulary are taken over.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "neuron_matches": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "other_model": "The model of the other neuron: its name, or name@revision.",
        "other_layer": "The other neuron's transformer block, from 0.",
        "other_neuron": "The other neuron's position in d_mlp, from 0.",
        "correlation": "Pearson correlation of post (SPEC 2.1).",
        "rank": "1 is the best partner in the other model.",
        "mutual_best": "Each is the other's best partner.",
        "standard_error": "Of the correlation: (1 - r^2) / sqrt(kept tokens).",
        "neuron_id": "The neuron: id of neurons.",
        "other_neuron_id": "The other neuron: id of neurons.",
    },
    "neuron_universality_by_model": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "other_model": "The model of the other neuron: its name, or name@revision.",
        "max_corr": "Best correlation in that model; NULL if degenerate.",
        "other_layer": "Transformer block of the best match in the other model, from 0.",
        "other_neuron": "Position in d_mlp of the best match in the other model, from 0.",
        "baseline": "Best correlation with rotated units of that model, mean over draws (SPEC 2.2).",
        "baseline_sd": "Standard deviation over draws; NULL for one draw.",
        "baseline_layer": "Layer of the largest baseline.",
        "diag_corr": "Correlation with the neuron of equal layer and index; NULL if shapes differ.",
        "mutual_best": "The best partner's best partner is this neuron.",
        "neuron_id": "The neuron: id of neurons.",
        "other_neuron_id": "The other neuron: id of neurons.",
    },
    "neuron_labels": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "family": "What the neuron is; the families are those of the table rules.",
        "subtype": "Which letter, word, feature or pattern; provisional where tokens are too few to say.",
        "score": "In the unit of its family: variance reduction; nats for position and entropy, ratio for bos, frequency for dead and near_dead, share of activations for detectors, vocab_kurt for prediction, suppression and partition, |h| for attention, |cosine| for antipodal and duplicate.",
        "rule_version": "The rules that gave it.",
        "evidence": "What the rule looked at.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "neuron_explanations": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "feature": "Name of the feature of tokens, as in SPEC 5.",
        "shift": "current or previous token.",
        "variance_reduction": "1 - variance within the two classes / variance (UN eq. 4, SPEC 6.1).",
        "n_in": "Tokens with the feature.",
        "n_out": "Tokens without it.",
        "mean_in": "Mean post on tokens with it.",
        "mean_out": "Mean post on tokens without it.",
        "cohen_d": "Difference of the means over the pooled standard deviation.",
        "rank": "Rank of the score among all features and both shifts, 1 the best; exact up to 5.",
        "feature_family": "Group of SPEC 5 that the feature is of.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "neuron_next_tokens": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "feature": "Name of the feature of tokens, as in SPEC 5.",
        "rank": "By the size of cohen_d, 1 the largest.",
        "n_in": "Kept tokens before a token of the class.",
        "n_out": "Kept tokens before another token; the last one of a row is before none.",
        "mean_in": "Mean pre before tokens of the class.",
        "mean_out": "Mean pre before others.",
        "freq_in": "Fraction with pre > 0 before tokens of the class.",
        "freq_out": "Fraction with pre > 0 before others.",
        "cohen_d": "Difference of the means over the pooled standard deviation.",
        "feature_family": "Group of SPEC 5 that the feature is of.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "topics": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "ordinal": "Place among the run's topics, from 1.",
        "topic": "The topic's name, without the mark that tells equal names apart.",
        "machine_named": "Whether a topic model of the corpus made and named it; else a file did.",
        "n_tokens": "Tokens of the vocabulary that are of the topic.",
        "tokens": "Their texts, in order of token id; what is no UTF-8 is escaped as \\xNN.",
        "feature_id": "The topic as a feature: id of features.",
    },
    "position_neurons": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "mutual_information": "Of being active and the position, without BOS, in nats (VO 5.1, SPEC 12.8); NULL below 1,000 rows.",
        "pattern": "How the frequency depends on the position (VO 5.2, SPEC 12.9); NULL below 1,000 rows.",
        "strength": "strong or weak.",
        "alternations": "Changes between runs of low and of high frequency.",
        "coverage": "Share of positions in such runs.",
        "predictability": "1 - mean squared distance from the neighbours' mean / variance of the frequency.",
        "pos_std": "Standard deviation over positions of the mean post.",
        "pos_std_mean": "Mean over positions of the standard deviation of post over rows.",
        "runs": "Ranges of positions of extreme frequency: first position, last position, high or low.",
        "curve": "Frequency at each position, BOS first; of neurons with at least 0.01 nats.",
        "n_rows": "Rows of the corpus, each with one token per position.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "position_teams": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "Transformer block, from 0.",
        "neurons": "The layer's strong oscillatory neurons.",
        "covered": "Positions at which at least one of them is active more often than not: within a run that is high.",
        "positions": "Positions of a row without BOS.",
        "share": "covered / positions, 0 to 1.",
    },
    "ngram_coverage": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "cover_1": "Smallest number of tokens with 95 % of these activations (VO 4.1, SPEC 12.3); NULL without activations.",
        "cover_2": "Smallest number of bigrams with 95 % of these activations (VO 4.1, SPEC 12.3); NULL without activations.",
        "cover_3": "Smallest number of trigrams with 95 % of these activations (VO 4.1, SPEC 12.3); NULL without activations.",
        "bucket_1": "Range that cover_1 is in, as VO App. A.1 names it; too_rare: fewer than 20 activations.",
        "bucket_2": "Range that cover_2 is in, as VO App. A.1 names it; too_rare: fewer than 20 activations.",
        "bucket_3": "Range that cover_3 is in, as VO App. A.1 names it; too_rare: fewer than 20 activations.",
        "activations": "Of the tokens looked at, those on which the neuron was active (pre > 0).",
        "activations_2": "Of the activations, those that end a bigram without BOS.",
        "activations_3": "Of the activations, those that end a trigram without BOS.",
        "n_tokens": "Kept tokens that were looked at, the first of the corpus.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "ngram_coverage_by_half": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "half": "bottom: the first half of the layers; top: the rest.",
        "n": "1: tokens, 2: bigrams, 3: trigrams.",
        "bucket": "Range of the cover, as in ngram_coverage; NULL for neurons that are never active.",
        "neurons": "Neurons of the half in the bucket.",
    },
    "token_detectors": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
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
        "neuron_id": "The neuron: id of neurons.",
        "tokens_bytes": "Bytes of the detected n-grams, in the order of tokens.",
    },
    "covered_tokens_by_layer": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "Transformer block, from 0.",
        "covered": "Distinct tokens that token detectors of the layer detect.",
        "new_overall": "Those of them that no layer below detects.",
        "new_vs_previous": "Those of them that the layer directly below does not detect.",
        "cumulative": "Distinct tokens detected in this layer or below.",
    },
    "dead_neurons": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "activations": "Kept tokens with pre > 0.",
        "n_tokens": "Kept tokens (SPEC 0.3, M_corr).",
        "upper_bound": "3 / n_tokens: the frequency of a dead neuron is below it with a confidence of 95 %.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "bos_neurons": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "bos_activation": "Post on BOS, at position 0 (SPEC 6.7).",
        "ratio": "bos_activation over the larger of 0.1 and the 99.9th percentile of post.",
        "post_p99_9": "99.9 % of kept tokens have post up to this, within 1/16 of it.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "neuron_subsets": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "subset": "The corpus's subset.",
        "n_tokens": "Kept tokens of the subset.",
        "mean": "Mean pre-activation (SPEC 3.1).",
        "var": "Population variance of pre.",
        "skew": "Skewness of pre; NULL if the variance is 0.",
        "kurt": "Kurtosis of pre, 3 for a Gaussian; NULL if the variance is 0.",
        "sparsity": "Fraction of these tokens with pre > 0.",
        "post_mean": "Mean post-activation.",
        "post_var": "Population variance of post.",
        "post_skew": "Skewness of post.",
        "post_kurt": "Kurtosis of post.",
        "variance_reduction": "By whether a token is in the subset (UN eq. 4); NULL below 100 tokens in or out of it.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "neuron_examples": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "kind": "top: the highest values; else a band of quantiles of the neuron's positive post, in percent.",
        "rank": "1 is the highest value of the kind.",
        "value": "Post at the token, as it is: not above 0 where a neuron has nothing better.",
        "subset": "The subset of the corpus that the row is of; NULL where the corpus has none.",
        "row": "Row of the corpus, in the order of the run.",
        "position": "In the row; 0 is BOS, which is no example.",
        "token": "Text of the token; what is no UTF-8 by itself is escaped as \\xNN, a backslash doubled.",
        "before": "Text of the up to 20 tokens before it in the row; what is no UTF-8 is escaped, as in token.",
        "after": "Text of the up to 5 tokens after it in the row; what is no UTF-8 is escaped, as in token.",
        "quantile": "Share of the neuron's positive post below the middle of the value's bin (two per power of two); NULL for top.",
        "neuron_id": "The neuron: id of neurons.",
        "token_bytes": "The token's bytes, unescaped.",
        "before_bytes": "Bytes of the tokens before it, unescaped.",
        "after_bytes": "Bytes of the tokens after it, unescaped.",
    },
    "prediction_neurons": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "class": "prediction, suppression or partition.",
        "vocab_kurt": "Kurtosis over tokens of cos(W_U[:, v], w_out), 3 for a Gaussian.",
        "vocab_skew": "Skewness over tokens of cos(W_U[:, v], w_out); NULL if the variance is 0.",
        "vocab_var": "Population variance over tokens of cos(W_U[:, v], w_out).",
        "feature": "The class of tokens that explains its effect on the logits best; NULL if none is above the threshold.",
        "mean_difference": "Mean effect on logits of tokens with the feature less that of others; above 0 it promotes them.",
        "variance_reduction": "Share of the variance of the effects that the feature explains (UN 5.1, SPEC 7).",
        "high_vocab_var": "Whether vocab_var times the width of the residual stream is above the rule's threshold.",
        "logit_kurt": "Kurtosis over tokens of w_out . W_U[:, v], 3 for a Gaussian.",
        "logit_skew": "Skewness over tokens of w_out . W_U[:, v]; NULL if the variance is 0.",
        "logit_var": "Variance over tokens of w_out . W_U[:, v], (logits per unit of activation)^2.",
        "vocab_n": "Tokens that the moments over the vocabulary are taken over.",
        "excess_corr": "The neuron's excess correlation, from universality; NULL if undefined.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "neuron_logit_explanations": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "feature": "Name of the feature of tokens, as in SPEC 5.",
        "rank": "By variance_reduction, 1 the largest.",
        "variance_reduction": "Share of the variance of the effects that the feature explains (UN 5.1, SPEC 7).",
        "mean_difference": "Mean effect on logits of tokens with the feature less that of others; above 0 it promotes them.",
        "welch_t": "Welch's t of the two means; NULL where a class has one token.",
        "n_in": "Tokens of the vocabulary with the feature.",
        "n_out": "Tokens of the vocabulary without it.",
        "mean_in": "Mean of w_out . W_U[:, v] over tokens with it.",
        "mean_out": "The same over tokens without it.",
        "skew_reduction": "How much less skewed the two classes are than all tokens (SPEC 7 d).",
        "kurt_reduction": "The share of the kurtosis that goes when the tokens are parted (SPEC 7 e).",
        "feature_family": "Group of SPEC 5 that the feature is of.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "logit_ensembles": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "feature": "Name of the feature of tokens, as in SPEC 5.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "class": "prediction, suppression or partition.",
        "sign": "promotes where mean_difference > 0, else suppresses.",
        "mean_difference": "Mean effect on logits of tokens with the feature less that of others; above 0 it promotes them.",
        "welch_t": "Welch's t of the two means; NULL where a class has one token.",
        "variance_reduction": "Share of the variance of the effects that the feature explains (UN 5.1, SPEC 7).",
        "vocab_kurt": "Kurtosis over tokens of cos(W_U[:, v], w_out), 3 for a Gaussian.",
        "excess_corr": "The neuron's excess correlation, from universality; NULL if undefined.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "prediction_activity": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "class": "prediction or suppression.",
        "feature": "The class of tokens that the neuron acts on most.",
        "n_in": "Kept tokens before a token of the class.",
        "n_out": "Kept tokens before another token; the last one of a row is before none.",
        "freq_in": "Fraction with pre > 0 before tokens of the class.",
        "freq_out": "Fraction with pre > 0 before other tokens.",
        "mean_in": "Mean pre before tokens of the class.",
        "mean_out": "Mean pre before other tokens.",
        "cohen_d": "Difference of the means over the pooled standard deviation.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "prediction_profiles": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "family": "The group of seeds of one architecture that the model belongs to.",
        "layer": "Transformer block, from 0.",
        "statistic": "vocab_kurt, vocab_skew, or vocab_skew of the neurons with vocab_kurt above 10.",
        "n": "Neurons of the layer with a value.",
        "p5": "Of the layer's neurons 5 % have the statistic up to this, interpolated.",
        "p10": "Of the layer's neurons 10 % have the statistic up to this, interpolated.",
        "p50": "Of the layer's neurons 50 % have the statistic up to this, interpolated.",
        "p90": "Of the layer's neurons 90 % have the statistic up to this, interpolated.",
        "p95": "Of the layer's neurons 95 % have the statistic up to this, interpolated.",
    },
    "prediction_profiles_over_seeds": {
        "run_id": "The published run that measured the row.",
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
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "together": "LAYER.INDEX of other neurons that were held at once; NULL where there are none.",
        "kind": "fix and multiply act on post; zero, threshold (the least of pre and the value) and relu on pre.",
        "value": "To what post is fixed, the threshold, or the factor; 0 for zero and relu.",
        "purpose": "candidate and control: chosen by the run; asked: measured later.",
        "n_tokens": "Tokens in the means: not the last of a row, nor BOS (SPEC 0.3, M_next).",
        "scale": "Mean the final layer norm's denominator, under the intervention.",
        "delta_scale": "Mean difference of scale to the model left alone.",
        "scale_standard_error": "Standard error of delta_scale, paired by token.",
        "entropy": "Mean entropy of the prediction in nats, under the intervention.",
        "delta_entropy": "Mean difference of entropy to the model left alone.",
        "entropy_standard_error": "Standard error of delta_entropy, paired by token.",
        "loss": "Mean -ln p of the next token in nats, under the intervention.",
        "delta_loss": "Mean difference of loss to the model left alone.",
        "loss_standard_error": "Standard error of delta_loss, paired by token.",
        "rank": "Mean rank of the next token from 0, under the intervention.",
        "delta_rank": "Mean difference of rank to the model left alone.",
        "rank_standard_error": "Standard error of delta_rank, paired by token.",
        "recip_rank": "Mean 1 / (rank + 1), under the intervention.",
        "delta_recip_rank": "Mean difference of recip_rank to the model left alone.",
        "recip_rank_standard_error": "Standard error of delta_recip_rank, paired by token.",
        "logit_var": "Mean variance of the logits over the vocabulary, under the intervention.",
        "delta_logit_var": "Mean difference of logit_var to the model left alone.",
        "logit_var_standard_error": "Standard error of delta_logit_var, paired by token.",
        "kl": "KL(model left alone, under the intervention) in nats.",
        "kl_standard_error": "Standard error of kl over tokens.",
        "n_rows": "Rows of the corpus, the first ones.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "entropy_neurons": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "sign": "entropy: the entropy of predictions rises; anti_entropy: it falls.",
        "delta_entropy": "Mean change of the entropy of the prediction, in nats.",
        "delta_scale": "Mean change of the final layer norm's denominator.",
        "delta_loss": "Mean change of -ln p of the next token, in nats.",
        "delta_recip_rank": "Mean change of 1 / (rank of the next token from 0 + 1).",
        "kl": "KL(model left alone, under the intervention) in nats.",
        "value": "To what post was fixed.",
        "largest_control": "Largest change of the entropy that a control neuron makes at the same value, in nats.",
        "controls": "Control neurons.",
        "opposite_of_layer": "Transformer block of the candidate whose opposite it is; NULL for candidates themselves.",
        "opposite_of_neuron": "Position in d_mlp of that candidate.",
        "l2_penalty": "w_in_norm^2 + w_out_norm^2.",
        "vocab_var": "Population variance over tokens of cos(W_U[:, v], w_out).",
        "n_tokens": "Tokens in the means: not the last of a row, nor BOS (SPEC 0.3, M_next).",
        "neuron_id": "The neuron: id of neurons.",
    },
    "attention_neurons": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "head_layer": "The head's layer.",
        "head": "The head within its layer.",
        "h": "w_out / |w_out| . W_Q k_BOS / sqrt(d_head); positive raises attention to BOS (UN 5.3, SPEC 9.1).",
        "correlation": "Of the activation with the change of the attention to BOS; NULL if either is constant.",
        "class": "attn_deactivation: towards BOS, which switches the head off; attn_activation: away from it.",
        "chance": "Largest |h| of random directions on the model's heads.",
        "h_sd": "Standard deviation over destinations p >= T/2 of rotary positions, whose mean h is.",
        "h_scaled": "h with the model's further divisor of scores, layer + 1.",
        "delta_p_bos": "Mean change of the attention to BOS without the neuron (UN 5.3, SPEC 9.3).",
        "delta_o_norm": "Mean change, without the neuron, of the norm of what the head writes.",
        "fractional_o_norm": "The same change over the norm with the neuron.",
        "n_tokens": "Destinations, in the second half of the context and not BOS.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "neuron_head_scores": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "head_layer": "The head's layer.",
        "head": "The head within its layer.",
        "h": "w_out / |w_out| . W_Q k_BOS / sqrt(d_head); positive raises attention to BOS (UN 5.3, SPEC 9.1).",
        "h_sd": "Standard deviation over destinations p >= T/2 of rotary positions, whose mean h is.",
        "h_scaled": "h with the model's further divisor of scores, layer + 1.",
        "head_rank": "Place by |h| among all neurons, for the 50 first of the head; else NULL.",
        "largest": "Whether it is the neuron's largest h.",
        "smallest": "Whether it is the neuron's smallest h.",
        "multiple_of_chance": "|h| over the largest |h| of random directions on the model's heads.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "head_summaries": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "head_layer": "The head's layer, from 0.",
        "head": "The head within its layer, from 0.",
        "chance_max_abs_h": "Largest |h| of random unit vectors in place of the neurons, seeded (SPEC 9.1).",
        "chance_sd_h": "Standard deviation of h of the same vectors.",
        "bos_norm_ratio": "Mean |W_O v| over tokens / |W_O v| of BOS, value biases folded away (UN 5.3, SPEC 9.2).",
        "bos_norm_ratio_with_bias": "bos_norm_ratio with the value biases.",
        "n_tokens": "Kept tokens in the mean.",
    },
    "neuron_head_compositions": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "head_layer": "The head's layer, from 0.",
        "head": "The head within its layer, from 0.",
        "q": "Q-composition of w_out with a head of a later layer; NULL for heads before the neuron.",
        "k": "K-composition of w_out with a head of a later layer; NULL for heads before the neuron.",
        "v": "V-composition of w_out with a head of a later layer; NULL for heads before the neuron.",
        "o": "O-composition of w_in with a head that writes before the neuron; NULL for heads of later layers.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "neuron_path_ablations": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "head_layer": "The head's layer.",
        "head": "The head within its layer.",
        "n_tokens": "Destinations, in the second half of the context and not BOS.",
        "activation": "Mean post at them.",
        "activation_sd": "Standard deviation of post at the destinations.",
        "p_bos": "Mean attention to BOS, clean.",
        "delta_p_bos": "Mean change of the attention to BOS without the neuron (UN 5.3, SPEC 9.3).",
        "z_norm": "Mean norm of the head's mix of values z, clean.",
        "delta_z_norm": "Mean change of z_norm without the neuron.",
        "fractional_z_norm": "Mean change of the norm of z over the clean norm.",
        "o_norm": "Mean norm of W_O z, clean.",
        "delta_o_norm": "Mean change of o_norm without the neuron.",
        "fractional_o_norm": "Mean change of the norm of W_O z over the clean norm.",
        "x": "What y is correlated with, per destination: activation or delta_p_bos.",
        "y": "A change that is related to x, per destination.",
        "pearson": "Correlation of x and y over destinations; NULL if either is constant.",
        "spearman": "Rank correlation of x and y over destinations.",
        "slope": "Of the least-squares line of y on x.",
        "intercept": "Of the least-squares line of y on x.",
        "purpose": "chosen by h, or asked for later.",
        "n_rows": "Rows of the corpus, the first ones.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "neuron_similarities": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "kind": "The weights compared: w_in or w_out.",
        "opposite": "Whether the row is of the most opposite neurons, not the nearest.",
        "rank": "1 is the nearest, or the most opposite.",
        "other_layer": "The other neuron's transformer block, from 0.",
        "other_neuron": "The other neuron's position in d_mlp, from 0.",
        "cosine": "Cosine of the processed weights.",
        "mutual": "Each is the other's rank 1.",
        "neuron_id": "The neuron: id of neurons.",
        "other_neuron_id": "The other neuron: id of neurons.",
    },
    "antipodal_pairs": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "other_layer": "The other neuron's transformer block, from 0.",
        "other_neuron": "The other neuron's position in d_mlp, from 0.",
        "cosine": "Cosine of the two neurons' processed output weights.",
        "mutual": "Each is the other's most opposite neuron.",
        "excess_corr": "The neuron's excess correlation, from universality; NULL if undefined.",
        "neuron_id": "The neuron: id of neurons.",
        "other_neuron_id": "The other neuron: id of neurons.",
    },
    "duplicate_neurons": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "other_layer": "The other neuron's transformer block, from 0.",
        "other_neuron": "The other neuron's position in d_mlp, from 0.",
        "cosine": "Cosine of the two neurons' processed input weights.",
        "mutual": "Each is the other's nearest neuron by input weights.",
        "out_cosine": "Cosine of the neuron's output weights and those of the nearest by output weights.",
        "same_partner": "Whether the nearest by input weights and by output weights are one neuron.",
        "excess_corr": "The neuron's excess correlation, from universality; NULL if undefined.",
        "neuron_id": "The neuron: id of neurons.",
        "other_neuron_id": "The other neuron: id of neurons.",
    },
    "universal_neuron_properties": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "excess_corr": "mean_corr - mean_baseline, above 0.5 here (UN eq. 3).",
        "sparsity_percentile": "Rank of sparsity among the neurons of its layer, 0 to 100, ties averaged.",
        "mean_percentile": "Rank of mean among the neurons of its layer, 0 to 100, ties averaged.",
        "skew_percentile": "Rank of skew among the neurons of its layer, 0 to 100, ties averaged.",
        "kurt_percentile": "Rank of kurt among the neurons of its layer, 0 to 100, ties averaged.",
        "input_bias_percentile": "Rank of input_bias among the neurons of its layer, 0 to 100, ties averaged.",
        "in_out_sim_percentile": "Rank of in_out_sim among the neurons of its layer, 0 to 100, ties averaged.",
        "l2_penalty_percentile": "Rank of l2_penalty among the neurons of its layer, 0 to 100, ties averaged.",
        "vocab_kurt_percentile": "Rank of vocab_kurt among the neurons of its layer, 0 to 100, ties averaged.",
        "neuron_id": "The neuron: id of neurons.",
    },
    "cosine_frequency": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "neurons": "Neurons of the model with both numbers.",
        "correlation": "Pearson correlation of the activation frequency with in_out_sim over them.",
        "lowest_in_out_sim": "Lowest cosine of input and output weights.",
        "highest_in_out_sim": "Highest cosine of input and output weights.",
    },
    "redundancy_universality": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "kind": "The weights compared: w_in or w_out.",
        "opposite": "Whether the cosine is that of the most opposite neuron, not of the nearest.",
        "neurons": "Neurons of the model with both numbers.",
        "correlation": "Pearson correlation of excess_corr with that cosine over them.",
    },
    "family_counts": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "family": "Family of labels.",
        "neurons": "Distinct neurons with a label of the family; 0: looked for, none found.",
        "universal_neurons": "Those of them with excess_corr above 0.5.",
    },
    "family_counts_by_layer": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "Transformer block, from 0.",
        "family": "Family of labels.",
        "neurons": "Distinct neurons with a label of the family; 0: looked for, none found.",
        "universal_neurons": "Those of them with excess_corr above 0.5.",
    },
    "depth_matrix": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "Transformer block of the neurons, from 0.",
        "other_layer": "Transformer block of their best matches in the other models, from 0.",
        "fraction": "Fraction of the layer's neurons, mean over the other models (SPEC 2.5).",
    },
    "layer_profiles": {
        "run_id": "The published run that measured the row.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "Transformer block, from 0.",
        "n_neurons": "Its neurons.",
        "n_universal": "Those with excess_corr above 0.5.",
        "share_universal": "n_universal / n_neurons, 0 to 1.",
        "n_degenerate": "Those whose activation hardly varies.",
        "median_excess_corr": "Median over the layer's neurons of excess_corr.",
        "median_sparsity": "Median of the activation frequency.",
        "median_kurt": "Median of the kurtosis of pre.",
        "median_l2_penalty": "Median of w_in_norm^2 + w_out_norm^2.",
        "median_vocab_kurt": "Median of the kurtosis over the vocabulary.",
    },
    "neuron_group_members": {
        "run_id": "The published run that measured the row.",
        "group_id": "The group: id of neuron_groups.",
        "size": "Neurons in the group, one per model.",
        "lowest_corr": "Lowest correlation between two of them.",
        "model": "The model: its name, or name@revision where a name has several revisions.",
        "layer": "The neuron's transformer block, from 0.",
        "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
        "neuron_id": "The neuron: id of neurons.",
    },
}
"""By view and column; the views are in the schemas history and public, model_names in history alone."""

KEYS = {
    "pk_ablation_relations": "Serves neuron_path_ablations: how the changes of an ablation are related.",
    "pk_activation_statistics": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "pk_class_activity": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "pk_corpora": "Serves the joins of runs with their corpus.",
    "pk_corpus_rows": "Serves neuron_examples: the row of the corpus that an example is in.",
    "pk_corpus_subsets": "Serves runs show: the subsets of a corpus.",
    "pk_depth_summaries": "Serves depth: the layers of a model in a run.",
    "pk_detected_ngrams": "Serves token_detectors: a neuron's detected n-grams in order.",
    "pk_distribution_statistics": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "pk_examples": "Serves show and neuron_examples: a neuron's examples, kind by kind in order.",
    "pk_explanations": "Serves show and neuron_explanations: the features that explain a neuron.",
    "pk_feature_tokens": "Serves topics: the tokens that have a feature.",
    "pk_features": "Serves the joins of explanations with their feature.",
    "pk_group_members": "Serves groups: the members of a group.",
    "pk_head_baselines": "Serves head_summaries: what h is by chance on the heads of a model.",
    "pk_head_compositions": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "pk_head_norms": "Serves head_summaries: what the heads of a model write.",
    "pk_head_scores": "Serves show and neuron_head_scores: the heads that a neuron moves.",
    "pk_histograms": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "pk_interventions": "Serves show and neuron_interventions: what was measured with a neuron held.",
    "pk_label_totals": "Serves families and the count of find: sums of a model in a run.",
    "pk_labels": "Serves show: the labels of a neuron.",
    "pk_late_statistics": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "pk_layer_summaries": "Serves layers: the layers of a model in a run.",
    "pk_letter_scores": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "pk_logit_effects": "Serves show: the tokens that a neuron promotes and suppresses, in order.",
    "pk_logit_explanations": "Serves show and neuron_logit_explanations: the features that explain a neuron's effect on the logits.",
    "pk_models": "Serves the joins of views with the model.",
    "pk_neuron_groups": "Serves groups: the group of a member.",
    "pk_neuron_vectors": "Serves similar: the vector of a neuron.",
    "pk_neurons": "Serves the joins of views with the neuron of a measured row.",
    "pk_next_token_statistics": "Serves show and neuron_next_tokens: the classes of next tokens of a neuron.",
    "pk_ngram_statistics": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "pk_pairs": "Serves matches and neuron_matches: the partners of a neuron in a run.",
    "pk_path_ablations": "Serves neuron_path_ablations: a neuron's ablations from heads.",
    "pk_position_statistics": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "pk_rule_versions": "Serves relabel: the newest version of the rules.",
    "pk_rules": "Serves rules list and relabel: the thresholds of a version.",
    "pk_run_checksums": "Serves verify: the checksum of each table of a run.",
    "pk_run_job_results": "Serves publication: what the jobs of a run found.",
    "pk_run_jobs": "Serves runs watch and workers: the jobs of a run in order.",
    "pk_run_models": "Serves runs show, and the view members: the models of a run.",
    "pk_run_pairs": "Serves extending a run: the model pairs that it has.",
    "pk_run_parts": "Serves runs list, and extending a run: the parts that it has.",
    "pk_run_topics": "Serves topics: the topics of a run in order.",
    "pk_runs": "Serves runs show, and the joins of views with the run that measured a row.",
    "pk_similar_neurons": "Serves show and neuron_similarities: a neuron's nearest and most opposite in order.",
    "pk_subset_statistics": "Serves show and neuron_subsets: a neuron on each subset.",
    "pk_token_counts": "Serves how often a token occurs in a corpus.",
    "pk_tokenizers": "Serves the joins of models, corpora and tokens with their tokenizer.",
    "pk_tokens": "Serves top tokens and neuron_examples: the text of a token id.",
    "pk_top_tokens": "Serves show: a neuron's top tokens in order.",
    "pk_universality": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "pk_universality_by_model": "Serves show and neuron_universality_by_model: a neuron's best match in each other model.",
    "pk_weight_statistics": "Serves show, and the views that have a row per neuron: a run's row of one neuron.",
    "uq_corpora_token_sha256": "Serves publication: whether the corpus is known.",
    "uq_features_name": "Serves publication: whether a feature is known.",
    "uq_group_members_run_id_neuron_id": "Serves neuron_group_members: the group that a neuron is in.",
    "uq_models_name_revision": "Serves ingest: whether a name and revision are taken.",
    "uq_neurons_model_id_layer_index": "Serves show, matches and similar: the neuron at a place.",
    "uq_tokenizers_sha256": "Serves publication: whether the tokenizer is known.",
}
"""By index."""


def _columns(words: bool) -> str:
    """COMMENT ON COLUMN for every column of every view: its words, or NULL."""
    return "".join(
        f'COMMENT ON COLUMN {schema}.{view}."{column}" IS {_quoted(said) if words else "NULL"};\n'
        for view, columns in COLUMNS.items()
        for schema in (("history",) if view == "model_names" else ("history", "public"))
        for column, said in columns.items()
    )


def _keys(words: bool) -> str:
    return "".join(f"COMMENT ON INDEX {name} IS {_quoted(said) if words else 'NULL'};\n" for name, said in KEYS.items())


def _quoted(said: str) -> str:
    return "'" + said.replace("'", "''") + "'"


CHANGES = r"""
-- The tables are written by publications only, which wait for a migration as they wait for each other.
-- squawk-ignore-file require-concurrent-index-creation, adding-not-nullable-field
CREATE FUNCTION public.readable(raw bytea) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
  WHEN encode(raw, 'escape') !~ '\\' THEN encode(raw, 'escape')
  ELSE (SELECT convert_from(decode(string_agg(
                 CASE WHEN piece[1] = '5c' THEN '5c5c'
                      WHEN piece[1] ~ '^(00|[89a-f].)$' THEN '5c78' || encode(convert_to(piece[1], 'UTF8'), 'hex')
                      ELSE piece[1] END, '' ORDER BY place), 'hex'), 'UTF8')
          FROM regexp_matches(encode(raw, 'hex'),
                 '(?:[1-467].|5[0-9abdef]|0[1-9a-f])+'
                 '|c[2-9a-f][89ab].|d.[89ab].'
                 '|e0[ab].[89ab].|e[1-9abcef](?:[89ab].){2}|ed[89].[89ab].'
                 '|f0[9ab].(?:[89ab].){2}|f[1-3](?:[89ab].){3}|f48.(?:[89ab].){2}|..', 'g')
               WITH ORDINALITY AS found(piece, place))
END;
COMMENT ON FUNCTION public.readable(bytea) IS 'The text of UTF-8 bytes; NUL and bytes that are no UTF-8 are escaped as \xNN, a backslash is doubled.';
GRANT EXECUTE ON FUNCTION public.readable(bytea) TO catalog_reader;
ALTER TABLE examples ADD COLUMN token_id INTEGER;
UPDATE examples e SET token_id = c.tokens[e.position + 1]
  FROM runs r JOIN corpus_rows c ON c.corpus_id = r.corpus_id WHERE r.id = e.run_id AND c.row = e.row;
ALTER TABLE examples ALTER COLUMN token_id SET NOT NULL;
COMMENT ON COLUMN examples.token_id IS 'The token there, from corpus_rows.';
CREATE INDEX ix_examples_by_token ON examples (run_id, token_id, neuron_id);
COMMENT ON INDEX ix_examples_by_token IS 'Serves neuron_examples: the neurons that have an example at one token.';
CREATE INDEX ix_tokens_by_text ON tokens USING hash (text);
COMMENT ON INDEX ix_tokens_by_text IS 'Serves neuron_examples: the ids of a text.';
CREATE OR REPLACE VIEW history.neuron_examples AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       CASE e.kind WHEN 0 THEN 'top' WHEN 25 THEN 'quantile_0_25' WHEN 50 THEN 'quantile_25_50' WHEN 75 THEN 'quantile_50_75' WHEN 90 THEN 'quantile_75_90' WHEN 99 THEN 'quantile_90_99' WHEN 100 THEN 'quantile_99_100' END AS kind, e.rank, e.value, r.subset, e.row, e.position,
       token.text AS token,
       public.readable((SELECT COALESCE(string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[greatest(1, e.position - 19) : e.position]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id)) AS before,
       public.readable((SELECT COALESCE(string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 2 : e.position + 6]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id)) AS after,
       e.quantile, e.neuron_id, token.bytes AS token_bytes,
       (SELECT COALESCE(string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[greatest(1, e.position - 19) : e.position]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS before_bytes,
       (SELECT COALESCE(string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 2 : e.position + 6]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS after_bytes
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.examples e ON e.run_id = m.run_id AND e.neuron_id = n.id
  JOIN public.runs ON runs.id = m.run_id
  JOIN public.corpora c ON c.id = runs.corpus_id
  JOIN public.tokens token ON token.tokenizer_id = c.tokenizer_id AND token.token_id = e.token_id
  JOIN public.corpus_rows r ON r.corpus_id = c.id AND r.row = e.row;
CREATE OR REPLACE VIEW public.neuron_examples AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       CASE e.kind WHEN 0 THEN 'top' WHEN 25 THEN 'quantile_0_25' WHEN 50 THEN 'quantile_25_50' WHEN 75 THEN 'quantile_50_75' WHEN 90 THEN 'quantile_75_90' WHEN 99 THEN 'quantile_90_99' WHEN 100 THEN 'quantile_99_100' END AS kind, e.rank, e.value, r.subset, e.row, e.position,
       token.text AS token,
       public.readable((SELECT COALESCE(string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[greatest(1, e.position - 19) : e.position]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id)) AS before,
       public.readable((SELECT COALESCE(string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 2 : e.position + 6]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id)) AS after,
       e.quantile, e.neuron_id, token.bytes AS token_bytes,
       (SELECT COALESCE(string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[greatest(1, e.position - 19) : e.position]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS before_bytes,
       (SELECT COALESCE(string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 2 : e.position + 6]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS after_bytes
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.examples e ON e.run_id = m.run_id AND e.neuron_id = n.id
  JOIN public.runs ON runs.id = m.run_id
  JOIN public.corpora c ON c.id = runs.corpus_id
  JOIN public.tokens token ON token.tokenizer_id = c.tokenizer_id AND token.token_id = e.token_id
  JOIN public.corpus_rows r ON r.corpus_id = c.id AND r.row = e.row;
CREATE OR REPLACE VIEW history.token_detectors AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, d.n, d.tokens, l.score AS share,
       (l.evidence ->> 'suppressing')::boolean AS suppressing,
       (l.evidence ->> 'mean_effect')::double precision AS mean_effect,
       (l.evidence ->> 'mean_effect_raw')::double precision AS mean_effect_raw,
       (l.evidence ->> 'share_negative')::double precision AS share_negative,
       (l.evidence ->> 'lowest_percentile')::double precision AS lowest_percentile,
       (l.evidence ->> 'cover')::int AS cover, (l.evidence ->> 'activations')::bigint AS activations, l.neuron_id,
       d.tokens_bytes
  FROM history.members m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.labels l
    ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('token_detector', 'ngram_detector')
 CROSS JOIN LATERAL (
       SELECT g.n, array_agg(public.readable(g.bytes) ORDER BY g.rank) AS tokens,
              array_agg(g.bytes ORDER BY g.rank) AS tokens_bytes
         FROM (SELECT d.n, d.rank,
                      string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY part.place) AS bytes
                 FROM public.detected_ngrams d
                CROSS JOIN LATERAL unnest(d.token_ids) WITH ORDINALITY AS part(token_id, place)
                 JOIN public.tokens t ON t.tokenizer_id = mo.tokenizer_id AND t.token_id = part.token_id
                WHERE d.run_id = l.run_id AND d.neuron_id = l.neuron_id AND d.n = (l.evidence ->> 'n')::int
                  AND d.count >= (l.evidence ->> 'min_count')::double precision
                  AND d.activations::double precision / d.count >= (l.evidence ->> 'min_probability')::double precision
                GROUP BY d.n, d.rank) g
        GROUP BY g.n) d;
CREATE OR REPLACE VIEW public.token_detectors AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, d.n, d.tokens, l.score AS share,
       (l.evidence ->> 'suppressing')::boolean AS suppressing,
       (l.evidence ->> 'mean_effect')::double precision AS mean_effect,
       (l.evidence ->> 'mean_effect_raw')::double precision AS mean_effect_raw,
       (l.evidence ->> 'share_negative')::double precision AS share_negative,
       (l.evidence ->> 'lowest_percentile')::double precision AS lowest_percentile,
       (l.evidence ->> 'cover')::int AS cover, (l.evidence ->> 'activations')::bigint AS activations, l.neuron_id,
       d.tokens_bytes
  FROM public.members m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.labels l
    ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('token_detector', 'ngram_detector')
 CROSS JOIN LATERAL (
       SELECT g.n, array_agg(public.readable(g.bytes) ORDER BY g.rank) AS tokens,
              array_agg(g.bytes ORDER BY g.rank) AS tokens_bytes
         FROM (SELECT d.n, d.rank,
                      string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY part.place) AS bytes
                 FROM public.detected_ngrams d
                CROSS JOIN LATERAL unnest(d.token_ids) WITH ORDINALITY AS part(token_id, place)
                 JOIN public.tokens t ON t.tokenizer_id = mo.tokenizer_id AND t.token_id = part.token_id
                WHERE d.run_id = l.run_id AND d.neuron_id = l.neuron_id AND d.n = (l.evidence ->> 'n')::int
                  AND d.count >= (l.evidence ->> 'min_count')::double precision
                  AND d.activations::double precision / d.count >= (l.evidence ->> 'min_probability')::double precision
                GROUP BY d.n, d.rank) g
        GROUP BY g.n) d;
"""

UPGRADE = CHANGES + _columns(words=True) + _keys(words=True)

RETURN = r"""
-- squawk-ignore-file require-concurrent-index-deletion
DROP VIEW public.neuron_examples;
DROP VIEW history.neuron_examples;
DROP VIEW public.token_detectors;
DROP VIEW history.token_detectors;
CREATE VIEW history.neuron_examples AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       CASE e.kind WHEN 0 THEN 'top' WHEN 25 THEN 'quantile_0_25' WHEN 50 THEN 'quantile_25_50' WHEN 75 THEN 'quantile_50_75' WHEN 90 THEN 'quantile_75_90' WHEN 99 THEN 'quantile_90_99' WHEN 100 THEN 'quantile_99_100' END AS kind, e.rank, e.value, r.subset, e.row, e.position,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 1 : e.position + 1]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS token,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[greatest(1, e.position - 19) : e.position]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS before,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 2 : e.position + 6]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS after,
       e.quantile, e.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.examples e ON e.run_id = m.run_id AND e.neuron_id = n.id
  JOIN public.runs ON runs.id = m.run_id
  JOIN public.corpora c ON c.id = runs.corpus_id
  JOIN public.corpus_rows r ON r.corpus_id = c.id AND r.row = e.row;
COMMENT ON VIEW history.neuron_examples IS 'Tokens on which each neuron is most active, and a sample of every strength, with 20 tokens before and 5 after.';
GRANT SELECT ON history.neuron_examples TO catalog_reader;
CREATE VIEW public.neuron_examples AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       CASE e.kind WHEN 0 THEN 'top' WHEN 25 THEN 'quantile_0_25' WHEN 50 THEN 'quantile_25_50' WHEN 75 THEN 'quantile_50_75' WHEN 90 THEN 'quantile_75_90' WHEN 99 THEN 'quantile_90_99' WHEN 100 THEN 'quantile_99_100' END AS kind, e.rank, e.value, r.subset, e.row, e.position,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 1 : e.position + 1]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS token,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[greatest(1, e.position - 19) : e.position]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS before,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 2 : e.position + 6]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS after,
       e.quantile, e.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.examples e ON e.run_id = m.run_id AND e.neuron_id = n.id
  JOIN public.runs ON runs.id = m.run_id
  JOIN public.corpora c ON c.id = runs.corpus_id
  JOIN public.corpus_rows r ON r.corpus_id = c.id AND r.row = e.row;
COMMENT ON VIEW public.neuron_examples IS 'Tokens on which each neuron is most active, and a sample of every strength, with 20 tokens before and 5 after.';
GRANT SELECT ON public.neuron_examples TO catalog_reader;
CREATE VIEW history.token_detectors AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, d.n, d.tokens, l.score AS share,
       (l.evidence ->> 'suppressing')::boolean AS suppressing,
       (l.evidence ->> 'mean_effect')::double precision AS mean_effect,
       (l.evidence ->> 'mean_effect_raw')::double precision AS mean_effect_raw,
       (l.evidence ->> 'share_negative')::double precision AS share_negative,
       (l.evidence ->> 'lowest_percentile')::double precision AS lowest_percentile,
       (l.evidence ->> 'cover')::int AS cover, (l.evidence ->> 'activations')::bigint AS activations, l.neuron_id
  FROM history.members m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.labels l
    ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('token_detector', 'ngram_detector')
 CROSS JOIN LATERAL (
       SELECT g.n, array_agg(g.text ORDER BY g.rank) AS tokens
         FROM (SELECT d.n, d.rank, string_agg(t.text, '' ORDER BY part.place) AS text
                 FROM public.detected_ngrams d
                CROSS JOIN LATERAL unnest(d.token_ids) WITH ORDINALITY AS part(token_id, place)
                 JOIN public.tokens t ON t.tokenizer_id = mo.tokenizer_id AND t.token_id = part.token_id
                WHERE d.run_id = l.run_id AND d.neuron_id = l.neuron_id AND d.n = (l.evidence ->> 'n')::int
                  AND d.count >= (l.evidence ->> 'min_count')::double precision
                  AND d.activations::double precision / d.count >= (l.evidence ->> 'min_probability')::double precision
                GROUP BY d.n, d.rank) g
        GROUP BY g.n) d;
COMMENT ON VIEW history.token_detectors IS 'Neurons that are active on few tokens (n = 1) or trigrams (n = 3) and nearly always there (VO 4.2, App. A.2).';
GRANT SELECT ON history.token_detectors TO catalog_reader;
CREATE VIEW public.token_detectors AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, d.n, d.tokens, l.score AS share,
       (l.evidence ->> 'suppressing')::boolean AS suppressing,
       (l.evidence ->> 'mean_effect')::double precision AS mean_effect,
       (l.evidence ->> 'mean_effect_raw')::double precision AS mean_effect_raw,
       (l.evidence ->> 'share_negative')::double precision AS share_negative,
       (l.evidence ->> 'lowest_percentile')::double precision AS lowest_percentile,
       (l.evidence ->> 'cover')::int AS cover, (l.evidence ->> 'activations')::bigint AS activations, l.neuron_id
  FROM public.members m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.labels l
    ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('token_detector', 'ngram_detector')
 CROSS JOIN LATERAL (
       SELECT g.n, array_agg(g.text ORDER BY g.rank) AS tokens
         FROM (SELECT d.n, d.rank, string_agg(t.text, '' ORDER BY part.place) AS text
                 FROM public.detected_ngrams d
                CROSS JOIN LATERAL unnest(d.token_ids) WITH ORDINALITY AS part(token_id, place)
                 JOIN public.tokens t ON t.tokenizer_id = mo.tokenizer_id AND t.token_id = part.token_id
                WHERE d.run_id = l.run_id AND d.neuron_id = l.neuron_id AND d.n = (l.evidence ->> 'n')::int
                  AND d.count >= (l.evidence ->> 'min_count')::double precision
                  AND d.activations::double precision / d.count >= (l.evidence ->> 'min_probability')::double precision
                GROUP BY d.n, d.rank) g
        GROUP BY g.n) d;
COMMENT ON VIEW public.token_detectors IS 'Neurons that are active on few tokens (n = 1) or trigrams (n = 3) and nearly always there (VO 4.2, App. A.2).';
GRANT SELECT ON public.token_detectors TO catalog_reader;
DELETE FROM run_checksums WHERE table_name = 'examples' AND 'token_id' = ANY(columns);
DROP INDEX ix_tokens_by_text;
ALTER TABLE examples DROP COLUMN token_id;
DROP FUNCTION public.readable(bytea);
"""

DOWNGRADE = _columns(words=False) + _keys(words=False) + RETURN


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
