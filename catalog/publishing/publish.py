"""Publication: one transaction in which a run's rows become visible, all of them or none."""

import json
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

from catalog import parts
from catalog.copy import copy_columns
from catalog.endings import WORDS, ended
from catalog.errors import RunError
from catalog.labels.labelling import label_run
from catalog.labels.thresholds import newest_version
from catalog.lineage import begin_anew
from catalog.parts.part import Publication
from catalog.publishing import asked_rows, checksums, controls, partitions, ranks, staging
from catalog.publishing.entries import enter_corpus, enter_features, enter_members, enter_model, enter_tensors, enter_tokenizer
from catalog.publishing.summaries import summarise
from catalog.rows import PublishRows, RunSpec
from catalog.server.engine import driver_of


def publish(connection: Connection, run_id: int, spec: RunSpec, rows: PublishRows) -> None:
    """Write identities, move staged rows, label, and mark the run as published; within a transaction of the caller."""
    driver = driver_of(connection)
    # the server would notice that this process is gone only after the statement that it left running
    connection.execute(text("SET LOCAL client_connection_check_interval = '1s'"))
    _check_wanted(connection, run_id)
    _forget_parts(connection, run_id, list(rows.parts))
    tokenizer_id = enter_tokenizer(connection, driver, rows.tokenizer)
    for model, ids in rows.models:
        if ids.is_new:
            enter_model(connection, driver, model, ids, tokenizer_id)
            enter_tensors(driver, ids.model_id, rows.tensors.get(ids.model_id, ()))
    corpus_id = None if rows.corpus is None else enter_corpus(connection, driver, rows.corpus, tokenizer_id)
    # rules read how much of the corpus a label stands on
    corpus = {"run_id": run_id, "corpus_id": corpus_id}
    connection.execute(text("UPDATE runs SET corpus_id = COALESCE(corpus_id, :corpus_id) WHERE id = :run_id"), corpus)
    enter_features(connection, driver, rows, tokenizer_id)
    enter_members(connection, run_id, rows)
    _move_staged(driver, run_id)
    if rows.corpus is not None and corpus_id is not None:
        place = Publication(connection, driver, run_id, corpus_id, rows.corpus)
        for part in map(parts.part_named, rows.parts):
            if part.after_rows is not None:
                part.after_rows(place)
    _groups(connection, driver, run_id, rows)
    ranks.rank_together(connection, run_id)
    label_run(connection, run_id, newest_version(connection, drafts=False))
    summarise(connection, run_id)
    _mark(connection, run_id, spec, rows)
    checksums.record_publication(connection, run_id, rows.parts)
    controls.take_effect(connection, run_id)
    begin_anew(connection)
    written = parts.filled_by(rows.parts)
    partitions.let_readers_pass(driver, [table for table in parts.partitioned() if table in written])


def _check_wanted(connection: Connection, run_id: int) -> None:
    """Raises:
    RunError: the run was cancelled or deleted meanwhile.
    """
    row = connection.execute(text("SELECT status, error FROM runs WHERE id = :id FOR UPDATE"), {"id": run_id}).first()
    if row is None or row.status in WORDS:
        told = f"run {run_id} was deleted" if row is None else ended(run_id, row.status, row.error)
        raise RunError(f"{told} meanwhile and is not published; the same command resumes it.")


def _forget_parts(connection: Connection, run_id: int, names: list[str]) -> None:
    """Parts that the run has by another definition make room; readers see the old rows until they see the new ones.

    All partitions go at one time: a reader who waits for one of them holds none of the others.
    """
    replaced = connection.execute(
        text("DELETE FROM run_parts WHERE run_id = :run_id AND part = ANY(:parts) RETURNING part"),
        {"run_id": run_id, "parts": names},
    )
    replaced_rows = [rows for part in replaced.scalars().all() for rows in parts.rows_of(part)]
    for rows in replaced_rows:
        if rows.name not in parts.partitioned():
            statement = f"DELETE FROM {rows.name} t WHERE t.run_id = :run_id AND {rows.condition_on('t')}"
            connection.execute(text(statement), {"run_id": run_id})
    partitions.drop(driver_of(connection), run_id, [rows.name for rows in replaced_rows])


def _move_staged(driver: psycopg.Connection[Any], run_id: int) -> None:
    """Staged rows go to their tables; those of partitioned tables become a partition."""
    for table in staging.tables(driver, run_id):
        staged = sql.Identifier("staging", staging.name_of(run_id, table))
        if table in parts.partitioned():
            partitions.attach(driver, run_id, table)
            continue
        if table in parts.asked_too():
            asked_rows.give_way(driver, table, staged)
        if table in parts.placed():
            staging.move_placed(driver, run_id, table)
        else:
            driver.execute(sql.SQL("INSERT INTO public.{} SELECT * FROM {}").format(sql.Identifier(table), staged))
        driver.execute(sql.SQL("DROP TABLE {}").format(staged))
        # rules and sums are about to join these rows, and without statistics the planner takes the new run for empty
        driver.execute(sql.SQL("ANALYZE public.{}").format(sql.Identifier(table)))


def _groups(connection: Connection, driver: psycopg.Connection[Any], run_id: int, rows: PublishRows) -> None:
    if not rows.groups:
        return
    ids = np.array(
        connection.execute(
            text("SELECT nextval(pg_get_serial_sequence('neuron_groups', 'id')) FROM generate_series(1, :n)"),
            {"n": len(rows.groups)},
        )
        .scalars()
        .all(),
        dtype=np.int32,
    )
    sizes = np.array([len(group.neuron_ids) for group in rows.groups])
    copy_columns(
        driver,
        "public.neuron_groups",
        {
            "id": ids,
            "run_id": np.full(len(ids), run_id, dtype=np.int32),
            "size": sizes.astype(np.int16),
            "lowest_corr": np.array([group.lowest_corr for group in rows.groups], dtype=np.float32),
        },
    )
    copy_columns(
        driver,
        "public.group_members",
        {
            "group_id": np.repeat(ids, sizes),
            "neuron_id": np.concatenate([group.neuron_ids for group in rows.groups]).astype(np.int32),
            "run_id": np.full(sizes.sum(), run_id, dtype=np.int32),
        },
    )


def _mark(connection: Connection, run_id: int, spec: RunSpec, rows: PublishRows) -> None:
    # parts may be added to a run that is superseded itself; what was to be added to those that are now is not wanted any more
    connection.execute(
        text(
            """UPDATE runs r SET superseded = true, left_to_workers = false,
                      status = 'published', error = CASE WHEN r.status = 'published' THEN r.error END
                 FROM runs own
                WHERE own.id = :run_id AND r.identity = :identity AND r.id <> :run_id
                  AND r.published_at <= COALESCE(own.published_at, now())"""
        ),
        {"identity": spec.identity, "run_id": run_id},
    )
    connection.execute(text("DELETE FROM run_job_results WHERE run_id = :run_id"), {"run_id": run_id})
    versions = {part: definition.version for part, definition in rows.parts.items()}
    connection.execute(
        text(
            """UPDATE runs SET status = 'published', phase = 'publish', finished_at = now(), error = NULL,
                      published_at = COALESCE(published_at, now()), left_to_workers = false,
                      definition_versions = definition_versions || CAST(:versions AS jsonb)
               WHERE id = :run_id"""
        ),
        {"run_id": run_id, "versions": json.dumps(versions)},
    )
