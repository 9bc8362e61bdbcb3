"""How activations depend on the position and are distributed; positional, BOS, context and dead neurons.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_21_positions"
down_revision = "2026_11_21_question_indexes"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- The tables are written by publications only, which wait for a migration as they wait for each other.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion
CREATE TABLE position_statistics (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	n_rows INTEGER NOT NULL,
	mutual_information DOUBLE PRECISION CONSTRAINT ck_position_statistics_mutual_information_range CHECK (mutual_information BETWEEN 0 AND 0.6932),
	mutual_information_bos DOUBLE PRECISION,
	pos_std DOUBLE PRECISION,
	pos_std_mean DOUBLE PRECISION,
	pattern TEXT CONSTRAINT ck_position_statistics_pattern_known CHECK (pattern IN ('oscillatory', 'both_extremes', 'one_extreme', 'other')),
	strength TEXT CONSTRAINT ck_position_statistics_strength_known CHECK (strength IN ('strong', 'weak')),
	tolerance DOUBLE PRECISION,
	alternations SMALLINT,
	coverage DOUBLE PRECISION CONSTRAINT ck_position_statistics_coverage_range CHECK (coverage BETWEEN 0 AND 1),
	predictability DOUBLE PRECISION,
	runs JSONB NOT NULL,
	curve REAL[],
	CONSTRAINT pk_position_statistics PRIMARY KEY (run_id, neuron_id),
	CONSTRAINT fk_position_statistics_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_position_statistics_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
CREATE INDEX ix_position_statistics_positional ON position_statistics (run_id, mutual_information DESC) WHERE mutual_information > 0.05;
COMMENT ON TABLE position_statistics IS 'How being active depends on the position in the row.';
COMMENT ON COLUMN position_statistics.run_id IS 'The run that measured it.';
COMMENT ON COLUMN position_statistics.neuron_id IS 'The neuron.';
COMMENT ON COLUMN position_statistics.n_rows IS 'Rows of the corpus, each with one token per position.';
COMMENT ON COLUMN position_statistics.mutual_information IS 'Of being active and the position, without BOS, in nats (VO 5.1, SPEC 12.8); NULL below 1,000 rows.';
COMMENT ON COLUMN position_statistics.mutual_information_bos IS 'The same with BOS''s position.';
COMMENT ON COLUMN position_statistics.pos_std IS 'Standard deviation over positions of the mean post.';
COMMENT ON COLUMN position_statistics.pos_std_mean IS 'Mean over positions of the standard deviation of post over rows.';
COMMENT ON COLUMN position_statistics.pattern IS 'How the frequency depends on the position (VO 5.2, SPEC 12.9); NULL below 1,000 rows.';
COMMENT ON COLUMN position_statistics.strength IS 'strong or weak.';
COMMENT ON COLUMN position_statistics.tolerance IS 'Distance from 0 and 1 within which a frequency is extreme; NULL for the pattern other.';
COMMENT ON COLUMN position_statistics.alternations IS 'Changes between runs of low and of high frequency.';
COMMENT ON COLUMN position_statistics.coverage IS 'Share of positions in such runs.';
COMMENT ON COLUMN position_statistics.predictability IS '1 - mean squared distance from the neighbours'' mean / variance of the frequency.';
COMMENT ON COLUMN position_statistics.runs IS 'The runs: first position, last position, high or low.';
COMMENT ON COLUMN position_statistics.curve IS 'Frequency at each position, BOS first; of neurons with at least 0.01 nats.';
CREATE TABLE histograms (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	pre BIGINT[] NOT NULL CONSTRAINT ck_histograms_pre_bins CHECK (cardinality(pre) = 257),
	post BIGINT[] NOT NULL CONSTRAINT ck_histograms_post_bins CHECK (cardinality(post) = 257),
	pre_masked BIGINT[] NOT NULL CONSTRAINT ck_histograms_pre_masked_bins CHECK (cardinality(pre_masked) = 257),
	CONSTRAINT pk_histograms PRIMARY KEY (run_id, neuron_id),
	CONSTRAINT fk_histograms_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_histograms_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE histograms IS 'Counts in the bins of the published histograms: 256 edges from -10 to 15, upper edge included (SPEC 3.1).';
COMMENT ON COLUMN histograms.run_id IS 'The run that measured it.';
COMMENT ON COLUMN histograms.neuron_id IS 'The neuron.';
COMMENT ON COLUMN histograms.pre IS 'Kept tokens per bin of pre; 257 counts.';
COMMENT ON COLUMN histograms.post IS 'Kept tokens per bin of post; 257 counts.';
COMMENT ON COLUMN histograms.pre_masked IS 'Other positions, BOS and newlines, per bin of pre; 257 counts.';
CREATE TABLE distribution_statistics (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	pre_p0_1 DOUBLE PRECISION,
	pre_p1 DOUBLE PRECISION,
	pre_p5 DOUBLE PRECISION,
	pre_p25 DOUBLE PRECISION,
	pre_p50 DOUBLE PRECISION,
	pre_p75 DOUBLE PRECISION,
	pre_p95 DOUBLE PRECISION,
	pre_p99 DOUBLE PRECISION,
	pre_p99_9 DOUBLE PRECISION,
	post_p0_1 DOUBLE PRECISION,
	post_p1 DOUBLE PRECISION,
	post_p5 DOUBLE PRECISION,
	post_p25 DOUBLE PRECISION,
	post_p50 DOUBLE PRECISION,
	post_p75 DOUBLE PRECISION,
	post_p95 DOUBLE PRECISION,
	post_p99 DOUBLE PRECISION,
	post_p99_9 DOUBLE PRECISION,
	bos_activation DOUBLE PRECISION,
	bos_ratio DOUBLE PRECISION,
	CONSTRAINT pk_distribution_statistics PRIMARY KEY (run_id, neuron_id),
	CONSTRAINT fk_distribution_statistics_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_distribution_statistics_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
CREATE INDEX ix_distribution_statistics_bos ON distribution_statistics (run_id, bos_ratio DESC) WHERE bos_ratio > 1;
COMMENT ON TABLE distribution_statistics IS 'Quantiles of activations on kept tokens, and the activation on BOS.';
COMMENT ON COLUMN distribution_statistics.run_id IS 'The run that measured it.';
COMMENT ON COLUMN distribution_statistics.neuron_id IS 'The neuron.';
COMMENT ON COLUMN distribution_statistics.pre_p0_1 IS '0.1 % of kept tokens have pre up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.pre_p1 IS '1 % of kept tokens have pre up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.pre_p5 IS '5 % of kept tokens have pre up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.pre_p25 IS '25 % of kept tokens have pre up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.pre_p50 IS '50 % of kept tokens have pre up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.pre_p75 IS '75 % of kept tokens have pre up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.pre_p95 IS '95 % of kept tokens have pre up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.pre_p99 IS '99 % of kept tokens have pre up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.pre_p99_9 IS '99.9 % of kept tokens have pre up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.post_p0_1 IS '0.1 % of kept tokens have post up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.post_p1 IS '1 % of kept tokens have post up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.post_p5 IS '5 % of kept tokens have post up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.post_p25 IS '25 % of kept tokens have post up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.post_p50 IS '50 % of kept tokens have post up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.post_p75 IS '75 % of kept tokens have post up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.post_p95 IS '95 % of kept tokens have post up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.post_p99 IS '99 % of kept tokens have post up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.post_p99_9 IS '99.9 % of kept tokens have post up to this, within 1/16 of it.';
COMMENT ON COLUMN distribution_statistics.bos_activation IS 'Post on BOS, at position 0 (SPEC 6.7).';
COMMENT ON COLUMN distribution_statistics.bos_ratio IS 'bos_activation over the larger of 0.1 and the 99.9th percentile of post.';
CREATE TABLE late_statistics (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	n_tokens BIGINT NOT NULL,
	mean DOUBLE PRECISION,
	var DOUBLE PRECISION,
	skew DOUBLE PRECISION,
	kurt DOUBLE PRECISION,
	sparsity DOUBLE PRECISION,
	post_mean DOUBLE PRECISION,
	post_var DOUBLE PRECISION,
	post_skew DOUBLE PRECISION,
	post_kurt DOUBLE PRECISION,
	CONSTRAINT pk_late_statistics PRIMARY KEY (run_id, neuron_id),
	CONSTRAINT fk_late_statistics_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_late_statistics_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE late_statistics IS 'Moments and frequency of each neuron''s activations without the first ten positions of every row.';
COMMENT ON COLUMN late_statistics.run_id IS 'The run that measured it.';
COMMENT ON COLUMN late_statistics.neuron_id IS 'The neuron.';
COMMENT ON COLUMN late_statistics.n_tokens IS 'Kept tokens at position 10 or later.';
COMMENT ON COLUMN late_statistics.mean IS 'Mean pre-activation (SPEC 3.1).';
COMMENT ON COLUMN late_statistics.var IS 'Population variance of pre.';
COMMENT ON COLUMN late_statistics.skew IS 'Skewness of pre; NULL if the variance is 0.';
COMMENT ON COLUMN late_statistics.kurt IS 'Kurtosis of pre, 3 for a Gaussian; NULL if the variance is 0.';
COMMENT ON COLUMN late_statistics.sparsity IS 'Fraction of these tokens with pre > 0.';
COMMENT ON COLUMN late_statistics.post_mean IS 'Mean post-activation.';
COMMENT ON COLUMN late_statistics.post_var IS 'Population variance of post.';
COMMENT ON COLUMN late_statistics.post_skew IS 'Skewness of post.';
COMMENT ON COLUMN late_statistics.post_kurt IS 'Kurtosis of post.';
CREATE TABLE subset_statistics (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	subset TEXT NOT NULL,
	n_tokens BIGINT NOT NULL,
	mean DOUBLE PRECISION,
	var DOUBLE PRECISION,
	skew DOUBLE PRECISION,
	kurt DOUBLE PRECISION,
	sparsity DOUBLE PRECISION,
	post_mean DOUBLE PRECISION,
	post_var DOUBLE PRECISION,
	post_skew DOUBLE PRECISION,
	post_kurt DOUBLE PRECISION,
	variance_reduction DOUBLE PRECISION CONSTRAINT ck_subset_statistics_variance_reduction_range CHECK (variance_reduction BETWEEN -0.001 AND 1.001),
	CONSTRAINT pk_subset_statistics PRIMARY KEY (run_id, neuron_id, subset),
	CONSTRAINT fk_subset_statistics_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_subset_statistics_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE subset_statistics IS 'Moments and frequency of each neuron''s activations on each subset of the corpus.';
COMMENT ON COLUMN subset_statistics.run_id IS 'The run that measured it.';
COMMENT ON COLUMN subset_statistics.neuron_id IS 'The neuron.';
COMMENT ON COLUMN subset_statistics.subset IS 'The corpus''s subset.';
COMMENT ON COLUMN subset_statistics.n_tokens IS 'Kept tokens of the subset.';
COMMENT ON COLUMN subset_statistics.mean IS 'Mean pre-activation (SPEC 3.1).';
COMMENT ON COLUMN subset_statistics.var IS 'Population variance of pre.';
COMMENT ON COLUMN subset_statistics.skew IS 'Skewness of pre; NULL if the variance is 0.';
COMMENT ON COLUMN subset_statistics.kurt IS 'Kurtosis of pre, 3 for a Gaussian; NULL if the variance is 0.';
COMMENT ON COLUMN subset_statistics.sparsity IS 'Fraction of these tokens with pre > 0.';
COMMENT ON COLUMN subset_statistics.post_mean IS 'Mean post-activation.';
COMMENT ON COLUMN subset_statistics.post_var IS 'Population variance of post.';
COMMENT ON COLUMN subset_statistics.post_skew IS 'Skewness of post.';
COMMENT ON COLUMN subset_statistics.post_kurt IS 'Kurtosis of post.';
COMMENT ON COLUMN subset_statistics.variance_reduction IS 'By whether a token is in the subset (UN eq. 4); NULL below 100 tokens in or out of it.';
CREATE VIEW history.position_neurons AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, p.mutual_information, p.pattern, p.strength,
       p.alternations, p.coverage, p.predictability, p.pos_std, p.pos_std_mean, p.runs, p.curve, p.n_rows, p.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.position_statistics p ON p.run_id = m.run_id AND p.neuron_id = n.id AND p.mutual_information > 0.05;
COMMENT ON VIEW history.position_neurons IS 'Neurons whose activity tells the position: more than 0.05 nats of mutual information (VO 5.1).';
CREATE VIEW history.position_teams AS
SELECT m.run_id, m.model, t.layer, t.neurons, t.covered, t.positions,
       t.covered::double precision / NULLIF(t.positions, 0) AS share
  FROM history.members m
 CROSS JOIN LATERAL (
       SELECT n.layer, count(DISTINCT n.id) AS neurons, count(DISTINCT place.position) AS covered,
              max(c.context_length) - 1 AS positions
         FROM public.neurons n
         JOIN public.position_statistics p
           ON p.run_id = m.run_id AND p.neuron_id = n.id AND p.pattern = 'oscillatory' AND p.strength = 'strong'
         JOIN public.runs r ON r.id = m.run_id
         JOIN public.corpora c ON c.id = r.corpus_id
        CROSS JOIN LATERAL jsonb_array_elements(p.runs) AS run(span)
         LEFT JOIN LATERAL generate_series((run.span ->> 0)::int, (run.span ->> 1)::int) AS place(position)
           ON run.span ->> 2 = 'high'
        WHERE n.model_id = m.model_id
        GROUP BY n.layer ORDER BY n.layer) t;
COMMENT ON VIEW history.position_teams IS 'Per layer: the positions at which at least one of its strong oscillatory neurons is active (VO Fig. 9).';
CREATE VIEW history.dead_neurons AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, round(a.sparsity * a.n_tokens)::bigint AS activations,
       a.n_tokens, 3.0 / NULLIF(a.n_tokens, 0) AS upper_bound, a.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.activation_statistics a ON a.run_id = m.run_id AND a.neuron_id = n.id AND a.sparsity < 0.000001;
COMMENT ON VIEW history.dead_neurons IS 'Neurons that were never active, or on less than one of a million tokens; 3/n bounds the frequency of a dead one.';
CREATE VIEW history.bos_neurons AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, d.bos_activation, d.bos_ratio AS ratio, d.post_p99_9,
       d.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.distribution_statistics d ON d.run_id = m.run_id AND d.neuron_id = n.id AND d.bos_ratio > 1;
COMMENT ON VIEW history.bos_neurons IS 'Neurons that BOS activates more than the 99.9th percentile of other tokens; above 3 they are labelled (SPEC 6.7).';
CREATE VIEW history.neuron_subsets AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.subset, s.n_tokens, s.mean, s.var, s.skew, s.kurt,
       s.sparsity, s.post_mean, s.post_var, s.post_skew, s.post_kurt, s.variance_reduction, s.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.subset_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id;
COMMENT ON VIEW history.neuron_subsets IS 'Moments and frequency of each neuron on each subset, and how much the subset explains.';
CREATE VIEW public.position_neurons AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, p.mutual_information, p.pattern, p.strength,
       p.alternations, p.coverage, p.predictability, p.pos_std, p.pos_std_mean, p.runs, p.curve, p.n_rows, p.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.position_statistics p ON p.run_id = m.run_id AND p.neuron_id = n.id AND p.mutual_information > 0.05;
COMMENT ON VIEW public.position_neurons IS 'Neurons whose activity tells the position: more than 0.05 nats of mutual information (VO 5.1).';
CREATE VIEW public.position_teams AS
SELECT m.run_id, m.model, t.layer, t.neurons, t.covered, t.positions,
       t.covered::double precision / NULLIF(t.positions, 0) AS share
  FROM public.members m
 CROSS JOIN LATERAL (
       SELECT n.layer, count(DISTINCT n.id) AS neurons, count(DISTINCT place.position) AS covered,
              max(c.context_length) - 1 AS positions
         FROM public.neurons n
         JOIN public.position_statistics p
           ON p.run_id = m.run_id AND p.neuron_id = n.id AND p.pattern = 'oscillatory' AND p.strength = 'strong'
         JOIN public.runs r ON r.id = m.run_id
         JOIN public.corpora c ON c.id = r.corpus_id
        CROSS JOIN LATERAL jsonb_array_elements(p.runs) AS run(span)
         LEFT JOIN LATERAL generate_series((run.span ->> 0)::int, (run.span ->> 1)::int) AS place(position)
           ON run.span ->> 2 = 'high'
        WHERE n.model_id = m.model_id
        GROUP BY n.layer ORDER BY n.layer) t;
COMMENT ON VIEW public.position_teams IS 'Per layer: the positions at which at least one of its strong oscillatory neurons is active (VO Fig. 9).';
CREATE VIEW public.dead_neurons AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, round(a.sparsity * a.n_tokens)::bigint AS activations,
       a.n_tokens, 3.0 / NULLIF(a.n_tokens, 0) AS upper_bound, a.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.activation_statistics a ON a.run_id = m.run_id AND a.neuron_id = n.id AND a.sparsity < 0.000001;
COMMENT ON VIEW public.dead_neurons IS 'Neurons that were never active, or on less than one of a million tokens; 3/n bounds the frequency of a dead one.';
CREATE VIEW public.bos_neurons AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, d.bos_activation, d.bos_ratio AS ratio, d.post_p99_9,
       d.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.distribution_statistics d ON d.run_id = m.run_id AND d.neuron_id = n.id AND d.bos_ratio > 1;
COMMENT ON VIEW public.bos_neurons IS 'Neurons that BOS activates more than the 99.9th percentile of other tokens; above 3 they are labelled (SPEC 6.7).';
CREATE VIEW public.neuron_subsets AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.subset, s.n_tokens, s.mean, s.var, s.skew, s.kurt,
       s.sparsity, s.post_mean, s.post_var, s.post_skew, s.post_kurt, s.variance_reduction, s.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.subset_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id;
COMMENT ON VIEW public.neuron_subsets IS 'Moments and frequency of each neuron on each subset, and how much the subset explains.';
COMMENT ON INDEX ix_distribution_statistics_bos IS 'Serves bos_neurons: the neurons of a run that BOS activates more than other tokens, highest ratio first.';
COMMENT ON INDEX ix_position_statistics_positional IS 'Serves position_neurons: the positional neurons of a run, most informative first.';
CREATE INDEX ix_activation_statistics_rare ON activation_statistics (run_id, neuron_id) WHERE sparsity < 0.000001;
COMMENT ON INDEX ix_activation_statistics_rare IS 'Serves dead_neurons: the neurons of a run that are never or hardly ever active.';
COMMENT ON COLUMN labels.family IS 'What the neuron is; the families are those of the table rules.';
COMMENT ON COLUMN labels.subtype IS 'Which letter, word, feature or pattern; provisional where tokens are too few to say.';
COMMENT ON COLUMN labels.score IS 'Variance reduction; mutual information in nats for position, ratio for bos, frequency for dead and near_dead.';
GRANT SELECT ON position_statistics, histograms, distribution_statistics, late_statistics, subset_statistics TO catalog_reader;
GRANT SELECT ON history.position_neurons, history.position_teams, history.dead_neurons, history.bos_neurons, history.neuron_subsets TO catalog_reader;
GRANT SELECT ON public.position_neurons, public.position_teams, public.dead_neurons, public.bos_neurons, public.neuron_subsets TO catalog_reader;
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
  (VALUES ('position', 'min_mutual_information', 0.05, 'Nats of mutual information with the position that more than suffice (VO 5.1).'),
          ('bos', 'min_ratio', 3, 'Activation on BOS over the 99.9th percentile of post that more than suffices (SPEC 6.7).'),
          ('context', 'min_variance_reduction', 0.05, 'Least variance reduction, where a subset of the corpus explains best.'),
          ('unexplained', 'max_variance_reduction', 0.05, 'Variance reduction of the best feature below which a universal neuron is unexplained.'),
          ('dead', 'enough_tokens', 20000000, 'Tokens below which a label of dead or near_dead is provisional (VO 3).'),
          ('near_dead', 'max_frequency', 0.000001, 'Frequency below which a neuron that was active is nearly dead.')
  ) AS new(family, parameter, value, description)
 WHERE NOT EXISTS (SELECT 1 FROM rules r WHERE r.rule_version = v.version AND r.family = new.family)
   AND v.version >= (SELECT max(version) FROM rule_versions WHERE published_at IS NOT NULL);
"""

