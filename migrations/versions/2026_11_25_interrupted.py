"""A run that was interrupted, or cancelled, has not failed: each is a status of its own.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_25_interrupted"
down_revision = "2026_11_25_aliases"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE runs DROP CONSTRAINT ck_runs_status_known;
ALTER TABLE runs ADD CONSTRAINT ck_runs_status_known
    CHECK (status IN ('queued', 'running', 'published', 'failed', 'interrupted', 'cancelled')) NOT VALID;
COMMENT ON COLUMN runs.status IS
    'queued (workers compute it), running, published, failed (error), interrupted (Ctrl-C, SIGTERM, killed) or cancelled.';
COMMENT ON COLUMN runs.error IS 'Why the latest attempt failed, or what interrupted it.';
UPDATE runs SET status = 'interrupted',
    error = CASE WHEN starts_with(error, 'KeyboardInterrupt:') THEN 'Ctrl-C'
                 WHEN starts_with(error, 'Interrupted:') THEN 'SIGTERM' ELSE 'its process is gone' END
    WHERE status = 'failed'
    AND (error = 'interrupted' OR starts_with(error, 'KeyboardInterrupt:') OR starts_with(error, 'Interrupted:'));
UPDATE runs SET status = 'cancelled', error = NULL WHERE status = 'failed' AND error = 'cancelled';
"""

VALIDATE = "ALTER TABLE runs VALIDATE CONSTRAINT ck_runs_status_known"

DOWNGRADE = r"""
UPDATE runs SET error = status, status = 'failed' WHERE status IN ('interrupted', 'cancelled');
ALTER TABLE runs DROP CONSTRAINT ck_runs_status_known;
ALTER TABLE runs ADD CONSTRAINT ck_runs_status_known CHECK (status IN ('queued', 'running', 'published', 'failed')) NOT VALID;
COMMENT ON COLUMN runs.status IS 'queued (workers compute it), running, published or failed.';
COMMENT ON COLUMN runs.error IS 'Why the latest attempt failed.';
"""


def upgrade() -> None:
    op.execute(UPGRADE)
    op.execute(VALIDATE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
    op.execute(VALIDATE)
