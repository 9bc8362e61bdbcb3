"""The indexes over a run's weight vectors, for the search by similarity; see `catalog.similar`.

Weights of a model are compared within it, for seeds that were trained apart share no basis; effects on the logits are
compared in all models of the run, which share the vocabulary. Each (run, kind, model) has an HNSW index of its own, effects
one per run: so a question about one model never wades through the vectors of others.
"""

from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from catalog import staging
from catalog.words import MOST_DIMENSIONS

LINKS, CANDIDATES = 32, 200
"""m and ef_construction of the graphs, for random directions: with pgvector's defaults, 16 and 64, a search among 36,864 of 768
dimensions found 0.65 to 0.85 of the nearest 50, with these 0.92 and more (measured)."""
WORKERS = 2
"""Processes beside the server's that build a graph."""
MEMORY = "1GB"
"""For building a graph; one that does not fit is built on disk, many times slower."""


class _Group(NamedTuple):
    """Vectors that have an index of their own."""

    kind: str
    model_id: int | None
    """None: all models."""
    dimensions: int


def index_staged(connection: psycopg.Connection[Any], run_id: int) -> None:
    """Build the HNSW indexes of a run's staged vectors; vectors of more than 4,000 dimensions get none."""
    staged = sql.Identifier("staging", staging.name_of(run_id, "neuron_vectors"))
    for group in _groups(connection, staged):
        if group.dimensions > MOST_DIMENSIONS:
            continue
        try:
            _index(connection, run_id, staged, group, WORKERS)
        except psycopg.OperationalError:
            # shared memory for several processes may be scarce, as it is in containers
            _index(connection, run_id, staged, group, 0)


def _groups(connection: psycopg.Connection[Any], staged: sql.Identifier) -> list[_Group]:
    statement = sql.SQL(
        """SELECT kind, CASE WHEN kind = 'logit_effect' THEN NULL ELSE model_id END, max(vector_dims(vector))
           FROM {} GROUP BY 1, 2 ORDER BY 1, 2"""
    )
    return [_Group(*row) for row in connection.execute(statement.format(staged))]


def _index(connection: psycopg.Connection[Any], run_id: int, staged: sql.Identifier, group: _Group, workers: int) -> None:
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL max_parallel_maintenance_workers = {}").format(sql.Literal(workers)))
        connection.execute(sql.SQL("SET LOCAL maintenance_work_mem = {}").format(sql.Literal(MEMORY)))
        _create(connection, run_id, staged, group)


def _create(connection: psycopg.Connection[Any], run_id: int, staged: sql.Identifier, group: _Group) -> None:
    of_model = "" if group.model_id is None else f"_{group.model_id}"
    name = sql.Identifier(f"ix_{staging.partition_of(run_id, 'neuron_vectors')}_{group.kind}{of_model}")
    condition = sql.SQL("kind = {}").format(sql.Literal(group.kind))
    if group.model_id is not None:
        condition = sql.SQL("{} AND model_id = {}").format(condition, sql.Literal(group.model_id))
    connection.execute(
        sql.SQL(
            "CREATE INDEX {name} ON {staged} USING hnsw ((vector::halfvec({dimensions})) halfvec_cosine_ops)"
            " WITH (m = {links}, ef_construction = {candidates}) WHERE {condition}"
        ).format(
            name=name, staged=staged, dimensions=sql.Literal(group.dimensions), links=sql.Literal(LINKS),
            candidates=sql.Literal(CANDIDATES), condition=condition,
        )
    )  # fmt: skip
    serves = sql.Literal(f"Serves similar: the neurons nearest to one by {group.kind}.")
    connection.execute(sql.SQL("COMMENT ON INDEX staging.{} IS {}").format(name, serves))
