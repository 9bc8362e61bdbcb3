"""What is not defined for a model is left out: which parts have what not of which model, and why.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_undefined"
down_revision = "2026_11_29_io_class"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- Whoever reads these columns reads them through views, which pass NULL on.
-- squawk-ignore-file ban-drop-not-null
CREATE TABLE run_undefined (
    run_id INTEGER NOT NULL,
    model_id INTEGER NOT NULL,
    part TEXT NOT NULL,
    measure TEXT NOT NULL,
    left_out TEXT[] NOT NULL,
    reason TEXT NOT NULL,
    CONSTRAINT pk_run_undefined PRIMARY KEY (run_id, model_id, part, measure),
    CONSTRAINT fk_run_undefined_run_id FOREIGN KEY (run_id) REFERENCES runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_run_undefined_model_id FOREIGN KEY (model_id) REFERENCES models (id) ON DELETE CASCADE
);
COMMENT ON TABLE run_undefined IS 'What parts of a run are not defined for a model, and were left out; all else was computed.';
COMMENT ON COLUMN run_undefined.run_id IS 'The run.';
COMMENT ON COLUMN run_undefined.model_id IS 'A model of it.';
COMMENT ON COLUMN run_undefined.part IS 'The part of the run that has not everything of the model, such as weights.';
COMMENT ON COLUMN run_undefined.measure IS 'What of the part is concerned, by the name that it has in the code.';
COMMENT ON COLUMN run_undefined.left_out IS 'Tables that have no rows of the model, some with the condition on such rows, and columns, as table.column, that are NULL in its rows.';
COMMENT ON COLUMN run_undefined.reason IS 'Why they are not defined for the model, in words that follow because.';
COMMENT ON INDEX pk_run_undefined IS 'Serves runs show: what a run has not.';
GRANT SELECT ON run_undefined TO catalog_reader;

ALTER TABLE detected_ngrams
    ALTER COLUMN effect DROP NOT NULL,
    ALTER COLUMN effect_raw DROP NOT NULL,
    ALTER COLUMN percentile DROP NOT NULL;
COMMENT ON COLUMN detected_ngrams.effect IS 'w_out . W_U[:, v] of its last token v, processed weights (VO 4.4, SPEC 12.7); NULL where run_undefined says why.';
ALTER TABLE head_compositions ALTER COLUMN q DROP NOT NULL, ALTER COLUMN k DROP NOT NULL;
COMMENT ON COLUMN head_compositions.q IS 'Q-composition of w_out with the heads of later layers, in order of layer and head (SPEC 4); NULL where queries and keys are normalised.';
COMMENT ON COLUMN head_compositions.k IS 'K-composition with the same heads; NULL likewise.';
"""

DOWNGRADE = r"""
-- Nobody writes while a migration runs; rows that the older schema has no place for go.
-- squawk-ignore-file adding-not-nullable-field
DELETE FROM detected_ngrams WHERE effect IS NULL;
ALTER TABLE detected_ngrams
    ALTER COLUMN effect SET NOT NULL,
    ALTER COLUMN effect_raw SET NOT NULL,
    ALTER COLUMN percentile SET NOT NULL;
COMMENT ON COLUMN detected_ngrams.effect IS 'w_out . W_U[:, v] of its last token v, processed weights (VO 4.4, SPEC 12.7).';
DELETE FROM head_compositions WHERE q IS NULL;
ALTER TABLE head_compositions ALTER COLUMN q SET NOT NULL, ALTER COLUMN k SET NOT NULL;
COMMENT ON COLUMN head_compositions.q IS 'Q-composition of w_out with the heads of later layers, in order of layer and head (SPEC 4).';
COMMENT ON COLUMN head_compositions.k IS 'K-composition with the same heads.';
DROP TABLE run_undefined;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
