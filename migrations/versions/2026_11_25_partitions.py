"""Tables of several rows per neuron have a partition per run; vectors have no index, for they are all compared.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_25_partitions"
down_revision = "2026_11_25_token_bytes"
branch_labels = None
depends_on = None

TABLES = {
    "similar_neurons": {
        "key": "run_id, neuron_id, kind, opposite, rank",
        "comment": "The neurons of the same model whose weights are nearest and most opposite to each neuron's (UN App. C, SPEC 10).",
        "pk": "Serves show and neuron_similarities: a neuron's nearest and most opposite in order.",
    },
    "examples": {
        "key": "run_id, neuron_id, kind, rank",
        "comment": "The 50 tokens on which a neuron is most active, of distinct contexts (SPEC 3.4), and a sample of every strength.",
        "pk": "Serves show and neuron_examples: a neuron's examples, kind by kind in order.",
        "ix": "ix_examples_by_token",
        "columns": "run_id, token_id, neuron_id",
        "serves": "Serves neuron_examples: the neurons that have an example at one token.",
    },
    "logit_effects": {
        "key": "run_id, neuron_id, direction, rank",
        "comment": "Tokens whose logits each neuron raises and lowers most.",
        "pk": "Serves show: the tokens that a neuron promotes and suppresses, in order.",
    },
    "top_tokens": {
        "key": "run_id, neuron_id, rank",
        "comment": "Tokens on which each neuron is most active on average, of those that occur often enough (SPEC 3.3).",
        "pk": "Serves show: a neuron's top tokens in order.",
    },
    "universality_by_model": {
        "key": "run_id, neuron_id, other_model_id",
        "comment": "Best match and baseline of each neuron in each other model.",
        "pk": "Serves show and neuron_universality_by_model: a neuron's best match in each other model.",
    },
    "subset_statistics": {
        "key": "run_id, neuron_id, subset",
        "comment": "Moments and frequency of each neuron's activations on each subset of the corpus.",
        "pk": "Serves show and neuron_subsets: a neuron on each subset.",
    },
    "next_token_statistics": {
        "key": "run_id, neuron_id, feature_id",
        "comment": "The five classes of next tokens before which a neuron's pre-activation differs most (SPEC 3.5).",
        "pk": "Serves show and neuron_next_tokens: the classes of next tokens of a neuron.",
    },
    "logit_explanations": {
        "key": "run_id, neuron_id, feature_id",
        "comment": "The five vocabulary features that explain each neuron's effect on the logits best (UN 5.1).",
        "pk": "Serves show and neuron_logit_explanations: the features that explain a neuron's effect on the logits.",
        "ix": "ix_logit_explanations_run_id_feature_id",
        "columns": "run_id, feature_id, rank",
        "serves": "Serves logit_ensembles: the neurons that act on one class of tokens.",
    },
}

BEGIN = r"""
DO $do$
DECLARE
  statement text;
  run integer;
  views text[] := ARRAY(
    SELECT format('CREATE OR REPLACE VIEW %s AS %s', c.oid::regclass, pg_get_viewdef(c.oid)) FROM pg_class c
     WHERE c.relkind = 'v' AND c.oid IN (
           SELECT r.ev_class FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
            WHERE d.refobjid = 'public.{table}'::regclass)
     ORDER BY c.oid);
  keys text[] := ARRAY(
    SELECT format('ALTER TABLE public.{table} ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
     WHERE conrelid = 'public.{table}'::regclass AND contype = 'f' ORDER BY conname);
BEGIN
  ALTER TABLE public.{table} RENAME TO {table}_before;
  ALTER INDEX public.pk_{table} RENAME TO pk_{table}_before;{index_before}
  CREATE TABLE public.{table} (LIKE public.{table}_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS) {by};
  COMMENT ON TABLE public.{table} IS '{comment}';
"""

PARTITIONS = r"""
  FOR run IN SELECT DISTINCT run_id FROM public.{table}_before ORDER BY 1 LOOP
    FOREACH statement IN ARRAY ARRAY[
      'CREATE TABLE public.{table}_run_%1$s (LIKE public.{table}_before INCLUDING CONSTRAINTS INCLUDING COMMENTS)',
      'INSERT INTO public.{table}_run_%1$s SELECT * FROM public.{table}_before WHERE run_id = %1$s',
      'ALTER TABLE public.{table}_run_%1$s ADD CONSTRAINT pk_{table}_run_%1$s PRIMARY KEY ({key})',
      'COMMENT ON INDEX public.pk_{table}_run_%1$s IS $w${pk}$w$',{index_of_run}
      'ALTER TABLE public.{table}_run_%1$s ADD CONSTRAINT ck_{table}_run_%1$s_one_run CHECK (run_id = %1$s)',
      'COMMENT ON TABLE public.{table}_run_%1$s IS ''The rows of run %1$s of {table}.''',
      'ALTER TABLE public.{table} ATTACH PARTITION public.{table}_run_%1$s FOR VALUES IN (%1$s)']
    LOOP
      EXECUTE format(statement, run);
    END LOOP;
  END LOOP;
"""

WHOLE = r"""
  INSERT INTO public.{table} SELECT * FROM public.{table}_before;
"""

END = r"""
  ALTER TABLE public.{table} ADD CONSTRAINT pk_{table} PRIMARY KEY ({key});
  COMMENT ON INDEX public.pk_{table} IS '{pk}';{index}
  FOREACH statement IN ARRAY keys || views LOOP
    EXECUTE statement;
  END LOOP;
  GRANT SELECT ON public.{table} TO catalog_reader;
  DROP TABLE public.{table}_before;
END
$do$;
"""

INDEX_BEFORE = """
  ALTER INDEX public.{ix} RENAME TO {ix}_before;"""

INDEX = """
  CREATE INDEX {ix} ON public.{table} ({columns});
  COMMENT ON INDEX public.{ix} IS '{serves}';"""

INDEX_OF_RUN = """
      'CREATE INDEX {ix}_run_%1$s ON public.{table}_run_%1$s ({columns})',
      'COMMENT ON INDEX public.{ix}_run_%1$s IS $w${serves}$w$',"""

WITHOUT_INDEX = r"""
DO $do$
DECLARE
  graph regclass;
BEGIN
  FOR graph IN SELECT c.oid FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'hnsw' LOOP
    EXECUTE format('DROP INDEX %s', graph);
  END LOOP;
END
$do$;
"""


def converted(table: str, words: dict[str, str], partitioned: bool) -> str:
    """The statements that turn one table into a partitioned one, or back."""
    has_index = "ix" in words
    values = {
        "index_before": INDEX_BEFORE if has_index else "",
        "index_of_run": INDEX_OF_RUN if has_index else "",
        "index": INDEX if has_index else "",
        "by": "PARTITION BY LIST (run_id)" if partitioned else "",
        "table": table,
        **{name: value.replace("'", "''") for name, value in words.items()},
    }
    if partitioned:
        values["comment"] += " By run."
    text = BEGIN + (PARTITIONS if partitioned else WHOLE) + END
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


BY_KIND = """
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX ix_neuron_vectors_by_kind ON neuron_vectors (run_id, kind, model_id);
COMMENT ON INDEX ix_neuron_vectors_by_kind IS 'Serves similar: the vectors of one kind, of a model or of all in a run.';
"""

WITHOUT_BY_KIND = """
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX ix_neuron_vectors_by_kind;
"""

UPGRADE = WITHOUT_INDEX + BY_KIND + "".join(converted(table, words, partitioned=True) for table, words in TABLES.items())

DOWNGRADE = WITHOUT_BY_KIND + "".join(converted(table, words, partitioned=False) for table, words in TABLES.items())


def upgrade() -> None:
    _at_leisure(UPGRADE)


def downgrade() -> None:
    _at_leisure(DOWNGRADE)


def _at_leisure(statements: str) -> None:
    """All rows move in one statement, which takes what it takes."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(statements)
    op.execute("SET LOCAL statement_timeout = '60s'")
