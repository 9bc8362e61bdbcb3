"""What each tensor of a model holds, and which models are steps of one training.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_lineage"
down_revision = "2026_11_29_bos"
branch_labels = None
depends_on = None

UPGRADE = r"""
CREATE TABLE model_tensors (
    model_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    shape INTEGER[] NOT NULL,
    sha256 TEXT NOT NULL,
    n_distinct SMALLINT NOT NULL,
    CONSTRAINT pk_model_tensors PRIMARY KEY (model_id, name),
    CONSTRAINT fk_model_tensors_model_id FOREIGN KEY (model_id) REFERENCES models (id) ON DELETE CASCADE
);
COMMENT ON TABLE model_tensors IS 'The parameters of each model, by what they hold; none of controls.';
COMMENT ON COLUMN model_tensors.model_id IS 'The model.';
COMMENT ON COLUMN model_tensors.name IS 'Name of the parameter in the raw model; of tied ones the first.';
COMMENT ON COLUMN model_tensors.shape IS 'Its dimensions, in numbers; empty of a single value.';
COMMENT ON COLUMN model_tensors.sha256 IS 'sha256 of its values in order, in fp32 (4 bytes each, little-endian), -0 as 0.';
COMMENT ON COLUMN model_tensors.n_distinct IS 'Distinct values, counted up to 256.';
COMMENT ON INDEX pk_model_tensors IS 'Serves shared_tensors and lineages: the tensors of a model.';
CREATE INDEX ix_model_tensors_sha256 ON model_tensors (sha256);
COMMENT ON INDEX ix_model_tensors_sha256 IS 'Serves ingest and shared_tensors: which other models share a tensor.';
GRANT SELECT ON model_tensors TO catalog_reader;

ALTER TABLE models ADD COLUMN training TEXT;
ALTER TABLE models ADD COLUMN step INTEGER;
ALTER TABLE models ADD COLUMN init_of INTEGER;
-- a row per model, all of them NULL there
-- squawk-ignore adding-foreign-key-constraint, constraint-missing-not-valid
ALTER TABLE models ADD CONSTRAINT fk_models_init_of FOREIGN KEY (init_of) REFERENCES models (id);
COMMENT ON COLUMN models.weights_sha256 IS 'sha256 over names, shapes and fp32 bytes of the raw parameters, -0 as 0.';
COMMENT ON COLUMN models.training IS 'Name of the training that it is a step of: its own name, with what the revision says beside the step, such as a seed; NULL where step is.';
COMMENT ON COLUMN models.step IS 'Optimiser steps of its training so far, as revision, name or folder say; NULL if unknown.';
COMMENT ON COLUMN models.init_of IS 'The published model at step 0 that it begins with: of the same training and seed. NULL of step 0 itself, where step is NULL, and where the catalog has no such model.';

ALTER TABLE model_aliases ADD COLUMN training TEXT;
ALTER TABLE model_aliases ADD COLUMN step INTEGER;
COMMENT ON COLUMN model_aliases.training IS 'As of models, where this name says a step; else NULL.';
COMMENT ON COLUMN model_aliases.step IS 'As of models, where this name says one: the model has the very weights of that step.';
"""

DOWNGRADE = r"""
DELETE FROM rules WHERE family = 'tensors';
ALTER TABLE model_aliases DROP COLUMN step;
ALTER TABLE model_aliases DROP COLUMN training;
ALTER TABLE models DROP COLUMN init_of;
ALTER TABLE models DROP COLUMN step;
ALTER TABLE models DROP COLUMN training;
COMMENT ON COLUMN models.weights_sha256 IS 'sha256 over names, shapes and fp32 bytes of the raw parameters.';
DROP TABLE model_tensors;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
