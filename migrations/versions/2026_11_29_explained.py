"""Explanations have a held-out score, errors, a direction, and what they say given the token.

Rows of earlier runs have none of these, so that the next relabel gives them no label; their parts are measured again.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_explained"
down_revision = "2026_11_29_entropy"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE explanations ADD COLUMN chosen_variance_reduction DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN held_out_variance_reduction DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN variance_reduction_se DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN held_out_variance_reduction_se DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN mean_in_se DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN mean_out_se DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN frequency_in DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN frequency_out DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN frequency_in_se DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN frequency_out_se DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN rectified_in DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN rectified_out DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN rectified_in_se DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN rectified_out_se DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN partial_effect DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN partial_variance_reduction DOUBLE PRECISION;
ALTER TABLE explanations ADD COLUMN overlap DOUBLE PRECISION;
COMMENT ON COLUMN explanations.chosen_variance_reduction IS 'On the half of the documents in which features are chosen.';
COMMENT ON COLUMN explanations.held_out_variance_reduction IS 'On the other half, which is what rules ask; NULL where either class has too few tokens there.';
COMMENT ON COLUMN explanations.variance_reduction_se IS 'Standard error of variance_reduction, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN explanations.held_out_variance_reduction_se IS 'Standard error of held_out_variance_reduction, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN explanations.mean_in_se IS 'Standard error of mean_in, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN explanations.mean_out_se IS 'Standard error of mean_out, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN explanations.frequency_in IS 'Fraction of the tokens with the feature that have pre > 0; NULL for features of tokens alone and of the previous token.';
COMMENT ON COLUMN explanations.frequency_out IS 'Fraction of the tokens without it that have pre > 0; NULL for features of tokens alone and of the previous token.';
COMMENT ON COLUMN explanations.frequency_in_se IS 'Standard error of frequency_in, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN explanations.frequency_out_se IS 'Standard error of frequency_out, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN explanations.rectified_in IS 'Mean of max(post, 0) on tokens with the feature; NULL for features of tokens alone and of the previous token.';
COMMENT ON COLUMN explanations.rectified_out IS 'Mean of max(post, 0) on tokens without it; NULL for features of tokens alone and of the previous token.';
COMMENT ON COLUMN explanations.rectified_in_se IS 'Standard error of rectified_in, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN explanations.rectified_out_se IS 'Standard error of rectified_out, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN explanations.partial_effect IS 'What the feature adds to post given the current token, in standard deviations within tokens; NULL where tokens are in its class always or never, and where frequency_in is.';
COMMENT ON COLUMN explanations.partial_variance_reduction IS 'Share of the variance within tokens that it explains; NULL where partial_effect is.';
COMMENT ON COLUMN explanations.overlap IS 'Sum over tokens of count * share in the class * share out of it, over the tokens with the feature: 0 where a token is in the class or not, near 1 where the class is rare among all tokens; NULL where frequency_in is.';
ALTER TABLE letter_scores ADD COLUMN chosen_variance_reduction DOUBLE PRECISION;
ALTER TABLE letter_scores ADD COLUMN held_out_variance_reduction DOUBLE PRECISION;
ALTER TABLE letter_scores ADD COLUMN variance_reduction_se DOUBLE PRECISION;
ALTER TABLE letter_scores ADD COLUMN held_out_variance_reduction_se DOUBLE PRECISION;
COMMENT ON COLUMN letter_scores.chosen_variance_reduction IS 'On the half of the documents in which the letter was chosen.';
COMMENT ON COLUMN letter_scores.held_out_variance_reduction IS 'On the other half, which is what the rule asks; NULL where tokens are too few there.';
COMMENT ON COLUMN letter_scores.variance_reduction_se IS 'Standard error of variance_reduction, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN letter_scores.held_out_variance_reduction_se IS 'Standard error of held_out_variance_reduction, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
ALTER TABLE subset_statistics ADD COLUMN rectified DOUBLE PRECISION;
ALTER TABLE subset_statistics ADD COLUMN sparsity_se DOUBLE PRECISION;
ALTER TABLE subset_statistics ADD COLUMN rectified_se DOUBLE PRECISION;
ALTER TABLE subset_statistics ADD COLUMN mean_se DOUBLE PRECISION;
ALTER TABLE subset_statistics ADD COLUMN post_mean_se DOUBLE PRECISION;
ALTER TABLE subset_statistics ADD COLUMN kurt_se DOUBLE PRECISION;
ALTER TABLE subset_statistics ADD COLUMN variance_reduction_se DOUBLE PRECISION;
COMMENT ON COLUMN subset_statistics.rectified IS 'Mean of max(post, 0).';
COMMENT ON COLUMN subset_statistics.sparsity_se IS 'Standard error of sparsity, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN subset_statistics.rectified_se IS 'Standard error of rectified, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN subset_statistics.mean_se IS 'Standard error of mean, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN subset_statistics.post_mean_se IS 'Standard error of post_mean, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN subset_statistics.kurt_se IS 'Standard error of kurt, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN subset_statistics.variance_reduction_se IS 'Standard error of variance_reduction, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN explanations.rank IS 'Rank of chosen_variance_reduction among all features and both shifts, 1 the best; exact up to 5.';
COMMENT ON COLUMN labels.score IS 'Variance reduction, held out where it is read from activations; mutual information in nats for position, ratio for bos, frequency for dead and near_dead.';
"""

