"""Tokens that stand for unknown text have no bytes; the identity of a tokenizer is over all that decides ids or bytes.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_25_token_bytes"
down_revision = "2026_11_25_words"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- squawk-ignore ban-drop-not-null
ALTER TABLE tokens ALTER COLUMN bytes DROP NOT NULL;
COMMENT ON COLUMN tokens.bytes IS 'The token''s bytes, unescaped; NULL where its text is not known.';
COMMENT ON COLUMN tokens.text IS 'Its bytes (without any, its name); NUL and what is no UTF-8 escaped as \xNN, a backslash doubled.';
COMMENT ON COLUMN tokenizers.sha256 IS 'sha256 of all that decides token ids or bytes; equal tokenizers share a row.';
COMMENT ON COLUMN tokenizers.newline_id IS 'The one id whose bytes are a newline alone; NULL if there is none.';
COMMENT ON COLUMN corpora.token_sha256 IS 'sha256 of the token ids and subsets of all rows in order, and of the tokenizer''s sha256.';
"""

DOWNGRADE = r"""
UPDATE tokens SET bytes = convert_to(text, 'UTF8') WHERE bytes IS NULL;
-- squawk-ignore adding-not-nullable-field
ALTER TABLE tokens ALTER COLUMN bytes SET NOT NULL;
COMMENT ON COLUMN tokens.bytes IS 'The token''s bytes, unescaped.';
COMMENT ON COLUMN tokens.text IS 'Decoded text; NUL and what is no UTF-8 escaped as \xNN, a backslash doubled.';
COMMENT ON COLUMN tokenizers.sha256 IS 'sha256 of the token-to-id map and the special ids; equal tokenizers share a row.';
COMMENT ON COLUMN tokenizers.newline_id IS 'The one id that decodes to a newline alone; NULL if there is none.';
COMMENT ON COLUMN corpora.token_sha256 IS 'sha256 of the token ids and subsets of all rows in order.';
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
