"""What a publication enters one by one: a tokenizer, models, a corpus, features, and what the run covers."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import Connection, text

from catalog import aliases
from catalog.copy import copy_columns
from catalog.rows import CorpusRow, ModelIds, ModelRow, PublishRows, TensorRow, TokenizerRow


def enter_tokenizer(connection: Connection, driver: psycopg.Connection[Any], row: TokenizerRow) -> int:
    """The id of a tokenizer, which is entered with its tokens if it is new."""
    known = connection.execute(text("SELECT id FROM tokenizers WHERE sha256 = :sha256"), {"sha256": row.sha256}).scalar()
    if known is not None:
        return int(known)
    values = {"sha256": row.sha256, "n_tokens": row.n_tokens, "bos_id": row.bos_id, "newline_id": row.newline_id}
    key = connection.execute(
        text(
            """INSERT INTO tokenizers (sha256, n_tokens, bos_id, newline_id)
               VALUES (:sha256, :n_tokens, :bos_id, :newline_id) RETURNING id"""
        ),
        values,
    ).scalar_one()
    n = len(row.token_bytes)
    copy_columns(
        driver,
        "public.tokens",
        {
            "tokenizer_id": np.full(n, key, dtype=np.int32),
            "token_id": np.arange(n, dtype=np.int32),
            "text": np.array(row.token_texts, dtype=object),
            "bytes": _objects(row.token_bytes),
        },
    )
    return int(key)


def _objects(values: Sequence[object]) -> np.ndarray:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def enter_model(
    connection: Connection, driver: psycopg.Connection[Any], model: ModelRow, ids: ModelIds, tokenizer_id: int
) -> None:
    """Enter a model with its neurons, under the ids that were given out."""
    # a model that no run uses any more gives its names away
    connection.execute(
        text("UPDATE models SET revision = 'unused-' || id WHERE name = :name AND revision = :revision"),
        {"name": model.name, "revision": model.revision},
    )
    connection.execute(
        text("DELETE FROM model_aliases WHERE name = :name"), {"name": aliases.shown(model.name, model.revision)}
    )
    values = {"id": ids.model_id, "tokenizer_id": tokenizer_id, **model._asdict()}
    columns = ", ".join(values)
    placeholders = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO models ({columns}) VALUES ({placeholders})"), values)
    flat = np.arange(len(ids.neuron_ids))
    copy_columns(
        driver,
        "public.neurons",
        {
            "id": ids.neuron_ids,
            "model_id": np.full(len(flat), ids.model_id, dtype=np.int32),
            "layer": (flat // model.d_mlp).astype(np.int16),
            "index": (flat % model.d_mlp).astype(np.int32),
        },
    )


def enter_tensors(driver: psycopg.Connection[Any], model_id: int, tensors: Sequence[TensorRow]) -> None:
    """Enter what the tensors of a model hold."""
    if not tensors:
        return
    names, shapes, sha256, n_distinct = zip(*tensors, strict=True)
    copy_columns(
        driver,
        "public.model_tensors",
        {
            "model_id": np.full(len(tensors), model_id, dtype=np.int32),
            "name": np.array(names, dtype=object),
            "shape": _objects([list(shape) for shape in shapes]),
            "sha256": np.array(sha256, dtype=object),
            "n_distinct": np.array(n_distinct, dtype=np.int16),
        },
    )


def enter_corpus(connection: Connection, driver: psycopg.Connection[Any], row: CorpusRow, tokenizer_id: int) -> int:
    """The id of a corpus, which is entered with its subsets if it is new."""
    known = connection.execute(
        text("SELECT id FROM corpora WHERE token_sha256 = :sha256"), {"sha256": row.token_sha256}
    ).scalar()
    if known is not None:
        return int(known)
    apart = ("subsets", "token_counts", "read_rows", "documents")
    values = {key: value for key, value in row._asdict().items() if key not in apart} | {
        "tokenizer_id": tokenizer_id,
        "has_subsets": bool(row.subsets),
        **{f"n_documents_{name}": count for name, count in vars(row.documents).items()},
    }
    columns = ", ".join(values)
    placeholders = ", ".join(f":{name}" for name in values)
    key = connection.execute(text(f"INSERT INTO corpora ({columns}) VALUES ({placeholders}) RETURNING id"), values).scalar_one()
    for subset, n_rows in row.subsets.items():
        connection.execute(
            text("INSERT INTO corpus_subsets VALUES (:key, :subset, :n_rows)"),
            {"key": key, "subset": subset, "n_rows": n_rows},
        )
    seen = np.flatnonzero(row.token_counts)
    copy_columns(
        driver,
        "public.token_counts",
        {
            "corpus_id": np.full(len(seen), key, dtype=np.int32),
            "token_id": seen.astype(np.int32),
            "count": row.token_counts[seen].astype(np.int64),
        },
    )
    return int(key)


def enter_features(connection: Connection, driver: psycopg.Connection[Any], rows: PublishRows, tokenizer_id: int) -> None:
    """Features that are new get the ids that were reserved for them when explanations were staged."""
    if not rows.features:
        return
    connection.execute(
        text(
            """INSERT INTO features (id, name, family, ordinal, definition)
               VALUES (:id, :name, :family, :ordinal, :definition) ON CONFLICT (name) DO NOTHING"""
        ),
        [{"id": rows.feature_ids[feature.name], **feature._asdict()} for feature in rows.features],
    )
    have = set(
        connection.execute(
            text("SELECT DISTINCT feature_id FROM feature_tokens WHERE tokenizer_id = :id"), {"id": tokenizer_id}
        ).scalars()
    )
    new = [(rows.feature_ids[name], ids) for name, ids in rows.feature_tokens.items() if rows.feature_ids[name] not in have]
    if new:
        tokens = np.concatenate([ids for _, ids in new]).astype(np.int32)
        copy_columns(
            driver,
            "public.feature_tokens",
            {
                "tokenizer_id": np.full(len(tokens), tokenizer_id, dtype=np.int32),
                "feature_id": np.repeat([key for key, _ in new], [len(ids) for _, ids in new]).astype(np.int32),
                "token_id": tokens,
            },
        )


def enter_members(connection: Connection, run_id: int, rows: PublishRows) -> None:
    """Enter what a run covers: its models in order, their pairs, and its parts."""
    for ordinal, (_, ids) in enumerate(rows.models):
        connection.execute(
            text(
                """INSERT INTO run_models (run_id, model_id, ordinal, statistics_run_id)
                   VALUES (:run_id, :model_id, :ordinal, :source) ON CONFLICT DO NOTHING"""
            ),
            {
                "run_id": run_id,
                "model_id": ids.model_id,
                "ordinal": ordinal,
                "source": rows.statistics_run_of[ids.model_id],
            },
        )
    for (one, other), source in rows.pair_run_of.items():
        connection.execute(
            text("INSERT INTO run_pairs VALUES (:run_id, :one, :other, :source) ON CONFLICT DO NOTHING"),
            {"run_id": run_id, "one": one, "other": other, "source": source},
        )
    models = models_sha256([model.identity for model, _ in rows.models])
    for part, (version, settings) in rows.parts.items():
        connection.execute(
            text(
                """INSERT INTO run_parts (run_id, part, definition_version, settings, models_sha256)
                   VALUES (:run_id, :part, :version, CAST(:settings AS jsonb), :of)"""
            ),
            {"run_id": run_id, "part": part, "version": version, "settings": json.dumps(settings), "of": models},
        )


def models_sha256(identities: Iterable[str]) -> str:
    """What `run_parts` keeps of the models of a part, and `catalog verify` compares with those of the run."""
    return hashlib.sha256("\n".join(sorted(identities)).encode()).hexdigest()
