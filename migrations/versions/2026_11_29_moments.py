"""Standard errors of moments, frequencies and the information about positions; documents of a corpus.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_moments"
down_revision = "2026_11_25_interrupted"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE corpora
    ADD COLUMN n_documents BIGINT;
COMMENT ON COLUMN corpora.n_documents IS 'Documents with a token in the rows; NULL for the first rows of a corpus that a control reads.';

ALTER TABLE activation_statistics
    ADD COLUMN mean_se DOUBLE PRECISION,
    ADD COLUMN var_se DOUBLE PRECISION,
    ADD COLUMN skew_se DOUBLE PRECISION,
    ADD COLUMN kurt_se DOUBLE PRECISION,
    ADD COLUMN post_mean_se DOUBLE PRECISION,
    ADD COLUMN post_var_se DOUBLE PRECISION,
    ADD COLUMN post_skew_se DOUBLE PRECISION,
    ADD COLUMN post_kurt_se DOUBLE PRECISION,
    ADD COLUMN sparsity_se DOUBLE PRECISION;
COMMENT ON COLUMN activation_statistics.mean_se IS 'Standard error of mean, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN activation_statistics.var_se IS 'Standard error of var, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN activation_statistics.skew_se IS 'Standard error of skew, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN activation_statistics.kurt_se IS 'Standard error of kurt, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN activation_statistics.post_mean_se IS 'Standard error of post_mean, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN activation_statistics.post_var_se IS 'Standard error of post_var, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN activation_statistics.post_skew_se IS 'Standard error of post_skew, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN activation_statistics.post_kurt_se IS 'Standard error of post_kurt, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN activation_statistics.sparsity_se IS 'Standard error of sparsity, by the jackknife over blocks of documents; NULL with fewer than 10 blocks. NULL also of a neuron that is never or always active.';

ALTER TABLE position_statistics
    ADD COLUMN mutual_information_se DOUBLE PRECISION,
    ADD COLUMN mutual_information_bos_se DOUBLE PRECISION;
COMMENT ON COLUMN position_statistics.mutual_information_se IS 'Standard error of mutual_information, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN position_statistics.mutual_information_bos_se IS 'Standard error of mutual_information_bos, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
"""

DOWNGRADE = r"""
ALTER TABLE position_statistics
    DROP COLUMN mutual_information_se,
    DROP COLUMN mutual_information_bos_se;
ALTER TABLE activation_statistics
    DROP COLUMN mean_se,
    DROP COLUMN var_se,
    DROP COLUMN skew_se,
    DROP COLUMN kurt_se,
    DROP COLUMN post_mean_se,
    DROP COLUMN post_var_se,
    DROP COLUMN post_skew_se,
    DROP COLUMN post_kurt_se,
    DROP COLUMN sparsity_se;
ALTER TABLE corpora
    DROP COLUMN n_documents;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
