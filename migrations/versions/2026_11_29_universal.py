"""How sure correlations and universality are: standard errors, and whether a neuron is universal, not, or undecided.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_universal"
down_revision = "2026_11_29_explained"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- Nobody writes while a migration runs, and no index can be made concurrently within its transaction.
-- squawk-ignore-file changing-column-type, require-concurrent-index-creation, require-concurrent-index-deletion
-- squawk-ignore-file ban-drop-default, constraint-missing-not-valid, adding-field-with-default
ALTER TABLE run_jobs DROP CONSTRAINT ck_run_jobs_kind_known;
ALTER TABLE run_jobs ADD CONSTRAINT ck_run_jobs_kind_known
    CHECK (kind IN ('pivots', 'accumulate', 'combine', 'jackknife', 'measure')) NOT VALID;
ALTER TABLE run_jobs VALIDATE CONSTRAINT ck_run_jobs_kind_known;
COMMENT ON COLUMN run_jobs.kind IS 'pivots, accumulate, combine, jackknife or measure.';

ALTER TABLE pairs
    ADD COLUMN correlation_se REAL CONSTRAINT ck_pairs_correlation_se_not_negative CHECK (correlation_se >= 0);
COMMENT ON COLUMN pairs.correlation_se IS 'Standard error of correlation, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';

ALTER TABLE universality_by_model
    ADD COLUMN max_corr_se REAL CONSTRAINT ck_universality_by_model_max_corr_se_not_negative CHECK (max_corr_se >= 0),
    ADD COLUMN baseline_se REAL CONSTRAINT ck_universality_by_model_baseline_se_not_negative CHECK (baseline_se >= 0),
    ADD COLUMN without_blocks REAL[] CONSTRAINT ck_universality_by_model_without_blocks_has_error
        CHECK ((without_blocks IS NULL) = (max_corr_se IS NULL));
COMMENT ON COLUMN universality_by_model.max_corr_se IS 'Standard error of max_corr, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN universality_by_model.baseline_se IS 'Standard error of baseline, over draws; NULL for one draw.';
COMMENT ON COLUMN universality_by_model.without_blocks IS 'What the correlation with the best partner is without each block of documents that has tokens, less max_corr, in order of blocks; NULL where max_corr_se is.';

-- What was measured before has no errors: where there is an excess, nothing is decided.

DROP INDEX ix_universality_by_excess;
DROP INDEX ix_universality_by_place;
DROP INDEX ix_universality_of_universal;
ALTER TABLE universality ALTER COLUMN universal DROP DEFAULT;
ALTER TABLE universality ALTER COLUMN universal TYPE TEXT
    USING CASE WHEN excess_corr IS NULL THEN 'no' ELSE 'undecided' END;
ALTER TABLE universality ALTER COLUMN universal SET DEFAULT 'no';
ALTER TABLE universality
    ADD COLUMN mean_corr_se DOUBLE PRECISION,
    ADD COLUMN excess_se DOUBLE PRECISION,
    ADD CONSTRAINT ck_universality_universal_known CHECK (universal IN ('yes', 'no', 'undecided')) NOT VALID;
ALTER TABLE universality VALIDATE CONSTRAINT ck_universality_universal_known;
CREATE INDEX ix_universality_by_excess ON universality (run_id, model_id, excess_corr DESC NULLS LAST, layer);
CREATE INDEX ix_universality_by_place ON universality (run_id, model_id, universal, layer, index);
CREATE INDEX ix_universality_of_universal ON universality (run_id, model_id, universal, excess_corr DESC NULLS LAST, layer);
COMMENT ON COLUMN universality.universal IS 'yes: excess_corr - 1.96 excess_se is above universal.min_excess of the rules (UN eq. 3); no: excess_corr + 1.96 excess_se is not, or excess_corr is undefined; undecided: neither, or excess_se is unknown.';
COMMENT ON COLUMN universality.mean_corr_se IS 'Standard error of mean_corr, by the jackknife over blocks of documents; NULL with fewer than 10 blocks. A block is left out of all models at once.';
COMMENT ON COLUMN universality.excess_se IS 'Standard error of excess_corr, over blocks of documents as that of mean_corr and over draws of the baseline; NULL with fewer than 10 blocks or a single draw.';
COMMENT ON INDEX ix_universality_by_excess IS 'Serves universal: neurons of a model above a threshold that is asked for, highest excess correlation first.';
COMMENT ON INDEX ix_universality_by_place IS 'Serves universal neurons of a model, or undecided ones, by layer and index.';
COMMENT ON INDEX ix_universality_of_universal IS 'Serves universal: the neurons of a model that are universal, or undecided, highest excess correlation first.';

ALTER TABLE labels ALTER COLUMN universal TYPE TEXT USING CASE WHEN excess_corr IS NULL THEN 'no' ELSE 'undecided' END;
ALTER TABLE labels ADD CONSTRAINT ck_labels_universal_known CHECK (universal IN ('yes', 'no', 'undecided')) NOT VALID;
ALTER TABLE labels VALIDATE CONSTRAINT ck_labels_universal_known;
COMMENT ON COLUMN labels.universal IS 'Whether the neuron is universal, from universality: yes, no or undecided.';

ALTER TABLE label_totals
    ADD COLUMN undecided_labels INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN undecided_neurons INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE label_totals ALTER COLUMN undecided_labels DROP DEFAULT, ALTER COLUMN undecided_neurons DROP DEFAULT;
UPDATE label_totals SET universal_labels = 0, universal_neurons = 0;
UPDATE label_totals t SET undecided_labels = c.labels, undecided_neurons = c.neurons
  FROM (SELECT run_id, model_id, family, subtype, layer, count(*) AS labels, count(*) FILTER (WHERE place = 1) AS neurons
          FROM (SELECT l.*, row_number() OVER (PARTITION BY l.run_id, l.neuron_id, l.family ORDER BY l.subtype) AS place
                  FROM labels l) AS found
         WHERE universal = 'undecided' GROUP BY 1, 2, 3, 4, 5) AS c
 WHERE (t.run_id, t.model_id, t.family, t.subtype, t.layer) = (c.run_id, c.model_id, c.family, c.subtype, c.layer);
COMMENT ON COLUMN label_totals.undecided_labels IS 'Labels of neurons of which it is undecided whether they are universal.';
COMMENT ON COLUMN label_totals.undecided_neurons IS 'Those of the neurons of which it is undecided whether they are universal.';

ALTER TABLE layer_summaries
    ADD COLUMN n_undecided INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE layer_summaries ALTER COLUMN n_undecided DROP DEFAULT;
UPDATE layer_summaries s SET n_universal = 0, n_undecided = COALESCE(
    (SELECT count(*) FROM universality u WHERE (u.run_id, u.model_id, u.layer) = (s.run_id, s.model_id, s.layer)
                                           AND u.universal = 'undecided'), 0);
COMMENT ON COLUMN layer_summaries.n_undecided IS 'Those of which it is undecided whether they are universal.';

DELETE FROM run_checksums WHERE table_name IN ('universality', 'labels', 'label_totals', 'layer_summaries');
"""

