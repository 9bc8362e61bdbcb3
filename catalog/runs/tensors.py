"""Which published models hold the same tensors."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

from catalog.rows import TensorRow

Key = tuple[str, tuple[int, ...]]
"""sha256 and shape of a tensor."""


class Holder(NamedTuple):
    """A model that may hold some of the tensors asked for."""

    name: str
    revision: str
    shown: str
    """As readers know it."""
    weights_sha256: str
    held: frozenset[Key]


def holders(connection: Connection, tensors: Sequence[TensorRow]) -> list[Holder]:
    """The published models that have some of these tensors, those with most of them first."""
    rows = connection.execute(
        text(
            """SELECT m.name, m.revision, b.model, m.weights_sha256, t.sha256, t.shape
                 FROM (SELECT DISTINCT sha256, shape, model_id FROM model_tensors WHERE sha256 = ANY(:sha256)) t
                 JOIN models m ON m.id = t.model_id JOIN public.members b ON b.model_id = m.id ORDER BY m.id"""
        ),
        {"sha256": [tensor.sha256 for tensor in tensors]},
    )
    wanted = {(tensor.sha256, tensor.shape) for tensor in tensors}
    held: dict[tuple[str, str, str, str], set[Key]] = {}
    for name, revision, shown, weights_sha256, sha256, shape in rows:
        if (sha256, tuple(shape)) in wanted:
            held.setdefault((name, revision, shown, weights_sha256), set()).add((sha256, tuple(shape)))
    found = [Holder(*model, frozenset(keys)) for model, keys in held.items()]
    return sorted(found, key=lambda holder: -len(holder.held))


def of_older_hash(connection: Connection, name: str, revision: str) -> bool:
    """Whether the published model of this name was hashed as a whole, so that nobody can tell whether it is another one."""
    statement = """SELECT EXISTS (SELECT FROM models m JOIN run_models r ON r.model_id = m.id
                                   WHERE m.name = :name AND m.revision = :revision AND m.control_of IS NULL
                                     AND NOT EXISTS (SELECT FROM model_tensors t WHERE t.model_id = m.id))"""
    return bool(connection.execute(text(statement), {"name": name, "revision": revision}).scalar_one())
