"""Fifty readers during two publications: each of them sees a run as a whole, or not at all."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from catalog.publishing import partitions
from catalog.runs import handle
from catalog.server.engine import reader_engine, transaction
from tests.acceptance.ingests import run_ingest, small_corpus, tiny_family
from tests.conftest import text_of
from tests.database.helpers import rows
from tests.published import publish_small_family

READERS = 50
PAUSE_SECONDS = 0.5
PARTS = ("weights", "activations", "correlations", "vocabulary")
"""What fills the views that readers ask."""

THROUGH_VIEWS = """
SELECT ARRAY(SELECT DISTINCT run_id FROM neuron_profiles ORDER BY 1),
       (SELECT count(*) FROM neuron_profiles), (SELECT count(excess_corr) FROM neuron_profiles),
       (SELECT count(w_in_norm) FROM neuron_profiles), (SELECT count(kurt) FROM neuron_profiles),
       (SELECT count(*) FROM neuron_matches), (SELECT count(*) FROM neuron_universality_by_model),
       (SELECT count(*) FROM neuron_explanations), (SELECT count(*) FROM neuron_labels),
       (SELECT count(*) FROM neuron_group_members)"""
"""What belongs together in the newest published run."""

OF_EVERY_RUN = """
SELECT r.id, r.superseded, (SELECT count(*) FROM history.neuron_matches m WHERE m.run_id = r.id),
       (SELECT count(*) FROM history.neuron_labels l WHERE l.run_id = r.id),
       (SELECT array_agg(n_rows ORDER BY table_name) FROM run_checksums c WHERE c.run_id = r.id)
  FROM runs r WHERE r.status = 'published' ORDER BY r.id"""
"""What belongs together in each published run."""

Observation = tuple[str, str]
"""The answers to both questions, each asked in a transaction of its own."""


class Reader(threading.Thread):
    """Asks both questions again and again, by a connection of its own."""

    def __init__(self, url: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.stop = stop
        self.seen: list[Observation] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not self.stop.is_set():
                    self.seen.append(observe(connection))
                    self.stop.wait(PAUSE_SECONDS)
        except Exception as error:
            self.error = error


def observe(connection: psycopg.Connection) -> Observation:
    return str(connection.execute(THROUGH_VIEWS).fetchall()), str(connection.execute(OF_EVERY_RUN).fetchall())


def everybody_reads(readers: list[Reader]) -> None:
    """Wait until each reader has begun and ended an observation from now on."""
    wanted = [len(reader.seen) + 2 for reader in readers]
    while any(len(reader.seen) < n for reader, n in zip(readers, wanted, strict=True)):
        for reader in readers:
            if reader.error is not None:
                raise reader.error
        time.sleep(0.01)


def test_fifty_readers_see_complete_runs_only(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path), small_corpus(tmp_path, 60)
    reader = reader_engine(database_url)
    url = text_of(reader.url)
    reader.dispose()
    stop = threading.Event()
    readers = [Reader(url, stop) for _ in range(READERS)]
    states: list[Observation] = []
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            for thread in readers:
                thread.start()
            steps: list[Callable[[], object]] = [
                lambda: None,
                lambda: run_ingest(database_url, models, corpus, only=PARTS),
                lambda: run_ingest(database_url, models, corpus, only=PARTS, again=True),
            ]
            for step in steps:
                step()
                everybody_reads(readers)
                states.append(observe(connection))
        finally:
            stop.set()
            for thread in readers:
                thread.join()
    assert [thread.error for thread in readers if thread.error is not None] == []
    assert len(set(states)) == 3 and "[1]" in states[1][0] and "[2]" in states[2][0]
    for question in range(2):
        known = [state[question] for state in states]
        for thread in readers:
            order = [known.index(seen[question]) if seen[question] in known else seen[question] for seen in thread.seen]
            partial = [place for place in order if isinstance(place, str)]
            assert partial == [], f"a reader saw a part of a run: {partial[0]}"
            assert order == sorted(order) and set(order) == {0, 1, 2}


def test_no_reader_begins_while_the_partition_of_a_run_appears(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the commit and the news of the new partition a reader would find the run published and without pairs."""
    modes: list[str] = []
    statement = """SELECT mode FROM pg_locks WHERE relation = 'public.pairs'::regclass AND granted
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

    @contextmanager
    def looking(connection: Connection) -> Iterator[None]:
        with transaction(connection):
            yield
            modes.append(" ".join(mode for (mode,) in rows(engine, statement)))

    monkeypatch.setattr(handle, "transaction", looking)
    publish_small_family(engine)
    assert [held for held in modes if "AccessExclusiveLock" in held], modes


def test_a_reader_who_stays_is_not_waited_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "LOCK_ATTEMPTS", 2)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM neuron_matches")).scalar_one() == 0
        assert publish_small_family(engine) == 1
    assert rows(engine, "SELECT count(*) > 0 FROM neuron_matches") == [(True,)]