DOWNGRADE = r"""
ALTER TABLE explanations DROP COLUMN chosen_variance_reduction;
ALTER TABLE explanations DROP COLUMN held_out_variance_reduction;
ALTER TABLE explanations DROP COLUMN variance_reduction_se;
ALTER TABLE explanations DROP COLUMN held_out_variance_reduction_se;
ALTER TABLE explanations DROP COLUMN mean_in_se;
ALTER TABLE explanations DROP COLUMN mean_out_se;
ALTER TABLE explanations DROP COLUMN frequency_in;
ALTER TABLE explanations DROP COLUMN frequency_out;
ALTER TABLE explanations DROP COLUMN frequency_in_se;
ALTER TABLE explanations DROP COLUMN frequency_out_se;
ALTER TABLE explanations DROP COLUMN rectified_in;
ALTER TABLE explanations DROP COLUMN rectified_out;
ALTER TABLE explanations DROP COLUMN rectified_in_se;
ALTER TABLE explanations DROP COLUMN rectified_out_se;
ALTER TABLE explanations DROP COLUMN partial_effect;
ALTER TABLE explanations DROP COLUMN partial_variance_reduction;
ALTER TABLE explanations DROP COLUMN overlap;
ALTER TABLE letter_scores DROP COLUMN chosen_variance_reduction;
ALTER TABLE letter_scores DROP COLUMN held_out_variance_reduction;
ALTER TABLE letter_scores DROP COLUMN variance_reduction_se;
ALTER TABLE letter_scores DROP COLUMN held_out_variance_reduction_se;
ALTER TABLE subset_statistics DROP COLUMN rectified;
ALTER TABLE subset_statistics DROP COLUMN sparsity_se;
ALTER TABLE subset_statistics DROP COLUMN rectified_se;
ALTER TABLE subset_statistics DROP COLUMN mean_se;
ALTER TABLE subset_statistics DROP COLUMN post_mean_se;
ALTER TABLE subset_statistics DROP COLUMN kurt_se;
ALTER TABLE subset_statistics DROP COLUMN variance_reduction_se;
COMMENT ON COLUMN explanations.rank IS 'Rank of the score among all features and both shifts, 1 the best; exact up to 5.';
COMMENT ON COLUMN labels.score IS 'Variance reduction; mutual information in nats for position, ratio for bos, frequency for dead and near_dead.';
DELETE FROM rules WHERE family = 'context' AND parameter IN
    ('min_partial_effect', 'min_partial_variance_reduction', 'min_overlap');
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
