"""What is found of one model at a time, as jobs: nothing that is done is done again, two workers share it, a cancelled run
stops in the middle of it, and runs without a corpus have jobs, too."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from catalog import parts
from catalog.errors import RunEnded
from catalog.runs import jobs, life
from catalog.server.engine import writer_engine
from ingest.parts import measures_of_models
from ingest.pipeline.main_path import ingest
from ingest.preview.overview import preview
from ingest.progress import Silent
from ingest.settings import IngestSettings
from tests.acceptance.ingests import assert_same, rows, run_ingest, small_corpus, tiny_family, with_candidates
from tests.acceptance.places import a_place
from tests.faults.launcher import Process
from tests.faults.place import Place

place = a_place

PARTS = ("weights", *parts.groups()["roles"])
TITLES = list(dict.fromkeys(measure.title for measure in measures_of_models(PARTS)))
ATTEMPTS = "SELECT job, attempts FROM run_jobs WHERE finished_at IS NOT NULL"


@pytest.fixture(scope="module")
def command(place: Place) -> list[str]:
    """An ingest of weights and roles alone, on enough tokens for a fault to find a share at work."""
    return [*place.ingest, "--only", ",".join(PARTS), "--intervention-tokens", "4000"]


@pytest.fixture(scope="module")
def inline(place: Place, command: list[str]) -> dict[str, pd.DataFrame]:
    """What one process publishes."""
    place.reset()
    place.run(*command)
    return place.contract()


def wait_until(true: Callable[[], bool], process: Process, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true() and process.poll() is None:
        assert time.monotonic() < deadline, process.said
        time.sleep(0.002)


def reached(place: Place, command: list[str], title: str) -> Process | None:
    """An ingest that has just begun with the second model of a phase; None where it went on to its end without."""
    process = place.start(*command)
    wait_until(lambda: f"{title}, tiny-b" in process.said, process)
    return process if f"{title}, tiny-b" in process.said and process.poll() is None else None


def test_a_kill_in_each_phase_repeats_nothing_that_is_done(
    place: Place, command: list[str], inline: dict[str, pd.DataFrame]
) -> None:
    place.reset()
    chance, done, struck = random.Random(0), {}, 0
    for title in TITLES:
        if (process := reached(place, command, title)) is None:  # the one before was struck so late that this was done, too
            place.reset()
            done = {}
            process = reached(place, command, title)
        assert process is not None, f"no run was ever at {title}"
        time.sleep(chance.uniform(0, 0.1))
        struck += process.poll() is None
        process.signal(signal.SIGKILL)
        process.wait()
        found = dict(place.rows(ATTEMPTS))
        assert done.items() <= found.items(), "what was done was begun again"
        done = found
    # on a fast machine the last phases may be over while a strike waits for its moment
    assert struck > len(TITLES) // 2 and not place.half_visible()
    place.run(*command)
    assert done.items() <= dict(place.rows(ATTEMPTS)).items()
    assert_same(place.contract(), inline)
    assert not place.leftovers()


SHARES = """SELECT j.job, j.attempts, j.worker, j.finished_at IS NOT NULL FROM run_jobs j, runs r
             WHERE r.id = j.run_id AND r.plan -> 'plan' -> 'jobs' -> j.job -> 'items' -> 0 ->> 1 = 'entropy' ORDER BY 1"""


def begun_and_done(place: Place) -> tuple[int, int]:
    found = place.rows(SHARES)
    return sum(attempts > 0 for _, attempts, _, _ in found), sum(done for *_, done in found)


def test_a_kill_in_the_middle_of_interventions_repeats_no_finished_share(
    place: Place, command: list[str], inline: dict[str, pd.DataFrame]
) -> None:
    place.reset()
    place.run(*command, "--jobs", "6", "--enqueue")

    def in_the_middle() -> bool:
        begun, done = begun_and_done(place)
        return begun > done >= 2

    process = place.start(*place.worker)
    wait_until(in_the_middle, process)
    process.signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = {job: attempts for job, attempts, _, done in place.rows(SHARES) if done}
    assert 2 <= len(before) < len(place.rows(SHARES)) and set(before.values()) == {1}
    place.run(*place.worker)
    after = {job: attempts for job, attempts, *_ in place.rows(SHARES)}
    assert before.items() <= after.items() and max(after.values()) == 2
    assert_same(place.contract(), inline)
    assert not place.leftovers()


def test_two_workers_share_the_interventions(place: Place, command: list[str], inline: dict[str, pd.DataFrame]) -> None:
    place.reset()
    place.run(*command, "--enqueue", "--jobs", "6")
    workers = [place.start(*place.worker) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    shares = place.rows(SHARES)
    assert len(shares) == 6 and {attempts for _, attempts, _, _ in shares} == {1}
    assert len({worker for _, _, worker, _ in shares}) == 2
    assert_same(place.contract(), inline)
    assert not place.leftovers()


def test_parts_of_weights_alone_are_jobs_of_workers_too(place: Place) -> None:
    place.reset()
    models = [word for word in place.ingest[1:] if "tiny-" in word]
    assert "run 1 is queued as" in place.run("ingest", *models, "--only", ",".join(parts.of_weights()), "--enqueue")
    kinds = place.rows("SELECT DISTINCT kind FROM run_jobs")
    assert kinds == [("measure",)]
    place.run(*place.worker)
    assert place.rows("SELECT status FROM runs") == [("published",)] and not place.leftovers()
    assert place.rows("SELECT count(*) > 0 FROM neuron_logit_explanations") == [(True,)]


# --- in this process ---


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    folder = tmp_path_factory.mktemp("measures")
    return with_candidates(tiny_family(folder, "ab", d_mlp=120)), small_corpus(folder, 60)


class Cancels(Silent):
    """Cancels the run after the first tokens of a phase, and hears of no more."""

    def __init__(self, url: str, phase: str) -> None:
        super().__init__()
        self.url, self.wanted, self.now, self.heard = url, phase, "", 0

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.now = name

    def advance(self, amount: int) -> None:
        if self.now == self.wanted:
            self.heard += 1
            engine = writer_engine(self.url)
            life.cancel_run(engine, 1)
            engine.dispose()


@pytest.fixture
def always_told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A job hears at once that its run is cancelled, and not every two seconds only."""
    monkeypatch.setattr(jobs, "SECONDS_BETWEEN_BEATS", 0.0)
    yield


