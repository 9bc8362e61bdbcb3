"""Questions answer from indexes: labels and universality say where their neuron is, and sums are kept per run.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_21_question_indexes"
down_revision = "2026_11_21_run_checksums"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- The tables are written by publications only, which wait for a migration as they wait for each other.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion, adding-not-nullable-field
-- squawk-ignore-file constraint-missing-not-valid, ban-drop-view
DROP VIEW public.layer_profiles;
DROP VIEW history.layer_profiles;
DROP VIEW public.depth_matrix;
DROP VIEW history.depth_matrix;
DROP VIEW public.family_counts;
DROP VIEW history.family_counts;
DROP VIEW public.neuron_labels;
DROP VIEW history.neuron_labels;
DROP VIEW public.universal_neurons;
DROP VIEW history.universal_neurons;
ALTER TABLE universality ADD COLUMN model_id INTEGER;
COMMENT ON COLUMN universality.model_id IS 'The neuron''s model, from neurons.';
ALTER TABLE universality ADD COLUMN layer SMALLINT;
COMMENT ON COLUMN universality.layer IS 'The neuron''s layer, from neurons.';
ALTER TABLE universality ADD COLUMN index INTEGER;
COMMENT ON COLUMN universality.index IS 'The neuron''s position in d_mlp, from neurons.';
UPDATE universality u SET model_id = n.model_id, layer = n.layer, "index" = n."index"
  FROM neurons n WHERE n.id = u.neuron_id;
ALTER TABLE universality ALTER COLUMN model_id SET NOT NULL;
ALTER TABLE universality ALTER COLUMN layer SET NOT NULL;
ALTER TABLE universality ALTER COLUMN index SET NOT NULL;
ALTER TABLE universality ADD CONSTRAINT fk_universality_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE NOT VALID;
ALTER TABLE universality VALIDATE CONSTRAINT fk_universality_model_id;
ALTER TABLE labels ADD COLUMN model_id INTEGER;
COMMENT ON COLUMN labels.model_id IS 'The neuron''s model, from neurons.';
ALTER TABLE labels ADD COLUMN layer SMALLINT;
COMMENT ON COLUMN labels.layer IS 'The neuron''s layer, from neurons.';
ALTER TABLE labels ADD COLUMN index INTEGER;
COMMENT ON COLUMN labels.index IS 'The neuron''s position in d_mlp, from neurons.';
ALTER TABLE labels ADD COLUMN excess_corr DOUBLE PRECISION;
COMMENT ON COLUMN labels.excess_corr IS 'The neuron''s excess correlation, from universality; NULL if undefined.';
UPDATE labels l SET model_id = n.model_id, layer = n.layer, "index" = n."index",
       excess_corr = (SELECT u.excess_corr FROM universality u WHERE u.run_id = l.run_id AND u.neuron_id = l.neuron_id)
  FROM neurons n WHERE n.id = l.neuron_id;
ALTER TABLE labels ALTER COLUMN model_id SET NOT NULL;
ALTER TABLE labels ALTER COLUMN layer SET NOT NULL;
ALTER TABLE labels ALTER COLUMN index SET NOT NULL;
ALTER TABLE labels ADD CONSTRAINT fk_labels_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE NOT VALID;
ALTER TABLE labels VALIDATE CONSTRAINT fk_labels_model_id;
DROP INDEX ix_universality_run_id_excess_corr;
CREATE INDEX ix_universality_by_excess ON universality (run_id, model_id, excess_corr DESC, layer) WHERE excess_corr > 0.5;
COMMENT ON INDEX ix_universality_by_excess IS 'Serves universal neurons of a model, highest excess correlation first.';
CREATE INDEX ix_universality_by_place ON universality (run_id, model_id, layer, index) WHERE excess_corr > 0.5;
COMMENT ON INDEX ix_universality_by_place IS 'Serves universal neurons of a model, by layer and index.';
DROP INDEX ix_labels_run_id_family_subtype_score;
CREATE INDEX ix_labels_by_excess ON labels (run_id, model_id, excess_corr DESC NULLS LAST, layer, family, score);
COMMENT ON INDEX ix_labels_by_excess IS 'Serves find by least excess correlation, its count, and find with the highest excess first.';
CREATE INDEX ix_labels_by_family ON labels (run_id, model_id, family, score DESC, layer, excess_corr);
COMMENT ON INDEX ix_labels_by_family IS 'Serves find by family, highest score first; layer and excess are tested in the index.';
CREATE INDEX ix_labels_by_place ON labels (run_id, model_id, layer, index);
COMMENT ON INDEX ix_labels_by_place IS 'Serves find by layer range, and find in the order of neurons.';
CREATE INDEX ix_labels_by_score ON labels (run_id, model_id, score DESC, layer, excess_corr);
COMMENT ON INDEX ix_labels_by_score IS 'Serves find, highest score first; layer and excess are tested in the index.';
CREATE INDEX ix_labels_by_subtype ON labels (run_id, model_id, subtype, family, score DESC);
COMMENT ON INDEX ix_labels_by_subtype IS 'Serves find by subtype, highest score first.';
CREATE TABLE label_totals (
	run_id INTEGER NOT NULL,
	model_id INTEGER NOT NULL,
	family TEXT NOT NULL,
	subtype TEXT NOT NULL,
	layer SMALLINT NOT NULL,
	labels INTEGER NOT NULL,
	universal_labels INTEGER NOT NULL,
	neurons INTEGER NOT NULL,
	universal_neurons INTEGER NOT NULL,
	CONSTRAINT pk_label_totals PRIMARY KEY (run_id, model_id, family, subtype, layer),
	CONSTRAINT fk_label_totals_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_label_totals_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
COMMENT ON TABLE label_totals IS 'How many labels a run has, for the counts of find and families.';
COMMENT ON COLUMN label_totals.run_id IS 'The run.';
COMMENT ON COLUMN label_totals.model_id IS 'The model.';
COMMENT ON COLUMN label_totals.family IS 'Family of the labels.';
COMMENT ON COLUMN label_totals.subtype IS 'Their subtype.';
COMMENT ON COLUMN label_totals.layer IS 'Layer of their neurons.';
COMMENT ON COLUMN label_totals.labels IS 'Labels.';
COMMENT ON COLUMN label_totals.universal_labels IS 'Labels of universal neurons.';
COMMENT ON COLUMN label_totals.neurons IS 'Neurons whose first subtype of the family this is: sums over subtypes count each once.';
COMMENT ON COLUMN label_totals.universal_neurons IS 'Those of them that are universal.';
CREATE TABLE layer_summaries (
	run_id INTEGER NOT NULL,
	model_id INTEGER NOT NULL,
	layer SMALLINT NOT NULL,
	n_neurons INTEGER NOT NULL,
	n_universal INTEGER NOT NULL,
	n_degenerate INTEGER NOT NULL,
	median_excess_corr DOUBLE PRECISION,
	median_sparsity DOUBLE PRECISION,
	median_kurt DOUBLE PRECISION,
	median_l2_penalty DOUBLE PRECISION,
	median_vocab_kurt DOUBLE PRECISION,
	CONSTRAINT pk_layer_summaries PRIMARY KEY (run_id, model_id, layer),
	CONSTRAINT fk_layer_summaries_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_layer_summaries_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
COMMENT ON TABLE layer_summaries IS 'Counts and medians per layer, for the question layers.';
COMMENT ON COLUMN layer_summaries.run_id IS 'The run.';
COMMENT ON COLUMN layer_summaries.model_id IS 'The model.';
COMMENT ON COLUMN layer_summaries.layer IS 'The layer.';
COMMENT ON COLUMN layer_summaries.n_neurons IS 'Its neurons.';
COMMENT ON COLUMN layer_summaries.n_universal IS 'Those with excess_corr above 0.5.';
COMMENT ON COLUMN layer_summaries.n_degenerate IS 'Those whose activation hardly varies.';
COMMENT ON COLUMN layer_summaries.median_excess_corr IS 'Median over its neurons, as the medians after it.';
COMMENT ON COLUMN layer_summaries.median_sparsity IS 'Of the activation frequency.';
COMMENT ON COLUMN layer_summaries.median_kurt IS 'Of the kurtosis of pre.';
COMMENT ON COLUMN layer_summaries.median_l2_penalty IS 'Of the L2 penalty of the weights.';
COMMENT ON COLUMN layer_summaries.median_vocab_kurt IS 'Of the kurtosis over the vocabulary.';
CREATE TABLE depth_summaries (
	run_id INTEGER NOT NULL,
	model_id INTEGER NOT NULL,
	layer SMALLINT NOT NULL,
	other_layer SMALLINT NOT NULL,
	fraction DOUBLE PRECISION NOT NULL,
	CONSTRAINT pk_depth_summaries PRIMARY KEY (run_id, model_id, layer, other_layer),
	CONSTRAINT fk_depth_summaries_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_depth_summaries_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
COMMENT ON TABLE depth_summaries IS 'In which layers best matches lie, for the question depth.';
COMMENT ON COLUMN depth_summaries.run_id IS 'The run.';
COMMENT ON COLUMN depth_summaries.model_id IS 'The model.';
COMMENT ON COLUMN depth_summaries.layer IS 'Layer of the neurons.';
COMMENT ON COLUMN depth_summaries.other_layer IS 'Layer of their best matches in the other models.';
COMMENT ON COLUMN depth_summaries.fraction IS 'Fraction of the layer''s neurons, mean over the other models (SPEC 2.5).';
INSERT INTO layer_summaries (run_id, model_id, layer, n_neurons, n_universal, n_degenerate, median_excess_corr,
                             median_sparsity, median_kurt, median_l2_penalty, median_vocab_kurt)
SELECT rm.run_id, rm.model_id, n.layer, count(*), count(*) FILTER (WHERE u.excess_corr > 0.5),
       count(*) FILTER (WHERE a.degenerate),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY u.excess_corr),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY a.sparsity),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY a.kurt),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY w.l2_penalty),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY w.vocab_kurt)
  FROM run_models rm
  JOIN neurons n ON n.model_id = rm.model_id
  LEFT JOIN activation_statistics a ON a.run_id = rm.run_id AND a.neuron_id = n.id
  LEFT JOIN weight_statistics w ON w.run_id = rm.run_id AND w.neuron_id = n.id
  LEFT JOIN universality u ON u.run_id = rm.run_id AND u.neuron_id = n.id
  JOIN runs r ON r.id = rm.run_id AND r.status = 'published'
 GROUP BY rm.run_id, rm.model_id, n.layer;
INSERT INTO depth_summaries (run_id, model_id, layer, other_layer, fraction)
SELECT f.run_id, f.model_id, f.layer, f.other_layer, avg(f.fraction)
  FROM (SELECT d.run_id, d.model_id, d.layer, other.layer AS other_layer,
               COALESCE(sum(d.neurons) FILTER (WHERE d.match_layer = other.layer), 0)::double precision
                 / sum(d.neurons)::double precision AS fraction
          FROM (SELECT u.run_id, n.model_id, n.layer, u.other_model_id, o.layer AS match_layer, count(*) AS neurons
                  FROM universality_by_model u
                  JOIN neurons n ON n.id = u.neuron_id
                  JOIN neurons o ON o.id = u.other_neuron_id
                 GROUP BY u.run_id, n.model_id, n.layer, u.other_model_id, o.layer) d
          JOIN models om ON om.id = d.other_model_id
         CROSS JOIN LATERAL generate_series(0, om.n_layers - 1) AS other(layer)
         GROUP BY d.run_id, d.model_id, d.layer, d.other_model_id, other.layer) f
 GROUP BY f.run_id, f.model_id, f.layer, f.other_layer;
INSERT INTO label_totals (run_id, model_id, family, subtype, layer, labels, universal_labels, neurons, universal_neurons)
SELECT run_id, model_id, family, subtype, layer, count(*), count(*) FILTER (WHERE universal),
       count(*) FILTER (WHERE place = 1), count(*) FILTER (WHERE place = 1 AND universal)
  FROM (SELECT l.*, l.excess_corr > 0.5 AS universal,
               row_number() OVER (PARTITION BY l.run_id, l.neuron_id, l.family ORDER BY l.subtype) AS place
          FROM labels l) AS found
 GROUP BY run_id, model_id, family, subtype, layer;
CREATE VIEW history.universal_neurons AS
SELECT m.run_id, m.model, m.family, n.layer, n."index" AS neuron,
       a.mean, a.var, a.skew, a.kurt, a.sparsity,
       w.w_in_norm, w.w_out_norm, w.input_bias, w.in_out_sim, w.l2_penalty,
       w.vocab_mean, w.vocab_var, w.vocab_skew, w.vocab_kurt,
       u.max_corr, u.mean_corr, u.min_corr, u.max_baseline, u.mean_baseline, u.min_baseline,
       u.excess_corr, u.n_models, u.n_degenerate,
       COALESCE(u.excess_corr > 0.5, false) AS universal,
       a.n_tokens, a.degenerate, a.post_mean, a.post_var, a.post_skew, a.post_kurt,
       w.logit_var, w.logit_skew, w.logit_kurt, w.vocab_n,
       n.id AS neuron_id
  FROM history.members m
  JOIN public.universality u ON u.run_id = m.run_id AND u.model_id = m.model_id AND u.excess_corr > 0.5
  JOIN public.neurons n ON n.id = u.neuron_id
  LEFT JOIN public.activation_statistics a ON a.run_id = m.run_id AND a.neuron_id = n.id
  LEFT JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id;
COMMENT ON VIEW history.universal_neurons IS 'The rows of neuron_profiles with excess_corr above 0.5 (UN 4.1).';
CREATE VIEW history.neuron_labels AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, l.family, l.subtype, l.score, l.rule_version,
       l.evidence, l.neuron_id
  FROM history.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id;
COMMENT ON VIEW history.neuron_labels IS 'What each neuron is, with the score and the version of the rules.';
CREATE VIEW history.family_counts AS
SELECT m.run_id, m.model, t.family, t.neurons, t.universal_neurons
  FROM history.members m
 CROSS JOIN LATERAL (SELECT t.family, sum(t.neurons) AS neurons, sum(t.universal_neurons) AS universal_neurons
                       FROM public.label_totals t WHERE t.run_id = m.run_id AND t.model_id = m.model_id
                      GROUP BY t.family) t;
COMMENT ON VIEW history.family_counts IS 'Distinct neurons per family of labels, and how many of them are universal.';
CREATE VIEW history.depth_matrix AS
SELECT m.run_id, m.model, d.layer, d.other_layer, d.fraction
  FROM history.members m
 CROSS JOIN LATERAL (SELECT * FROM public.depth_summaries d WHERE d.run_id = m.run_id AND d.model_id = m.model_id
                      ORDER BY d.layer, d.other_layer) d;
COMMENT ON VIEW history.depth_matrix IS 'Fraction of a layer''s neurons whose best match lies in each layer, mean over other models (SPEC 2.5).';
CREATE VIEW history.layer_profiles AS
SELECT m.run_id, m.model, s.layer, s.n_neurons, s.n_universal,
       s.n_universal::double precision / s.n_neurons AS share_universal, s.n_degenerate,
       s.median_excess_corr, s.median_sparsity, s.median_kurt, s.median_l2_penalty, s.median_vocab_kurt
  FROM history.members m
 CROSS JOIN LATERAL (SELECT * FROM public.layer_summaries s WHERE s.run_id = m.run_id AND s.model_id = m.model_id
                      ORDER BY s.layer) s;
COMMENT ON VIEW history.layer_profiles IS 'Per layer: neurons, share of universal ones, and medians of the main statistics.';
CREATE VIEW public.universal_neurons AS
SELECT m.run_id, m.model, m.family, n.layer, n."index" AS neuron,
       a.mean, a.var, a.skew, a.kurt, a.sparsity,
       w.w_in_norm, w.w_out_norm, w.input_bias, w.in_out_sim, w.l2_penalty,
       w.vocab_mean, w.vocab_var, w.vocab_skew, w.vocab_kurt,
       u.max_corr, u.mean_corr, u.min_corr, u.max_baseline, u.mean_baseline, u.min_baseline,
       u.excess_corr, u.n_models, u.n_degenerate,
       COALESCE(u.excess_corr > 0.5, false) AS universal,
       a.n_tokens, a.degenerate, a.post_mean, a.post_var, a.post_skew, a.post_kurt,
       w.logit_var, w.logit_skew, w.logit_kurt, w.vocab_n,
       n.id AS neuron_id
  FROM public.members m
  JOIN public.universality u ON u.run_id = m.run_id AND u.model_id = m.model_id AND u.excess_corr > 0.5
  JOIN public.neurons n ON n.id = u.neuron_id
  LEFT JOIN public.activation_statistics a ON a.run_id = m.run_id AND a.neuron_id = n.id
  LEFT JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id;
COMMENT ON VIEW public.universal_neurons IS 'The rows of neuron_profiles with excess_corr above 0.5 (UN 4.1).';
CREATE VIEW public.neuron_labels AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, l.family, l.subtype, l.score, l.rule_version,
       l.evidence, l.neuron_id
  FROM public.members m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id;
COMMENT ON VIEW public.neuron_labels IS 'What each neuron is, with the score and the version of the rules.';
CREATE VIEW public.family_counts AS
SELECT m.run_id, m.model, t.family, t.neurons, t.universal_neurons
  FROM public.members m
 CROSS JOIN LATERAL (SELECT t.family, sum(t.neurons) AS neurons, sum(t.universal_neurons) AS universal_neurons
                       FROM public.label_totals t WHERE t.run_id = m.run_id AND t.model_id = m.model_id
                      GROUP BY t.family) t;
COMMENT ON VIEW public.family_counts IS 'Distinct neurons per family of labels, and how many of them are universal.';
CREATE VIEW public.depth_matrix AS
SELECT m.run_id, m.model, d.layer, d.other_layer, d.fraction
  FROM public.members m
 CROSS JOIN LATERAL (SELECT * FROM public.depth_summaries d WHERE d.run_id = m.run_id AND d.model_id = m.model_id
                      ORDER BY d.layer, d.other_layer) d;
COMMENT ON VIEW public.depth_matrix IS 'Fraction of a layer''s neurons whose best match lies in each layer, mean over other models (SPEC 2.5).';
CREATE VIEW public.layer_profiles AS
SELECT m.run_id, m.model, s.layer, s.n_neurons, s.n_universal,
       s.n_universal::double precision / s.n_neurons AS share_universal, s.n_degenerate,
       s.median_excess_corr, s.median_sparsity, s.median_kurt, s.median_l2_penalty, s.median_vocab_kurt
  FROM public.members m
 CROSS JOIN LATERAL (SELECT * FROM public.layer_summaries s WHERE s.run_id = m.run_id AND s.model_id = m.model_id
                      ORDER BY s.layer) s;
COMMENT ON VIEW public.layer_profiles IS 'Per layer: neurons, share of universal ones, and medians of the main statistics.';
GRANT SELECT ON label_totals, layer_summaries, depth_summaries TO catalog_reader;
GRANT SELECT ON history.layer_profiles, history.depth_matrix, history.family_counts, history.neuron_labels, history.universal_neurons, public.layer_profiles, public.depth_matrix, public.family_counts, public.neuron_labels, public.universal_neurons TO catalog_reader;
"""

