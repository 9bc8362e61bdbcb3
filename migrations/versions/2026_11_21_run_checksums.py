"""Checksums of each run's rows, written when it is published.

House law: SQL frozen as text, never importing `catalog`; reversible; no statement that waits for readers.
"""

from alembic import op

revision = "2026_11_21_run_checksums"
down_revision = "2026_11_21_jobs"
branch_labels = None
depends_on = None

UPGRADE = r"""
CREATE TABLE run_checksums (
	run_id INTEGER NOT NULL,
	table_name TEXT NOT NULL,
	columns TEXT[] NOT NULL,
	n_rows BIGINT NOT NULL,
	bits BIGINT NOT NULL,
	total NUMERIC NOT NULL,
	server_version INTEGER NOT NULL,
	CONSTRAINT pk_run_checksums PRIMARY KEY (run_id, table_name),
	CONSTRAINT fk_run_checksums_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
COMMENT ON TABLE run_checksums IS 'Row counts and checksums of each run as it was published, for `catalog verify`.';
COMMENT ON COLUMN run_checksums.run_id IS 'The run.';
COMMENT ON COLUMN run_checksums.table_name IS 'The table whose rows of the run are summed.';
COMMENT ON COLUMN run_checksums.columns IS 'The columns that enter, in order; columns added later do not.';
COMMENT ON COLUMN run_checksums.n_rows IS 'Rows of the run.';
COMMENT ON COLUMN run_checksums.bits IS 'Exclusive or over rows of hash_record_extended(row, 0); 0 without rows.';
COMMENT ON COLUMN run_checksums.total IS 'Sum over rows of hashint8extended of that hash; 0 without rows.';
COMMENT ON COLUMN run_checksums.server_version IS 'Major version of the PostgreSQL server that computed them.';
GRANT SELECT ON run_checksums TO catalog_reader;
"""

DOWNGRADE = """
DROP TABLE run_checksums;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
