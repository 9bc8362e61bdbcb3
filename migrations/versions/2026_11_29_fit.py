"""How sure the lines of substitutes are: what the documents that fit add to standard errors.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_fit"
down_revision = "2026_11_29_substitution"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE substitutions
    ADD COLUMN beta_se DOUBLE PRECISION,
    ADD COLUMN fit_se DOUBLE PRECISION;
COMMENT ON COLUMN substitutions.beta_se IS 'Standard error of beta, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN substitutions.loss_delta_se IS 'Standard error of loss_delta, over the documents that score and, fit_se, those that fit.';
COMMENT ON COLUMN substitutions.fit_se IS 'How far a line that is steeper by beta_se changes loss_delta, in nats per token.';
COMMENT ON COLUMN substitutions.restored_se IS 'Standard error of restored, over the documents that score and those that fit the line.';
"""

DOWNGRADE = r"""
COMMENT ON COLUMN substitutions.loss_delta_se IS 'Standard error of loss_delta, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN substitutions.restored_se IS 'Standard error of restored over the scoring documents, the line being given, by a jackknife.';
ALTER TABLE substitutions DROP COLUMN beta_se, DROP COLUMN fit_se;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
