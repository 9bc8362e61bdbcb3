"""A random sample of a run's neurons, with everything that the catalog says of their activations."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, text

MOMENTS = ("mean", "var", "skew", "kurt")
STATISTICS = (*MOMENTS, *(f"post_{name}" for name in MOMENTS), "sparsity")
"""Columns of activation_statistics that are recomputed."""


@dataclass(frozen=True)
class SampledModel:
    """A model of the run and its neurons in the sample."""

    name: str
    weights_sha256: str
    behaviour: dict[str, Any]
    identity: str
    d_mlp: int
    neurons: np.ndarray
    """(n,) int64 flat indices, ascending."""
    statistics: dict[str, np.ndarray]
    """(n,) float64 by column of activation_statistics; NaN where NULL. Empty if the run has no activations."""
    n_tokens: np.ndarray
    """(n,) int64 kept tokens as stored; empty likewise."""

    def neuron(self, flat: int) -> str:
        """The neuron as the shell writes it."""
        return f"{self.name} {flat // self.d_mlp}.{flat % self.d_mlp}"


@dataclass(frozen=True)
class SampledPairs:
    """The stored partners of the sampled neurons of one model in another."""

    neurons: np.ndarray
    """(pairs,) int64 flat indices."""
    partners: np.ndarray
    """(pairs,) int64 flat indices in the other model."""
    correlations: np.ndarray
    """(pairs,) float64, stored as float4."""


@dataclass(frozen=True)
class Sample:
    """What is to be recomputed, and from what."""

    settings: dict[str, Any]
    token_sha256: str | None
    """None for a run without a corpus."""
    models: list[SampledModel]
    """In the run's order."""
    pairs: dict[tuple[int, int], SampledPairs]
    """By places of the two models in `models`."""


def read_sample(engine: Engine, run_id: int, size: int, seed: int) -> Sample:
    """Draw `size` neurons of a published run, all of them for 0, and read what is stored of them."""
    with engine.connect() as connection:
        reading = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        run = reading.execute(
            text("SELECT r.settings, c.token_sha256 FROM runs r LEFT JOIN corpora c ON c.id = r.corpus_id WHERE r.id = :id"),
            {"id": run_id},
        ).one()
        shapes = reading.execute(
            text(
                """SELECT m.id, m.name, m.weights_sha256, m.behaviour, m.identity, m.n_layers, m.d_mlp FROM run_models rm
                   JOIN models m ON m.id = rm.model_id WHERE rm.run_id = :run_id ORDER BY rm.ordinal"""
            ),
            {"run_id": run_id},
        ).all()
        starts = np.cumsum([0] + [shape.n_layers * shape.d_mlp for shape in shapes])
        total = int(starts[-1])
        drawn = np.sort(np.random.default_rng(seed).choice(total, min(size or total, total), replace=False))
        models, pairs = [], {}
        for place, shape in enumerate(shapes):
            flat = drawn[(drawn >= starts[place]) & (drawn < starts[place + 1])] - starts[place]
            models.append(_model(reading, run_id, shape, flat))
            for other, other_shape in enumerate(shapes):
                if other != place and len(flat):
                    pairs[place, other] = _pairs(reading, run_id, shape, other_shape, flat)
        return Sample(run.settings, run.token_sha256, models, pairs)


def _model(connection: Connection, run_id: int, shape: Any, flat: np.ndarray) -> SampledModel:
    rows = connection.execute(
        text(
            f"""SELECT a.n_tokens, {", ".join("a." + name for name in STATISTICS)}
                FROM neurons n JOIN activation_statistics a ON a.neuron_id = n.id AND a.run_id = :run_id
                WHERE n.model_id = :model_id AND n.layer * :d_mlp + n.index = ANY(:flat)
                ORDER BY n.layer, n.index"""
        ),
        {"run_id": run_id, "model_id": shape.id, "d_mlp": shape.d_mlp, "flat": flat.tolist()},
    ).all()
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 1 + len(STATISTICS))
    complete = len(rows) == len(flat)
    return SampledModel(
        name=shape.name,
        weights_sha256=shape.weights_sha256,
        behaviour=shape.behaviour,
        identity=shape.identity,
        d_mlp=shape.d_mlp,
        neurons=flat,
        statistics={name: table[:, 1 + i] for i, name in enumerate(STATISTICS)} if complete and len(rows) else {},
        n_tokens=table[:, 0].astype(np.int64),
    )


def _pairs(connection: Connection, run_id: int, model: Any, other: Any, flat: np.ndarray) -> SampledPairs:
    rows = connection.execute(
        text(
            """SELECT n.layer * :own_d_mlp + n.index, o.layer * :d_mlp + o.index, p.correlation
               FROM neurons n
               JOIN pairs p ON p.neuron_id = n.id AND p.run_id = :run_id
               JOIN neurons o ON o.id = p.other_neuron_id AND o.model_id = :other_id
               WHERE n.model_id = :model_id AND n.layer * :own_d_mlp + n.index = ANY(:flat)
               ORDER BY n.layer, n.index, p.rank"""
        ),
        {
            "run_id": run_id,
            "model_id": model.id,
            "other_id": other.id,
            "own_d_mlp": model.d_mlp,
            "d_mlp": other.d_mlp,
            "flat": flat.tolist(),
        },
    ).all()
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
    return SampledPairs(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2])