DOWNGRADE = r"""
-- Nobody writes while a migration runs, and no index can be made concurrently within its transaction.
-- squawk-ignore-file changing-column-type, require-concurrent-index-creation, require-concurrent-index-deletion
-- squawk-ignore-file ban-drop-default, constraint-missing-not-valid, adding-field-with-default
ALTER TABLE layer_summaries DROP COLUMN n_undecided;
ALTER TABLE label_totals DROP COLUMN undecided_labels, DROP COLUMN undecided_neurons;

ALTER TABLE labels DROP CONSTRAINT ck_labels_universal_known;
ALTER TABLE labels ALTER COLUMN universal TYPE BOOLEAN USING universal = 'yes';
COMMENT ON COLUMN labels.universal IS 'Whether the neuron is universal, from universality.';

DROP INDEX ix_universality_by_excess;
DROP INDEX ix_universality_by_place;
DROP INDEX ix_universality_of_universal;
ALTER TABLE universality DROP CONSTRAINT ck_universality_universal_known, DROP COLUMN mean_corr_se, DROP COLUMN excess_se;
ALTER TABLE universality ALTER COLUMN universal DROP DEFAULT;
ALTER TABLE universality ALTER COLUMN universal TYPE BOOLEAN USING universal = 'yes';
ALTER TABLE universality ALTER COLUMN universal SET DEFAULT false;
CREATE INDEX ix_universality_by_excess ON universality (run_id, model_id, excess_corr DESC, layer);
CREATE INDEX ix_universality_by_place ON universality (run_id, model_id, layer, index) WHERE universal;
CREATE INDEX ix_universality_of_universal ON universality (run_id, model_id, excess_corr DESC, layer) WHERE universal;
COMMENT ON COLUMN universality.universal IS 'excess_corr is above universal.min_excess of the rules (UN eq. 3); false if undefined.';
COMMENT ON INDEX ix_universality_by_excess IS 'Serves universal: neurons of a model above a threshold that is asked for, highest excess correlation first.';
COMMENT ON INDEX ix_universality_by_place IS 'Serves universal neurons of a model, by layer and index.';
COMMENT ON INDEX ix_universality_of_universal IS 'Serves universal: the universal neurons of a model, highest excess correlation first.';

ALTER TABLE universality_by_model
    DROP COLUMN without_blocks,
    DROP COLUMN baseline_se,
    DROP COLUMN max_corr_se;
ALTER TABLE pairs DROP COLUMN correlation_se;

DELETE FROM run_jobs WHERE kind = 'jackknife';
ALTER TABLE run_jobs DROP CONSTRAINT ck_run_jobs_kind_known;
ALTER TABLE run_jobs ADD CONSTRAINT ck_run_jobs_kind_known
    CHECK (kind IN ('pivots', 'accumulate', 'combine', 'measure')) NOT VALID;
ALTER TABLE run_jobs VALIDATE CONSTRAINT ck_run_jobs_kind_known;
COMMENT ON COLUMN run_jobs.kind IS 'pivots, accumulate, combine or measure.';
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
