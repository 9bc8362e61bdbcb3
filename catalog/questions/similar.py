"""The neurons nearest or most opposite to one, by the vectors of a run: each is compared, none is missed.

Weights of a model are compared within it, for seeds that were trained apart share no basis; effects on the logits are
compared in all models of the run, which share the vocabulary. No index serves this: a graph (HNSW) misses neighbours, answers
no sooner, and takes longer to build than all else that is written of a model.
"""

from sqlalchemy import Connection, text

from catalog.answers import Rows, Values, ask
from catalog.errors import InputError, NotFoundError
from catalog.questions.known import check_model
from catalog.questions.neuron_page import NeuronRef, find_neuron
from catalog.questions.statements import check_page
from catalog.words import VECTOR_KINDS


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
        limit: rows; 0 for all.
    Raises:
        InputError: no such kind, a negative limit, or a model is named where weights are compared.
        NotFoundError: no such neuron; the run has no vectors, or the neuron has none of the kind.
    """
    check_page(limit)
    compared, values = _compared(connection, ref, by, other_model, run)
    if limit:
        values["limit"] = limit
    return ask(connection, _statement(compared, opposite, limited=limit > 0), values)


def count_similar(
    connection: Connection, ref: NeuronRef, by: str = "w_out", other_model: str | None = None, run: int | None = None
) -> int:
    """How many rows `similar` has without a limit: the neurons that one is compared with."""
    compared, values = _compared(connection, ref, by, other_model, run)
    del values["vector"]
    return int(connection.execute(text(f"SELECT count(*) FROM public.neuron_vectors v WHERE {compared}"), values).scalar_one())


def _compared(connection: Connection, ref: NeuronRef, by: str, other_model: str | None, run: int | None) -> tuple[str, Values]:
    """The condition on the vectors `v` that the neuron is compared with, and its values, the neuron's own vector with them."""
    if by not in VECTOR_KINDS:
        raise InputError(f"--by {by!r} is no kind of vector; choose from {', '.join(VECTOR_KINDS)}.")
    row = find_neuron(connection, ref, run)
    if other_model is not None:
        other_model = check_model(connection, other_model, row["run_id"])
    if by != "logit_effect" and other_model == row["model"]:
        raise InputError(f"--other-model {other_model} cannot act: {by} is compared within the neuron's own model anyway.")
    if by != "logit_effect" and other_model is not None:
        raise InputError(f"{by} of different models cannot be compared, they share no basis; ask --by logit_effect.")
    if by != "logit_effect":
        other_model = row["model"]
    values: Values = {"run": row["run_id"], "neuron": row["neuron_id"], "kind": by, "vector": _vector(connection, ref, row, by)}
    compared = "v.run_id = :run AND v.kind = :kind AND v.neuron_id <> :neuron"
    if other_model is None:
        return compared, values
    key = connection.execute(text("SELECT model_id FROM history.model_names WHERE model = :name"), {"name": other_model})
    return f"{compared} AND v.model_id = :model", {**values, "model": int(key.scalar_one())}


def _statement(compared: str, opposite: bool, limited: bool) -> str:
    # the neurons are sorted before names and labels are looked up, and only those wanted are
    order, limit = "DESC" if opposite else "ASC", "LIMIT :limit" if limited else ""
    return f"""
        WITH near AS MATERIALIZED (
               SELECT v.neuron_id, v.model_id, v.vector <=> CAST(:vector AS halfvec) AS distance
                 FROM public.neuron_vectors v WHERE {compared} ORDER BY distance {order}, v.neuron_id {limit})
        SELECT names.model, n.layer, n."index" AS neuron, 1 - near.distance AS cosine,
               (SELECT string_agg(l.family || ':' || l.subtype, ', ' ORDER BY l.family, l.subtype) FROM public.labels l
                 WHERE l.run_id = :run AND l.neuron_id = near.neuron_id) AS labels
          FROM near
          JOIN public.neurons n ON n.id = near.neuron_id
          JOIN history.model_names names ON names.model_id = near.model_id
         ORDER BY near.distance {order}, names.model, n.layer, neuron"""


def _vector(connection: Connection, ref: NeuronRef, row: Values, by: str) -> str:
    values = {"run": row["run_id"], "neuron": row["neuron_id"], "kind": by}
    statement = "SELECT vector::text FROM neuron_vectors WHERE run_id = :run AND neuron_id = :neuron AND kind = :kind"
    vector = connection.execute(text(statement), values).scalar()
    if vector is not None:
        return str(vector)
    undefined = text(
        """SELECT u.reason FROM run_undefined u JOIN neurons n USING (model_id)
           WHERE u.run_id = :run AND n.id = :neuron AND :what = ANY(u.left_out)"""
    )
    reason = connection.execute(undefined, {**values, "what": f"neuron_vectors WHERE kind = '{by}'"}).scalar()
    if reason is not None:
        raise NotFoundError(f"{by} is not defined for {ref.model}, because {reason}; ask --by w_in or w_out.")
    there = text("SELECT 1 FROM run_parts WHERE run_id = :run AND part = 'redundancy'")
    if connection.execute(there, {"run": row["run_id"]}).first() is None:
        raise NotFoundError(
            f"run {row['run_id']} has no vectors of {ref.model}; repeat its `catalog ingest` with --only redundancy."
        )
    raise NotFoundError(f"{ref.model} {ref.layer}.{ref.index} has no {by}, its weights are zero; ask about another neuron.")
