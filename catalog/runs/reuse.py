"""What earlier published runs already know, so that a sixth seed costs only its five new pairs."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, text

from catalog import parts
from catalog.rows import Definition, ModelKey


def tables_of(part: str) -> tuple[str, ...]:
    """Tables with one model's rows that a part fills."""
    return tuple(rows.name for rows in parts.rows_of(part) if rows.each != "pair" and not rows.of_all_models)


def tables_of_pairs(part: str) -> tuple[str, ...]:
    """Tables with rows of two models that a part fills."""
    return tuple(rows.name for rows in parts.rows_of(part) if rows.each == "pair")


@dataclass(frozen=True)
class Known:
    """Results of earlier runs with equal tokens, settings and definitions."""

    models: dict[str, int]
    """Identity of a model -> the newest run that has every wanted part of the model."""
    pairs: dict[tuple[str, str], int]
    """(smaller, larger identity) -> the newest run that has the pair."""


_GIVEN = """({m}.identity, {m}.name, {m}.revision, (SELECT t.sha256 FROM tokenizers t WHERE t.id = {m}.tokenizer_id)) IN
    (SELECT * FROM unnest(CAST(:identities AS text[]), CAST(:names AS text[]), CAST(:revisions AS text[]),
                          CAST(:tokenizers AS text[])))"""

_HAS_PARTS = """NOT EXISTS (
        SELECT 1 FROM unnest(CAST(:parts AS text[]), CAST(:versions AS int[]), CAST(:settings AS text[]))
                      AS wanted(part, version, settings)
        WHERE NOT EXISTS (SELECT 1 FROM run_parts p
                          WHERE p.run_id = r.id AND p.part = wanted.part AND p.definition_version = wanted.version
                            AND p.settings = CAST(wanted.settings AS jsonb)))"""

# One row per run that could serve: equal numbers, equal tokens, and every wanted part by the wanted definition.
_SERVING = f"""
    SELECT r.id
    FROM runs r
    JOIN corpora c ON c.id = r.corpus_id
    WHERE r.published_at IS NOT NULL AND r.id <> :except_run
      AND c.token_sha256 = :token_sha256 AND r.settings @> CAST(:of_run AS jsonb)
      AND {_HAS_PARTS}
"""


def known_results(
    engine: Engine,
    models: Sequence[ModelKey],
    token_sha256: str,
    settings: dict[str, object],
    definitions: Mapping[str, Definition],
    except_run: int,
) -> Known:
    """Models and pairs of models that need no computing; a model known by another name is another model.

    Args:
        settings: those that make a run.
        definitions: of the wanted parts.
    """
    values = {
        "token_sha256": token_sha256,
        "of_run": json.dumps(settings),
        "except_run": except_run,
        **_wanted(definitions),
        **_columns(models),
    }
    with engine.connect() as connection:
        rows = connection.execute(
            text(f"""SELECT m.identity, max(rm.run_id) FROM run_models rm JOIN models m ON m.id = rm.model_id
                     WHERE rm.run_id IN ({_SERVING}) AND {_GIVEN.format(m="m")} GROUP BY 1"""),
            values,
        )
        found_models = {identity: run for identity, run in rows}
        pairs = connection.execute(
            text(f"""SELECT least(a.identity, b.identity), greatest(a.identity, b.identity),
                            max(rp.run_id)
                     FROM run_pairs rp JOIN models a ON a.id = rp.model_id JOIN models b ON b.id = rp.other_model_id
                     WHERE rp.run_id IN ({_SERVING})
                       AND {_GIVEN.format(m="a")} AND {_GIVEN.format(m="b")} GROUP BY 1, 2"""),
            values,
        )
        found_pairs = {(a, b): run for a, b, run in pairs}
    return Known(found_models, found_pairs)


def run_of_weights(engine: Engine, models: Sequence[ModelKey], definitions: Mapping[str, Definition]) -> int | None:
    """The newest published run that has these parts, which read no corpus, of all these models, whatever else it has."""
    statement = f"""
        SELECT max(r.id) FROM (
          SELECT rm.run_id AS id, count(*) AS n FROM run_models rm
          JOIN models m ON m.id = rm.model_id AND {_GIVEN.format(m="m")}
          JOIN runs published ON published.id = rm.run_id AND published.published_at IS NOT NULL
          GROUP BY rm.run_id) r
        WHERE r.n = :n
          AND {_HAS_PARTS}"""
    with engine.connect() as connection:
        values = {**_columns(models), **_wanted(definitions), "n": len(models)}
        return connection.execute(text(statement), values).scalar()


def serves(connection: Connection, runs: Collection[int], definitions: Mapping[str, Definition]) -> bool:
    """Whether published runs, all of them, still have these parts by these definitions."""
    statement = f"SELECT count(*) FROM runs r WHERE r.published_at IS NOT NULL AND r.id = ANY(:ids) AND {_HAS_PARTS}"
    n = connection.execute(text(statement), {"ids": list(runs), **_wanted(definitions)}).scalar_one()
    return bool(n == len(runs))


def has_part(connection: Connection, run_id: int, part: str) -> bool:
    """Whether a run has published a part, by whatever definition."""
    statement = "SELECT EXISTS (SELECT FROM run_parts WHERE run_id = :run_id AND part = :part)"
    return bool(connection.execute(text(statement), {"run_id": run_id, "part": part}).scalar_one())


