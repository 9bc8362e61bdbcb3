"""Substitutions as jobs: they wait for the matches, two workers share them, and a kill repeats no finished share."""

import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.acceptance.ingests import assert_same
from tests.acceptance.places import a_place
from tests.faults.place import Place
from tests.planted import PlantedFamily, planted_family

place = a_place
SHARES = """SELECT j.job, j.attempts, j.worker, j.finished_at IS NOT NULL, j.after FROM run_jobs j, runs r
             WHERE r.id = j.run_id AND r.plan -> 'plan' -> 'jobs' -> j.job -> 'items' -> 0 ->> 1 = '{}' ORDER BY 1"""
CHOICES, REPLACEMENTS = SHARES.format("replaced"), SHARES.format("substitution")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlantedFamily:
    """A model and its permuted copy: all that vary are universal."""
    return planted_family(tmp_path_factory.mktemp("planted"), n_documents=120)


@pytest.fixture(scope="module")
def command(family: PlantedFamily) -> list[str]:
    return [
        "ingest", str(family.a), str(family.b), "--corpus", str(family.corpus),
        "--only", "activations,correlations,substitution",
        "--substitution-neurons", "24", "--substitution-tokens", "6000",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def inline(place: Place, command: list[str]) -> dict[str, pd.DataFrame]:
    """What one process publishes."""
    place.reset()
    place.run(*command)
    found = place.contract()
    replaced = found["neuron_substitutions"]
    assert set(replaced["kind"]) == {"match", "second", "random", "token_mean"} and len(replaced) >= 2 * 12 * 4
    restored = replaced[replaced["kind"] == "match"]["restored"].dropna()
    assert len(restored) and (restored - 1).abs().max() < 1e-3, "a copy restores everything"
    return found


def finished(place: Place) -> set[int]:
    return {job for job, _, _, done, _ in place.rows(REPLACEMENTS) if done}


def test_a_kill_repeats_no_finished_share_and_two_workers_go_on(
    place: Place, command: list[str], inline: dict[str, pd.DataFrame]
) -> None:
    place.reset()
    place.run(*command, "--enqueue", "--jobs", "6")
    choices, shares = place.rows(CHOICES), place.rows(REPLACEMENTS)
    assert len(choices) == 2 and len(shares) == 2 * 6
    tiles = {job for (job,) in place.rows("SELECT job FROM run_jobs WHERE kind IN ('accumulate', 'combine')")}
    assert all(after and set(after) <= tiles for *_, after in choices), "who matches is known when all pairs are"
    assert {tuple(after) for *_, after in shares} == {(job,) for job, *_ in choices}
    worker = place.start(*place.worker)
    deadline = time.monotonic() + 120
    while len(finished(place)) < 2 and worker.poll() is None:
        assert time.monotonic() < deadline, worker.said
        time.sleep(0.002)
    worker.signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    before = finished(place)
    assert 2 <= len(before) < len(shares) and not place.half_visible()
    workers = [place.start(*place.worker) for _ in range(2)]
    assert [one.wait() for one in workers] == [0, 0], [one.said for one in workers]
    attempts = {job: attempts for job, attempts, *_ in place.rows(REPLACEMENTS)}
    assert all(attempts[job] == 1 for job in before) and max(attempts.values()) <= 2
    assert_same(place.contract(), inline)
    assert not place.leftovers()


def test_an_interrupted_ingest_goes_on(place: Place, command: list[str], inline: dict[str, pd.DataFrame]) -> None:
    place.reset()
    process = place.start(*command, "--jobs", "6")
    deadline = time.monotonic() + 120
    while len(finished(place)) < 2 and process.poll() is None:
        assert time.monotonic() < deadline, process.said
        time.sleep(0.002)
    process.signal(signal.SIGINT)
    assert process.wait() == 130 and "nothing more was published; the same command resumes" in process.said
    before = finished(place)
    place.run(*command, "--jobs", "6")
    assert all(attempts == 1 for job, attempts, *_ in place.rows(REPLACEMENTS) if job in before)
    assert_same(place.contract(), inline)


def test_a_plan_says_what_it_takes_and_other_neurons_are_replaced_on_request(
    place: Place, command: list[str], inline: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    place.reset()
    place.run(*command)
    fewer = [*command, "--substitution-neurons", "4"]
    planned = place.run("plan", *fewer[1:])
    assert "substitution is measured again with --substitution-neurons 4 (was 24)" in planned
    said = place.run(*fewer)
    assert "run 1 has substitution anew" in said
    assert place.rows("SELECT count(*) FROM replaced_neurons") == [(8,)]
    some = place.contract()["neuron_substitutions"]
    key = ["model", "layer", "neuron", "kind"]
    kept = inline["neuron_substitutions"].merge(some[key], on=key)
    pd.testing.assert_frame_equal(kept, some)
