"""Classes of next tokens before which a neuron's activation differs.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_21_next_tokens"
down_revision = "2026_11_21_topics"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- squawk-ignore-file adding-foreign-key-constraint
CREATE TABLE next_token_statistics (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	feature_id INTEGER NOT NULL,
	rank SMALLINT NOT NULL CONSTRAINT ck_next_token_statistics_rank_positive CHECK (rank >= 1),
	n_in BIGINT NOT NULL,
	n_out BIGINT NOT NULL,
	mean_in DOUBLE PRECISION NOT NULL,
	mean_out DOUBLE PRECISION NOT NULL,
	freq_in DOUBLE PRECISION NOT NULL,
	freq_out DOUBLE PRECISION NOT NULL,
	cohen_d DOUBLE PRECISION NOT NULL,
	CONSTRAINT pk_next_token_statistics PRIMARY KEY (run_id, neuron_id, feature_id),
	CONSTRAINT fk_next_token_statistics_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_next_token_statistics_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE,
	CONSTRAINT fk_next_token_statistics_feature_id FOREIGN KEY(feature_id) REFERENCES features (id)
);
COMMENT ON TABLE next_token_statistics IS 'The five classes of next tokens before which a neuron''s pre-activation differs most (SPEC 3.5).';
COMMENT ON COLUMN next_token_statistics.run_id IS 'The run that measured it.';
COMMENT ON COLUMN next_token_statistics.neuron_id IS 'The neuron.';
COMMENT ON COLUMN next_token_statistics.feature_id IS 'The class: tokens with this feature.';
COMMENT ON COLUMN next_token_statistics.rank IS 'By the size of cohen_d, 1 the largest.';
COMMENT ON COLUMN next_token_statistics.n_in IS 'Kept tokens before a token of the class.';
COMMENT ON COLUMN next_token_statistics.n_out IS 'Kept tokens before another token; the last one of a row is before none.';
COMMENT ON COLUMN next_token_statistics.mean_in IS 'Mean pre before tokens of the class.';
COMMENT ON COLUMN next_token_statistics.mean_out IS 'Mean pre before others.';
COMMENT ON COLUMN next_token_statistics.freq_in IS 'Fraction with pre > 0 before tokens of the class.';
COMMENT ON COLUMN next_token_statistics.freq_out IS 'Fraction with pre > 0 before others.';
COMMENT ON COLUMN next_token_statistics.cohen_d IS 'Difference of the means over the pooled standard deviation.';
CREATE VIEW history.neuron_next_tokens AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, f.name AS feature, s.rank, s.n_in, s.n_out,
       s.mean_in, s.mean_out, s.freq_in, s.freq_out, s.cohen_d, f.family AS feature_family, s.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.next_token_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id
  JOIN public.features f ON f.id = s.feature_id;
COMMENT ON VIEW history.neuron_next_tokens IS 'Classes of next tokens before which each neuron differs most: mean pre and frequency before them and before others.';
CREATE VIEW public.neuron_next_tokens AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, f.name AS feature, s.rank, s.n_in, s.n_out,
       s.mean_in, s.mean_out, s.freq_in, s.freq_out, s.cohen_d, f.family AS feature_family, s.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.next_token_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id
  JOIN public.features f ON f.id = s.feature_id;
COMMENT ON VIEW public.neuron_next_tokens IS 'Classes of next tokens before which each neuron differs most: mean pre and frequency before them and before others.';
GRANT SELECT ON next_token_statistics TO catalog_reader;
GRANT SELECT ON history.neuron_next_tokens, public.neuron_next_tokens TO catalog_reader;
"""

DOWNGRADE = r"""
DROP VIEW public.neuron_next_tokens;
DROP VIEW history.neuron_next_tokens;
DELETE FROM run_checksums WHERE table_name IN ('run_parts', 'next_token_statistics', 'features', 'feature_tokens')
   AND run_id IN (SELECT run_id FROM run_parts WHERE part = 'next_tokens');
DELETE FROM run_parts WHERE part = 'next_tokens';
DROP TABLE next_token_statistics;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
