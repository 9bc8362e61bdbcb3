"""Neurons that are replaced by their matches in other models: what the loss does.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_substitution"
down_revision = "2026_11_29_universal"
branch_labels = None
depends_on = None

UPGRADE = r"""
CREATE TABLE replaced_neurons (
    run_id INTEGER NOT NULL,
    neuron_id INTEGER NOT NULL,
    n_fitted BIGINT NOT NULL,
    n_tokens BIGINT NOT NULL,
    mean DOUBLE PRECISION,
    loss DOUBLE PRECISION,
    loss_delta DOUBLE PRECISION,
    loss_delta_se DOUBLE PRECISION,
    token_loss_delta DOUBLE PRECISION,
    token_loss_delta_se DOUBLE PRECISION,
    token_restored DOUBLE PRECISION,
    token_restored_se DOUBLE PRECISION,
    block_tokens BIGINT[] NOT NULL,
    blocks DOUBLE PRECISION[] NOT NULL,
    token_blocks DOUBLE PRECISION[] NOT NULL,
    CONSTRAINT pk_replaced_neurons PRIMARY KEY (run_id, neuron_id),
    CONSTRAINT fk_replaced_neurons_run_id FOREIGN KEY (run_id) REFERENCES runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_replaced_neurons_neuron_id FOREIGN KEY (neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE replaced_neurons IS 'What the loss does when a neuron is held at its mean, and when it is what it is on average at the current token.';
COMMENT ON COLUMN replaced_neurons.run_id IS 'The run that measured it.';
COMMENT ON COLUMN replaced_neurons.neuron_id IS 'The neuron.';
COMMENT ON COLUMN replaced_neurons.n_fitted IS 'Tokens of the first half of the documents, of which means are (SPEC 0.3, M_corr).';
COMMENT ON COLUMN replaced_neurons.n_tokens IS 'Tokens of the other half, of which the losses are (SPEC 0.3, M_next).';
COMMENT ON COLUMN replaced_neurons.mean IS 'Mean post in the first half, to which ablation sets it.';
COMMENT ON COLUMN replaced_neurons.loss IS 'Mean loss of the model left alone, in nats per token.';
COMMENT ON COLUMN replaced_neurons.loss_delta IS 'Mean change of the loss when the neuron is held at its mean, in nats per token.';
COMMENT ON COLUMN replaced_neurons.loss_delta_se IS 'Its standard error, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN replaced_neurons.token_loss_delta IS 'The same change when it takes its mean at the current token in the first half.';
COMMENT ON COLUMN replaced_neurons.token_loss_delta_se IS 'Standard error of token_loss_delta.';
COMMENT ON COLUMN replaced_neurons.token_restored IS '1 - token_loss_delta / loss_delta; NULL unless loss_delta exceeds 1.96 standard errors.';
COMMENT ON COLUMN replaced_neurons.token_restored_se IS 'Standard error of token_restored, jackknifed as a ratio of sums.';
COMMENT ON COLUMN replaced_neurons.block_tokens IS 'Tokens of each of the 16 blocks of the scoring half.';
COMMENT ON COLUMN replaced_neurons.blocks IS 'Sum over each of these blocks of the change of which loss_delta is the mean, in nats.';
COMMENT ON COLUMN replaced_neurons.token_blocks IS 'The same of token_loss_delta, in nats.';
COMMENT ON INDEX pk_replaced_neurons IS 'Serves show, and the views that have a row per neuron: a run''s row of one neuron.';
CREATE TABLE substitutions (
    run_id INTEGER NOT NULL,
    neuron_id INTEGER NOT NULL,
    other_model_id INTEGER NOT NULL,
    kind TEXT NOT NULL CONSTRAINT ck_substitutions_kind_known CHECK (kind IN ('match', 'second', 'random')),
    other_neuron_id INTEGER NOT NULL,
    alpha DOUBLE PRECISION,
    beta DOUBLE PRECISION,
    loss_delta DOUBLE PRECISION,
    loss_delta_se DOUBLE PRECISION,
    restored DOUBLE PRECISION,
    restored_se DOUBLE PRECISION,
    blocks DOUBLE PRECISION[] NOT NULL,
    CONSTRAINT pk_substitutions PRIMARY KEY (run_id, neuron_id, other_model_id, kind),
    CONSTRAINT fk_substitutions_run_id FOREIGN KEY (run_id) REFERENCES runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_substitutions_neuron_id FOREIGN KEY (neuron_id) REFERENCES neurons (id) ON DELETE CASCADE,
    CONSTRAINT fk_substitutions_other_model_id FOREIGN KEY (other_model_id) REFERENCES models (id) ON DELETE CASCADE,
    CONSTRAINT fk_substitutions_other_neuron_id FOREIGN KEY (other_neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE substitutions IS 'What the loss does when a neuron of another model takes a neuron''s place on the same tokens.';
COMMENT ON COLUMN substitutions.run_id IS 'The run that measured it.';
COMMENT ON COLUMN substitutions.neuron_id IS 'The neuron.';
COMMENT ON COLUMN substitutions.other_model_id IS 'The model whose neuron stands in.';
COMMENT ON COLUMN substitutions.kind IS 'match: its best partner there; second: the second best; random: any other neuron of the match''s layer.';
COMMENT ON COLUMN substitutions.other_neuron_id IS 'The neuron that stands in.';
COMMENT ON COLUMN substitutions.alpha IS 'Of the line alpha + beta * post of the other neuron, least squares over the first half of the documents.';
COMMENT ON COLUMN substitutions.beta IS 'Slope of that line; 0 where the other neuron never varies.';
COMMENT ON COLUMN substitutions.loss_delta IS 'Mean change of the loss when the line takes the neuron''s place in the other half, nats per token.';
COMMENT ON COLUMN substitutions.loss_delta_se IS 'Standard error of loss_delta, by the jackknife over blocks of documents; NULL with fewer than 10 blocks.';
COMMENT ON COLUMN substitutions.restored IS '1 - loss_delta / that of the neuron held at its mean; NULL unless the latter exceeds 1.96 standard errors.';
COMMENT ON COLUMN substitutions.restored_se IS 'Standard error of restored over the scoring documents, the line being given, by a jackknife.';
COMMENT ON COLUMN substitutions.blocks IS 'Sum over each of the 16 scoring blocks of the change of the loss, in nats.';
COMMENT ON INDEX pk_substitutions IS 'Serves neuron_substitutions and neuron_matches: what stands in for a neuron, and how well.';
GRANT SELECT ON replaced_neurons, substitutions TO catalog_reader;
"""

DOWNGRADE = r"""
DROP TABLE substitutions;
DROP TABLE replaced_neurons;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