DOWNGRADE = r"""
-- squawk-ignore-file require-concurrent-index-deletion
DROP VIEW public.neuron_subsets;
DROP VIEW history.neuron_subsets;
DROP VIEW public.bos_neurons;
DROP VIEW history.bos_neurons;
DROP VIEW public.dead_neurons;
DROP VIEW history.dead_neurons;
DROP VIEW public.position_teams;
DROP VIEW history.position_teams;
DROP VIEW public.position_neurons;
DROP VIEW history.position_neurons;
DROP INDEX ix_activation_statistics_rare;
COMMENT ON COLUMN labels.family IS 'alphabet, unigram, token_class, previous_token.';
COMMENT ON COLUMN labels.subtype IS 'Which letter, word or feature.';
COMMENT ON COLUMN labels.score IS 'Variance reduction for these families.';
-- Labels of the families that go, and what was known of a run that has them; relabelling with older rules is up to the user.
DELETE FROM run_checksums WHERE table_name IN ('run_parts', 'position_statistics', 'histograms', 'distribution_statistics', 'late_statistics',
                     'subset_statistics')
   AND run_id IN (SELECT run_id FROM run_parts WHERE part IN ('positions', 'distributions'));
DELETE FROM run_checksums WHERE table_name IN ('labels', 'label_totals')
   AND run_id IN (SELECT run_id FROM labels WHERE family IN ('position', 'bos', 'context', 'dead', 'near_dead', 'unexplained'));
DELETE FROM labels WHERE family IN ('position', 'bos', 'context', 'dead', 'near_dead', 'unexplained');
DELETE FROM label_totals WHERE family IN ('position', 'bos', 'context', 'dead', 'near_dead', 'unexplained');
DELETE FROM run_parts WHERE part IN ('positions', 'distributions');
DELETE FROM rules WHERE family IN ('position', 'bos', 'context', 'dead', 'near_dead', 'unexplained');
DROP TABLE subset_statistics;
DROP TABLE late_statistics;
DROP TABLE distribution_statistics;
DROP TABLE histograms;
DROP TABLE position_statistics;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
