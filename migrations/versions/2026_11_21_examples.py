"""Examples: where each neuron is most active, a sample of every strength, and the rows of the corpus that they are in.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_21_examples"
down_revision = "2026_11_21_ngrams"
branch_labels = None
depends_on = None

UPGRADE = r"""
CREATE TABLE examples (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	kind SMALLINT NOT NULL CONSTRAINT ck_examples_kind_known CHECK (kind IN (0, 25, 50, 75, 90, 99, 100)),
	rank SMALLINT NOT NULL CONSTRAINT ck_examples_rank_positive CHECK (rank >= 1),
	value REAL NOT NULL,
	row INTEGER NOT NULL CONSTRAINT ck_examples_row_not_negative CHECK ("row" >= 0),
	position INTEGER NOT NULL CONSTRAINT ck_examples_position_positive CHECK ("position" >= 1),
	quantile REAL CONSTRAINT ck_examples_quantile_of_sample CHECK ((quantile IS NULL) = (kind = 0) AND quantile BETWEEN 0 AND 1),
	CONSTRAINT pk_examples PRIMARY KEY (run_id, neuron_id, kind, rank),
	CONSTRAINT fk_examples_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_examples_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE examples IS 'The 50 tokens on which a neuron is most active, of distinct contexts (SPEC 3.4), and a sample of every strength.';
COMMENT ON COLUMN examples.run_id IS 'The run that measured it.';
COMMENT ON COLUMN examples.neuron_id IS 'The neuron.';
COMMENT ON COLUMN examples.kind IS '0: the highest values; else a band of quantiles of the neuron''s positive post, by its upper percent.';
COMMENT ON COLUMN examples.rank IS '1 is the highest value of the kind.';
COMMENT ON COLUMN examples.value IS 'Post at the token, as it is: not above 0 where a neuron has nothing better.';
COMMENT ON COLUMN examples."row" IS 'Row of the corpus, in the order of the run.';
COMMENT ON COLUMN examples.position IS 'In the row; 0 is BOS, which is no example.';
COMMENT ON COLUMN examples.quantile IS 'Share of the neuron''s positive post below the middle of the value''s bin (two per power of two); NULL for top.';
CREATE TABLE corpus_rows (
	corpus_id INTEGER NOT NULL,
	row INTEGER NOT NULL,
	subset TEXT,
	tokens INTEGER[] NOT NULL,
	CONSTRAINT pk_corpus_rows PRIMARY KEY (corpus_id, row),
	CONSTRAINT fk_corpus_rows_corpus_id FOREIGN KEY(corpus_id) REFERENCES corpora (id) ON DELETE CASCADE
);
COMMENT ON TABLE corpus_rows IS 'Rows of a corpus that hold an example of a neuron.';
COMMENT ON COLUMN corpus_rows.corpus_id IS 'The corpus.';
COMMENT ON COLUMN corpus_rows."row" IS 'Place of the row, from 0.';
COMMENT ON COLUMN corpus_rows.subset IS 'The subset that it is of; NULL where the corpus has none.';
COMMENT ON COLUMN corpus_rows.tokens IS 'Token ids, BOS first.';
CREATE VIEW history.neuron_examples AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       CASE e.kind WHEN 0 THEN 'top' WHEN 25 THEN 'quantile_0_25' WHEN 50 THEN 'quantile_25_50' WHEN 75 THEN 'quantile_50_75' WHEN 90 THEN 'quantile_75_90' WHEN 99 THEN 'quantile_90_99' WHEN 100 THEN 'quantile_99_100' END AS kind, e.rank, e.value, r.subset, e.row, e.position,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 1 : e.position + 1]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS token,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[greatest(1, e.position - 19) : e.position]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS before,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 2 : e.position + 6]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS after,
       e.quantile, e.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.examples e ON e.run_id = m.run_id AND e.neuron_id = n.id
  JOIN public.runs ON runs.id = m.run_id
  JOIN public.corpora c ON c.id = runs.corpus_id
  JOIN public.corpus_rows r ON r.corpus_id = c.id AND r.row = e.row;
COMMENT ON VIEW history.neuron_examples IS 'Tokens on which each neuron is most active, and a sample of every strength, with 20 tokens before and 5 after.';
CREATE VIEW public.neuron_examples AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       CASE e.kind WHEN 0 THEN 'top' WHEN 25 THEN 'quantile_0_25' WHEN 50 THEN 'quantile_25_50' WHEN 75 THEN 'quantile_50_75' WHEN 90 THEN 'quantile_75_90' WHEN 99 THEN 'quantile_90_99' WHEN 100 THEN 'quantile_99_100' END AS kind, e.rank, e.value, r.subset, e.row, e.position,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 1 : e.position + 1]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS token,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[greatest(1, e.position - 19) : e.position]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS before,
       (SELECT COALESCE(string_agg(t.text, '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[e.position + 2 : e.position + 6]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id) AS after,
       e.quantile, e.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.examples e ON e.run_id = m.run_id AND e.neuron_id = n.id
  JOIN public.runs ON runs.id = m.run_id
  JOIN public.corpora c ON c.id = runs.corpus_id
  JOIN public.corpus_rows r ON r.corpus_id = c.id AND r.row = e.row;
COMMENT ON VIEW public.neuron_examples IS 'Tokens on which each neuron is most active, and a sample of every strength, with 20 tokens before and 5 after.';
GRANT SELECT ON examples, corpus_rows TO catalog_reader;
GRANT SELECT ON history.neuron_examples, public.neuron_examples TO catalog_reader;
"""

DOWNGRADE = r"""
DROP VIEW public.neuron_examples;
DROP VIEW history.neuron_examples;
DELETE FROM run_checksums WHERE table_name IN ('run_parts', 'examples', 'corpus_rows')
   AND run_id IN (SELECT run_id FROM run_parts WHERE part = 'examples');
DELETE FROM run_parts WHERE part = 'examples';
DROP TABLE corpus_rows;
DROP TABLE examples;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
