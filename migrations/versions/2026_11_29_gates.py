"""What gated neurons do in quadrants of gate and input, their lowest examples, and which models have gates.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_gates"
down_revision = "2026_11_29_undefined"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- Nobody writes while a migration runs, and the default is a constant, so that no row is written anew.
-- squawk-ignore-file constraint-missing-not-valid, adding-field-with-default
CREATE TABLE gate_statistics (
    run_id INTEGER NOT NULL,
    neuron_id INTEGER NOT NULL,
    n_tokens BIGINT NOT NULL,
    frequency_open_positive DOUBLE PRECISION
        CONSTRAINT ck_gate_statistics_frequency_open_positive_range CHECK (frequency_open_positive BETWEEN 0 AND 1),
    frequency_open_negative DOUBLE PRECISION
        CONSTRAINT ck_gate_statistics_frequency_open_negative_range CHECK (frequency_open_negative BETWEEN 0 AND 1),
    frequency_shut_positive DOUBLE PRECISION
        CONSTRAINT ck_gate_statistics_frequency_shut_positive_range CHECK (frequency_shut_positive BETWEEN 0 AND 1),
    frequency_shut_negative DOUBLE PRECISION
        CONSTRAINT ck_gate_statistics_frequency_shut_negative_range CHECK (frequency_shut_negative BETWEEN 0 AND 1),
    post_mean_open_positive DOUBLE PRECISION,
    post_mean_open_negative DOUBLE PRECISION,
    post_mean_shut_positive DOUBLE PRECISION,
    post_mean_shut_negative DOUBLE PRECISION,
    share_open_positive DOUBLE PRECISION
        CONSTRAINT ck_gate_statistics_share_open_positive_range CHECK (share_open_positive BETWEEN 0 AND 1),
    share_open_negative DOUBLE PRECISION
        CONSTRAINT ck_gate_statistics_share_open_negative_range CHECK (share_open_negative BETWEEN 0 AND 1),
    share_shut_positive DOUBLE PRECISION
        CONSTRAINT ck_gate_statistics_share_shut_positive_range CHECK (share_shut_positive BETWEEN 0 AND 1),
    share_shut_negative DOUBLE PRECISION
        CONSTRAINT ck_gate_statistics_share_shut_negative_range CHECK (share_shut_negative BETWEEN 0 AND 1),
    frequency_open_positive_se DOUBLE PRECISION,
    frequency_open_negative_se DOUBLE PRECISION,
    frequency_shut_positive_se DOUBLE PRECISION,
    frequency_shut_negative_se DOUBLE PRECISION,
    post_mean_open_positive_se DOUBLE PRECISION,
    post_mean_open_negative_se DOUBLE PRECISION,
    post_mean_shut_positive_se DOUBLE PRECISION,
    post_mean_shut_negative_se DOUBLE PRECISION,
    share_open_positive_se DOUBLE PRECISION,
    share_open_negative_se DOUBLE PRECISION,
    share_shut_positive_se DOUBLE PRECISION,
    share_shut_negative_se DOUBLE PRECISION,
    CONSTRAINT pk_gate_statistics PRIMARY KEY (run_id, neuron_id),
    CONSTRAINT fk_gate_statistics_run_id FOREIGN KEY (run_id) REFERENCES runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_gate_statistics_neuron_id FOREIGN KEY (neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE gate_statistics IS 'What gated neurons do in the quadrants of (g, u): g is pre, what the gate reads, u what its activation is multiplied by to give post, after the sign rule. Neurons without gates have no rows.';
COMMENT ON COLUMN gate_statistics.run_id IS 'The run that measured it.';
COMMENT ON COLUMN gate_statistics.neuron_id IS 'The neuron.';
COMMENT ON COLUMN gate_statistics.n_tokens IS 'Kept tokens (SPEC 0.3, M_corr).';
COMMENT ON COLUMN gate_statistics.frequency_open_positive IS 'Fraction of tokens with g > 0 and u > 0.';
COMMENT ON COLUMN gate_statistics.frequency_open_negative IS 'Fraction of tokens with g > 0 and u <= 0.';
COMMENT ON COLUMN gate_statistics.frequency_shut_positive IS 'Fraction of tokens with g <= 0 and u > 0.';
COMMENT ON COLUMN gate_statistics.frequency_shut_negative IS 'Fraction of tokens with g <= 0 and u <= 0.';
COMMENT ON COLUMN gate_statistics.post_mean_open_positive IS 'Mean of post over the tokens with g > 0 and u > 0; NULL where there are none.';
COMMENT ON COLUMN gate_statistics.post_mean_open_negative IS 'Mean of post over the tokens with g > 0 and u <= 0; NULL where there are none.';
COMMENT ON COLUMN gate_statistics.post_mean_shut_positive IS 'Mean of post over the tokens with g <= 0 and u > 0; NULL where there are none.';
COMMENT ON COLUMN gate_statistics.post_mean_shut_negative IS 'Mean of post over the tokens with g <= 0 and u <= 0; NULL where there are none.';
COMMENT ON COLUMN gate_statistics.share_open_positive IS 'Share of the tokens with g > 0 and u > 0 in the sum of |post| over all; NULL where post is always 0.';
COMMENT ON COLUMN gate_statistics.share_open_negative IS 'Share of the tokens with g > 0 and u <= 0 in the sum of |post| over all; NULL where post is always 0.';
COMMENT ON COLUMN gate_statistics.share_shut_positive IS 'Share of the tokens with g <= 0 and u > 0 in the sum of |post| over all; NULL where post is always 0.';
COMMENT ON COLUMN gate_statistics.share_shut_negative IS 'Share of the tokens with g <= 0 and u <= 0 in the sum of |post| over all; NULL where post is always 0.';
COMMENT ON COLUMN gate_statistics.frequency_open_positive_se IS 'Standard error of frequency_open_positive, by the jackknife over blocks of documents; NULL with fewer than 10 blocks. NULL also of a neuron that is there never or always.';
COMMENT ON COLUMN gate_statistics.frequency_open_negative_se IS 'Standard error of frequency_open_negative, by the jackknife over blocks of documents; NULL with fewer than 10 blocks. NULL also of a neuron that is there never or always.';
COMMENT ON COLUMN gate_statistics.frequency_shut_positive_se IS 'Standard error of frequency_shut_positive, by the jackknife over blocks of documents; NULL with fewer than 10 blocks. NULL also of a neuron that is there never or always.';
COMMENT ON COLUMN gate_statistics.frequency_shut_negative_se IS 'Standard error of frequency_shut_negative, by the jackknife over blocks of documents; NULL with fewer than 10 blocks. NULL also of a neuron that is there never or always.';
COMMENT ON COLUMN gate_statistics.post_mean_open_positive_se IS 'Standard error of post_mean_open_positive, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN gate_statistics.post_mean_open_negative_se IS 'Standard error of post_mean_open_negative, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN gate_statistics.post_mean_shut_positive_se IS 'Standard error of post_mean_shut_positive, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN gate_statistics.post_mean_shut_negative_se IS 'Standard error of post_mean_shut_negative, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN gate_statistics.share_open_positive_se IS 'Standard error of share_open_positive, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN gate_statistics.share_open_negative_se IS 'Standard error of share_open_negative, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN gate_statistics.share_shut_positive_se IS 'Standard error of share_shut_positive, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN gate_statistics.share_shut_negative_se IS 'Standard error of share_shut_negative, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON INDEX pk_gate_statistics IS 'Serves show, and the views that have a row per neuron: a run''s row of one neuron.';
GRANT SELECT ON gate_statistics TO catalog_reader;
ALTER TABLE models ADD COLUMN gated BOOLEAN DEFAULT false NOT NULL;
COMMENT ON COLUMN models.gated IS 'Its neurons have gates: post = act(pre) * u, pre is what the gate reads, and u what the input weights read.';
ALTER TABLE examples DROP CONSTRAINT ck_examples_kind_known;
ALTER TABLE examples ADD CONSTRAINT ck_examples_kind_known CHECK (kind IN (0, -1, 25, 50, 75, 90, 99, 100)) NOT VALID;
ALTER TABLE examples VALIDATE CONSTRAINT ck_examples_kind_known;
ALTER TABLE examples DROP CONSTRAINT ck_examples_quantile_of_sample;
ALTER TABLE examples ADD CONSTRAINT ck_examples_quantile_of_sample
    CHECK ((quantile IS NULL) = (kind <= 0) AND quantile BETWEEN 0 AND 1) NOT VALID;
ALTER TABLE examples VALIDATE CONSTRAINT ck_examples_quantile_of_sample;
COMMENT ON COLUMN examples.kind IS '0: the highest values; -1: the lowest ones, of gated neurons alone; else a band of quantiles of the neuron''s positive post, by its upper percent.';
COMMENT ON COLUMN examples.rank IS '1 is the highest value of the kind, of the lowest ones the lowest.';
COMMENT ON COLUMN examples.value IS 'Post at the token, as it is; of either sign where a neuron has nothing better.';
COMMENT ON COLUMN examples.quantile IS 'Share of the neuron''s positive post below the middle of the value''s bin (two per power of two); NULL for the highest and the lowest.';
COMMENT ON TABLE examples IS 'The 50 tokens on which a neuron is most active, of distinct contexts (SPEC 3.4), and a sample of every strength; of gated neurons, whose post has both signs, the 50 lowest as well. By run.';
COMMENT ON COLUMN explanations.rectified_in IS 'Mean of max(post, 0), of gated neurons of max(pre, 0), on tokens with the feature; NULL for features of tokens alone and of the previous token.';
COMMENT ON COLUMN explanations.rectified_out IS 'Mean of max(post, 0), of gated neurons of max(pre, 0), on tokens without it; NULL for features of tokens alone and of the previous token.';
COMMENT ON COLUMN subset_statistics.rectified IS 'Mean of max(post, 0); of gated neurons, of max(pre, 0).';
"""

