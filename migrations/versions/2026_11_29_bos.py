"""Rows that begin with text, and tokenizers without BOS.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_bos"
down_revision = "2026_11_29_baseline"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- squawk-ignore ban-drop-not-null
ALTER TABLE tokenizers ALTER COLUMN bos_id DROP NOT NULL;
COMMENT ON COLUMN tokenizers.bos_id IS 'Id of BOS, put before rows that begin with it; NULL if there is none.';

ALTER TABLE corpora ADD COLUMN begins_with_bos BOOLEAN DEFAULT true NOT NULL;
COMMENT ON COLUMN corpora.begins_with_bos IS 'Rows begin with the tokenizer''s BOS, else with text.';
COMMENT ON COLUMN corpus_rows.tokens IS 'Token ids, BOS first where rows begin with it.';

ALTER TABLE examples DROP CONSTRAINT ck_examples_position_positive;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE examples ADD CONSTRAINT ck_examples_position_not_negative CHECK ("position" >= 0);
COMMENT ON COLUMN examples.position IS 'In the row, from 0; BOS, which is no example, is at 0 where rows begin with it.';

COMMENT ON COLUMN distribution_statistics.bos_activation IS 'Post on BOS, at position 0 (SPEC 6.7); NULL where rows begin without BOS.';
COMMENT ON COLUMN distribution_statistics.bos_ratio IS 'bos_activation over the larger of 0.1 and the 99.9th percentile of post; NULL where that is.';
COMMENT ON COLUMN position_statistics.mutual_information_bos IS 'The same with BOS''s position; NULL where rows begin without BOS.';
COMMENT ON COLUMN position_statistics.curve IS 'Frequency at each position, BOS first where rows have it; of neurons with at least 0.01 nats.';
COMMENT ON TABLE head_scores IS 'How each neuron''s output moves heads of later layers towards BOS: the first 50 of a head, the ends of a neuron. None of runs whose rows begin without BOS.';
COMMENT ON TABLE head_baselines IS 'What h is by chance, per head; of runs whose rows begin with BOS.';
"""

# What has no such column takes every row to begin with BOS: runs of others go, with what they alone stand on.
DOWNGRADE = r"""
DELETE FROM runs r
 WHERE EXISTS (SELECT FROM corpora c WHERE c.id = r.corpus_id AND NOT c.begins_with_bos)
    OR EXISTS (SELECT FROM run_parts p WHERE p.run_id = r.id AND p.settings ->> 'bos' = 'never')
    OR EXISTS (SELECT FROM run_models rm JOIN models m ON m.id = rm.model_id JOIN tokenizers t ON t.id = m.tokenizer_id
                WHERE rm.run_id = r.id AND t.bos_id IS NULL);
DELETE FROM corpora WHERE NOT begins_with_bos OR tokenizer_id IN (SELECT id FROM tokenizers WHERE bos_id IS NULL);
DELETE FROM models WHERE tokenizer_id IN (SELECT id FROM tokenizers WHERE bos_id IS NULL);
DELETE FROM tokenizers WHERE bos_id IS NULL;

COMMENT ON TABLE head_baselines IS 'What h is by chance, per head.';
COMMENT ON TABLE head_scores IS 'How each neuron''s output moves heads of later layers towards BOS: the first 50 of a head, the ends of a neuron.';
COMMENT ON COLUMN position_statistics.curve IS 'Frequency at each position, BOS first; of neurons with at least 0.01 nats.';
COMMENT ON COLUMN position_statistics.mutual_information_bos IS 'The same with BOS''s position.';
COMMENT ON COLUMN distribution_statistics.bos_ratio IS 'bos_activation over the larger of 0.1 and the 99.9th percentile of post.';
COMMENT ON COLUMN distribution_statistics.bos_activation IS 'Post on BOS, at position 0 (SPEC 6.7).';

COMMENT ON COLUMN examples.position IS 'In the row; 0 is BOS, which is no example.';
ALTER TABLE examples DROP CONSTRAINT ck_examples_position_not_negative;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE examples ADD CONSTRAINT ck_examples_position_positive CHECK ("position" >= 1);

COMMENT ON COLUMN corpus_rows.tokens IS 'Token ids, BOS first.';
ALTER TABLE corpora DROP COLUMN begins_with_bos;
COMMENT ON COLUMN tokenizers.bos_id IS 'Id put before every row.';
-- squawk-ignore adding-not-nullable-field
ALTER TABLE tokenizers ALTER COLUMN bos_id SET NOT NULL;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
