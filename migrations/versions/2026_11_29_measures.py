"""Jobs that measure one model at a time, without sums over the corpus.

House law: SQL frozen as text, never importing `catalog`; reversible; no statement that waits for readers.
"""

from alembic import op

revision = "2026_11_29_measures"
down_revision = "2026_11_25_interrupted"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE run_jobs DROP CONSTRAINT ck_run_jobs_kind_known;
ALTER TABLE run_jobs ADD CONSTRAINT ck_run_jobs_kind_known
    CHECK (kind IN ('pivots', 'accumulate', 'combine', 'measure')) NOT VALID;
COMMENT ON COLUMN run_jobs.kind IS 'pivots, accumulate, combine or measure.';
COMMENT ON COLUMN run_job_results.name IS
    'What it is: pivots, moments, a tile, a measure; with the models and layers, or the share.';
"""

VALIDATE = "ALTER TABLE run_jobs VALIDATE CONSTRAINT ck_run_jobs_kind_known"

DOWNGRADE = """
DELETE FROM run_job_results r USING run_jobs j WHERE j.run_id = r.run_id AND j.job = r.job AND j.kind = 'measure';
DELETE FROM run_jobs WHERE kind = 'measure';
ALTER TABLE run_jobs DROP CONSTRAINT ck_run_jobs_kind_known;
ALTER TABLE run_jobs ADD CONSTRAINT ck_run_jobs_kind_known
    CHECK (kind IN ('pivots', 'accumulate', 'combine')) NOT VALID;
COMMENT ON COLUMN run_jobs.kind IS 'pivots, accumulate or combine.';
COMMENT ON COLUMN run_job_results.name IS 'What it is: pivots, moments, a tile, explanations; with the models and layers.';
"""


def upgrade() -> None:
    op.execute(UPGRADE)
    op.execute(VALIDATE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
    op.execute(VALIDATE)
