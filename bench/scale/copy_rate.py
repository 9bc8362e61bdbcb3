"""Loading `pairs` from arrays against the server's own COPY of the same rows from a prepared binary file, in pairs.

Both fill an unindexed staging table of `pairs`, as an ingest does. The file is read by the server itself.

    python -m bench.scale.copy_rate --home /tmp/big
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psycopg
from psycopg import sql

from bench.report import machine
from bench.scale.big_catalog import database_options, opened
from catalog.copy import copy_columns
from catalog.publishing import staging
from cli.markdown import table

RUN = 2_000_000_001
"""A run that does not exist; its staging table is dropped at the end."""


def columns_of(n_rows: int) -> dict[str, np.ndarray]:
    """Columns of `pairs` with numbers like real ones."""
    generator = np.random.default_rng(0)
    k = 5
    return {
        "run_id": np.full(n_rows, RUN, dtype=np.int32),
        "neuron_id": np.repeat(np.arange(n_rows // k + 1, dtype=np.int32), k)[:n_rows],
        "other_neuron_id": generator.integers(0, 10**6, n_rows).astype(np.int32),
        "other_model_id": np.full(n_rows, 3, dtype=np.int32),
        "correlation": generator.uniform(0, 1, n_rows).astype(np.float32),
        "rank": np.tile(np.arange(1, k + 1, dtype=np.int16), n_rows // k + 1)[:n_rows],
        "mutual_best": generator.random(n_rows) < 0.3,
    }


def seconds(connection: psycopg.Connection, load: Callable[[], object]) -> float:
    """Time of one load, with its commit, into an empty table that existed before."""
    staging.drop(connection, RUN)
    staging.ensure(connection, RUN, "pairs")
    connection.commit()
    start = time.perf_counter()
    load()
    connection.commit()
    return time.perf_counter() - start


def rates(connection: psycopg.Connection, n_rows: int, pairs: int, file: Path) -> list[dict[str, float]]:
    """Rows a second of both ways, one row per paired run; the order changes from run to run."""
    name, columns = f"staging.{staging.name_of(RUN, 'pairs')}", columns_of(n_rows)
    target, place = sql.Identifier(*name.split(".")), sql.Literal(str(file))
    seconds(connection, lambda: copy_columns(connection, name, columns))
    connection.execute(sql.SQL("COPY {} TO {} (FORMAT binary)").format(target, place))
    ways: dict[str, Callable[[], object]] = {
        "arrays": lambda: copy_columns(connection, name, columns),
        "server": lambda: connection.execute(sql.SQL("COPY {} FROM {} (FORMAT binary)").format(target, place)),
    }
    measured = []
    for number in range(pairs):
        order = list(ways) if number % 2 else list(reversed(ways))
        took = {way: seconds(connection, ways[way]) for way in order}
        both = {f"{way} rows/s": n_rows / took[way] for way in ways}
        measured.append({"pair": number + 1, **both, "ratio": took["server"] / took["arrays"]})
    staging.drop(connection, RUN)
    connection.commit()
    return measured


def main() -> None:
    """Measure, and print the table and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    database_options(parser)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--pairs", type=int, default=5, help="paired runs")
    arguments = parser.parse_args()
    engine = opened(arguments)
    with tempfile.TemporaryDirectory() as folder, engine.connect() as connection:
        Path(folder).chmod(0o777)  # the server may be another user's
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        driver.rollback()
        measured = rates(driver, arguments.rows, arguments.pairs, Path(folder) / "pairs.bin")
    print(table([machine()]))
    print(table(measured))
    print(f"median ratio {statistics.median(float(str(row['ratio'])) for row in measured):.2f}, of {arguments.rows:,} rows")


if __name__ == "__main__":
    main()
