"""Another number of one part has this part measured again alone: readers see all others, and the old one until it is new."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

from catalog import parts
from catalog.server.engine import reader_engine, writer_engine
from catalog.verify.checks import verify
from ingest.pipeline.main_path import ingest
from ingest.preview.foreseen import foresee
from ingest.progress import Silent
from ingest.recompute.neurons import recompute
from ingest.settings import IngestReport, IngestSettings
from tests.acceptance.ingests import (
    CONTRACT,
    FEW_TOKENS,
    assert_same,
    contract,
    rows,
    small_corpus,
    tiny_family,
    with_candidates,
)
from tests.acceptance.places import a_place
from tests.conftest import database, text_of
from tests.faults.place import Place

place = a_place

PARTS = ("weights", "activations", "correlations", "vocabulary", "positions", "topics", "class_activity", "entropy")
OF_VOCABULARY = ("neuron_explanations", "neuron_labels")
"""Views with rows of the part that is measured again, beside those of others."""
OTHERS = [name for name in CONTRACT if name not in OF_VOCABULARY]
TOP = "SELECT neuron_id, rank, token_id, n, mean FROM top_tokens ORDER BY neuron_id, rank"
FREQUENT, RARE = 400, 5
"""Occurrences that a token of the small corpus needs."""


class Reader(threading.Thread):
    """Looks again and again at every view, by a connection of its own, and at the top tokens, which change."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        reader = reader_engine(url)
        self.url = text_of(reader.url)
        reader.dispose()
        self.stop = threading.Event()
        self.others: set[tuple[str, str]] = set()
        self.top: list[str] = []
        self.looks = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not self.stop.is_set():
                    self.others |= {(name, self._digest(connection, f"SELECT * FROM {name}")) for name in OTHERS}
                    seen = self._digest(connection, TOP)
                    self.top += [] if self.top[-1:] == [seen] else [seen]
                    self.looks += 1
        except Exception as error:
            self.error = error

    @staticmethod
    def _digest(connection: psycopg.Connection, statement: str) -> str:
        whole = f"SELECT count(*) || md5(coalesce(string_agg(v::text, '' ORDER BY v::text), '')) FROM ({statement}) v"
        return str(connection.execute(whole.encode()).fetchall()[0][0])

    def __enter__(self) -> "Reader":
        self.start()
        while not self.looks and self.error is None:
            self.stop.wait(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        looks = self.looks
        while self.looks < looks + 2 and self.error is None:
            self.stop.wait(0.01)
        self.stop.set()
        self.join()
        assert self.error is None, self.error


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> IngestSettings:
    folder = tmp_path_factory.mktemp("settings")
    models = tuple(map(str, with_candidates(tiny_family(folder, "ab"))))
    return IngestSettings(
        models, str(small_corpus(folder)), only=PARTS, intervention_tokens=FEW_TOKENS, ablation_pairs=2, min_count=FREQUENT,
        controls=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fresh(server: URL, template: str, settings: IngestSettings) -> Iterator[str]:
    """What an ingest publishes that asks for the other number at once."""
    with database(server, template) as made:
        ingest(replace(settings, min_count=RARE, database_url=made), Silent())
        yield made


@pytest.fixture(scope="module")
def url(server: URL, template: str, settings: IngestSettings) -> Iterator[str]:
    """A published run, of which tests change one part after the other."""
    with database(server, template) as made:
        ingest(replace(settings, database_url=made), Silent())
        yield made


Again = Callable[..., tuple[IngestReport, list[str]]]


@pytest.fixture
def again(url: str, settings: IngestSettings) -> Again:
    """The same ingest with other numbers: its report, and what it said."""

    def run(**changes: object) -> tuple[IngestReport, list[str]]:
        progress = Silent()
        report = ingest(replace(settings, database_url=url, **{"min_count": RARE, **changes}), progress)
        return report, progress.said

    return run


def measured(url: str) -> set[str]:
    """What the jobs in the ledger are of, beside moments: measures by the plan."""
    ((n_jobs, plan),) = rows(url, "SELECT (SELECT count(*) FROM run_jobs WHERE run_id = id), plan FROM runs")
    assert n_jobs == len(plan["plan"]["jobs"])
    named = [item[1] if item[0] in ("layers", "model") else item[0] for job in plan["plan"]["jobs"] for item in job["items"]]
    return set(named) - {"moments"}


def published(url: str) -> dict[str, tuple[dict[str, object], object]]:
    return {part: (given, at) for part, given, at in rows(url, "SELECT part, settings, published_at FROM run_parts")}


def test_one_part_is_measured_again_and_all_others_are_seen_all_the_time(url: str, fresh: str, again: Again) -> None:
    before = published(url)
    assert before["vocabulary"][0] == {"min_count": FREQUENT} and before["weights"][0] == {}
    with Reader(url) as reader:
        report, said = again()
    assert f"run 1: vocabulary is measured again with --min-count {RARE} (was {FREQUENT})" in said
    assert (report.run_id, report.outcome) == (1, "parts_added")
    assert report.message.startswith("run 1 has vocabulary anew, after")
    assert sorted(name for name, _ in reader.others) == sorted(OTHERS), "no view was ever seen otherwise"
    assert len(reader.top) == 2 and reader.looks > 3
    assert measured(url) == {"vocabulary"}
    after = published(url)
    assert after.pop("vocabulary")[0] == {"min_count": RARE}
    assert after == {part: found for part, found in before.items() if part != "vocabulary"}
    assert_same(contract(url), contract(fresh))
    assert rows(url, TOP) == rows(fresh, TOP) != []
    engine = writer_engine(url)
    findings = [*verify(engine, 1), *recompute(engine, 1, 8, 0, "cpu", Silent())]
    engine.dispose()
    assert findings and [finding for finding in findings if finding.status == "differs"] == []
    assert rows(url, "SELECT id, status, staging_folder, superseded FROM runs") == [(1, "published", None, False)]
    assert again()[0].message.startswith("run 1 has it all, published")


def test_a_number_of_several_parts_is_each_ones(url: str, again: Again) -> None:
    again()
    before = published(url)
    report, said = again(intervention_tokens=2 * FEW_TOKENS)
    own = [name for name in ("class_activity", "entropy") if f"run 1: {name} is measured again with --intervention-tokens" in
           " ".join(said)]  # fmt: skip
    assert own == ["class_activity", "entropy"] and report.message.startswith("run 1 has class_activity, entropy anew")
    after = published(url)
    assert {part for part in before if before[part] != after[part]} == {*own}
    assert rows(url, "SELECT count(DISTINCT n_rows) FROM interventions") == [(1,)], "no row of the smaller number is left"


def test_topics_are_what_their_file_holds(url: str, again: Again, tmp_path: Path) -> None:
    again()
    file = tmp_path / "topics.csv"
    file.write_text("token_id,topic\n" + "".join(f"{token},{'ab'[token % 2]}\n" for token in range(60, 90)))
    report, said = again(topics=str(file))
    assert report.outcome == "parts_added" and measured(url) == {"topics"}
    assert f"run 1: topics is measured again with --topics {file} (was not given)" in said
    assert rows(url, "SELECT DISTINCT topic FROM topics ORDER BY 1") == [("a",), ("b",)]
    copy = file.rename(tmp_path / "same.csv")
    assert again(topics=str(copy))[0].outcome == "already_published"
    _, said = again()
    assert any(sentence.startswith("run 1: topics is measured again with --topics not given (was a file") for sentence in said)


def test_what_makes_a_run_makes_another_one(url: str, settings: IngestSettings, server: URL, template: str) -> None:
    with database(server, template) as made:
        few = replace(settings, only=("activations", "positions"), database_url=made)
        assert [ingest(replace(few, **change), Silent()).run_id for change in ({}, {"seed": 1}, {"context": 16})] == [1, 2, 3]
        assert ingest(replace(few, min_count=9), Silent()).outcome == "already_published", "no part that is asked for reads it"


def test_adding_parts_takes_nothing_away(url: str, again: Again) -> None:
    again()
    more = ("distributions", "ngrams")
    with Reader(url) as reader:
        report, _ = again(only=(*PARTS, *more))
    assert report.message.startswith("run 1 now has distributions, ngrams as well, after")
    changed = {name for name in OTHERS if len({seen for view, seen in reader.others if view == name}) > 1}
    own = {view.name for part in more for view in parts.part_named(part).views}
    labelled = {"family_counts", "family_counts_by_layer"}
    assert changed <= own | labelled and changed & own and len(reader.top) == 1


def test_a_plan_shows_what_is_left(url: str, settings: IngestSettings, again: Again) -> None:
    again()
    asked = replace(settings, database_url=url, min_count=RARE)
    assert foresee(asked).settings is None and foresee(asked).told[0].startswith("run 1 has it all")
    found = foresee(replace(asked, min_count=RARE + 1, only=(*PARTS, "next_tokens")))
    assert found.settings is not None and found.settings.parts == ("vocabulary", "next_tokens")
    assert found.told == [
        f"run 1: vocabulary is measured again with --min-count {RARE + 1} (was {RARE})", "run 1: next_tokens would be added",
    ]  # fmt: skip
    for other in ({"again": True}, {"seed": 1}, {"max_tokens": 200, "corpus": None}):
        assert foresee(replace(asked, **other)).settings == replace(asked, **other)


def state(place: Place) -> str:
    return str(place.rows("SELECT count(*), min(run_id) FROM members") + place.rows(TOP))


@pytest.fixture(scope="module")
def small(place: Place) -> list[str]:
    """An ingest of few parts."""
    at = place.ingest.index("--only") + 1
    return [*place.ingest[:at], "weights,activations,vocabulary", *place.ingest[at + 1 :], "--min-count", str(FREQUENT)]


def test_workers_measure_a_part_again(place: Place, small: list[str]) -> None:
    place.reset()
    place.run(*small)
    before, rare = state(place), [*small, "--min-count", str(RARE)]
    assert "run 1 is queued as" in place.run(*rare, "--enqueue", "--jobs", "3")
    assert place.rows("SELECT status FROM runs") == [("queued",)] and state(place) == before
    assert "run 1 is queued for workers" in refused(place, *rare)
    place.run("runs", "cancel", "1")
    assert place.rows("SELECT status FROM runs") == [("cancelled",)] and state(place) == before
    assert "run 1 has it all" in place.run(*small)
    assert place.rows("SELECT status FROM runs") == [("published",)], "what was not reached is not wanted any more"
    place.run(*rare, "--enqueue", "--jobs", "3")
    assert "run 1 is published" in place.run(*place.worker)
    assert measured(place.url) == {"vocabulary"} and not place.leftovers()
    assert place.rows("SELECT settings FROM run_parts WHERE part = 'vocabulary'") == [({"min_count": RARE},)]
    by_workers = place.rows(TOP)
    assert "run 1 is queued as" in place.run(*rare, "--only", "weights,activations,vocabulary,positions", "--enqueue")
    place.run(*place.worker)
    assert place.rows("SELECT count(*) > 0 FROM position_statistics") == [(True,)] and place.rows(TOP) == by_workers
    place.reset()
    place.run(*rare)
    assert place.rows(TOP) == by_workers


def refused(place: Place, *words: str) -> str:
    process = place.start(*words)
    assert process.wait() == 1
    return process.said


@pytest.mark.parametrize("phase", ["accumulate", "publish"])
def test_a_kill_leaves_the_old_rows_and_is_resumed(place: Place, small: list[str], phase: str) -> None:
    place.reset()
    place.run(*small)
    before, rare = state(place), [*small, "--min-count", str(RARE)]
    process = place.start(*rare)
    at_work = f"SELECT 1 FROM runs WHERE status = 'running' AND phase = '{phase}'"
    while not place.rows(at_work):
        assert process.poll() is None, process.said
        time.sleep(0.01)
    process.signal(signal.SIGKILL)
    process.wait()
    assert state(place) == before
    said = place.run(*rare)
    assert "run 1 was interrupted (its process is gone) before and goes on" in said
    assert "run 1 has vocabulary anew" in said and state(place) != before and not place.leftovers()
    assert place.rows("SELECT settings FROM run_parts WHERE part = 'vocabulary'") == [({"min_count": RARE},)]
