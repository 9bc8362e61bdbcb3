"""Entropy neurons are compared with other output directions of their layer, and no longer with other neurons.

What was measured of those neurons stays, as if it had been asked for. Labels that were made by comparing with them go; a run
gets others once its part `entropy` is measured again.

The CHECK is tried on all rows at once: there are a few hundred of a model, and only views read them.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_entropy"
down_revision = "2026_11_29_twin"
branch_labels = None
depends_on = None

_FORGET = r"""
DELETE FROM labels WHERE family IN ('entropy', 'anti_entropy');
DELETE FROM label_totals WHERE family IN ('entropy', 'anti_entropy');
DELETE FROM run_checksums WHERE table_name IN ('interventions', 'entropy_controls', 'labels', 'label_totals')
    AND run_id IN (SELECT run_id FROM run_parts WHERE part = 'entropy');
"""

UPGRADE = f"""
CREATE TABLE entropy_controls (
    run_id INTEGER NOT NULL,
    neuron_id INTEGER NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    along_neuron_id INTEGER NOT NULL,
    entropy_delta DOUBLE PRECISION,
    scale_delta DOUBLE PRECISION,
    CONSTRAINT pk_entropy_controls PRIMARY KEY (run_id, neuron_id, value, along_neuron_id),
    CONSTRAINT fk_entropy_controls_run_id FOREIGN KEY (run_id) REFERENCES runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_entropy_controls_neuron_id FOREIGN KEY (neuron_id) REFERENCES neurons (id) ON DELETE CASCADE,
    CONSTRAINT fk_entropy_controls_along_neuron_id FOREIGN KEY (along_neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE entropy_controls IS 'What a candidate for an entropy neuron would do if it wrote along another neuron of its layer (DECISIONS).';
COMMENT ON COLUMN entropy_controls.run_id IS 'The run that measured it.';
COMMENT ON COLUMN entropy_controls.neuron_id IS 'The neuron.';
COMMENT ON COLUMN entropy_controls.value IS 'To what the candidate''s post is fixed.';
COMMENT ON COLUMN entropy_controls.along_neuron_id IS 'Another neuron of its layer, along whose output weights its change is written, as long as its own.';
COMMENT ON COLUMN entropy_controls.entropy_delta IS 'Mean difference of the entropy to the model left alone, in nats, on the candidate''s tokens.';
COMMENT ON COLUMN entropy_controls.scale_delta IS 'Mean difference of the final layer norm''s denominator to the model left alone.';
COMMENT ON INDEX pk_entropy_controls IS 'Serves entropy_candidates: the controls of a candidate.';
GRANT SELECT ON entropy_controls TO catalog_reader;

UPDATE interventions SET purpose = 'asked' WHERE purpose = 'control';
ALTER TABLE interventions DROP CONSTRAINT ck_interventions_purpose_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE interventions ADD CONSTRAINT ck_interventions_purpose_known CHECK (purpose IN ('candidate', 'asked'));
COMMENT ON INDEX ix_interventions_chosen IS 'Serves entropy_candidates: candidates of a run.';
{_FORGET}
DELETE FROM rules WHERE family IN ('entropy', 'anti_entropy') AND parameter = 'min_controls';
"""

DOWNGRADE = f"""
{_FORGET}
DROP TABLE entropy_controls;
ALTER TABLE interventions DROP CONSTRAINT ck_interventions_purpose_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE interventions ADD CONSTRAINT ck_interventions_purpose_known
    CHECK (purpose IN ('candidate', 'control', 'asked'));
COMMENT ON INDEX ix_interventions_chosen IS 'Serves entropy_neurons: candidates and controls of a run.';
DELETE FROM rules WHERE family IN ('entropy', 'anti_entropy') AND parameter IN ('q', 'min_delta');
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
