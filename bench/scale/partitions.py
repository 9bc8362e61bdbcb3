"""Planning time of the question `matches` with 8, 100 and 1,000 partitions of `pairs`, all but one of them empty.

Everything happens in one transaction, which is rolled back.

    python -m bench.scale.partitions --home /tmp/some-catalog
"""

import argparse
import json
import statistics

import psycopg

from bench.report import machine
from bench.scale.big_catalog import database_options, opened
from cli.markdown import table

FIRST_RUN = 1_000_000_000
ASKED = """SELECT v.other_model, v.other_layer, v.other_neuron, v.correlation, v.correlation_se, v.rank, v.mutual_best
           FROM {schema}.neuron_matches v WHERE {condition} ORDER BY v.rank, v.correlation DESC, v.other_model LIMIT 50"""
WAYS = {
    "catalog matches: the run is known": ASKED.format(
        schema="history", condition=f"v.run_id = {FIRST_RUN} AND v.neuron_id = 1"
    ),
    "SQL on the view: it is not": ASKED.format(schema="public", condition="v.model = 'a' AND v.layer = 0 AND v.neuron = 0"),
}


def add_partitions(connection: psycopg.Connection, first: int, last: int) -> None:
    """Empty partitions with their runs, numbered from `first` up to but without `last`."""
    connection.execute(
        """INSERT INTO runs (id, identity, status, settings, definition_versions, code_version, device)
           SELECT n, 'partition ' || n, 'running', '{}', '{}', '', '' FROM generate_series(%s, %s) n""",
        [first, last - 1],
    )
    for run in range(first, last):
        connection.execute(f"CREATE TABLE pairs_run_{run} PARTITION OF pairs FOR VALUES IN ({run})".encode())


def planned(connection: psycopg.Connection, statement: str, times: int) -> tuple[float, int]:
    """Median planning time in ms, and partitions of `pairs` in the plan."""
    seconds = []
    for _ in range(times + 2):
        row = connection.execute(f"EXPLAIN (FORMAT JSON, SUMMARY) {statement}".encode()).fetchone()
        assert row is not None
        seconds.append(row[0][0])
    partitions = json.dumps(seconds[-1]).count('"Relation Name": "pairs_run_')
    return statistics.median(plan["Planning Time"] for plan in seconds[2:]), partitions


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    database_options(parser)
    parser.add_argument("--times", type=int, default=21)
    arguments = parser.parse_args()
    rows = []
    with opened(arguments).connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        made = FIRST_RUN
        for number in (8, 100, 1000):
            add_partitions(driver, made, FIRST_RUN + number)
            made = FIRST_RUN + number
            for way, statement in WAYS.items():
                median, partitions = planned(driver, statement, arguments.times)
                rows.append({"partitions": number, "question": way, "planned ones": partitions, "planning ms": median})
        driver.rollback()
    print(table([machine()]))
    print(table(rows))


if __name__ == "__main__":
    main()
