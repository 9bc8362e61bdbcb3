"""The ledger says which runs are left to workers, and how often what they did has failed: the queue may forget.

House law: SQL frozen as text, never importing `catalog`; reversible; no statement that waits for readers.
"""

from alembic import op

revision = "2026_11_25_left_to_workers"
down_revision = "2026_11_25_documents"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE runs ADD COLUMN left_to_workers BOOLEAN DEFAULT false NOT NULL;
COMMENT ON COLUMN runs.left_to_workers IS
    'Workers are to compute and publish it; false again once it is published, cancelled or given up.';
ALTER TABLE runs ADD COLUMN failures INTEGER DEFAULT 0 NOT NULL;
COMMENT ON COLUMN runs.failures IS 'Publications by workers that ended in an error.';
ALTER TABLE run_jobs ADD COLUMN failures INTEGER DEFAULT 0 NOT NULL;
COMMENT ON COLUMN run_jobs.failures IS 'Attempts by workers that ended in an error.';
UPDATE runs SET left_to_workers = true WHERE status = 'queued';
"""

DOWNGRADE = """
ALTER TABLE run_jobs DROP COLUMN failures;
ALTER TABLE runs DROP COLUMN failures;
ALTER TABLE runs DROP COLUMN left_to_workers;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