DOWNGRADE = r"""
-- Nobody writes while a migration runs.
-- squawk-ignore-file constraint-missing-not-valid
DELETE FROM examples WHERE kind = -1;
ALTER TABLE examples DROP CONSTRAINT ck_examples_kind_known;
ALTER TABLE examples ADD CONSTRAINT ck_examples_kind_known CHECK (kind IN (0, 25, 50, 75, 90, 99, 100)) NOT VALID;
ALTER TABLE examples VALIDATE CONSTRAINT ck_examples_kind_known;
ALTER TABLE examples DROP CONSTRAINT ck_examples_quantile_of_sample;
ALTER TABLE examples ADD CONSTRAINT ck_examples_quantile_of_sample
    CHECK ((quantile IS NULL) = (kind = 0) AND quantile BETWEEN 0 AND 1) NOT VALID;
ALTER TABLE examples VALIDATE CONSTRAINT ck_examples_quantile_of_sample;
COMMENT ON COLUMN examples.kind IS '0: the highest values; else a band of quantiles of the neuron''s positive post, by its upper percent.';
COMMENT ON COLUMN examples.rank IS '1 is the highest value of the kind.';
COMMENT ON COLUMN examples.value IS 'Post at the token, as it is: not above 0 where a neuron has nothing better.';
COMMENT ON COLUMN examples.quantile IS 'Share of the neuron''s positive post below the middle of the value''s bin (two per power of two); NULL for top.';
COMMENT ON TABLE examples IS 'The 50 tokens on which a neuron is most active, of distinct contexts (SPEC 3.4), and a sample of every strength. By run.';
COMMENT ON COLUMN explanations.rectified_in IS 'Mean of max(post, 0) on tokens with the feature; NULL for features of tokens alone and of the previous token.';
COMMENT ON COLUMN explanations.rectified_out IS 'Mean of max(post, 0) on tokens without it; NULL for features of tokens alone and of the previous token.';
COMMENT ON COLUMN subset_statistics.rectified IS 'Mean of max(post, 0).';
ALTER TABLE models DROP COLUMN gated;
DROP TABLE gate_statistics;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
