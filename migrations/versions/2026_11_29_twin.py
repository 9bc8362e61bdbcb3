"""Controls: models whose input weights are permuted, and which runs they are the controls of.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_twin"
down_revision = "2026_11_29_moments"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE models ADD COLUMN control_of TEXT;
COMMENT ON COLUMN models.control_of IS 'Of a control: identity of the model whose neurons'' input weights it has permuted. NULL of models that readers see.';
COMMENT ON COLUMN corpora.token_sha256 IS 'sha256 of the token ids and subsets of all rows in order, and of the tokenizer''s sha256. Of the first rows of a corpus, which a control reads: of the sha256 of that corpus and their number.';

CREATE TABLE run_controls (
    run_id INTEGER NOT NULL,
    control_run_id INTEGER NOT NULL,
    CONSTRAINT pk_run_controls PRIMARY KEY (run_id, control_run_id),
    CONSTRAINT fk_run_controls_run_id FOREIGN KEY (run_id) REFERENCES runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_run_controls_control_run_id FOREIGN KEY (control_run_id) REFERENCES runs (id) ON DELETE CASCADE
);
COMMENT ON TABLE run_controls IS 'The controls of a run, each a run of its own that no view shows.';
COMMENT ON COLUMN run_controls.run_id IS 'The run whose labels are compared with what chance gives.';
COMMENT ON COLUMN run_controls.control_run_id IS 'A run of a control: a model of this run, each neuron''s input weights permuted, on the corpus or its first rows.';
COMMENT ON INDEX pk_run_controls IS 'Serves family_counts and the rule position: the controls of a run.';
CREATE INDEX ix_run_controls_control_run_id ON run_controls (control_run_id);
COMMENT ON INDEX ix_run_controls_control_run_id IS 'Serves publication and deletion of a control: the runs that it is the control of.';
GRANT SELECT ON run_controls TO catalog_reader;
"""

# A control would be a model like any other to what has no such column: its runs go, and it has no name left.
DOWNGRADE = r"""
DELETE FROM runs WHERE id IN (SELECT control_run_id FROM run_controls)
    OR id IN (SELECT rm.run_id FROM run_models rm JOIN models m ON m.id = rm.model_id WHERE m.control_of IS NOT NULL);
DELETE FROM models WHERE control_of IS NOT NULL;
DROP TABLE run_controls;
ALTER TABLE models DROP COLUMN control_of;
COMMENT ON COLUMN corpora.token_sha256 IS 'sha256 of the token ids and subsets of all rows in order, and of the tokenizer''s sha256.';
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
