"""Other names of models, by which they can be asked for.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_25_aliases"
down_revision = "2026_11_25_answers"
branch_labels = None
depends_on = None

UPGRADE = r"""
CREATE TABLE model_aliases (
    name TEXT NOT NULL,
    model_id INTEGER NOT NULL,
    said_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_model_aliases PRIMARY KEY (name),
    CONSTRAINT fk_model_aliases_model_id FOREIGN KEY (model_id) REFERENCES models (id) ON DELETE CASCADE
);
COMMENT ON TABLE model_aliases IS 'Other names by which models can be asked for: the catalog had them when an ingest named them so.';
COMMENT ON COLUMN model_aliases.name IS 'Another name, with @revision if it was given one; of no other model.';
COMMENT ON COLUMN model_aliases.model_id IS 'The model that it stands for.';
COMMENT ON COLUMN model_aliases.said_at IS 'When an ingest first met the model by this name.';
COMMENT ON INDEX pk_model_aliases IS 'Serves every question about a model: the model that another of its names stands for.';
CREATE INDEX ix_model_aliases_model_id ON model_aliases (model_id);
COMMENT ON INDEX ix_model_aliases_model_id IS 'Serves models: the other names of each.';
GRANT SELECT ON model_aliases TO catalog_reader;
"""

DOWNGRADE = r"""
DROP TABLE model_aliases;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
