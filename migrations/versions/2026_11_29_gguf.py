"""How a GGUF file stores a model's weights.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_gguf"
down_revision = "2026_11_29_confidence"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE models ADD COLUMN quantisation TEXT;
COMMENT ON COLUMN models.quantisation IS 'Of a GGUF file: how many of its tensors are stored in each type. Weights, and all statistics, are of the values that they stand for. NULL of other checkpoints.';
COMMENT ON COLUMN models.source IS 'Folder, GGUF file or hub name that it was read from.';
"""

DOWNGRADE = r"""
COMMENT ON COLUMN models.source IS 'Folder or hub name that it was read from.';
ALTER TABLE models DROP COLUMN quantisation;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