DOWNGRADE = r"""
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion
DROP VIEW public.layer_profiles;
DROP VIEW history.layer_profiles;
DROP VIEW public.depth_matrix;
DROP VIEW history.depth_matrix;
DROP VIEW public.family_counts;
DROP VIEW history.family_counts;
DROP VIEW public.neuron_labels;
DROP VIEW history.neuron_labels;
DROP VIEW public.universal_neurons;
DROP VIEW history.universal_neurons;
DROP TABLE depth_summaries;
DROP TABLE layer_summaries;
DROP TABLE label_totals;
DROP INDEX ix_universality_by_excess;
DROP INDEX ix_universality_by_place;
ALTER TABLE universality DROP COLUMN model_id;
ALTER TABLE universality DROP COLUMN layer;
ALTER TABLE universality DROP COLUMN index;
DROP INDEX ix_labels_by_excess;
DROP INDEX ix_labels_by_family;
DROP INDEX ix_labels_by_place;
DROP INDEX ix_labels_by_score;
DROP INDEX ix_labels_by_subtype;
ALTER TABLE labels DROP COLUMN model_id;
ALTER TABLE labels DROP COLUMN layer;
ALTER TABLE labels DROP COLUMN index;
ALTER TABLE labels DROP COLUMN excess_corr;
CREATE INDEX ix_universality_run_id_excess_corr ON universality (run_id, excess_corr DESC);
COMMENT ON INDEX ix_universality_run_id_excess_corr IS 'Serves universal neurons, highest excess correlation first.';
CREATE INDEX ix_labels_run_id_family_subtype_score ON labels (run_id, family, subtype, score DESC);
COMMENT ON INDEX ix_labels_run_id_family_subtype_score IS 'Serves find by family and subtype, highest score first, and the counts per family.';
CREATE VIEW history.universal_neurons AS
SELECT p.* FROM history.neuron_profiles p WHERE p.excess_corr > 0.5;
COMMENT ON VIEW history.universal_neurons IS 'The rows of neuron_profiles with excess_corr above 0.5 (UN 4.1).';
CREATE VIEW history.neuron_labels AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, l.family, l.subtype, l.score, l.rule_version,
       l.evidence, l.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.labels l ON l.run_id = m.run_id AND l.neuron_id = n.id;
COMMENT ON VIEW history.neuron_labels IS 'What each neuron is, with the score and the version of the rules.';
CREATE VIEW history.family_counts AS
SELECT m.run_id, m.model, l.family, count(DISTINCT l.neuron_id) AS neurons,
       count(DISTINCT l.neuron_id) FILTER (WHERE u.excess_corr > 0.5) AS universal_neurons
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.labels l ON l.run_id = m.run_id AND l.neuron_id = n.id
  LEFT JOIN public.universality u ON u.run_id = m.run_id AND u.neuron_id = n.id
 GROUP BY m.run_id, m.model, l.family;
COMMENT ON VIEW history.family_counts IS 'Distinct neurons per family of labels, and how many of them are universal.';
CREATE VIEW history.depth_matrix AS
SELECT f.run_id, f.model, f.layer, f.other_layer, avg(f.fraction) AS fraction
  FROM (SELECT d.run_id, d.model, d.layer, other.layer AS other_layer,
               COALESCE(sum(d.neurons) FILTER (WHERE d.match_layer = other.layer), 0)::double precision
                 / sum(d.neurons)::double precision AS fraction
          FROM (SELECT m.run_id, m.model, n.layer, u.other_model_id, o.layer AS match_layer, count(*) AS neurons
                  FROM history.members m
                  JOIN public.neurons n ON n.model_id = m.model_id
                  JOIN public.universality_by_model u ON u.run_id = m.run_id AND u.neuron_id = n.id
                  JOIN public.neurons o ON o.id = u.other_neuron_id
                 GROUP BY m.run_id, m.model, n.layer, u.other_model_id, o.layer) d
          JOIN public.models om ON om.id = d.other_model_id
         CROSS JOIN LATERAL generate_series(0, om.n_layers - 1) AS other(layer)
         GROUP BY d.run_id, d.model, d.layer, d.other_model_id, other.layer) f
 GROUP BY f.run_id, f.model, f.layer, f.other_layer;
COMMENT ON VIEW history.depth_matrix IS 'Fraction of a layer''s neurons whose best match lies in each layer, mean over other models (SPEC 2.5).';
CREATE VIEW history.layer_profiles AS
SELECT p.run_id, p.model, p.layer, count(*) AS n_neurons,
       count(*) FILTER (WHERE p.universal) AS n_universal,
       count(*) FILTER (WHERE p.universal)::double precision / count(*) AS share_universal,
       count(*) FILTER (WHERE p.degenerate) AS n_degenerate,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.excess_corr) AS median_excess_corr,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.sparsity) AS median_sparsity,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.kurt) AS median_kurt,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.l2_penalty) AS median_l2_penalty,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.vocab_kurt) AS median_vocab_kurt
  FROM history.neuron_profiles p
 GROUP BY p.run_id, p.model, p.layer;
COMMENT ON VIEW history.layer_profiles IS 'Per layer: neurons, share of universal ones, and medians of the main statistics.';
CREATE VIEW public.universal_neurons AS
SELECT p.* FROM public.neuron_profiles p WHERE p.excess_corr > 0.5;
COMMENT ON VIEW public.universal_neurons IS 'The rows of neuron_profiles with excess_corr above 0.5 (UN 4.1).';
CREATE VIEW public.neuron_labels AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, l.family, l.subtype, l.score, l.rule_version,
       l.evidence, l.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.labels l ON l.run_id = m.run_id AND l.neuron_id = n.id;
COMMENT ON VIEW public.neuron_labels IS 'What each neuron is, with the score and the version of the rules.';
CREATE VIEW public.family_counts AS
SELECT m.run_id, m.model, l.family, count(DISTINCT l.neuron_id) AS neurons,
       count(DISTINCT l.neuron_id) FILTER (WHERE u.excess_corr > 0.5) AS universal_neurons
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.labels l ON l.run_id = m.run_id AND l.neuron_id = n.id
  LEFT JOIN public.universality u ON u.run_id = m.run_id AND u.neuron_id = n.id
 GROUP BY m.run_id, m.model, l.family;
COMMENT ON VIEW public.family_counts IS 'Distinct neurons per family of labels, and how many of them are universal.';
CREATE VIEW public.depth_matrix AS
SELECT f.run_id, f.model, f.layer, f.other_layer, avg(f.fraction) AS fraction
  FROM (SELECT d.run_id, d.model, d.layer, other.layer AS other_layer,
               COALESCE(sum(d.neurons) FILTER (WHERE d.match_layer = other.layer), 0)::double precision
                 / sum(d.neurons)::double precision AS fraction
          FROM (SELECT m.run_id, m.model, n.layer, u.other_model_id, o.layer AS match_layer, count(*) AS neurons
                  FROM public.members m
                  JOIN public.neurons n ON n.model_id = m.model_id
                  JOIN public.universality_by_model u ON u.run_id = m.run_id AND u.neuron_id = n.id
                  JOIN public.neurons o ON o.id = u.other_neuron_id
                 GROUP BY m.run_id, m.model, n.layer, u.other_model_id, o.layer) d
          JOIN public.models om ON om.id = d.other_model_id
         CROSS JOIN LATERAL generate_series(0, om.n_layers - 1) AS other(layer)
         GROUP BY d.run_id, d.model, d.layer, d.other_model_id, other.layer) f
 GROUP BY f.run_id, f.model, f.layer, f.other_layer;
COMMENT ON VIEW public.depth_matrix IS 'Fraction of a layer''s neurons whose best match lies in each layer, mean over other models (SPEC 2.5).';
CREATE VIEW public.layer_profiles AS
SELECT p.run_id, p.model, p.layer, count(*) AS n_neurons,
       count(*) FILTER (WHERE p.universal) AS n_universal,
       count(*) FILTER (WHERE p.universal)::double precision / count(*) AS share_universal,
       count(*) FILTER (WHERE p.degenerate) AS n_degenerate,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.excess_corr) AS median_excess_corr,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.sparsity) AS median_sparsity,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.kurt) AS median_kurt,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.l2_penalty) AS median_l2_penalty,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p.vocab_kurt) AS median_vocab_kurt
  FROM public.neuron_profiles p
 GROUP BY p.run_id, p.model, p.layer;
COMMENT ON VIEW public.layer_profiles IS 'Per layer: neurons, share of universal ones, and medians of the main statistics.';
GRANT SELECT ON history.layer_profiles, history.depth_matrix, history.family_counts, history.neuron_labels, history.universal_neurons, public.layer_profiles, public.depth_matrix, public.family_counts, public.neuron_labels, public.universal_neurons TO catalog_reader;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