def _wanted(definitions: Mapping[str, Definition]) -> dict[str, list[Any]]:
    return {
        "parts": list(definitions),
        "versions": [definition.version for definition in definitions.values()],
        "settings": [json.dumps(definition.settings) for definition in definitions.values()],
    }


def hidden_parts(engine: Engine, models: Sequence[ModelKey], parts: Sequence[str]) -> dict[int, list[str]]:
    """What readers see of these models now, by run, and would not see of a new run with only these parts."""
    statement = f"""
        SELECT b.run_id, array_agg(DISTINCT p.part ORDER BY p.part)
        FROM public.members b JOIN models m ON m.id = b.model_id AND {_GIVEN.format(m="m")}
        JOIN run_parts p ON p.run_id = b.run_id AND p.part <> ALL(CAST(:parts AS text[]))
        GROUP BY b.run_id ORDER BY b.run_id"""
    with engine.connect() as connection:
        return {run: hidden for run, hidden in connection.execute(text(statement), {**_columns(models), "parts": list(parts)})}


def topics_of(engine: Engine, run_id: int) -> list[tuple[str, tuple[int, ...]]]:
    """Name and ascending token ids of each topic of a published run, in order."""
    statement = """
        SELECT regexp_replace(f.name, '^topic_(.*)#[0-9a-f]{8}$', '\\1') AS name,
               array_agg(x.token_id ORDER BY x.token_id) AS ids
        FROM run_topics t JOIN features f ON f.id = t.feature_id JOIN feature_tokens x ON x.feature_id = f.id
        WHERE t.run_id = :run_id AND x.tokenizer_id = (
          SELECT m.tokenizer_id FROM run_models rm JOIN models m ON m.id = rm.model_id WHERE rm.run_id = t.run_id LIMIT 1)
        GROUP BY t.ordinal, f.name ORDER BY t.ordinal"""
    with engine.connect() as connection:
        rows = connection.execute(text(statement), {"run_id": run_id}).all()
    return [(name, tuple(ids)) for name, ids in rows]


def _columns(models: Sequence[ModelKey]) -> dict[str, list[str]]:
    return {
        "identities": [model.identity for model in models],
        "names": [model.name for model in models],
        "revisions": [model.revision for model in models],
        "tokenizers": [model.tokenizer_sha256 for model in models],
    }


def partners(engine: Engine, run_id: int, identity: str, other: str) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """One direction of a pair of models as a published run has it.

    Returns:
        What `best_matches` gives, and the flat index of the second-best partner (-1: none).
    """
    keys = """SELECT m.identity, m.id FROM run_models rm JOIN models m ON m.id = rm.model_id
               WHERE rm.run_id = :run_id AND m.identity IN (:identity, :other)"""
    seconds = """
        SELECT o.layer * m.d_mlp + o.index
        FROM neurons n
        JOIN models m ON m.id = :other_model_id
        LEFT JOIN pairs p ON p.run_id = :run_id AND p.neuron_id = n.id AND p.other_model_id = m.id AND p.rank = 2
        LEFT JOIN neurons o ON o.id = p.other_neuron_id
        WHERE n.model_id = :model_id
        ORDER BY n.layer, n.index
    """
    with engine.connect() as connection:
        named = connection.execute(text(keys), {"run_id": run_id, "identity": identity, "other": other})
        ids = {model: key for model, key in named}
        values = {"run_id": run_id, "model_id": ids[identity], "other_model_id": ids[other]}
        indices = connection.execute(text(seconds), values).scalars().all()
    second = np.array([-1 if index is None else index for index in indices], dtype=np.int64)
    return best_matches(engine, run_id, ids[identity], ids[other]), second


def best_matches(engine: Engine, run_id: int, model_id: int, other_model_id: int) -> tuple[np.ndarray, ...]:
    """One direction of a pair as a published run has it, in flat order of the model's neurons.

    Returns:
        max_corr, flat index of the partner (-1: none), baseline, baseline_sd, baseline_se, baseline_layer (-1: none), and
        (neurons, blocks) max_corr without each block, less max_corr, and the same of the baseline; NaN undefined.
    """
    rows = """
        SELECT u.max_corr, o.layer * m.d_mlp + o.index, u.baseline, u.baseline_sd, u.baseline_se, u.baseline_layer,
               u.without_blocks, u.baseline_without_blocks
        FROM universality_by_model u
        JOIN neurons n ON n.id = u.neuron_id
        JOIN models m ON m.id = u.other_model_id
        LEFT JOIN neurons o ON o.id = u.other_neuron_id
        WHERE u.run_id = :run_id AND n.model_id = :model_id AND u.other_model_id = :other_model_id
        ORDER BY n.layer, n.index
    """
    with engine.connect() as connection:
        values = {"run_id": run_id, "model_id": model_id, "other_model_id": other_model_id}
        matches = connection.execute(text(rows), values).all()
    *columns, without, baseline_without = list(zip(*matches, strict=True)) if matches else [()] * 8
    kinds = (float, int, float, float, float, int)
    single: list[np.ndarray] = [
        np.array([(-1 if kind is int else np.nan) if value is None else value for value in column], dtype=kind)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    n_blocks = max((len(values) for values in without if values is not None), default=0)
    of_blocks = (
        np.array([[np.nan] * n_blocks if values is None else values for values in column], dtype=float)
        for column in (without, baseline_without)
    )
    return *single, *of_blocks
