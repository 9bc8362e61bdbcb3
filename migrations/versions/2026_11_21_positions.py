"""Positions: how being active depends on the position in the row; dead neurons; their label rules.

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
	bos_activation DOUBLE PRECISION,
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
COMMENT ON COLUMN position_statistics.bos_activation IS 'Post on BOS, at position 0.';
COMMENT ON COLUMN position_statistics.pattern IS 'How the frequency depends on the position (VO 5.2, SPEC 12.9); NULL below 1,000 rows.';
COMMENT ON COLUMN position_statistics.strength IS 'strong or weak.';
COMMENT ON COLUMN position_statistics.tolerance IS 'Distance from 0 and 1 within which a frequency is extreme; NULL for the pattern other.';
COMMENT ON COLUMN position_statistics.alternations IS 'Changes between runs of low and of high frequency.';
COMMENT ON COLUMN position_statistics.coverage IS 'Share of positions in such runs.';
COMMENT ON COLUMN position_statistics.predictability IS '1 - mean squared distance from the neighbours'' mean / variance of the frequency.';
COMMENT ON COLUMN position_statistics.runs IS 'The runs: first position, last position, high or low.';
COMMENT ON COLUMN position_statistics.curve IS 'Frequency at each position, BOS first; of neurons with at least 0.01 nats.';
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
COMMENT ON INDEX ix_position_statistics_positional IS 'Serves position_neurons: the positional neurons of a run, most informative first.';
CREATE INDEX ix_activation_statistics_rare ON activation_statistics (run_id, neuron_id) WHERE sparsity < 0.000001;
COMMENT ON INDEX ix_activation_statistics_rare IS 'Serves dead_neurons: the neurons of a run that are never or hardly ever active.';
COMMENT ON COLUMN labels.family IS 'What the neuron is; the families are those of the table rules.';
COMMENT ON COLUMN labels.subtype IS 'Which letter, word, feature or pattern; provisional where tokens are too few to say.';
COMMENT ON COLUMN labels.score IS 'Variance reduction, mutual information in nats for position, frequency for dead and near_dead.';
GRANT SELECT ON position_statistics TO catalog_reader;
GRANT SELECT ON history.position_neurons, history.position_teams, history.dead_neurons, public.position_neurons, public.position_teams, public.dead_neurons TO catalog_reader;
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
          ('dead', 'enough_tokens', 20000000, 'Tokens below which a label of dead or near_dead is provisional (VO 3).'),
          ('near_dead', 'max_frequency', 0.000001, 'Frequency below which a neuron that was active is nearly dead.')
  ) AS new(family, parameter, value, description)
 WHERE NOT EXISTS (SELECT 1 FROM rules r WHERE r.rule_version = v.version AND r.family = new.family)
   AND v.version >= (SELECT max(version) FROM rule_versions WHERE published_at IS NOT NULL);
"""

DOWNGRADE = r"""
-- squawk-ignore-file require-concurrent-index-deletion
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
DELETE FROM run_checksums WHERE table_name IN ('run_parts', 'position_statistics')
   AND run_id IN (SELECT run_id FROM run_parts WHERE part = 'positions');
DELETE FROM run_checksums WHERE table_name IN ('labels', 'label_totals')
   AND run_id IN (SELECT run_id FROM labels WHERE family IN ('position', 'dead', 'near_dead'));
DELETE FROM labels WHERE family IN ('position', 'dead', 'near_dead');
DELETE FROM label_totals WHERE family IN ('position', 'dead', 'near_dead');
DELETE FROM run_parts WHERE part = 'positions';
DELETE FROM rules WHERE family IN ('position', 'dead', 'near_dead');
DROP TABLE position_statistics;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
