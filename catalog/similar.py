"""The neurons nearest or most opposite to one, by the vectors of a run; see `catalog.vectors`."""

from sqlalchemy import Connection, text

from catalog.answers import Rows, Values, ask
from catalog.errors import InputError, NotFoundError
from catalog.known import check_model
from catalog.neuron_page import NeuronRef, find_neuron
from catalog.words import MOST_DIMENSIONS, VECTOR_KINDS

SEARCHED = 1_000
"""ef_search: neighbours that a search holds on to, as many as pgvector allows, so that few are missed; where comparing every
vector costs less, the planner does that."""


def similar(
    connection: Connection,
    ref: NeuronRef,
    by: str = "w_out",
    opposite: bool = False,
    other_model: str | None = None,
    run: int | None = None,
    limit: int = 20,
) -> Rows:
    """The neurons whose vectors are nearest to one's, or most opposite: model, layer, neuron, cosine, labels.

    Args:
        by: w_in, w_out (within the neuron's model), or logit_effect (in all models of the run, or one).
        limit: rows; 0 for all, which compares every vector.
    Raises:
        InputError: no such kind, or weights of another model are asked for.
        NotFoundError: no such neuron; the run has no vectors, or the neuron has none of the kind.
    """
    if by not in VECTOR_KINDS:
        raise InputError(f"--by {by!r} is no kind of vector; choose from {', '.join(VECTOR_KINDS)}.")
    if limit < 0:
        raise InputError(f"--limit {limit} is negative; --limit 0 shows all.")
    row = find_neuron(connection, ref, run)
    if other_model is not None:
        other_model = check_model(connection, other_model, row["run_id"])
    if by != "logit_effect" and other_model not in (None, row["model"]):
        raise InputError(f"{by} of different models cannot be compared, they share no basis; ask --by logit_effect.")
    if by != "logit_effect":
        other_model = row["model"]
    dimensions = _dimensions(connection, ref, row, by)
    # an index with a condition serves only a text that states it: integers and a word from a list, no text of a user
    condition = f"v.run_id = {int(row['run_id'])} AND v.kind = '{by}'"
    if other_model is not None:
        key = connection.execute(text("SELECT model_id FROM history.model_names WHERE model = :name"), {"name": other_model})
        condition += f" AND v.model_id = {int(key.scalar_one())}"
    _widen(connection, dimensions, limit)
    values: Values = {"run": row["run_id"], "neuron": row["neuron_id"]}
    if limit:
        values["limit"] = limit
    return ask(connection, _statement(by, dimensions, condition, opposite, limited=limit > 0), values)


def _statement(by: str, dimensions: int, condition: str, opposite: bool, limited: bool) -> str:
    asked = f"array_fill(0, ARRAY[{dimensions}])::halfvec - own.vector" if opposite else "own.vector"
    distance = f"v.vector::halfvec({dimensions}) <=> (SELECT ({asked})::halfvec({dimensions}) FROM own)"
    return f"""
        WITH own AS MATERIALIZED (
               SELECT vector FROM public.neuron_vectors WHERE run_id = :run AND neuron_id = :neuron AND kind = '{by}'),
             near AS MATERIALIZED (
               SELECT v.neuron_id, v.model_id, {distance} AS distance FROM public.neuron_vectors v
                WHERE {condition} ORDER BY {distance} {"LIMIT :limit + 1" if limited else ""})
        SELECT names.model, n.layer, n."index" AS neuron,
               {"near.distance - 1" if opposite else "1 - near.distance"} AS cosine,
               (SELECT string_agg(l.family || ':' || l.subtype, ', ' ORDER BY l.family, l.subtype) FROM public.labels l
                 WHERE l.run_id = :run AND l.neuron_id = near.neuron_id) AS labels
          FROM near
          JOIN public.neurons n ON n.id = near.neuron_id
          JOIN history.model_names names ON names.model_id = near.model_id
         WHERE near.neuron_id <> :neuron
         ORDER BY near.distance, names.model, n.layer, n."index" {"LIMIT :limit" if limited else ""}"""


def _dimensions(connection: Connection, ref: NeuronRef, row: Values, by: str) -> int:
    values = {"run": row["run_id"], "neuron": row["neuron_id"], "kind": by}
    statement = "SELECT vector_dims(vector) FROM neuron_vectors WHERE run_id = :run AND neuron_id = :neuron AND kind = :kind"
    found = connection.execute(text(statement), values).scalar()
    if found is not None:
        return int(found)
    there = text("SELECT 1 FROM run_parts WHERE run_id = :run AND part = 'redundancy'")
    if connection.execute(there, {"run": row["run_id"]}).first() is None:
        raise NotFoundError(
            f"run {row['run_id']} has no vectors of {ref.model}; repeat its `catalog ingest` with --only redundancy."
        )
    raise NotFoundError(f"{ref.model} {ref.layer}.{ref.index} has no {by}, its weights are zero; ask about another neuron.")


def _widen(connection: Connection, dimensions: int, limit: int) -> None:
    """Settings of this transaction: how far a search goes, and that it goes on until enough rows pass the filter."""
    if dimensions > MOST_DIMENSIONS or not limit:
        connection.execute(text("SET LOCAL enable_indexscan = off"))
        return
    connection.execute(text(f"SET LOCAL hnsw.ef_search = {SEARCHED}"))
    connection.execute(text("SET LOCAL hnsw.iterative_scan = strict_order"))
