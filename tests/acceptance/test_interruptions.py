"""An ingest that is killed in any phase leaves readers what they had, and the next one completes with the same result."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import URL, Engine

from tests.acceptance.ingests import assert_same, contract, rows, run_ingest, small_corpus, tiny_family
from tests.conftest import database
from tests.database.helpers import visible

ROOT = Path(__file__).parents[2]


def start_ingest(url: str, models: list[Path], corpus: Path) -> subprocess.Popen[str]:
    """`catalog ingest` as a process of its own, whose talk can be read line by line."""
    environment = {**os.environ, "CATALOG_DATABASE_URL": url, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from cli.main import main; main()", "ingest", *map(str, models), "--corpus", str(corpus)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait_for(process: subprocess.Popen[str], phase: str) -> None:
    """Read the process's talk until it begins `phase`."""
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if line.startswith(phase):
            return
    raise AssertionError(f"{phase} never began: {''.join(heard)}")


Family = tuple[list[Path], Path]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """Models wide enough and a corpus long enough that every phase takes a while."""
    folder = tmp_path_factory.mktemp("family")
    return tiny_family(folder, "ab", d_mlp=300), small_corpus(folder, 400)


@pytest.fixture(scope="module")
def undisturbed(server: URL, template: str, family: Family) -> dict[str, pd.DataFrame]:
    """What an ingest publishes that nobody interrupts."""
    with database(server, template) as url:
        run_ingest(url, *family)
        return contract(url)


@pytest.mark.parametrize("phase", ["tokenise", "accumulate", "stage", "merge", "publish"])
def test_kill_leaves_nothing_and_the_next_run_completes(
    database_url: str, engine: Engine, family: Family, undisturbed: dict[str, pd.DataFrame], phase: str
) -> None:
    models, corpus = family
    before = visible(engine)
    process = start_ingest(database_url, models, corpus)
    wait_for(process, phase)
    time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    published = rows(database_url, "SELECT count(*) FROM runs WHERE status = 'published'") == [(1,)]
    if published:
        assert phase == "publish", "a run was published before its publication began"
    else:
        assert visible(engine) == before
    report = run_ingest(database_url, models, corpus)
    if not published:
        assert report.outcome == "published"
        # tokenising ends within milliseconds here, so that kill may come before or after the run has its row
        assert report.resumed or phase == "tokenise"
    assert rows(database_url, "SELECT status, error FROM runs") == [("published", None)]
    assert rows(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'") == [(0,)]
    assert_same(contract(database_url), undisturbed)


def test_termination_says_so_and_marks_the_run(database_url: str, engine: Engine, family: Family) -> None:
    before = visible(engine)
    process = start_ingest(database_url, *family)
    wait_for(process, "accumulate")
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "nothing was published; the same command resumes" in said and "Traceback" not in said
    assert visible(engine) == before
    assert rows(database_url, "SELECT status FROM runs") == [("failed",)]


def test_two_processes_do_not_work_on_one_run(database_url: str, family: Family) -> None:
    process = start_ingest(database_url, *family)
    wait_for(process, "accumulate")
    process.send_signal(signal.SIGSTOP)
    second = start_ingest(database_url, *family)
    _, said = second.communicate()
    process.kill()
    process.communicate()
    assert second.returncode == 1
    assert "another process is at work on this very run" in said and "Traceback" not in said


def test_lost_connections_are_one_sentence(database_url: str, engine: Engine, family: Family) -> None:
    """What a restart of the server does to a client: every connection of the ingest is cut."""
    before = visible(engine)
    process = start_ingest(database_url, *family)
    wait_for(process, "accumulate")
    cut = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND datname = current_database()"""
    while process.poll() is None:
        rows(database_url, cut)
        time.sleep(0.05)
    _, said = process.communicate()
    assert process.returncode == 1 and "Traceback" not in said, said
    assert [line for line in said.splitlines() if line.startswith("error:")]
    assert visible(engine) == before
    report = run_ingest(database_url, *family)
    assert report.resumed and report.outcome == "published"
