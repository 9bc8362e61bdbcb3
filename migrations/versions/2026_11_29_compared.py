"""On how many tokens a candidate for an entropy neuron is compared with other directions, itself among them.

Candidates that were compared on all of their tokens say so, and their own effects stand beside those of their controls.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_compared"
down_revision = "2026_11_29_gguf"
branch_labels = None
depends_on = None

_FORGET = r"""
DELETE FROM run_checksums WHERE table_name = 'entropy_controls';
"""

UPGRADE = rf"""
ALTER TABLE entropy_controls ADD COLUMN n_tokens BIGINT;
INSERT INTO entropy_controls (run_id, neuron_id, value, along_neuron_id, entropy_delta, scale_delta)
SELECT DISTINCT i.run_id, i.neuron_id, i.value, i.neuron_id, i.entropy_delta, i.scale_delta
  FROM interventions i JOIN entropy_controls c ON (c.run_id, c.neuron_id, c.value) = (i.run_id, i.neuron_id, i.value)
 WHERE i.purpose = 'candidate' AND i.kind = 'fix';
UPDATE entropy_controls c SET n_tokens = COALESCE((
    SELECT max(i.n_tokens) FROM interventions i
     WHERE (i.run_id, i.neuron_id, i.value) = (c.run_id, c.neuron_id, c.value) AND i.purpose = 'candidate'), 0);
-- a few hundred rows of a model, which only views read
-- squawk-ignore adding-not-nullable-field
ALTER TABLE entropy_controls ALTER COLUMN n_tokens SET NOT NULL;
COMMENT ON TABLE entropy_controls IS 'What a candidate for an entropy neuron does, and would do if it wrote along others of its layer (DECISIONS).';
COMMENT ON COLUMN entropy_controls.along_neuron_id IS 'The neuron of its layer along whose output weights its change is written, as long as its own: another, or itself.';
COMMENT ON COLUMN entropy_controls.entropy_delta IS 'Mean difference of the entropy to the model left alone, in nats.';
COMMENT ON COLUMN entropy_controls.n_tokens IS 'Tokens in the means: of the candidate''s, evenly taken, the same along all.';
{_FORGET}
"""

DOWNGRADE = rf"""
DELETE FROM entropy_controls WHERE along_neuron_id = neuron_id;
ALTER TABLE entropy_controls DROP COLUMN n_tokens;
COMMENT ON TABLE entropy_controls IS 'What a candidate for an entropy neuron would do if it wrote along another neuron of its layer (DECISIONS).';
COMMENT ON COLUMN entropy_controls.along_neuron_id IS 'Another neuron of its layer, along whose output weights its change is written, as long as its own.';
COMMENT ON COLUMN entropy_controls.entropy_delta IS 'Mean difference of the entropy to the model left alone, in nats, on the candidate''s tokens.';
{_FORGET}
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
