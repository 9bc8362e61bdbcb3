"""Models that share weights though they are different: told, not refused, for there are good reasons and bad ones.

A checkpoint may be a copy of the one before, or have one shard of it; a training may leave layers as they were.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import Engine

from catalog.errors import InputError
from catalog.labels.thresholds import in_force
from catalog.rows import TensorRow
from catalog.runs.tensors import Holder, Key, holders, of_older_hash
from catalog.words import TENSORS
from ingest.checkpoints.checkpoint import Checkpoint

NAMED = 5
"""Tensors that a sentence names, and models of the catalog that are named for one model."""


def check_names(engine: Engine, checkpoints: Sequence[Checkpoint]) -> None:
    """Raises:
    InputError: the catalog has a model of this name of which it cannot be told whether it is this one.
    """
    with engine.connect() as connection:
        for model in checkpoints:
            if of_older_hash(connection, model.name, model.revision or ""):
                raise InputError(
                    f"the catalog has a model named {model.shown!r} that was published before tensors were hashed one by one, "
                    "so whether it is this one cannot be told; delete its runs, or give this one a name of its own as "
                    f"NEWNAME={model.location}."
                )


def shared_tensors(engine: Engine, checkpoints: Sequence[Checkpoint]) -> Iterator[str]:
    """A sentence for each pair of models of the run, or of one and one of the catalog, that share tensors which tell."""
    with engine.connect() as connection:
        least = in_force(connection, TENSORS, "min_distinct")
        of_run = [_of_run(model) for model in checkpoints]
        names = {(model.name, model.revision) for model in of_run}
        for place, model in enumerate(checkpoints):
            telling = {(t.sha256, t.shape): t for t in reversed(model.tensors) if t.n_distinct >= least}
            yield from (_sentence(model, telling, other) for other in of_run[:place] if other.held & telling.keys())
            found = holders(connection, list(telling.values()))
            others = [other for other in found if (other.name, other.revision) not in names]
            yield from (f"{_sentence(model, telling, other)} (of the catalog)" for other in others[:NAMED])
            if len(others) > NAMED:
                more = len(others) - NAMED
                yield f"{model.shown} shares tensors with {more} more models of the catalog, see the view shared_tensors"


def _of_run(model: Checkpoint) -> Holder:
    held = frozenset((tensor.sha256, tensor.shape) for tensor in model.tensors)
    return Holder(model.name, model.revision or "", model.shown, model.identity.weights_sha256, held)


def _sentence(model: Checkpoint, telling: dict[Key, TensorRow], other: Holder) -> str:
    """What the model shares with another."""
    if model.identity.weights_sha256 == other.weights_sha256:
        return f"{model.shown} has the very weights of {other.shown}: all {len(model.tensors)} tensors are equal"
    names = sorted(tensor.name for key, tensor in telling.items() if key in other.held)
    told = f"{model.shown} shares {len(names)} of {len(telling)} tensors with {other.shown}"
    if len(names) == len(telling):
        return told
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{told}: {', '.join(names[:NAMED])}{more}"
