"""Labels are found family by family, from the best; neurons by any excess correlation; what is unexplained is said.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_25_answers"
down_revision = "2026_11_25_partitions"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- The tables are written by publications only, which wait for a migration as they wait for each other.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion
DROP INDEX ix_universality_by_excess;
CREATE INDEX ix_universality_by_excess ON universality (run_id, model_id, excess_corr DESC, layer);
COMMENT ON INDEX ix_universality_by_excess IS 'Serves universal: neurons of a model above 0.5 or another threshold, highest excess correlation first.';
DROP INDEX ix_labels_by_score;
CREATE INDEX ix_labels_by_rank ON labels (run_id, model_id, family, (CASE WHEN family IN ('anti_entropy', 'dead', 'near_dead', 'unexplained') THEN score ELSE -score END), layer, excess_corr);
COMMENT ON INDEX ix_labels_by_rank IS 'Serves find, family by family, the best score first; layer and excess are tested in the index.';
COMMENT ON INDEX ix_labels_by_family IS 'Serves find by family and least score, and its count; layer and excess are tested in the index.';
DROP INDEX ix_labels_by_subtype;
CREATE INDEX ix_labels_by_subtype ON labels (run_id, model_id, subtype, family, (CASE WHEN family IN ('anti_entropy', 'dead', 'near_dead', 'unexplained') THEN score ELSE -score END));
COMMENT ON INDEX ix_labels_by_subtype IS 'Serves find by subtype, family by family, the best score first.';
COMMENT ON COLUMN labels.family IS 'What the neuron is; the families are those of the table rules. unexplained: a universal neuron whose best feature is below max_variance_reduction and that no rule of position, bos, prediction, suppression, partition, entropy or attention labels; a universal neuron without any label need not be one.';
COMMENT ON COLUMN history.neuron_labels.family IS 'What the neuron is; the families are those of the table rules. unexplained: a universal neuron whose best feature is below max_variance_reduction and that no rule of position, bos, prediction, suppression, partition, entropy or attention labels; a universal neuron without any label need not be one.';
COMMENT ON COLUMN history.neuron_labels.score IS 'In the unit of its family: variance reduction; nats for position and entropy, ratio for bos, frequency for dead and near_dead, share of activations for detectors, vocab_kurt for prediction, suppression and partition, |h| for attention, |cosine| for antipodal and duplicate. The highest is the best; of anti_entropy, dead, near_dead and unexplained the lowest.';
COMMENT ON COLUMN public.neuron_labels.family IS 'What the neuron is; the families are those of the table rules. unexplained: a universal neuron whose best feature is below max_variance_reduction and that no rule of position, bos, prediction, suppression, partition, entropy or attention labels; a universal neuron without any label need not be one.';
COMMENT ON COLUMN public.neuron_labels.score IS 'In the unit of its family: variance reduction; nats for position and entropy, ratio for bos, frequency for dead and near_dead, share of activations for detectors, vocab_kurt for prediction, suppression and partition, |h| for attention, |cosine| for antipodal and duplicate. The highest is the best; of anti_entropy, dead, near_dead and unexplained the lowest.';
UPDATE rules SET description = 'Variance reduction of the best feature below which a universal neuron is unexplained, if no rule of position, bos, prediction, suppression, partition, entropy or attention labels it.'
 WHERE family = 'unexplained' AND parameter = 'max_variance_reduction';
"""

DOWNGRADE = r"""
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion
COMMENT ON COLUMN labels.family IS 'What the neuron is; the families are those of the table rules.';
COMMENT ON COLUMN history.neuron_labels.family IS 'What the neuron is; the families are those of the table rules.';
COMMENT ON COLUMN history.neuron_labels.score IS 'In the unit of its family: variance reduction; nats for position and entropy, ratio for bos, frequency for dead and near_dead, share of activations for detectors, vocab_kurt for prediction, suppression and partition, |h| for attention, |cosine| for antipodal and duplicate.';
COMMENT ON COLUMN public.neuron_labels.family IS 'What the neuron is; the families are those of the table rules.';
COMMENT ON COLUMN public.neuron_labels.score IS 'In the unit of its family: variance reduction; nats for position and entropy, ratio for bos, frequency for dead and near_dead, share of activations for detectors, vocab_kurt for prediction, suppression and partition, |h| for attention, |cosine| for antipodal and duplicate.';
UPDATE rules SET description = 'Variance reduction of the best feature below which a universal neuron is unexplained.'
 WHERE family = 'unexplained' AND parameter = 'max_variance_reduction';
DROP INDEX ix_labels_by_subtype;
CREATE INDEX ix_labels_by_subtype ON labels (run_id, model_id, subtype, family, score DESC);
COMMENT ON INDEX ix_labels_by_subtype IS 'Serves find by subtype, highest score first.';
COMMENT ON INDEX ix_labels_by_family IS 'Serves find by family, highest score first; layer and excess are tested in the index.';
DROP INDEX ix_labels_by_rank;
CREATE INDEX ix_labels_by_score ON labels (run_id, model_id, score DESC, layer, excess_corr);
COMMENT ON INDEX ix_labels_by_score IS 'Serves find, highest score first; layer and excess are tested in the index.';
DROP INDEX ix_universality_by_excess;
CREATE INDEX ix_universality_by_excess ON universality (run_id, model_id, excess_corr DESC, layer) WHERE excess_corr > 0.5;
COMMENT ON INDEX ix_universality_by_excess IS 'Serves universal neurons of a model, highest excess correlation first.';
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
