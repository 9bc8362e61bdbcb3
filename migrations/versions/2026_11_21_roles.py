"""What neurons do: effects on logits, similar neurons and their vectors, heads, ablations, interventions, and their rules.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_21_roles"
down_revision = "2026_11_21_family_layers"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- squawk-ignore-file adding-foreign-key-constraint
CREATE TABLE ablation_relations (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	head_layer SMALLINT NOT NULL,
	head SMALLINT NOT NULL,
	n_rows INTEGER NOT NULL,
	x TEXT NOT NULL CONSTRAINT ck_ablation_relations_x_known CHECK (x IN ('activation', 'delta_p_bos')),
	y TEXT NOT NULL CONSTRAINT ck_ablation_relations_y_known CHECK (y IN ('delta_p_bos', 'delta_z_norm', 'delta_o_norm', 'fractional_z_norm', 'fractional_o_norm')),
	pearson DOUBLE PRECISION,
	spearman DOUBLE PRECISION,
	slope DOUBLE PRECISION,
	intercept DOUBLE PRECISION,
	CONSTRAINT pk_ablation_relations PRIMARY KEY (run_id, neuron_id, head_layer, head, n_rows, x, y),
	CONSTRAINT fk_ablation_relations_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_ablation_relations_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE ablation_relations IS 'How the changes under path ablation go with the activation and with each other (SPEC 9.3).';
COMMENT ON COLUMN ablation_relations.run_id IS 'The run that measured it.';
COMMENT ON COLUMN ablation_relations.neuron_id IS 'The neuron.';
COMMENT ON COLUMN ablation_relations.head_layer IS 'The head''s layer.';
COMMENT ON COLUMN ablation_relations.head IS 'The head within its layer.';
COMMENT ON COLUMN ablation_relations.n_rows IS 'Rows of the corpus, the first ones.';
COMMENT ON COLUMN ablation_relations.x IS 'A column of path_ablations per destination.';
COMMENT ON COLUMN ablation_relations.y IS 'Another one.';
COMMENT ON COLUMN ablation_relations.pearson IS 'Correlation over destinations; NULL if either is constant.';
COMMENT ON COLUMN ablation_relations.spearman IS 'Rank correlation.';
COMMENT ON COLUMN ablation_relations.slope IS 'Of the least-squares line of y on x.';
COMMENT ON COLUMN ablation_relations.intercept IS 'Of that line.';
CREATE TABLE class_activity (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	feature_id INTEGER NOT NULL,
	n_in BIGINT NOT NULL,
	n_out BIGINT NOT NULL,
	mean_in DOUBLE PRECISION,
	mean_out DOUBLE PRECISION,
	freq_in DOUBLE PRECISION CONSTRAINT ck_class_activity_freq_in_range CHECK (freq_in BETWEEN 0 AND 1),
	freq_out DOUBLE PRECISION CONSTRAINT ck_class_activity_freq_out_range CHECK (freq_out BETWEEN 0 AND 1),
	cohen_d DOUBLE PRECISION,
	CONSTRAINT pk_class_activity PRIMARY KEY (run_id, neuron_id),
	CONSTRAINT fk_class_activity_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_class_activity_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE,
	CONSTRAINT fk_class_activity_feature_id FOREIGN KEY(feature_id) REFERENCES features (id)
);
COMMENT ON TABLE class_activity IS 'Whether neurons of peaked effects on the logits are active before the tokens they act on (UN Fig. 25, SPEC 3.5).';
COMMENT ON COLUMN class_activity.run_id IS 'The run that measured it.';
COMMENT ON COLUMN class_activity.neuron_id IS 'The neuron.';
COMMENT ON COLUMN class_activity.feature_id IS 'The class of tokens that the neuron acts on most.';
COMMENT ON COLUMN class_activity.n_in IS 'Kept tokens before a token of the class.';
COMMENT ON COLUMN class_activity.n_out IS 'Kept tokens before another token; the last one of a row is before none.';
COMMENT ON COLUMN class_activity.mean_in IS 'Mean pre before tokens of the class.';
COMMENT ON COLUMN class_activity.mean_out IS 'Mean pre before others.';
COMMENT ON COLUMN class_activity.freq_in IS 'Fraction with pre > 0 before tokens of the class.';
COMMENT ON COLUMN class_activity.freq_out IS 'Fraction with pre > 0 before others.';
COMMENT ON COLUMN class_activity.cohen_d IS 'Difference of the means over the pooled standard deviation.';
CREATE TABLE head_baselines (
	run_id INTEGER NOT NULL,
	model_id INTEGER NOT NULL,
	head_layer SMALLINT NOT NULL,
	head SMALLINT NOT NULL,
	max_abs_h REAL NOT NULL,
	sd_h REAL NOT NULL,
	CONSTRAINT pk_head_baselines PRIMARY KEY (run_id, model_id, head_layer, head),
	CONSTRAINT fk_head_baselines_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_head_baselines_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
COMMENT ON TABLE head_baselines IS 'What h is by chance, per head.';
COMMENT ON COLUMN head_baselines.run_id IS 'The run that measured it.';
COMMENT ON COLUMN head_baselines.model_id IS 'The model.';
COMMENT ON COLUMN head_baselines.head_layer IS 'The head''s layer.';
COMMENT ON COLUMN head_baselines.head IS 'The head within its layer.';
COMMENT ON COLUMN head_baselines.max_abs_h IS 'Largest |h| of random unit vectors in place of the neurons, seeded (SPEC 9.1).';
COMMENT ON COLUMN head_baselines.sd_h IS 'Standard deviation of their h.';
CREATE TABLE head_compositions (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	q REAL[] NOT NULL,
	k REAL[] NOT NULL,
	v REAL[] NOT NULL,
	o REAL[] NOT NULL,
	CONSTRAINT pk_head_compositions PRIMARY KEY (run_id, neuron_id),
	CONSTRAINT fk_head_compositions_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_head_compositions_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE head_compositions IS 'How much each neuron''s output is read, and its input written, by each head (SPEC 4).';
COMMENT ON COLUMN head_compositions.run_id IS 'The run that measured it.';
COMMENT ON COLUMN head_compositions.neuron_id IS 'The neuron.';
COMMENT ON COLUMN head_compositions.q IS 'Q-composition of w_out with the heads of later layers, in order of layer and head (SPEC 4).';
COMMENT ON COLUMN head_compositions.k IS 'K-composition with the same heads.';
COMMENT ON COLUMN head_compositions.v IS 'V-composition with the same heads.';
COMMENT ON COLUMN head_compositions.o IS 'O-composition of w_in with the heads that write before it, in order of layer and head.';
CREATE TABLE head_norms (
	run_id INTEGER NOT NULL,
	model_id INTEGER NOT NULL,
	head_layer SMALLINT NOT NULL,
	head SMALLINT NOT NULL,
	n_tokens BIGINT NOT NULL,
	bos_norm_ratio DOUBLE PRECISION,
	bos_norm_ratio_with_bias DOUBLE PRECISION,
	CONSTRAINT pk_head_norms PRIMARY KEY (run_id, model_id, head_layer, head),
	CONSTRAINT fk_head_norms_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_head_norms_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
COMMENT ON TABLE head_norms IS 'How little each head writes when it attends to BOS.';
COMMENT ON COLUMN head_norms.run_id IS 'The run that measured it.';
COMMENT ON COLUMN head_norms.model_id IS 'The model.';
COMMENT ON COLUMN head_norms.head_layer IS 'The head''s layer.';
COMMENT ON COLUMN head_norms.head IS 'The head within its layer.';
COMMENT ON COLUMN head_norms.n_tokens IS 'Kept tokens in the mean.';
COMMENT ON COLUMN head_norms.bos_norm_ratio IS 'Mean |W_O v| over tokens / |W_O v| of BOS, value biases folded away (UN 5.3, SPEC 9.2).';
COMMENT ON COLUMN head_norms.bos_norm_ratio_with_bias IS 'The same with the value biases.';
CREATE TABLE head_scores (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	head_layer SMALLINT NOT NULL,
	head SMALLINT NOT NULL,
	h REAL NOT NULL,
	h_sd REAL,
	h_scaled REAL NOT NULL,
	head_rank SMALLINT,
	largest BOOLEAN NOT NULL,
	smallest BOOLEAN NOT NULL,
	CONSTRAINT pk_head_scores PRIMARY KEY (run_id, neuron_id, head_layer, head),
	CONSTRAINT fk_head_scores_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_head_scores_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
CREATE INDEX ix_head_scores_by_head ON head_scores (run_id, head_layer, head, head_rank);
COMMENT ON INDEX ix_head_scores_by_head IS 'Serves the neurons that act most on one head.';
COMMENT ON TABLE head_scores IS 'How each neuron''s output moves heads of later layers towards BOS: the first 50 of a head, the ends of a neuron.';
COMMENT ON COLUMN head_scores.run_id IS 'The run that measured it.';
COMMENT ON COLUMN head_scores.neuron_id IS 'The neuron.';
COMMENT ON COLUMN head_scores.head_layer IS 'The head''s layer.';
COMMENT ON COLUMN head_scores.head IS 'The head within its layer.';
COMMENT ON COLUMN head_scores.h IS 'w_out / |w_out| . W_Q k_BOS / sqrt(d_head); positive raises attention to BOS (UN 5.3, SPEC 9.1).';
COMMENT ON COLUMN head_scores.h_sd IS 'Standard deviation over destinations p >= T/2 of rotary positions, whose mean h is.';
COMMENT ON COLUMN head_scores.h_scaled IS 'h with the model''s further divisor of scores, layer + 1.';
COMMENT ON COLUMN head_scores.head_rank IS 'Place by |h| among all neurons, for the 50 first of the head; else NULL.';
COMMENT ON COLUMN head_scores.largest IS 'Whether it is the neuron''s largest h.';
COMMENT ON COLUMN head_scores.smallest IS 'Whether it is the neuron''s smallest h.';
CREATE TABLE interventions (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	together INTEGER[] NOT NULL,
	kind TEXT NOT NULL CONSTRAINT ck_interventions_kind_known CHECK (kind IN ('fix', 'zero', 'threshold', 'relu', 'multiply')),
	value DOUBLE PRECISION NOT NULL,
	n_rows INTEGER NOT NULL,
	n_tokens BIGINT NOT NULL,
	purpose TEXT NOT NULL CONSTRAINT ck_interventions_purpose_known CHECK (purpose IN ('candidate', 'control', 'asked')),
	of_neuron_id INTEGER,
	scale DOUBLE PRECISION,
	scale_delta DOUBLE PRECISION,
	scale_se DOUBLE PRECISION,
	entropy DOUBLE PRECISION,
	entropy_delta DOUBLE PRECISION,
	entropy_se DOUBLE PRECISION,
	loss DOUBLE PRECISION,
	loss_delta DOUBLE PRECISION,
	loss_se DOUBLE PRECISION,
	rank DOUBLE PRECISION,
	rank_delta DOUBLE PRECISION,
	rank_se DOUBLE PRECISION,
	recip_rank DOUBLE PRECISION,
	recip_rank_delta DOUBLE PRECISION,
	recip_rank_se DOUBLE PRECISION,
	logit_var DOUBLE PRECISION,
	logit_var_delta DOUBLE PRECISION,
	logit_var_se DOUBLE PRECISION,
	kl DOUBLE PRECISION,
	kl_se DOUBLE PRECISION,
	code_version TEXT,
	device TEXT,
	measured_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT pk_interventions PRIMARY KEY (run_id, neuron_id, together, kind, value, n_rows),
	CONSTRAINT fk_interventions_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_interventions_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE,
	CONSTRAINT fk_interventions_of_neuron_id FOREIGN KEY(of_neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
CREATE INDEX ix_interventions_chosen ON interventions (run_id, purpose, neuron_id) WHERE purpose <> 'asked';
COMMENT ON INDEX ix_interventions_chosen IS 'Serves entropy_neurons: candidates and controls of a run.';
COMMENT ON TABLE interventions IS 'What the model predicts when neurons are held at a value at every position (UN 5.2, SPEC 8).';
COMMENT ON COLUMN interventions.run_id IS 'The run that measured it.';
COMMENT ON COLUMN interventions.neuron_id IS 'The neuron.';
COMMENT ON COLUMN interventions.together IS 'Other neurons held at once, ascending; neuron_id is the least.';
COMMENT ON COLUMN interventions.kind IS 'fix and multiply act on post; zero, threshold (the least of pre and the value) and relu on pre.';
COMMENT ON COLUMN interventions.value IS 'To what post is fixed, the threshold, or the factor; 0 for zero and relu.';
COMMENT ON COLUMN interventions.n_rows IS 'Rows of the corpus, the first ones.';
COMMENT ON COLUMN interventions.n_tokens IS 'Tokens in the means: not the last of a row, nor BOS (SPEC 0.3, M_next).';
COMMENT ON COLUMN interventions.purpose IS 'Why.';
COMMENT ON COLUMN interventions.of_neuron_id IS 'The candidate whose opposite it is.';
COMMENT ON COLUMN interventions.scale IS 'Mean the final layer norm''s denominator, under the intervention.';
COMMENT ON COLUMN interventions.scale_delta IS 'Its mean difference to the model left alone.';
COMMENT ON COLUMN interventions.scale_se IS 'Standard error of that difference, paired by token.';
COMMENT ON COLUMN interventions.entropy IS 'Mean entropy of the prediction in nats, under the intervention.';
COMMENT ON COLUMN interventions.entropy_delta IS 'Its mean difference to the model left alone.';
COMMENT ON COLUMN interventions.entropy_se IS 'Standard error of that difference, paired by token.';
COMMENT ON COLUMN interventions.loss IS 'Mean -ln p of the next token in nats, under the intervention.';
COMMENT ON COLUMN interventions.loss_delta IS 'Its mean difference to the model left alone.';
COMMENT ON COLUMN interventions.loss_se IS 'Standard error of that difference, paired by token.';
COMMENT ON COLUMN interventions.rank IS 'Mean rank of the next token from 0, under the intervention.';
COMMENT ON COLUMN interventions.rank_delta IS 'Its mean difference to the model left alone.';
COMMENT ON COLUMN interventions.rank_se IS 'Standard error of that difference, paired by token.';
COMMENT ON COLUMN interventions.recip_rank IS 'Mean 1 / (rank + 1), under the intervention.';
COMMENT ON COLUMN interventions.recip_rank_delta IS 'Its mean difference to the model left alone.';
COMMENT ON COLUMN interventions.recip_rank_se IS 'Standard error of that difference, paired by token.';
COMMENT ON COLUMN interventions.logit_var IS 'Mean variance of the logits over the vocabulary, under the intervention.';
COMMENT ON COLUMN interventions.logit_var_delta IS 'Its mean difference to the model left alone.';
COMMENT ON COLUMN interventions.logit_var_se IS 'Standard error of that difference, paired by token.';
COMMENT ON COLUMN interventions.kl IS 'KL(model left alone, under the intervention) in nats.';
COMMENT ON COLUMN interventions.kl_se IS 'Its standard error over tokens.';
COMMENT ON COLUMN interventions.code_version IS 'git commit of the code, where it is not the run''s.';
COMMENT ON COLUMN interventions.device IS 'What computed it, where it is not the run''s device.';
COMMENT ON COLUMN interventions.measured_at IS 'When it was stored, if after its run.';
CREATE TABLE logit_explanations (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	feature_id INTEGER NOT NULL,
	rank SMALLINT NOT NULL CONSTRAINT ck_logit_explanations_rank_positive CHECK (rank >= 1),
	n_in INTEGER NOT NULL,
	n_out INTEGER NOT NULL,
	mean_in DOUBLE PRECISION NOT NULL,
	mean_out DOUBLE PRECISION NOT NULL,
	mean_difference DOUBLE PRECISION NOT NULL,
	welch_t DOUBLE PRECISION,
	variance_reduction DOUBLE PRECISION NOT NULL CONSTRAINT ck_logit_explanations_variance_reduction_range CHECK (variance_reduction BETWEEN -0.001 AND 1.001),
	skew_reduction DOUBLE PRECISION,
	kurt_reduction DOUBLE PRECISION,
	CONSTRAINT pk_logit_explanations PRIMARY KEY (run_id, neuron_id, feature_id),
	CONSTRAINT fk_logit_explanations_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_logit_explanations_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE,
	CONSTRAINT fk_logit_explanations_feature_id FOREIGN KEY(feature_id) REFERENCES features (id)
);
CREATE INDEX ix_logit_explanations_run_id_feature_id ON logit_explanations (run_id, feature_id, rank);
COMMENT ON INDEX ix_logit_explanations_run_id_feature_id IS 'Serves logit_ensembles: the neurons that act on one class of tokens.';
COMMENT ON TABLE logit_explanations IS 'The five vocabulary features that explain each neuron''s effect on the logits best (UN 5.1).';
COMMENT ON COLUMN logit_explanations.run_id IS 'The run that measured it.';
COMMENT ON COLUMN logit_explanations.neuron_id IS 'The neuron.';
COMMENT ON COLUMN logit_explanations.feature_id IS 'A vocabulary feature.';
COMMENT ON COLUMN logit_explanations.rank IS 'By variance_reduction, 1 the largest.';
COMMENT ON COLUMN logit_explanations.n_in IS 'Tokens with the feature.';
COMMENT ON COLUMN logit_explanations.n_out IS 'Tokens without it.';
COMMENT ON COLUMN logit_explanations.mean_in IS 'Mean of w_out . W_U[:, v] over tokens with it.';
COMMENT ON COLUMN logit_explanations.mean_out IS 'The same over tokens without it.';
COMMENT ON COLUMN logit_explanations.mean_difference IS 'mean_in - mean_out: positive where the neuron promotes these tokens.';
COMMENT ON COLUMN logit_explanations.welch_t IS 'Welch''s t of the two means; NULL where a class has one token.';
COMMENT ON COLUMN logit_explanations.variance_reduction IS '1 - variance within the two classes / variance over the vocabulary (UN 5.1, SPEC 7).';
COMMENT ON COLUMN logit_explanations.skew_reduction IS 'How much less skewed the two classes are than all tokens (SPEC 7 d).';
COMMENT ON COLUMN logit_explanations.kurt_reduction IS 'The share of the kurtosis that goes when the tokens are parted (SPEC 7 e).';
CREATE TABLE neuron_vectors (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	kind TEXT NOT NULL CONSTRAINT ck_neuron_vectors_kind_known CHECK (kind IN ('w_in', 'w_out', 'logit_effect')),
	model_id INTEGER NOT NULL,
	vector HALFVEC NOT NULL,
	CONSTRAINT pk_neuron_vectors PRIMARY KEY (run_id, neuron_id, kind),
	CONSTRAINT fk_neuron_vectors_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_neuron_vectors_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE,
	CONSTRAINT fk_neuron_vectors_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
)
 PARTITION BY LIST (run_id);
COMMENT ON TABLE neuron_vectors IS 'Weight vectors for the search by similarity; effects may be compared between the models of a run. By run.';
COMMENT ON COLUMN neuron_vectors.run_id IS 'The run that measured it.';
COMMENT ON COLUMN neuron_vectors.neuron_id IS 'The neuron.';
COMMENT ON COLUMN neuron_vectors.kind IS 'What it is.';
COMMENT ON COLUMN neuron_vectors.model_id IS 'The neuron''s model.';
COMMENT ON COLUMN neuron_vectors.vector IS 'Of norm 1: processed weights, or the effect on the logits in a basis that the run''s models share.';
CREATE TABLE path_ablations (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	head_layer SMALLINT NOT NULL,
	head SMALLINT NOT NULL,
	n_rows INTEGER NOT NULL,
	purpose TEXT NOT NULL CONSTRAINT ck_path_ablations_purpose_known CHECK (purpose IN ('chosen', 'asked')),
	n_tokens BIGINT NOT NULL,
	activation DOUBLE PRECISION,
	activation_sd DOUBLE PRECISION,
	p_bos DOUBLE PRECISION,
	delta_p_bos DOUBLE PRECISION,
	z_norm DOUBLE PRECISION,
	delta_z_norm DOUBLE PRECISION,
	fractional_z_norm DOUBLE PRECISION,
	o_norm DOUBLE PRECISION,
	delta_o_norm DOUBLE PRECISION,
	fractional_o_norm DOUBLE PRECISION,
	code_version TEXT,
	device TEXT,
	measured_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT pk_path_ablations PRIMARY KEY (run_id, neuron_id, head_layer, head, n_rows),
	CONSTRAINT fk_path_ablations_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_path_ablations_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE path_ablations IS 'What one head does when one neuron is taken from its queries.';
COMMENT ON COLUMN path_ablations.run_id IS 'The run that measured it.';
COMMENT ON COLUMN path_ablations.neuron_id IS 'The neuron.';
COMMENT ON COLUMN path_ablations.head_layer IS 'The head''s layer.';
COMMENT ON COLUMN path_ablations.head IS 'The head within its layer.';
COMMENT ON COLUMN path_ablations.n_rows IS 'Rows of the corpus, the first ones.';
COMMENT ON COLUMN path_ablations.purpose IS 'chosen by h, or asked for later.';
COMMENT ON COLUMN path_ablations.n_tokens IS 'Destinations, in the second half of the context and not BOS.';
COMMENT ON COLUMN path_ablations.activation IS 'Mean post at them.';
COMMENT ON COLUMN path_ablations.activation_sd IS 'Its standard deviation.';
COMMENT ON COLUMN path_ablations.p_bos IS 'Mean attention to BOS, clean.';
COMMENT ON COLUMN path_ablations.delta_p_bos IS 'Mean change of it without the neuron (UN 5.3, SPEC 9.3).';
COMMENT ON COLUMN path_ablations.z_norm IS 'Mean norm of the head''s mix of values z, clean.';
COMMENT ON COLUMN path_ablations.delta_z_norm IS 'Mean change of it.';
COMMENT ON COLUMN path_ablations.fractional_z_norm IS 'Mean change of it over the clean norm.';
COMMENT ON COLUMN path_ablations.o_norm IS 'Mean norm of W_O z, clean.';
COMMENT ON COLUMN path_ablations.delta_o_norm IS 'Mean change of it.';
COMMENT ON COLUMN path_ablations.fractional_o_norm IS 'Mean change of it over the clean norm.';
COMMENT ON COLUMN path_ablations.code_version IS 'git commit of the code, where it is not the run''s.';
COMMENT ON COLUMN path_ablations.device IS 'What computed it, where it is not the run''s device.';
COMMENT ON COLUMN path_ablations.measured_at IS 'When it was stored, if after its run.';
CREATE TABLE similar_neurons (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	kind TEXT NOT NULL CONSTRAINT ck_similar_neurons_kind_known CHECK (kind IN ('w_in', 'w_out')),
	opposite BOOLEAN NOT NULL,
	rank SMALLINT NOT NULL,
	other_neuron_id INTEGER NOT NULL,
	cosine REAL NOT NULL CONSTRAINT ck_similar_neurons_cosine_range CHECK (cosine BETWEEN -1.00001 AND 1.00001),
	mutual BOOLEAN NOT NULL,
	CONSTRAINT pk_similar_neurons PRIMARY KEY (run_id, neuron_id, kind, opposite, rank),
	CONSTRAINT fk_similar_neurons_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_similar_neurons_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE,
	CONSTRAINT fk_similar_neurons_other_neuron_id FOREIGN KEY(other_neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE similar_neurons IS 'The neurons of the same model whose weights are nearest and most opposite to each neuron''s (UN App. C, SPEC 10).';
COMMENT ON COLUMN similar_neurons.run_id IS 'The run that measured it.';
COMMENT ON COLUMN similar_neurons.neuron_id IS 'The neuron.';
COMMENT ON COLUMN similar_neurons.kind IS 'The weights compared.';
COMMENT ON COLUMN similar_neurons.opposite IS 'Whether the row is of the most opposite neurons, not the nearest.';
COMMENT ON COLUMN similar_neurons.rank IS '1 is the nearest, or the most opposite.';
COMMENT ON COLUMN similar_neurons.other_neuron_id IS 'A neuron of the same model.';
COMMENT ON COLUMN similar_neurons.cosine IS 'Cosine of the processed weights.';
COMMENT ON COLUMN similar_neurons.mutual IS 'Each is the other''s rank 1.';
CREATE VIEW history.prediction_neurons AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, l.family AS class, w.vocab_kurt, w.vocab_skew, w.vocab_var,
       NULLIF(l.subtype, l.family) AS feature, (l.evidence ->> 'mean_difference')::double precision AS mean_difference,
       (l.evidence ->> 'variance_reduction')::double precision AS variance_reduction,
       (l.evidence ->> 'high_vocab_var')::boolean AS high_vocab_var,
       w.logit_kurt, w.logit_skew, w.logit_var, w.vocab_n, l.excess_corr, l.neuron_id
  FROM history.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('prediction', 'suppression', 'partition')
  JOIN public.weight_statistics w ON w.run_id = l.run_id AND w.neuron_id = l.neuron_id;
COMMENT ON VIEW history.prediction_neurons IS 'Neurons that promote or suppress a class of tokens (kurtosis over the vocabulary above 10), or part it (UN 5.1).';
CREATE VIEW history.neuron_logit_explanations AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, f.name AS feature, x.rank, x.variance_reduction, x.mean_difference, x.welch_t,
       x.n_in, x.n_out, x.mean_in, x.mean_out, x.skew_reduction, x.kurt_reduction, f.family AS feature_family, x.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.logit_explanations x ON x.run_id = m.run_id AND x.neuron_id = n.id
  JOIN public.features f ON f.id = x.feature_id;
COMMENT ON VIEW history.neuron_logit_explanations IS 'The vocabulary features that explain each neuron''s effect on the logits best; promoted where mean_difference > 0.';
CREATE VIEW history.logit_ensembles AS
SELECT m.run_id, m.model, f.name AS feature, l.layer, l."index" AS neuron, l.family AS class,
       CASE WHEN x.mean_difference > 0 THEN 'promotes' ELSE 'suppresses' END AS sign,
       x.mean_difference, x.welch_t, x.variance_reduction, l.score AS vocab_kurt, l.excess_corr, l.neuron_id
  FROM history.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('prediction', 'suppression', 'partition')
  JOIN public.logit_explanations x ON x.run_id = l.run_id AND x.neuron_id = l.neuron_id AND x.rank = 1
  JOIN public.features f ON f.id = x.feature_id;
COMMENT ON VIEW history.logit_ensembles IS 'Which prediction, suppression and partition neurons act on the same class of tokens, and with which sign (Fig. 25).';
CREATE VIEW history.prediction_activity AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, l.family AS class, f.name AS feature, a.n_in, a.n_out, a.freq_in, a.freq_out,
       a.mean_in, a.mean_out, a.cohen_d, l.neuron_id
  FROM history.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('prediction', 'suppression')
  JOIN public.class_activity a ON a.run_id = l.run_id AND a.neuron_id = l.neuron_id
  JOIN public.features f ON f.id = a.feature_id;
COMMENT ON VIEW history.prediction_activity IS 'Whether prediction and suppression neurons are active before the tokens that they act on (UN Fig. 25).';
CREATE VIEW history.prediction_profiles AS
SELECT m.run_id, m.model, m.family, t.layer, t.statistic, t.n,
       t.p[1] AS p5, t.p[2] AS p10, t.p[3] AS p50, t.p[4] AS p90, t.p[5] AS p95
  FROM history.members m
 CROSS JOIN LATERAL (
       SELECT n.layer, v.statistic, count(v.value) AS n,
              percentile_cont(ARRAY[0.05, 0.10, 0.50, 0.90, 0.95]::double precision[])
                WITHIN GROUP (ORDER BY v.value) AS p
         FROM public.neurons n
         JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id
        CROSS JOIN LATERAL (VALUES ('vocab_kurt', w.vocab_kurt), ('vocab_skew', w.vocab_skew),
          ('vocab_skew where vocab_kurt > 10', CASE WHEN w.vocab_kurt > 10 THEN w.vocab_skew END)) AS v(statistic, value)
        WHERE n.model_id = m.model_id
        GROUP BY n.layer, v.statistic ORDER BY n.layer, v.statistic) t;
COMMENT ON VIEW history.prediction_profiles IS 'Percentiles per layer of the kurtosis and the skewness over the vocabulary; and of the latter where the former > 10.';
CREATE VIEW history.prediction_profiles_over_seeds AS
SELECT p.run_id, p.family, p.layer, p.statistic, v.percentile, count(v.value) AS models, avg(v.value) AS mean,
       min(v.value) AS lowest, max(v.value) AS highest, avg(p.n)::double precision AS mean_n
  FROM history.prediction_profiles p
 CROSS JOIN LATERAL (VALUES (5, p.p5), (10, p.p10), (50, p.p50), (90, p.p90), (95, p.p95)) AS v(percentile, value)
 GROUP BY p.run_id, p.family, p.layer, p.statistic, v.percentile;
COMMENT ON VIEW history.prediction_profiles_over_seeds IS 'The percentiles of prediction_profiles over the models of a family: mean, lowest and highest (UN Fig. 6).';
CREATE VIEW history.neuron_interventions AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       (SELECT array_agg(o.layer || '.' || o."index" ORDER BY o.layer, o."index")
          FROM unnest(i.together) AS other(id) JOIN public.neurons o ON o.id = other.id) AS together,
       i.kind, i.value, i.purpose, i.n_tokens, i.scale, i.scale_delta AS delta_scale, i.scale_se AS scale_standard_error, i.entropy, i.entropy_delta AS delta_entropy, i.entropy_se AS entropy_standard_error, i.loss, i.loss_delta AS delta_loss, i.loss_se AS loss_standard_error, i.rank, i.rank_delta AS delta_rank, i.rank_se AS rank_standard_error, i.recip_rank, i.recip_rank_delta AS delta_recip_rank, i.recip_rank_se AS recip_rank_standard_error, i.logit_var, i.logit_var_delta AS delta_logit_var, i.logit_var_se AS logit_var_standard_error, i.kl, i.kl_se AS kl_standard_error, i.n_rows, i.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.interventions i ON i.run_id = m.run_id AND i.neuron_id = n.id;
COMMENT ON VIEW history.neuron_interventions IS 'What a model predicts when neurons are held at a value at every position, against the model left alone (UN 5.2).';
CREATE VIEW history.entropy_neurons AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, l.family AS sign, i.entropy_delta AS delta_entropy, i.scale_delta AS delta_scale,
       i.loss_delta AS delta_loss, i.recip_rank_delta AS delta_recip_rank, i.kl, i.value,
       (l.evidence ->> 'largest_control')::double precision AS largest_control, (l.evidence ->> 'controls')::int AS controls,
       o.layer AS opposite_of_layer, o."index" AS opposite_of_neuron, w.l2_penalty, w.vocab_var, i.n_tokens, l.neuron_id
  FROM history.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('entropy', 'anti_entropy')
  JOIN public.interventions i ON i.run_id = l.run_id AND i.neuron_id = l.neuron_id AND i.purpose = 'candidate'
   AND i.kind = 'fix' AND i.value = (l.evidence ->> 'value')::double precision
  LEFT JOIN public.neurons o ON o.id = i.of_neuron_id
  LEFT JOIN public.weight_statistics w ON w.run_id = l.run_id AND w.neuron_id = l.neuron_id;
COMMENT ON VIEW history.entropy_neurons IS 'Neurons of large weights that hardly move any logit, but the scale of all of them: held on, entropy rises or falls.';
CREATE VIEW history.attention_neurons AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, s.head_layer, s.head, s.h, r.pearson AS correlation, l.family AS class,
       (l.evidence ->> 'chance')::double precision AS chance, s.h_sd, s.h_scaled, p.delta_p_bos, p.delta_o_norm,
       p.fractional_o_norm, p.n_tokens, l.neuron_id
  FROM history.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('attn_deactivation', 'attn_activation')
  JOIN public.head_scores s ON s.run_id = l.run_id AND s.neuron_id = l.neuron_id
   AND (s.head_layer, s.head) = ((l.evidence ->> 'head_layer')::smallint, (l.evidence ->> 'head')::smallint)
  LEFT JOIN public.path_ablations p ON (p.run_id, p.neuron_id, p.head_layer, p.head)
                                     = (s.run_id, s.neuron_id, s.head_layer, s.head) AND p.purpose = 'chosen'
  LEFT JOIN public.ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                         = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)
   AND r.x = 'activation' AND r.y = 'delta_p_bos';
COMMENT ON VIEW history.attention_neurons IS 'Neurons that turn a head of a later layer towards BOS, which deactivates it, or away from BOS (UN 5.3).';
CREATE VIEW history.neuron_head_scores AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.head_layer, s.head, s.h, s.h_sd, s.h_scaled, s.head_rank, s.largest, s.smallest,
       abs(s.h) / chance.h AS multiple_of_chance, s.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.head_scores s ON s.run_id = m.run_id AND s.neuron_id = n.id
 CROSS JOIN LATERAL (SELECT NULLIF(max(b.max_abs_h), 0) AS h FROM public.head_baselines b
                      WHERE b.run_id = m.run_id AND b.model_id = m.model_id) chance;
COMMENT ON VIEW history.neuron_head_scores IS 'h of neurons and heads of later layers: the first 50 of each head, the ends of each neuron; and h over chance.';
CREATE VIEW history.head_summaries AS
SELECT m.run_id, m.model, b.head_layer, b.head, b.max_abs_h AS chance_max_abs_h, b.sd_h AS chance_sd_h,
       v.bos_norm_ratio, v.bos_norm_ratio_with_bias, v.n_tokens
  FROM history.members m
 CROSS JOIN LATERAL (
       SELECT COALESCE(b.head_layer, v.head_layer) AS head_layer, COALESCE(b.head, v.head) AS head, b.max_abs_h, b.sd_h
         FROM (SELECT * FROM public.head_baselines b WHERE b.run_id = m.run_id AND b.model_id = m.model_id) b
         FULL JOIN (SELECT * FROM public.head_norms v WHERE v.run_id = m.run_id AND v.model_id = m.model_id) v
              USING (head_layer, head)) b
  LEFT JOIN public.head_norms v ON (v.run_id, v.model_id, v.head_layer, v.head)
                                 = (m.run_id, m.model_id, b.head_layer, b.head);
COMMENT ON VIEW history.head_summaries IS 'Per head: what h is by chance, and how little the head writes when it attends to BOS.';
CREATE VIEW history.neuron_head_compositions AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, c.head_layer, c.head, c.q, c.k, c.v, c.o, c.neuron_id
  FROM history.members m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.neurons n ON n.model_id = m.model_id
 CROSS JOIN LATERAL (
       SELECT h.neuron_id, (n.layer + 1 + (t.place - 1) / mo.n_heads)::smallint AS head_layer,
              mod(t.place - 1, mo.n_heads)::smallint AS head, t.q, t.k, t.v, NULL::real AS o
         FROM public.head_compositions h
        CROSS JOIN LATERAL unnest(h.q, h.k, h.v) WITH ORDINALITY AS t(q, k, v, place)
        WHERE h.run_id = m.run_id AND h.neuron_id = n.id
        UNION ALL
       SELECT h.neuron_id, ((t.place - 1) / mo.n_heads)::smallint, mod(t.place - 1, mo.n_heads)::smallint,
              NULL, NULL, NULL, t.o
         FROM public.head_compositions h
        CROSS JOIN LATERAL unnest(h.o) WITH ORDINALITY AS t(o, place)
        WHERE h.run_id = m.run_id AND h.neuron_id = n.id) c;
COMMENT ON VIEW history.neuron_head_compositions IS 'How much each later head reads what a neuron writes (q, k, v), and each head before it writes what it reads (o).';
CREATE VIEW history.neuron_path_ablations AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, p.head_layer, p.head, p.n_tokens, p.activation, p.activation_sd, p.p_bos, p.delta_p_bos,
       p.z_norm, p.delta_z_norm, p.fractional_z_norm, p.o_norm, p.delta_o_norm, p.fractional_o_norm,
       r.x, r.y, r.pearson, r.spearman, r.slope, r.intercept, p.purpose, p.n_rows, p.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.path_ablations p ON p.run_id = m.run_id AND p.neuron_id = n.id
  JOIN public.ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                    = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows);
COMMENT ON VIEW history.neuron_path_ablations IS 'What one head does when one neuron is taken from its queries: mean changes, and how they go with the activation.';
CREATE VIEW history.neuron_similarities AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.kind, s.opposite, s.rank, o.layer AS other_layer, o."index" AS other_neuron,
       s.cosine, s.mutual, s.neuron_id, s.other_neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.similar_neurons s ON s.run_id = m.run_id AND s.neuron_id = n.id
  JOIN public.neurons o ON o.id = s.other_neuron_id;
COMMENT ON VIEW history.neuron_similarities IS 'The neurons of the same model whose weights are nearest and most opposite to each neuron''s, exactly (UN App. C).';
CREATE VIEW history.antipodal_pairs AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, o.layer AS other_layer, o."index" AS other_neuron, s.cosine, s.mutual,
       l.excess_corr, l.neuron_id, s.other_neuron_id
  FROM history.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family = 'antipodal'
  JOIN public.similar_neurons s
    ON s.run_id = l.run_id AND s.neuron_id = l.neuron_id AND s.kind = 'w_out' AND s.opposite = true AND s.rank = 1
  JOIN public.neurons o ON o.id = s.other_neuron_id;
COMMENT ON VIEW history.antipodal_pairs IS 'Neurons that write the opposite of another one of their model; mutual where each is the other''s most opposite.';
CREATE VIEW history.duplicate_neurons AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, o.layer AS other_layer, o."index" AS other_neuron, s.cosine, s.mutual,
       (l.evidence ->> 'out_cosine')::double precision AS out_cosine,
       (l.evidence ->> 'same_partner')::boolean AS same_partner, l.excess_corr, l.neuron_id, s.other_neuron_id
  FROM history.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family = 'duplicate'
  JOIN public.similar_neurons s
    ON s.run_id = l.run_id AND s.neuron_id = l.neuron_id AND s.kind = 'w_in' AND s.opposite = false AND s.rank = 1
  JOIN public.neurons o ON o.id = s.other_neuron_id;
COMMENT ON VIEW history.duplicate_neurons IS 'Neurons that read what another one of their model reads, and write alike; cosine is of the input weights.';
CREATE VIEW history.universal_neuron_properties AS
SELECT m.run_id, m.model, t.layer, t.neuron, t.excess_corr, t.sparsity_percentile, t.mean_percentile, t.skew_percentile, t.kurt_percentile, t.input_bias_percentile, t.in_out_sim_percentile, t.l2_penalty_percentile, t.vocab_kurt_percentile,
       t.neuron_id
  FROM history.members m
 CROSS JOIN LATERAL (
       SELECT s.layer, s.neuron, s.neuron_id, s.excess_corr,
              CASE WHEN s.sparsity IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.sparsity) + count(s.sparsity) OVER (PARTITION BY s.layer ORDER BY s.sparsity)) / count(s.sparsity) OVER (PARTITION BY s.layer) END AS sparsity_percentile,
              CASE WHEN s.mean IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.mean) + count(s.mean) OVER (PARTITION BY s.layer ORDER BY s.mean)) / count(s.mean) OVER (PARTITION BY s.layer) END AS mean_percentile,
              CASE WHEN s.skew IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.skew) + count(s.skew) OVER (PARTITION BY s.layer ORDER BY s.skew)) / count(s.skew) OVER (PARTITION BY s.layer) END AS skew_percentile,
              CASE WHEN s.kurt IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.kurt) + count(s.kurt) OVER (PARTITION BY s.layer ORDER BY s.kurt)) / count(s.kurt) OVER (PARTITION BY s.layer) END AS kurt_percentile,
              CASE WHEN s.input_bias IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.input_bias) + count(s.input_bias) OVER (PARTITION BY s.layer ORDER BY s.input_bias)) / count(s.input_bias) OVER (PARTITION BY s.layer) END AS input_bias_percentile,
              CASE WHEN s.in_out_sim IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.in_out_sim) + count(s.in_out_sim) OVER (PARTITION BY s.layer ORDER BY s.in_out_sim)) / count(s.in_out_sim) OVER (PARTITION BY s.layer) END AS in_out_sim_percentile,
              CASE WHEN s.l2_penalty IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.l2_penalty) + count(s.l2_penalty) OVER (PARTITION BY s.layer ORDER BY s.l2_penalty)) / count(s.l2_penalty) OVER (PARTITION BY s.layer) END AS l2_penalty_percentile,
              CASE WHEN s.vocab_kurt IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.vocab_kurt) + count(s.vocab_kurt) OVER (PARTITION BY s.layer ORDER BY s.vocab_kurt)) / count(s.vocab_kurt) OVER (PARTITION BY s.layer) END AS vocab_kurt_percentile
         FROM history.neuron_profiles s WHERE s.run_id = m.run_id AND s.model = m.model) t
 WHERE t.excess_corr > 0.5;
COMMENT ON VIEW history.universal_neuron_properties IS 'Percentiles of universal neurons among all neurons of their layer (UN Fig. 3, SPEC 3.7).';
CREATE VIEW history.cosine_frequency AS
SELECT m.run_id, m.model, t.neurons, t.correlation, t.lowest_in_out_sim, t.highest_in_out_sim
  FROM history.members m
 CROSS JOIN LATERAL (
       SELECT count(*) AS neurons, corr(a.sparsity, w.in_out_sim) AS correlation, min(w.in_out_sim) AS lowest_in_out_sim,
              max(w.in_out_sim) AS highest_in_out_sim
         FROM public.neurons n
         JOIN public.activation_statistics a ON a.run_id = m.run_id AND a.neuron_id = n.id
         JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id AND w.in_out_sim IS NOT NULL
        WHERE n.model_id = m.model_id) t;
COMMENT ON VIEW history.cosine_frequency IS 'Per model: the correlation of the activation frequency with the cosine of input and output weights (UN Fig. 9).';
CREATE VIEW history.redundancy_universality AS
SELECT m.run_id, m.model, t.kind, t.opposite, t.neurons, t.correlation
  FROM history.members m
 CROSS JOIN LATERAL (
       SELECT s.kind, s.opposite, count(*) AS neurons, corr(u.excess_corr, s.cosine) AS correlation
         FROM public.universality u
         JOIN public.similar_neurons s ON s.run_id = u.run_id AND s.neuron_id = u.neuron_id AND s.rank = 1
        WHERE u.run_id = m.run_id AND u.model_id = m.model_id AND u.excess_corr IS NOT NULL
        GROUP BY s.kind, s.opposite ORDER BY s.kind, s.opposite) t;
COMMENT ON VIEW history.redundancy_universality IS 'Per model: the correlation of excess_corr with the cosine of the nearest and of the most opposite neuron (Fig. 10).';
CREATE VIEW public.prediction_neurons AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, l.family AS class, w.vocab_kurt, w.vocab_skew, w.vocab_var,
       NULLIF(l.subtype, l.family) AS feature, (l.evidence ->> 'mean_difference')::double precision AS mean_difference,
       (l.evidence ->> 'variance_reduction')::double precision AS variance_reduction,
       (l.evidence ->> 'high_vocab_var')::boolean AS high_vocab_var,
       w.logit_kurt, w.logit_skew, w.logit_var, w.vocab_n, l.excess_corr, l.neuron_id
  FROM public.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('prediction', 'suppression', 'partition')
  JOIN public.weight_statistics w ON w.run_id = l.run_id AND w.neuron_id = l.neuron_id;
COMMENT ON VIEW public.prediction_neurons IS 'Neurons that promote or suppress a class of tokens (kurtosis over the vocabulary above 10), or part it (UN 5.1).';
CREATE VIEW public.neuron_logit_explanations AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, f.name AS feature, x.rank, x.variance_reduction, x.mean_difference, x.welch_t,
       x.n_in, x.n_out, x.mean_in, x.mean_out, x.skew_reduction, x.kurt_reduction, f.family AS feature_family, x.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.logit_explanations x ON x.run_id = m.run_id AND x.neuron_id = n.id
  JOIN public.features f ON f.id = x.feature_id;
COMMENT ON VIEW public.neuron_logit_explanations IS 'The vocabulary features that explain each neuron''s effect on the logits best; promoted where mean_difference > 0.';
CREATE VIEW public.logit_ensembles AS
SELECT m.run_id, m.model, f.name AS feature, l.layer, l."index" AS neuron, l.family AS class,
       CASE WHEN x.mean_difference > 0 THEN 'promotes' ELSE 'suppresses' END AS sign,
       x.mean_difference, x.welch_t, x.variance_reduction, l.score AS vocab_kurt, l.excess_corr, l.neuron_id
  FROM public.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('prediction', 'suppression', 'partition')
  JOIN public.logit_explanations x ON x.run_id = l.run_id AND x.neuron_id = l.neuron_id AND x.rank = 1
  JOIN public.features f ON f.id = x.feature_id;
COMMENT ON VIEW public.logit_ensembles IS 'Which prediction, suppression and partition neurons act on the same class of tokens, and with which sign (Fig. 25).';
CREATE VIEW public.prediction_activity AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, l.family AS class, f.name AS feature, a.n_in, a.n_out, a.freq_in, a.freq_out,
       a.mean_in, a.mean_out, a.cohen_d, l.neuron_id
  FROM public.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('prediction', 'suppression')
  JOIN public.class_activity a ON a.run_id = l.run_id AND a.neuron_id = l.neuron_id
  JOIN public.features f ON f.id = a.feature_id;
COMMENT ON VIEW public.prediction_activity IS 'Whether prediction and suppression neurons are active before the tokens that they act on (UN Fig. 25).';
CREATE VIEW public.prediction_profiles AS
SELECT m.run_id, m.model, m.family, t.layer, t.statistic, t.n,
       t.p[1] AS p5, t.p[2] AS p10, t.p[3] AS p50, t.p[4] AS p90, t.p[5] AS p95
  FROM public.members m
 CROSS JOIN LATERAL (
       SELECT n.layer, v.statistic, count(v.value) AS n,
              percentile_cont(ARRAY[0.05, 0.10, 0.50, 0.90, 0.95]::double precision[])
                WITHIN GROUP (ORDER BY v.value) AS p
         FROM public.neurons n
         JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id
        CROSS JOIN LATERAL (VALUES ('vocab_kurt', w.vocab_kurt), ('vocab_skew', w.vocab_skew),
          ('vocab_skew where vocab_kurt > 10', CASE WHEN w.vocab_kurt > 10 THEN w.vocab_skew END)) AS v(statistic, value)
        WHERE n.model_id = m.model_id
        GROUP BY n.layer, v.statistic ORDER BY n.layer, v.statistic) t;
COMMENT ON VIEW public.prediction_profiles IS 'Percentiles per layer of the kurtosis and the skewness over the vocabulary; and of the latter where the former > 10.';
CREATE VIEW public.prediction_profiles_over_seeds AS
SELECT p.run_id, p.family, p.layer, p.statistic, v.percentile, count(v.value) AS models, avg(v.value) AS mean,
       min(v.value) AS lowest, max(v.value) AS highest, avg(p.n)::double precision AS mean_n
  FROM public.prediction_profiles p
 CROSS JOIN LATERAL (VALUES (5, p.p5), (10, p.p10), (50, p.p50), (90, p.p90), (95, p.p95)) AS v(percentile, value)
 GROUP BY p.run_id, p.family, p.layer, p.statistic, v.percentile;
COMMENT ON VIEW public.prediction_profiles_over_seeds IS 'The percentiles of prediction_profiles over the models of a family: mean, lowest and highest (UN Fig. 6).';
CREATE VIEW public.neuron_interventions AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       (SELECT array_agg(o.layer || '.' || o."index" ORDER BY o.layer, o."index")
          FROM unnest(i.together) AS other(id) JOIN public.neurons o ON o.id = other.id) AS together,
       i.kind, i.value, i.purpose, i.n_tokens, i.scale, i.scale_delta AS delta_scale, i.scale_se AS scale_standard_error, i.entropy, i.entropy_delta AS delta_entropy, i.entropy_se AS entropy_standard_error, i.loss, i.loss_delta AS delta_loss, i.loss_se AS loss_standard_error, i.rank, i.rank_delta AS delta_rank, i.rank_se AS rank_standard_error, i.recip_rank, i.recip_rank_delta AS delta_recip_rank, i.recip_rank_se AS recip_rank_standard_error, i.logit_var, i.logit_var_delta AS delta_logit_var, i.logit_var_se AS logit_var_standard_error, i.kl, i.kl_se AS kl_standard_error, i.n_rows, i.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.interventions i ON i.run_id = m.run_id AND i.neuron_id = n.id;
COMMENT ON VIEW public.neuron_interventions IS 'What a model predicts when neurons are held at a value at every position, against the model left alone (UN 5.2).';
CREATE VIEW public.entropy_neurons AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, l.family AS sign, i.entropy_delta AS delta_entropy, i.scale_delta AS delta_scale,
       i.loss_delta AS delta_loss, i.recip_rank_delta AS delta_recip_rank, i.kl, i.value,
       (l.evidence ->> 'largest_control')::double precision AS largest_control, (l.evidence ->> 'controls')::int AS controls,
       o.layer AS opposite_of_layer, o."index" AS opposite_of_neuron, w.l2_penalty, w.vocab_var, i.n_tokens, l.neuron_id
  FROM public.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('entropy', 'anti_entropy')
  JOIN public.interventions i ON i.run_id = l.run_id AND i.neuron_id = l.neuron_id AND i.purpose = 'candidate'
   AND i.kind = 'fix' AND i.value = (l.evidence ->> 'value')::double precision
  LEFT JOIN public.neurons o ON o.id = i.of_neuron_id
  LEFT JOIN public.weight_statistics w ON w.run_id = l.run_id AND w.neuron_id = l.neuron_id;
COMMENT ON VIEW public.entropy_neurons IS 'Neurons of large weights that hardly move any logit, but the scale of all of them: held on, entropy rises or falls.';
CREATE VIEW public.attention_neurons AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, s.head_layer, s.head, s.h, r.pearson AS correlation, l.family AS class,
       (l.evidence ->> 'chance')::double precision AS chance, s.h_sd, s.h_scaled, p.delta_p_bos, p.delta_o_norm,
       p.fractional_o_norm, p.n_tokens, l.neuron_id
  FROM public.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('attn_deactivation', 'attn_activation')
  JOIN public.head_scores s ON s.run_id = l.run_id AND s.neuron_id = l.neuron_id
   AND (s.head_layer, s.head) = ((l.evidence ->> 'head_layer')::smallint, (l.evidence ->> 'head')::smallint)
  LEFT JOIN public.path_ablations p ON (p.run_id, p.neuron_id, p.head_layer, p.head)
                                     = (s.run_id, s.neuron_id, s.head_layer, s.head) AND p.purpose = 'chosen'
  LEFT JOIN public.ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                         = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows)
   AND r.x = 'activation' AND r.y = 'delta_p_bos';
COMMENT ON VIEW public.attention_neurons IS 'Neurons that turn a head of a later layer towards BOS, which deactivates it, or away from BOS (UN 5.3).';
CREATE VIEW public.neuron_head_scores AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.head_layer, s.head, s.h, s.h_sd, s.h_scaled, s.head_rank, s.largest, s.smallest,
       abs(s.h) / chance.h AS multiple_of_chance, s.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.head_scores s ON s.run_id = m.run_id AND s.neuron_id = n.id
 CROSS JOIN LATERAL (SELECT NULLIF(max(b.max_abs_h), 0) AS h FROM public.head_baselines b
                      WHERE b.run_id = m.run_id AND b.model_id = m.model_id) chance;
COMMENT ON VIEW public.neuron_head_scores IS 'h of neurons and heads of later layers: the first 50 of each head, the ends of each neuron; and h over chance.';
CREATE VIEW public.head_summaries AS
SELECT m.run_id, m.model, b.head_layer, b.head, b.max_abs_h AS chance_max_abs_h, b.sd_h AS chance_sd_h,
       v.bos_norm_ratio, v.bos_norm_ratio_with_bias, v.n_tokens
  FROM public.members m
 CROSS JOIN LATERAL (
       SELECT COALESCE(b.head_layer, v.head_layer) AS head_layer, COALESCE(b.head, v.head) AS head, b.max_abs_h, b.sd_h
         FROM (SELECT * FROM public.head_baselines b WHERE b.run_id = m.run_id AND b.model_id = m.model_id) b
         FULL JOIN (SELECT * FROM public.head_norms v WHERE v.run_id = m.run_id AND v.model_id = m.model_id) v
              USING (head_layer, head)) b
  LEFT JOIN public.head_norms v ON (v.run_id, v.model_id, v.head_layer, v.head)
                                 = (m.run_id, m.model_id, b.head_layer, b.head);
COMMENT ON VIEW public.head_summaries IS 'Per head: what h is by chance, and how little the head writes when it attends to BOS.';
CREATE VIEW public.neuron_head_compositions AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, c.head_layer, c.head, c.q, c.k, c.v, c.o, c.neuron_id
  FROM public.members m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.neurons n ON n.model_id = m.model_id
 CROSS JOIN LATERAL (
       SELECT h.neuron_id, (n.layer + 1 + (t.place - 1) / mo.n_heads)::smallint AS head_layer,
              mod(t.place - 1, mo.n_heads)::smallint AS head, t.q, t.k, t.v, NULL::real AS o
         FROM public.head_compositions h
        CROSS JOIN LATERAL unnest(h.q, h.k, h.v) WITH ORDINALITY AS t(q, k, v, place)
        WHERE h.run_id = m.run_id AND h.neuron_id = n.id
        UNION ALL
       SELECT h.neuron_id, ((t.place - 1) / mo.n_heads)::smallint, mod(t.place - 1, mo.n_heads)::smallint,
              NULL, NULL, NULL, t.o
         FROM public.head_compositions h
        CROSS JOIN LATERAL unnest(h.o) WITH ORDINALITY AS t(o, place)
        WHERE h.run_id = m.run_id AND h.neuron_id = n.id) c;
COMMENT ON VIEW public.neuron_head_compositions IS 'How much each later head reads what a neuron writes (q, k, v), and each head before it writes what it reads (o).';
CREATE VIEW public.neuron_path_ablations AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, p.head_layer, p.head, p.n_tokens, p.activation, p.activation_sd, p.p_bos, p.delta_p_bos,
       p.z_norm, p.delta_z_norm, p.fractional_z_norm, p.o_norm, p.delta_o_norm, p.fractional_o_norm,
       r.x, r.y, r.pearson, r.spearman, r.slope, r.intercept, p.purpose, p.n_rows, p.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.path_ablations p ON p.run_id = m.run_id AND p.neuron_id = n.id
  JOIN public.ablation_relations r ON (r.run_id, r.neuron_id, r.head_layer, r.head, r.n_rows)
                                    = (p.run_id, p.neuron_id, p.head_layer, p.head, p.n_rows);
COMMENT ON VIEW public.neuron_path_ablations IS 'What one head does when one neuron is taken from its queries: mean changes, and how they go with the activation.';
CREATE VIEW public.neuron_similarities AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.kind, s.opposite, s.rank, o.layer AS other_layer, o."index" AS other_neuron,
       s.cosine, s.mutual, s.neuron_id, s.other_neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.similar_neurons s ON s.run_id = m.run_id AND s.neuron_id = n.id
  JOIN public.neurons o ON o.id = s.other_neuron_id;
COMMENT ON VIEW public.neuron_similarities IS 'The neurons of the same model whose weights are nearest and most opposite to each neuron''s, exactly (UN App. C).';
CREATE VIEW public.antipodal_pairs AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, o.layer AS other_layer, o."index" AS other_neuron, s.cosine, s.mutual,
       l.excess_corr, l.neuron_id, s.other_neuron_id
  FROM public.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family = 'antipodal'
  JOIN public.similar_neurons s
    ON s.run_id = l.run_id AND s.neuron_id = l.neuron_id AND s.kind = 'w_out' AND s.opposite = true AND s.rank = 1
  JOIN public.neurons o ON o.id = s.other_neuron_id;
COMMENT ON VIEW public.antipodal_pairs IS 'Neurons that write the opposite of another one of their model; mutual where each is the other''s most opposite.';
CREATE VIEW public.duplicate_neurons AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, o.layer AS other_layer, o."index" AS other_neuron, s.cosine, s.mutual,
       (l.evidence ->> 'out_cosine')::double precision AS out_cosine,
       (l.evidence ->> 'same_partner')::boolean AS same_partner, l.excess_corr, l.neuron_id, s.other_neuron_id
  FROM public.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family = 'duplicate'
  JOIN public.similar_neurons s
    ON s.run_id = l.run_id AND s.neuron_id = l.neuron_id AND s.kind = 'w_in' AND s.opposite = false AND s.rank = 1
  JOIN public.neurons o ON o.id = s.other_neuron_id;
COMMENT ON VIEW public.duplicate_neurons IS 'Neurons that read what another one of their model reads, and write alike; cosine is of the input weights.';
CREATE VIEW public.universal_neuron_properties AS
SELECT m.run_id, m.model, t.layer, t.neuron, t.excess_corr, t.sparsity_percentile, t.mean_percentile, t.skew_percentile, t.kurt_percentile, t.input_bias_percentile, t.in_out_sim_percentile, t.l2_penalty_percentile, t.vocab_kurt_percentile,
       t.neuron_id
  FROM public.members m
 CROSS JOIN LATERAL (
       SELECT s.layer, s.neuron, s.neuron_id, s.excess_corr,
              CASE WHEN s.sparsity IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.sparsity) + count(s.sparsity) OVER (PARTITION BY s.layer ORDER BY s.sparsity)) / count(s.sparsity) OVER (PARTITION BY s.layer) END AS sparsity_percentile,
              CASE WHEN s.mean IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.mean) + count(s.mean) OVER (PARTITION BY s.layer ORDER BY s.mean)) / count(s.mean) OVER (PARTITION BY s.layer) END AS mean_percentile,
              CASE WHEN s.skew IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.skew) + count(s.skew) OVER (PARTITION BY s.layer ORDER BY s.skew)) / count(s.skew) OVER (PARTITION BY s.layer) END AS skew_percentile,
              CASE WHEN s.kurt IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.kurt) + count(s.kurt) OVER (PARTITION BY s.layer ORDER BY s.kurt)) / count(s.kurt) OVER (PARTITION BY s.layer) END AS kurt_percentile,
              CASE WHEN s.input_bias IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.input_bias) + count(s.input_bias) OVER (PARTITION BY s.layer ORDER BY s.input_bias)) / count(s.input_bias) OVER (PARTITION BY s.layer) END AS input_bias_percentile,
              CASE WHEN s.in_out_sim IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.in_out_sim) + count(s.in_out_sim) OVER (PARTITION BY s.layer ORDER BY s.in_out_sim)) / count(s.in_out_sim) OVER (PARTITION BY s.layer) END AS in_out_sim_percentile,
              CASE WHEN s.l2_penalty IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.l2_penalty) + count(s.l2_penalty) OVER (PARTITION BY s.layer ORDER BY s.l2_penalty)) / count(s.l2_penalty) OVER (PARTITION BY s.layer) END AS l2_penalty_percentile,
              CASE WHEN s.vocab_kurt IS NOT NULL THEN 50.0::double precision * (rank() OVER (PARTITION BY s.layer ORDER BY s.vocab_kurt) + count(s.vocab_kurt) OVER (PARTITION BY s.layer ORDER BY s.vocab_kurt)) / count(s.vocab_kurt) OVER (PARTITION BY s.layer) END AS vocab_kurt_percentile
         FROM public.neuron_profiles s WHERE s.run_id = m.run_id AND s.model = m.model) t
 WHERE t.excess_corr > 0.5;
COMMENT ON VIEW public.universal_neuron_properties IS 'Percentiles of universal neurons among all neurons of their layer (UN Fig. 3, SPEC 3.7).';
CREATE VIEW public.cosine_frequency AS
SELECT m.run_id, m.model, t.neurons, t.correlation, t.lowest_in_out_sim, t.highest_in_out_sim
  FROM public.members m
 CROSS JOIN LATERAL (
       SELECT count(*) AS neurons, corr(a.sparsity, w.in_out_sim) AS correlation, min(w.in_out_sim) AS lowest_in_out_sim,
              max(w.in_out_sim) AS highest_in_out_sim
         FROM public.neurons n
         JOIN public.activation_statistics a ON a.run_id = m.run_id AND a.neuron_id = n.id
         JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id AND w.in_out_sim IS NOT NULL
        WHERE n.model_id = m.model_id) t;
COMMENT ON VIEW public.cosine_frequency IS 'Per model: the correlation of the activation frequency with the cosine of input and output weights (UN Fig. 9).';
CREATE VIEW public.redundancy_universality AS
SELECT m.run_id, m.model, t.kind, t.opposite, t.neurons, t.correlation
  FROM public.members m
 CROSS JOIN LATERAL (
       SELECT s.kind, s.opposite, count(*) AS neurons, corr(u.excess_corr, s.cosine) AS correlation
         FROM public.universality u
         JOIN public.similar_neurons s ON s.run_id = u.run_id AND s.neuron_id = u.neuron_id AND s.rank = 1
        WHERE u.run_id = m.run_id AND u.model_id = m.model_id AND u.excess_corr IS NOT NULL
        GROUP BY s.kind, s.opposite ORDER BY s.kind, s.opposite) t;
COMMENT ON VIEW public.redundancy_universality IS 'Per model: the correlation of excess_corr with the cosine of the nearest and of the most opposite neuron (Fig. 10).';
GRANT SELECT ON ablation_relations, class_activity, head_baselines, head_compositions, head_norms, head_scores, interventions, logit_explanations, neuron_vectors, path_ablations, similar_neurons TO catalog_reader;
GRANT SELECT ON history.prediction_neurons, history.neuron_logit_explanations, history.logit_ensembles, history.prediction_activity, history.prediction_profiles, history.prediction_profiles_over_seeds, history.neuron_interventions, history.entropy_neurons, history.attention_neurons, history.neuron_head_scores, history.head_summaries, history.neuron_head_compositions, history.neuron_path_ablations, history.neuron_similarities, history.antipodal_pairs, history.duplicate_neurons, history.universal_neuron_properties, history.cosine_frequency, history.redundancy_universality, public.prediction_neurons, public.neuron_logit_explanations, public.logit_ensembles, public.prediction_activity, public.prediction_profiles, public.prediction_profiles_over_seeds, public.neuron_interventions, public.entropy_neurons, public.attention_neurons, public.neuron_head_scores, public.head_summaries, public.neuron_head_compositions, public.neuron_path_ablations, public.neuron_similarities, public.antipodal_pairs, public.duplicate_neurons, public.universal_neuron_properties, public.cosine_frequency, public.redundancy_universality TO catalog_reader;
-- New rules raise the version; a draft stays the newest.
INSERT INTO rule_versions (version, created_at, published_at)
SELECT max(version) + 1, now(), CASE WHEN bool_and(published_at IS NOT NULL) THEN now() END FROM rule_versions;
INSERT INTO rules (rule_version, family, parameter, value, description)
SELECT rule_version + 1, family, parameter, value, description FROM rules
 WHERE rule_version = (SELECT max(rule_version) FROM rules);
UPDATE rules r SET value = p.value
  FROM rules p, (SELECT max(version) AS newest FROM rule_versions) v
 WHERE r.rule_version = v.newest - 1 AND p.rule_version = v.newest - 2 AND p.family = r.family AND p.parameter = r.parameter
   AND EXISTS (SELECT 1 FROM rule_versions d WHERE d.version = v.newest AND d.published_at IS NULL);
UPDATE rule_versions SET published_at = now() WHERE published_at IS NULL AND version < (SELECT max(version) FROM rule_versions);
INSERT INTO rules (rule_version, family, parameter, value, description)
SELECT v.version, new.* FROM rule_versions v,
  (VALUES ('prediction', 'min_kurtosis', 10, 'The kurtosis over the vocabulary that a prediction neuron exceeds; its skewness is positive (SPEC 7).'),
          ('suppression', 'min_kurtosis', 10, 'The kurtosis over the vocabulary that a suppression neuron exceeds; its skewness is negative (SPEC 7).'),
          ('partition', 'min_variance', 5.12, 'What vocab_var times d_model exceeds; 0.005 at d_model = 1024 (SPEC 7).'),
          ('partition', 'max_kurtosis', 10, 'Largest kurtosis over the vocabulary; above it are prediction and suppression neurons.'),
          ('entropy', 'value', 6, 'To what post is fixed (SPEC 8.1).'),
          ('entropy', 'min_controls', 20, 'Least number of controls, all of which a neuron must exceed.'),
          ('anti_entropy', 'value', 6, 'To what post is fixed (SPEC 8.1).'),
          ('anti_entropy', 'min_controls', 20, 'Least number of controls, all of which a neuron must exceed.'),
          ('attn_deactivation', 'min_multiple', 2, 'Least h over the largest |h| of random vectors (SPEC 9.4).'),
          ('attn_deactivation', 'max_correlation', -0.5, 'Largest correlation of activation and change of attention to BOS, if ablated (SPEC 9.4).'),
          ('attn_activation', 'min_multiple', 2, 'Least -h over the largest |h| of random vectors (SPEC 9.4).'),
          ('attn_activation', 'min_correlation', 0.5, 'Least correlation of activation and change of attention to BOS, if ablated (SPEC 9.4).'),
          ('duplicate', 'min_in_cosine', 0.8, 'Least cosine of the input weights with the nearest other ones (SPEC 10).'),
          ('duplicate', 'min_out_cosine', 0.5, 'Least cosine of the output weights with the nearest other ones (SPEC 10).'),
          ('antipodal', 'max_cosine', -0.5, 'Largest cosine of the output weights with the most opposite other ones (SPEC 10).')
  ) AS new(family, parameter, value, description)
 WHERE NOT EXISTS (SELECT 1 FROM rules r WHERE r.rule_version = v.version AND r.family = new.family)
   AND v.version >= (SELECT max(version) FROM rule_versions WHERE published_at IS NOT NULL);
"""

