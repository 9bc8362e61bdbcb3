"""A model is its weights and what its config makes it compute; a part of a run says of which models it was computed.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_25_model_identity"
down_revision = "2026_11_21_roles"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- squawk-ignore-file adding-required-field, ban-drop-default, changing-column-type
ALTER TABLE models ADD COLUMN behaviour JSONB DEFAULT '{}' NOT NULL;
ALTER TABLE models ADD COLUMN identity TEXT DEFAULT '' NOT NULL;
-- Nothing is known of how models of before were configured, so their identity is nobody's.
UPDATE models SET identity = weights_sha256;
ALTER TABLE models ALTER COLUMN behaviour DROP DEFAULT;
ALTER TABLE models ALTER COLUMN identity DROP DEFAULT;
ALTER TABLE models ALTER COLUMN seed TYPE BIGINT;
COMMENT ON COLUMN models.weights_sha256 IS 'sha256 over names, shapes and fp32 bytes of the raw parameters.';
COMMENT ON COLUMN models.behaviour IS 'What the config makes the model compute: activation, eps, heads, rotary keys and the like.';
COMMENT ON COLUMN models.identity IS 'sha256 over weights_sha256 and behaviour; equal for equal models, whatever they are called.';
COMMENT ON COLUMN runs.identity IS 'sha256 over models, tokens and the settings that change a number.';
ALTER TABLE run_parts ADD COLUMN models_sha256 TEXT;
COMMENT ON COLUMN run_parts.models_sha256 IS 'sha256 over the sorted identities, one a line, of the models that the part was computed of.';
"""

DOWNGRADE = r"""
-- squawk-ignore-file changing-column-type
ALTER TABLE run_parts DROP COLUMN models_sha256;
COMMENT ON COLUMN runs.identity IS 'sha256 over weights, tokens and the settings that change a number.';
ALTER TABLE models ALTER COLUMN seed TYPE INTEGER;
ALTER TABLE models DROP COLUMN identity;
ALTER TABLE models DROP COLUMN behaviour;
COMMENT ON COLUMN models.weights_sha256 IS 'sha256 over names, dtypes, shapes and bytes of the raw parameters.';
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
