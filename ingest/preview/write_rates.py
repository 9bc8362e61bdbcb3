"""How fast rows get into the catalog's database, measured in a transaction that is rolled back."""

import time
from dataclasses import dataclass

import numpy as np
import psycopg
from sqlalchemy.exc import SQLAlchemyError

from catalog.copy import copy_columns
from catalog.server.engine import driver_of, engine_if_there

ROWS = 50_000


@dataclass(frozen=True)
class WriteRates:
    """Seconds."""

    copied: float
    """Per row that goes into a table without indexes."""
    moved: float
    """Per row that goes on from there into a table with a key."""


def write_rates(database_url: str | None) -> WriteRates | None:
    """The rates of the catalog's database; None where there is none yet, or it cannot be written."""
    engine = engine_if_there(database_url)
    if engine is None:
        return None
    try:
        with engine.connect() as connection:
            return _measure(driver_of(connection))
    except (SQLAlchemyError, psycopg.Error):
        return None
    finally:
        engine.dispose()


def _measure(driver: psycopg.Connection) -> WriteRates:
    numbers = np.arange(ROWS, dtype=np.int32)
    columns: dict[str, np.ndarray] = {"neuron_id": numbers, "rank": (numbers % 50).astype(np.int16), "other": numbers}
    columns["value"] = numbers.astype(np.float32)
    with driver.transaction(force_rollback=True):
        driver.execute("CREATE TEMPORARY TABLE plan_rows (neuron_id int, rank smallint, other int, value real)")
        driver.execute("CREATE TEMPORARY TABLE plan_keyed (LIKE plan_rows, PRIMARY KEY (neuron_id, rank))")
        began = time.perf_counter()
        copy_columns(driver, "plan_rows", columns)
        copied = time.perf_counter()
        driver.execute("INSERT INTO plan_keyed SELECT * FROM plan_rows")
        moved = time.perf_counter()
    return WriteRates((copied - began) / ROWS, (moved - copied) / ROWS)
