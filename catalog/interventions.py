"""Interventions that somebody asked for: what to read again for them, and where they are stored and shown."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, text

from catalog import locks
from catalog.errors import NotFoundError, RunError
from catalog.known import check_model, check_run, schema_of
from catalog.queries import frame
from catalog.schema.roles import METRICS


class ModelOfRun(NamedTuple):
    """A model as a published run has it."""

    run_id: int
    name: str
    """As in the run's settings, without a revision."""
    revision: str
    weights_sha256: str
    token_sha256: str | None
    """Of the run's corpus; None without one."""
    settings: dict[str, Any]
    """Of the run."""
    n_layers: int
    d_mlp: int
    neuron_ids: np.ndarray
    """(n_layers * d_mlp,) int32, flat order."""


def model_of_run(engine: Engine, model: str, run: int | None) -> ModelOfRun:
    """The model in the newest published run that has it, or in `run`.

    Raises:
        NotFoundError: no such run, or no such model in it.
    """
    with engine.connect() as connection:
        check_run(connection, run)
        check_model(connection, model, run)
        condition, values = ("", {}) if run is None else ("AND b.run_id = :run", {"run": run})
        row = connection.execute(
            text(
                f"""SELECT b.run_id, b.model_id, m.name, m.revision, m.weights_sha256, c.token_sha256, r.settings, m.n_layers,
                           m.d_mlp
                    FROM {schema_of(run)}.members b JOIN models m ON m.id = b.model_id JOIN runs r ON r.id = b.run_id
                    LEFT JOIN corpora c ON c.id = r.corpus_id WHERE b.model = :model {condition}"""
            ),
            {"model": model, **values},
        ).one()
        ids = connection.execute(
            text('SELECT id FROM neurons WHERE model_id = :model_id ORDER BY layer, "index"'), {"model_id": row.model_id}
        )
        neuron_ids = np.array(ids.scalars().all(), dtype=np.int32)
    kept = {name: value for name, value in row._mapping.items() if name != "model_id"}
    return ModelOfRun(**kept, neuron_ids=neuron_ids)


def store(engine: Engine, run_id: int, columns: Mapping[str, np.ndarray], code_version: str, device: str) -> None:
    """Keep interventions with their run, in one transaction; what was asked for before is replaced, the run's own stay.

    Args:
        columns: of the table `interventions`.
    Raises:
        RunError: the run was deleted meanwhile.
    """
    names = [*columns, "run_id", "code_version", "device"]
    replaced = [name for name in (*names, "measured_at") if name not in _KEY]
    statement = text(
        f"""INSERT INTO interventions ({", ".join(names)}, measured_at)
            VALUES ({", ".join(f":{name}" for name in names)}, now())
            ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in replaced)}
            WHERE interventions.purpose = 'asked'"""
    )
    given = [dict(zip(columns, row, strict=True)) for row in zip(*map(_values, columns.values()), strict=True)]
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({locks.PUBLISH})"))
        found = connection.execute(text("SELECT 1 FROM runs WHERE id = :id AND status = 'published'"), {"id": run_id}).first()
        if found is None:
            raise RunError(f"run {run_id} was deleted meanwhile, so there is nothing to keep the interventions with.")
        for row in given:
            connection.execute(statement, {**row, "run_id": run_id, "code_version": code_version, "device": device})


_KEY = ("run_id", "neuron_id", "together", "kind", "value", "n_rows")


def _values(column: np.ndarray) -> Sequence[Any]:
    """Python values, None where undefined."""
    missing = np.ma.getmaskarray(column)
    items = np.ma.getdata(column).tolist()
    return [
        None if gone or (isinstance(item, float) and item != item) else item for gone, item in zip(missing, items, strict=True)
    ]


_SHOWN = ", ".join(f"v.{name}, v.delta_{name}, v.{name}_standard_error" for name in METRICS)


def shown(connection: Connection, run_id: int, neuron_ids: Sequence[int], n_rows: int) -> pd.DataFrame:
    """Interventions on these neurons over so many rows, as `neuron_interventions` shows them."""
    return frame(
        connection,
        f"""SELECT v.layer || '.' || v.neuron AS neuron, v.together, v.kind, v.value, v.purpose, v.n_tokens, {_SHOWN},
                   v.kl, v.kl_standard_error
            FROM history.neuron_interventions v
            WHERE v.run_id = :run AND v.neuron_id = ANY(:neurons) AND v.n_rows = :n_rows
            ORDER BY v.layer, v.neuron, v.together NULLS FIRST, v.kind, v.value""",
        {"run": run_id, "neurons": list(neuron_ids), "n_rows": n_rows},
    )


def no_corpus(run_id: int, model: str) -> NotFoundError:
    """What to say of a run that read no corpus."""
    return NotFoundError(
        f"run {run_id}, the newest with {model}, read no corpus to hold neurons on; ingest the model with --corpus, or name "
        "another run with --run."
    )
