"""Neurons of the last layer at their means: what the loss does, through the final norm's scale and through token frequency.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_confidence"
down_revision = "2026_11_29_gates"
branch_labels = None
depends_on = None

UPGRADE = r"""
CREATE TABLE confidence_models (
    run_id INTEGER NOT NULL,
    model_id INTEGER NOT NULL,
    null_dimensions INTEGER NOT NULL,
    vocabulary INTEGER NOT NULL,
    counted BIGINT NOT NULL,
    unseen INTEGER NOT NULL,
    pseudo_count DOUBLE PRECISION NOT NULL,
    n_means BIGINT NOT NULL,
    n_tokens BIGINT NOT NULL,
    n_blocks SMALLINT NOT NULL,
    loss DOUBLE PRECISION,
    divergence DOUBLE PRECISION,
    CONSTRAINT pk_confidence_models PRIMARY KEY (run_id, model_id),
    CONSTRAINT fk_confidence_models_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_confidence_models_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
COMMENT ON TABLE confidence_models IS 'What the numbers of `confidence` are about, and the model left alone.';
COMMENT ON COLUMN confidence_models.run_id IS 'The run that measured it.';
COMMENT ON COLUMN confidence_models.model_id IS 'The model.';
COMMENT ON COLUMN confidence_models.null_dimensions IS 'Last left singular directions of W_U that null_share is about: 1 % of d_model.';
COMMENT ON COLUMN confidence_models.vocabulary IS 'Real tokens: ids beyond them get no probability.';
COMMENT ON COLUMN confidence_models.counted IS 'Tokens of the corpus whose frequencies are taken: all but BOS, EOS and PAD.';
COMMENT ON COLUMN confidence_models.unseen IS 'Real tokens that are not among them.';
COMMENT ON COLUMN confidence_models.pseudo_count IS 'By how much each real token is counted more often than it is, so that logs are numbers.';
COMMENT ON COLUMN confidence_models.n_means IS 'Tokens in the means to which neurons are held (SPEC 0.3, M_next).';
COMMENT ON COLUMN confidence_models.n_tokens IS 'Those of them, evenly taken, whose losses are measured.';
COMMENT ON COLUMN confidence_models.n_blocks IS 'Blocks of documents that they are of.';
COMMENT ON COLUMN confidence_models.loss IS 'Mean loss of the model left alone on them, over real tokens, in nats per token.';
COMMENT ON COLUMN confidence_models.divergence IS 'Mean KL(token frequency || model) on them, in nats.';
COMMENT ON INDEX pk_confidence_models IS 'Serves model_confidence: a model of a run.';
CREATE TABLE confidence (
    run_id INTEGER NOT NULL,
    neuron_id INTEGER NOT NULL,
    null_share DOUBLE PRECISION CONSTRAINT ck_confidence_null_share_range CHECK (null_share BETWEEN 0 AND 1),
    frequency_cosine DOUBLE PRECISION,
    mean DOUBLE PRECISION,
    n_tokens BIGINT NOT NULL,
    total_effect DOUBLE PRECISION,
    total_effect_se DOUBLE PRECISION,
    direct_effect DOUBLE PRECISION,
    direct_effect_se DOUBLE PRECISION,
    norm_share DOUBLE PRECISION,
    norm_share_se DOUBLE PRECISION,
    held_effect DOUBLE PRECISION,
    held_effect_se DOUBLE PRECISION,
    frequency_effect DOUBLE PRECISION,
    frequency_effect_se DOUBLE PRECISION,
    frequency_share DOUBLE PRECISION,
    frequency_share_se DOUBLE PRECISION,
    loss_delta DOUBLE PRECISION,
    loss_delta_se DOUBLE PRECISION,
    divergence_delta DOUBLE PRECISION,
    divergence_delta_se DOUBLE PRECISION,
    CONSTRAINT pk_confidence PRIMARY KEY (run_id, neuron_id),
    CONSTRAINT fk_confidence_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_confidence_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE confidence IS 'Mean ablation of neurons of the last layer, in closed form on the final residual (Stolfo et al. 2024).';
COMMENT ON COLUMN confidence.run_id IS 'The run that measured it.';
COMMENT ON COLUMN confidence.neuron_id IS 'The neuron.';
COMMENT ON COLUMN confidence.null_share IS '|w_out in the last left singular directions of W_U| / |w_out|, directions as confidence_models says; rho.';
COMMENT ON COLUMN confidence.frequency_cosine IS 'Cosine of w_out W_U with the log frequency of tokens about its mean, real tokens.';
COMMENT ON COLUMN confidence.mean IS 'Mean post over the tokens of n_means of confidence_models, to which ablation sets it.';
COMMENT ON COLUMN confidence.n_tokens IS 'Tokens in the means of effects.';
COMMENT ON COLUMN confidence.total_effect IS 'Mean |change of the loss| when the neuron is held at its mean, in nats per token.';
COMMENT ON COLUMN confidence.total_effect_se IS 'Standard error of total_effect, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN confidence.direct_effect IS 'The same with the final norm''s scale frozen, in nats per token.';
COMMENT ON COLUMN confidence.direct_effect_se IS 'Standard error of direct_effect, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN confidence.norm_share IS '1 - direct_effect / total_effect: what goes through the final norm''s scale. NULL unless total_effect exceeds 1.96 standard errors.';
COMMENT ON COLUMN confidence.norm_share_se IS 'Standard error of norm_share, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN confidence.held_effect IS 'total_effect with logits held along the direction of token frequency, in nats per token.';
COMMENT ON COLUMN confidence.held_effect_se IS 'Standard error of held_effect, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN confidence.frequency_effect IS 'total_effect - held_effect, in nats per token.';
COMMENT ON COLUMN confidence.frequency_effect_se IS 'Standard error of frequency_effect, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN confidence.frequency_share IS '1 - held_effect / total_effect: what goes through token frequency. NULL unless total_effect exceeds 1.96 standard errors.';
COMMENT ON COLUMN confidence.frequency_share_se IS 'Standard error of frequency_share, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN confidence.loss_delta IS 'Mean change of the loss, with its sign, in nats per token.';
COMMENT ON COLUMN confidence.loss_delta_se IS 'Standard error of loss_delta, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN confidence.divergence_delta IS 'Mean change of KL(token frequency || model), in nats.';
COMMENT ON COLUMN confidence.divergence_delta_se IS 'Standard error of divergence_delta, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON INDEX pk_confidence IS 'Serves show, and the views that have a row per neuron: a run''s row of one neuron.';
CREATE TABLE frequency_tests (
    run_id INTEGER NOT NULL,
    neuron_id INTEGER NOT NULL,
    n_tokens BIGINT NOT NULL,
    frequency_effect DOUBLE PRECISION,
    CONSTRAINT pk_frequency_tests PRIMARY KEY (run_id, neuron_id),
    CONSTRAINT fk_frequency_tests_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_frequency_tests_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE frequency_tests IS 'Candidates for token-frequency neurons on the tokens on which they are compared with their controls.';
COMMENT ON COLUMN frequency_tests.run_id IS 'The run that measured it.';
COMMENT ON COLUMN frequency_tests.neuron_id IS 'The neuron.';
COMMENT ON COLUMN frequency_tests.n_tokens IS 'Tokens in the means of the candidate and of its controls, of those of `confidence`.';
COMMENT ON COLUMN frequency_tests.frequency_effect IS 'On these tokens, mean of |change of the loss| by mean ablation less that with logits held along the direction of token frequency, nats.';
COMMENT ON INDEX pk_frequency_tests IS 'Serves show, and the views that have a row per neuron: a run''s row of one neuron.';
CREATE TABLE frequency_controls (
    run_id INTEGER NOT NULL,
    neuron_id INTEGER NOT NULL,
    along_neuron_id INTEGER NOT NULL,
    frequency_effect DOUBLE PRECISION,
    CONSTRAINT pk_frequency_controls PRIMARY KEY (run_id, neuron_id, along_neuron_id),
    CONSTRAINT fk_frequency_controls_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_frequency_controls_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE,
    CONSTRAINT fk_frequency_controls_along_neuron_id FOREIGN KEY(along_neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE frequency_controls IS 'What a candidate for a token-frequency neuron would do if it wrote along another neuron of its layer.';
COMMENT ON COLUMN frequency_controls.run_id IS 'The run that measured it.';
COMMENT ON COLUMN frequency_controls.neuron_id IS 'The neuron.';
COMMENT ON COLUMN frequency_controls.along_neuron_id IS 'Another neuron of its layer, along whose output weights its change is written, as long as its own.';
COMMENT ON COLUMN frequency_controls.frequency_effect IS 'Mean of |change of the loss| by mean ablation less that with logits held along the direction of token frequency, nats, on the candidate''s tokens.';
COMMENT ON INDEX pk_frequency_controls IS 'Serves token_frequency_candidates: the controls of a candidate.';
GRANT SELECT ON confidence_models, confidence, frequency_tests, frequency_controls TO catalog_reader;
"""

DOWNGRADE = r"""
DROP TABLE frequency_controls;
DROP TABLE frequency_tests;
DROP TABLE confidence;
DROP TABLE confidence_models;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
