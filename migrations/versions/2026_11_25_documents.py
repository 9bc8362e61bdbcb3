"""How many documents of a corpus were kept, how many were dropped and why, and how many files were left out.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_25_documents"
down_revision = "2026_11_25_model_identity"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE corpora ADD COLUMN n_documents_kept BIGINT;
ALTER TABLE corpora ADD COLUMN n_documents_repaired BIGINT;
ALTER TABLE corpora ADD COLUMN n_documents_null BIGINT;
ALTER TABLE corpora ADD COLUMN n_documents_not_text BIGINT;
ALTER TABLE corpora ADD COLUMN n_documents_empty BIGINT;
ALTER TABLE corpora ADD COLUMN n_documents_short BIGINT;
ALTER TABLE corpora ADD COLUMN n_files_left_out INTEGER;
COMMENT ON COLUMN corpora.n_documents_kept IS 'Documents that were read whole, when the source was first read.';
COMMENT ON COLUMN corpora.n_documents_repaired IS 'Of those kept: lone surrogates in them, which are no characters, were read as U+FFFD.';
COMMENT ON COLUMN corpora.n_documents_null IS 'Documents dropped because their text is NULL or absent.';
COMMENT ON COLUMN corpora.n_documents_not_text IS 'Documents dropped because numbers, lists and the like are no text.';
COMMENT ON COLUMN corpora.n_documents_empty IS 'Documents dropped because they hold nothing, or a little white space.';
COMMENT ON COLUMN corpora.n_documents_short IS 'Documents dropped because they have 50 characters or fewer.';
COMMENT ON COLUMN corpora.n_files_left_out IS 'Files of the source''s folder that were not read; the run names them.';
"""

DOWNGRADE = r"""
ALTER TABLE corpora DROP COLUMN n_files_left_out;
ALTER TABLE corpora DROP COLUMN n_documents_short;
ALTER TABLE corpora DROP COLUMN n_documents_empty;
ALTER TABLE corpora DROP COLUMN n_documents_not_text;
ALTER TABLE corpora DROP COLUMN n_documents_null;
ALTER TABLE corpora DROP COLUMN n_documents_repaired;
ALTER TABLE corpora DROP COLUMN n_documents_kept;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
