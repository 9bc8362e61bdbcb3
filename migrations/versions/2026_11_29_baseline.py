"""How baselines depend on the documents: what they are without each block.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_baseline"
down_revision = "2026_11_29_fit"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE universality_by_model ADD COLUMN baseline_without_blocks REAL[];
COMMENT ON COLUMN universality_by_model.baseline_without_blocks IS 'What the baseline is without each of these blocks, less what it is: mean over the first two draws, each with the rotated unit that is best over all blocks; NULL where unknown.';
COMMENT ON COLUMN universality.excess_se IS 'Standard error of excess_corr, over blocks of documents, left out of best correlations and baselines alike, and over draws of the baseline; NULL with fewer than 10 blocks or a single draw.';
"""

DOWNGRADE = r"""
COMMENT ON COLUMN universality.excess_se IS 'Standard error of excess_corr, over blocks of documents as that of mean_corr and over draws of the baseline; NULL with fewer than 10 blocks or a single draw.';
ALTER TABLE universality_by_model DROP COLUMN baseline_without_blocks;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
