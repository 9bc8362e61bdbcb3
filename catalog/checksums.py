"""Checksums of a run's rows, one per table, which do not depend on the order of the rows.

Of every row h = hash_record_extended(columns, 0), 64 bits over the values of all columns, is taken; a table's checksum
is count(*), bit_xor(h) and sum(hashint8extended(h, 0)). A single changed value (one ulp of a float included), a row more
or less, or values swapped between rows change both sums except with probability about 2^-32 or less. A record's hash is
linear in its columns' hashes, so a plain sum of h would miss swapped ids; the second hash makes it notice, and the sum
notices the pairs of equal rows that cancel in bit_xor.

They are what partitions by hash rely on, so pg_upgrade and dump and restore keep them. A server of the other byte order,
of another encoding, or a column whose type was changed does not. Columns that are added later do not enter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from catalog import later, staging
from catalog.engine import driver_of

_MODELS = "(SELECT model_id FROM run_models WHERE run_id = :run_id)"
_CORPUS = "(SELECT corpus_id FROM runs WHERE id = :run_id)"
_TOKENIZERS = f"(SELECT tokenizer_id FROM models WHERE id IN {_MODELS})"
_FEATURES = """(SELECT feature_id FROM explanations WHERE run_id = :run_id
                UNION SELECT feature_id FROM letter_scores WHERE run_id = :run_id
                UNION SELECT feature_id FROM next_token_statistics WHERE run_id = :run_id
                UNION SELECT feature_id FROM logit_explanations WHERE run_id = :run_id
                UNION SELECT feature_id FROM class_activity WHERE run_id = :run_id
                UNION SELECT feature_id FROM run_topics WHERE run_id = :run_id)"""

SUMMED = ("labels", "label_totals", "layer_summaries", "depth_summaries")
"""What is written again whenever a part of the run changes (`catalog.summaries`)."""

OF_RUN = ("runs", "run_models", "run_parts", *SUMMED)
"""What describes the run as a whole; checksums are written at every publication of the run."""

ROWS_OF_PART: dict[str, tuple[str, ...]] = {
    "weights": ("weight_statistics", "logit_effects"),
    "activations": ("activation_statistics",),
    "correlations": ("pairs", "universality", "universality_by_model", "group_members", "neuron_groups", "run_pairs"),
    "vocabulary": ("explanations", "letter_scores", "top_tokens"),
    "positions": ("position_statistics",),
    "distributions": ("histograms", "distribution_statistics", "late_statistics", "subset_statistics", "explanations"),
    "examples": ("examples",),
    "ngrams": ("ngram_statistics", "detected_ngrams"),
    "next_tokens": ("next_token_statistics",),
    "topics": ("run_topics", "explanations"),
    "syntax": ("explanations",),
    "prediction": ("logit_explanations",),
    "redundancy": ("similar_neurons", "neuron_vectors"),
    "attention": ("head_scores", "head_baselines", "head_compositions"),
    "class_activity": ("class_activity",),
    "ablations": ("ablation_relations", "path_ablations", "head_norms"),
    "entropy": ("interventions",),
}
"""Tables that hold a part's rows of a run; their checksums are written when the part is published, and the rows deleted in
this order: which relations are the run's own is known by its ablations."""

USED_BY_PART = {
    "vocabulary": ("features", "feature_tokens"),
    "distributions": ("features",),
    "next_tokens": ("features", "feature_tokens"),
    "topics": ("features", "feature_tokens"),
    "syntax": ("features",),
    "prediction": ("features", "feature_tokens"),
    "class_activity": ("features", "feature_tokens"),
    "examples": ("corpus_rows",),
}
"""Tables that a part's rows point to, likewise."""

OF_INPUTS = ("models", "neurons", "tokenizers", "tokens", "corpora", "corpus_subsets", "token_counts")
"""What was read, shared with other runs and never changed; written once."""

