"""Rows of a corpus that are stored, for the text of examples."""

from typing import Any

import numpy as np
import psycopg
from sqlalchemy import Connection, text

from catalog.copy import copy_columns
from catalog.rows import CorpusRow

ROWS_AT_ONCE = 4096
"""Rows that are read and copied at a time."""


def store_rows(connection: Connection, driver: psycopg.Connection[Any], run_id: int, corpus_id: int, row: CorpusRow) -> None:
    """Store the rows that the run's examples are in and no earlier run's were."""
    statement = """
        SELECT DISTINCT e.row FROM examples e
        WHERE e.run_id = :run_id AND NOT EXISTS (SELECT FROM corpus_rows c WHERE c.corpus_id = :corpus_id AND c.row = e.row)
        ORDER BY e.row"""
    wanted = connection.execute(text(statement), {"run_id": run_id, "corpus_id": corpus_id}).scalars().all()
    missing = np.array(wanted, dtype=np.int32)
    for start in range(0, len(missing), ROWS_AT_ONCE):
        numbers = missing[start : start + ROWS_AT_ONCE]
        read = row.read_rows(numbers)
        tokens = np.empty(len(numbers), dtype=object)
        for i, ids in enumerate(read.tokens):
            tokens[i] = ids.tolist()
        columns = {
            "corpus_id": np.full(len(numbers), corpus_id, dtype=np.int32),
            "row": numbers,
            "subset": np.array([None] * len(numbers) if read.subsets is None else read.subsets, dtype=object),
            "tokens": tokens,
        }
        copy_columns(driver, "public.corpus_rows", columns)
    driver.execute("ANALYZE public.corpus_rows")