DOWNGRADE = r"""
DROP VIEW public.redundancy_universality;
DROP VIEW public.cosine_frequency;
DROP VIEW public.universal_neuron_properties;
DROP VIEW public.duplicate_neurons;
DROP VIEW public.antipodal_pairs;
DROP VIEW public.neuron_similarities;
DROP VIEW public.neuron_path_ablations;
DROP VIEW public.neuron_head_compositions;
DROP VIEW public.head_summaries;
DROP VIEW public.neuron_head_scores;
DROP VIEW public.attention_neurons;
DROP VIEW public.entropy_neurons;
DROP VIEW public.neuron_interventions;
DROP VIEW public.prediction_profiles_over_seeds;
DROP VIEW public.prediction_profiles;
DROP VIEW public.prediction_activity;
DROP VIEW public.logit_ensembles;
DROP VIEW public.neuron_logit_explanations;
DROP VIEW public.prediction_neurons;
DROP VIEW history.redundancy_universality;
DROP VIEW history.cosine_frequency;
DROP VIEW history.universal_neuron_properties;
DROP VIEW history.duplicate_neurons;
DROP VIEW history.antipodal_pairs;
DROP VIEW history.neuron_similarities;
DROP VIEW history.neuron_path_ablations;
DROP VIEW history.neuron_head_compositions;
DROP VIEW history.head_summaries;
DROP VIEW history.neuron_head_scores;
DROP VIEW history.attention_neurons;
DROP VIEW history.entropy_neurons;
DROP VIEW history.neuron_interventions;
DROP VIEW history.prediction_profiles_over_seeds;
DROP VIEW history.prediction_profiles;
DROP VIEW history.prediction_activity;
DROP VIEW history.logit_ensembles;
DROP VIEW history.neuron_logit_explanations;
DROP VIEW history.prediction_neurons;
-- What was known of a run that has these parts, and the labels; relabelling with older rules is up to the user.
DELETE FROM run_checksums WHERE table_name IN ('ablation_relations', 'class_activity', 'head_baselines', 'head_compositions', 'head_norms', 'head_scores', 'interventions', 'logit_explanations', 'neuron_vectors', 'path_ablations', 'similar_neurons')
    OR (table_name IN ('run_parts', 'features', 'feature_tokens') AND run_id IN (SELECT run_id FROM run_parts WHERE part IN ('prediction', 'redundancy', 'attention', 'ablations', 'class_activity', 'entropy')));
DELETE FROM run_checksums WHERE table_name IN ('labels', 'label_totals')
   AND run_id IN (SELECT run_id FROM label_totals WHERE family IN ('prediction', 'suppression', 'partition', 'entropy', 'anti_entropy', 'attn_deactivation', 'attn_activation', 'duplicate', 'antipodal'));
DELETE FROM labels WHERE family IN ('prediction', 'suppression', 'partition', 'entropy', 'anti_entropy', 'attn_deactivation', 'attn_activation', 'duplicate', 'antipodal');
DELETE FROM label_totals WHERE family IN ('prediction', 'suppression', 'partition', 'entropy', 'anti_entropy', 'attn_deactivation', 'attn_activation', 'duplicate', 'antipodal');
DELETE FROM run_parts WHERE part IN ('prediction', 'redundancy', 'attention', 'ablations', 'class_activity', 'entropy');
DELETE FROM rules WHERE family IN ('prediction', 'suppression', 'partition', 'entropy', 'anti_entropy', 'attn_deactivation', 'attn_activation', 'duplicate', 'antipodal');
DROP TABLE similar_neurons;
DROP TABLE path_ablations;
DROP TABLE neuron_vectors;
DROP TABLE logit_explanations;
DROP TABLE interventions;
DROP TABLE head_scores;
DROP TABLE head_norms;
DROP TABLE head_compositions;
DROP TABLE head_baselines;
DROP TABLE class_activity;
DROP TABLE ablation_relations;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