_CONDITIONS = {
    "runs": "t.id = :run_id",
    "models": f"t.id IN {_MODELS}",
    "neurons": f"t.model_id IN {_MODELS}",
    "tokenizers": f"t.id IN {_TOKENIZERS}",
    "tokens": f"t.tokenizer_id IN {_TOKENIZERS}",
    "corpora": f"t.id = {_CORPUS}",
    "corpus_subsets": f"t.corpus_id = {_CORPUS}",
    "token_counts": f"t.corpus_id = {_CORPUS}",
    "corpus_rows": f"t.corpus_id = {_CORPUS} AND t.row IN (SELECT e.row FROM examples e WHERE e.run_id = :run_id)",
    "features": f"t.id IN {_FEATURES}",
    "feature_tokens": f"t.tokenizer_id IN {_TOKENIZERS} AND t.feature_id IN {_FEATURES}",
    **{table: f"t.run_id = :run_id AND {later.rows_of_run(table, 't')}" for table in later.TABLES},
}
"""Which rows of a table belong to a run, where the table has no run_id, or others that came later."""

_HASHABLE = {("neuron_vectors", "vector"): "halfvec_send(t.{})"}
"""Columns whose type has no hash of its own."""

_FIXED = {"runs": ["id", "identity", "corpus_id", "settings", "code_version"]}
"""The columns of a table that publication alone writes, where others may change later."""


@dataclass(frozen=True)
class Checksum:
    """What is known of a run's rows of one table."""

    n_rows: int
    bits: int
    total: int


def tables_of(parts: Iterable[str]) -> list[str]:
    """The tables whose checksums a run with these parts has."""
    own = [table for part in parts for table in (*USED_BY_PART.get(part, ()), *ROWS_OF_PART[part])]
    return list(dict.fromkeys([*OF_RUN, *OF_INPUTS, *own]))


def record_publication(connection: Connection, run_id: int, parts: Iterable[str]) -> None:
    """Write the checksums of what has just been published; those of parts that were there before stay as they are."""
    have = connection.execute(text("SELECT table_name FROM run_checksums WHERE run_id = :run_id"), {"run_id": run_id})
    kept = set(have.scalars()) & set(OF_INPUTS)
    record(connection, run_id, [table for table in tables_of(parts) if table not in kept])


def record(connection: Connection, run_id: int, tables: Iterable[str]) -> None:
    """Write, or replace, the checksums of a run's rows of some tables."""
    driver = driver_of(connection)
    version = connection.execute(text("SELECT current_setting('server_version_num')::int / 10000")).scalar_one()
    statement = text(
        """INSERT INTO run_checksums (run_id, table_name, columns, n_rows, bits, total, server_version)
           VALUES (:run_id, :table_name, :columns, :n_rows, :bits, :total, :server_version)
           ON CONFLICT (run_id, table_name) DO UPDATE
           SET (columns, n_rows, bits, total, server_version)
             = (excluded.columns, excluded.n_rows, excluded.bits, excluded.total, excluded.server_version)"""
    )
    for table in tables:
        columns = _FIXED.get(table) or staging.column_names(driver, table)
        found = checksum(connection, run_id, table, columns)
        values = {"run_id": run_id, "table_name": table, "columns": columns, "server_version": version}
        connection.execute(statement, {**values, "n_rows": found.n_rows, "bits": found.bits, "total": found.total})


def checksum(connection: Connection, run_id: int, table: str, columns: list[str]) -> Checksum:
    """The checksum of these columns of a run's rows, as they are now."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    values = [_HASHABLE.get((table, name), "t.{}").format(quote(name)) for name in columns]
    row_hash = f"hash_record_extended(ROW({', '.join(values)}), 0)"
    found = connection.execute(
        text(
            f"""SELECT count(*), COALESCE(bit_xor({row_hash}), 0), COALESCE(sum(hashint8extended({row_hash}, 0)), 0)
                FROM public.{quote(table)} AS t WHERE {_CONDITIONS.get(table, "t.run_id = :run_id")}"""
        ),
        {"run_id": run_id},
    ).one()
    return Checksum(int(found[0]), int(found[1]), int(found[2]))
