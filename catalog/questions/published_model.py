"""A model as a published run has it: what more measurements need to know of it before they read it again."""

from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Engine, text

from catalog.errors import NotFoundError
from catalog.questions.known import check_model, check_run, schema_of


class ModelOfRun(NamedTuple):
    """A model, its run, and what the two were read from."""

    run_id: int
    model: str
    """As readers know it."""
    name: str
    """As in the run's settings, without a revision."""
    revision: str
    architecture: str
    weights_sha256: str
    behaviour: dict[str, Any]
    identity: str
    """sha256 over weights and behaviour."""
    token_sha256: str | None
    """Of the run's corpus; None without one."""
    settings: dict[str, Any]
    """Of the run."""
    n_layers: int
    d_mlp: int
    n_heads: int
    neuron_ids: np.ndarray
    """(n_layers * d_mlp,) int32, flat order."""

    def neuron_id(self, layer: int, index: int) -> int:
        """Key of a neuron.

        Raises:
            NotFoundError: the model has no such neuron.
        """
        if not (0 <= layer < self.n_layers and 0 <= index < self.d_mlp):
            raise NotFoundError(
                f"{self.model} has no neuron {layer}.{index}; its layers are 0 to {self.n_layers - 1}, its neurons 0 to "
                f"{self.d_mlp - 1}."
            )
        return int(self.neuron_ids[layer * self.d_mlp + index])

    def check_head(self, layer: int, head: int) -> None:
        """Raises:
        NotFoundError: the model has no such head.
        """
        if not (0 <= layer < self.n_layers and 0 <= head < self.n_heads):
            raise NotFoundError(
                f"{self.model} has no head {layer}.{head}; its layers are 0 to {self.n_layers - 1}, its heads 0 to "
                f"{self.n_heads - 1}."
            )


def model_of_run(engine: Engine, model: str, run: int | None) -> ModelOfRun:
    """The model in the newest published run that has it, or in `run`.

    Raises:
        NotFoundError: no such run, or no such model in it.
    """
    with engine.connect() as connection:
        check_run(connection, run)
        model = check_model(connection, model, run)
        condition, values = ("", {}) if run is None else ("AND b.run_id = :run", {"run": run})
        row = connection.execute(
            text(
                f"""SELECT b.run_id, b.model_id, b.model, m.name, m.revision, m.architecture, m.weights_sha256,
                           m.behaviour, m.identity, c.token_sha256,
                           r.settings, m.n_layers, m.d_mlp, m.n_heads
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