@pytest.mark.parametrize("title", ["interventions", "path ablation"])
def test_a_cancelled_run_stops_within_a_share(
    database_url: str, family: tuple[list[Path], Path], always_told: None, title: str
) -> None:
    models, corpus = family
    progress = Cancels(database_url, f"{title}, tiny-a")
    settings = IngestSettings(
        models=tuple(map(str, models)), corpus=str(corpus), only=("roles",), intervention_tokens=256, ablation_pairs=2,
        batch_tokens=64, database_url=database_url,
    )  # fmt: skip
    with pytest.raises(RunEnded, match="run 1 was cancelled"):
        ingest(settings, progress)
    assert progress.heard == 1, "the next batch hears of it"
    done = rows(database_url, ATTEMPTS)
    assert rows(database_url, "SELECT count(*) FROM run_jobs WHERE attempts = 1 AND finished_at IS NULL") == [(1,)]
    again = run_ingest(database_url, models, corpus, only=("roles",), intervention_tokens=256, batch_tokens=64)
    assert again.resumed and dict(done).items() <= dict(rows(database_url, ATTEMPTS)).items()


def test_the_plan_of_a_part_shows_its_jobs(database_url: str, family: tuple[list[Path], Path]) -> None:
    models, corpus = family
    settings = IngestSettings(tuple(map(str, models)), str(corpus), only=("entropy",), intervention_tokens=500, jobs=4)
    found = [phase for phase in preview(settings, Silent()).phases if phase.job is not None]
    assert {phase.phase.partition(",")[0] for phase in found} == {"effects on logits", "candidates", "interventions"}
    assert all(phase.seconds is not None and phase.seconds > 0 for phase in found)
    shares = [phase.job.what for phase in found if phase.job is not None and phase.phase == "interventions, tiny-b"]
    assert shares == [f"interventions, tiny-b, {share + 1} of 3" for share in range(3)]
