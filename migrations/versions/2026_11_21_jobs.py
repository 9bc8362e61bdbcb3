"""Runs are cut into jobs, which workers may compute: the ledger of jobs and their results, and the queue's own schema.

The queue's tables are those of procrastinate 3.10, frozen beside this file; a newer procrastinate brings a migration of
its own.
"""

from pathlib import Path

from alembic import op

revision = "2026_11_21_jobs"
down_revision = "2026_11_21_first_schema"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE runs DROP CONSTRAINT ck_runs_status_known;
ALTER TABLE runs ADD CONSTRAINT ck_runs_status_known CHECK (status IN ('queued', 'running', 'published', 'failed')) NOT VALID;
COMMENT ON COLUMN runs.status IS 'queued (workers compute it), running, published or failed.';
ALTER TABLE runs ADD COLUMN plan JSONB;
COMMENT ON COLUMN runs.plan IS 'How the work is cut into jobs; NULL before it is planned.';
ALTER TABLE runs ADD COLUMN staging_folder TEXT;
COMMENT ON COLUMN runs.staging_folder IS 'Folder of sums and checkpoints; NULL once it is removed.';
CREATE TABLE run_jobs (
	run_id INTEGER NOT NULL,
	job SMALLINT NOT NULL,
	kind TEXT NOT NULL CONSTRAINT ck_run_jobs_kind_known CHECK (kind IN ('pivots', 'accumulate', 'combine')),
	after SMALLINT[] NOT NULL,
	tokens BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	flop DOUBLE PRECISION NOT NULL,
	tokens_done BIGINT DEFAULT 0 NOT NULL,
	attempts INTEGER DEFAULT 0 NOT NULL,
	worker TEXT,
	started_at TIMESTAMP WITH TIME ZONE,
	finished_at TIMESTAMP WITH TIME ZONE,
	sums_file TEXT,
	error TEXT,
	CONSTRAINT pk_run_jobs PRIMARY KEY (run_id, job),
	CONSTRAINT fk_run_jobs_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
COMMENT ON TABLE run_jobs IS 'The pieces of work of each run.';
COMMENT ON COLUMN run_jobs.run_id IS 'The run.';
COMMENT ON COLUMN run_jobs.job IS 'Number within the run, from 0.';
COMMENT ON COLUMN run_jobs.kind IS 'pivots, accumulate or combine.';
COMMENT ON COLUMN run_jobs.after IS 'Jobs of the run whose results it reads.';
COMMENT ON COLUMN run_jobs.tokens IS 'Tokens that go through the models, BOS included.';
COMMENT ON COLUMN run_jobs.bytes IS 'Memory of its accumulators.';
COMMENT ON COLUMN run_jobs.flop IS 'Operations of its matrix products and forward passes.';
COMMENT ON COLUMN run_jobs.tokens_done IS 'Tokens of the present attempt that are done.';
COMMENT ON COLUMN run_jobs.attempts IS 'Times it was begun.';
COMMENT ON COLUMN run_jobs.worker IS 'Who began it last: host, process and device.';
COMMENT ON COLUMN run_jobs.started_at IS 'When it was begun last.';
COMMENT ON COLUMN run_jobs.finished_at IS 'When its results were safe; NULL before.';
COMMENT ON COLUMN run_jobs.sums_file IS 'File of the sums it leaves for other jobs, below the run''s staging folder.';
COMMENT ON COLUMN run_jobs.error IS 'Why the latest attempt ended early.';
CREATE TABLE run_job_results (
	run_id INTEGER NOT NULL,
	job SMALLINT NOT NULL,
	name TEXT NOT NULL,
	data BYTEA NOT NULL,
	CONSTRAINT pk_run_job_results PRIMARY KEY (run_id, job, name),
	CONSTRAINT fk_run_job_results_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
COMMENT ON TABLE run_job_results IS 'Results of jobs until the run is published; the reader role cannot see them.';
COMMENT ON COLUMN run_job_results.run_id IS 'The run.';
COMMENT ON COLUMN run_job_results.job IS 'The job that found it.';
COMMENT ON COLUMN run_job_results.name IS 'What it is: pivots, moments, a tile, explanations; with the models and layers.';
COMMENT ON COLUMN run_job_results.data IS 'Arrays in numpy''s npz format.';
GRANT SELECT ON run_jobs TO catalog_reader;
CREATE SCHEMA queue;
COMMENT ON SCHEMA queue IS 'The job queue of the workers (procrastinate); its tables are that library''s own.';
"""

VALIDATE = "ALTER TABLE runs VALIDATE CONSTRAINT ck_runs_status_known"

QUEUE = Path(__file__).parents[1] / "queue" / "procrastinate_3_10.sql"

DOWNGRADE = """
DROP SCHEMA queue CASCADE;
DROP TABLE run_job_results;
DROP TABLE run_jobs;
ALTER TABLE runs DROP COLUMN staging_folder;
ALTER TABLE runs DROP COLUMN plan;
DELETE FROM runs WHERE status = 'queued';
ALTER TABLE runs DROP CONSTRAINT ck_runs_status_known;
ALTER TABLE runs ADD CONSTRAINT ck_runs_status_known CHECK (status IN ('running', 'published', 'failed')) NOT VALID;
COMMENT ON COLUMN runs.status IS 'running, published or failed.';
"""


def upgrade() -> None:
    op.execute(UPGRADE)
    op.execute(VALIDATE)
    connection = op.get_bind()
    before = connection.exec_driver_sql("SHOW search_path").scalar_one()
    connection.exec_driver_sql("SET LOCAL search_path = queue")
    # by the driver, which takes % for itself only where there are parameters
    connection.connection.cursor().execute(QUEUE.read_text())
    connection.exec_driver_sql(f"SET LOCAL search_path = {before}")


def downgrade() -> None:
    op.execute(DOWNGRADE)
    op.execute(VALIDATE)
