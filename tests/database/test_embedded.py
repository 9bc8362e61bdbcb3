"""The embedded server: found or started by every command, wherever its folder is and whatever was killed before."""

import os
import signal
import subprocess
import sys
import time

import psutil
import psycopg
import pytest

from catalog.errors import DatabaseError
from catalog.server import embedded
from catalog.server.engine import address, writer_engine
from tests.conftest import folder_of_a_server
from tests.database.helpers import ROOT, python_until

START = "from catalog.server import embedded; print(embedded.start())"


@pytest.fixture
def home(monkeypatch):
    """A CATALOG_HOME without a server, whose server is stopped afterwards."""
    with folder_of_a_server() as folder:
        monkeypatch.setenv("CATALOG_HOME", str(folder))
        yield folder
        monkeypatch.setenv("CATALOG_HOME", str(folder))
        embedded.stop()


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def postmaster(folder) -> psutil.Process:
    return psutil.Process(int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0]))


def answers() -> bool:
    with psycopg.connect(address(embedded.start())) as connection:
        return connection.execute("SELECT current_database()").fetchone() == ("catalog",)


def test_a_life(home):
    """Started by one command, found by the next, stopped, started again; nobody is told anything on stderr."""
    assert not embedded.running() and not embedded.stop()
    first = run(START)
    assert (first.returncode, first.stderr) == (0, "")
    assert embedded.running()
    began = postmaster(home).create_time()
    assert run(START).stdout == first.stdout and postmaster(home).create_time() == began
    assert answers()
    assert embedded.stop() and not embedded.running() and not embedded.stop()
    assert answers() and embedded.running()


def test_commands_that_start_it_at_once_wait_for_each_other(home):
    processes = [
        subprocess.Popen([sys.executable, "-c", START], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = {process.communicate(timeout=120) for process in processes}
    assert len(said) == 1 and next(iter(said))[1] == "", said


def test_a_folder_with_a_name_too_long_for_a_socket(home, monkeypatch):
    folder = home / ("long" * 30)
    monkeypatch.setenv("CATALOG_HOME", str(folder))
    try:
        assert len(str(folder)) > 107 and answers()
        assert run(START).returncode == 0
    finally:
        assert embedded.stop()


def test_a_folder_with_blanks_and_letters_of_all_kinds(home, monkeypatch):
    folder = home / "a b'ü"
    monkeypatch.setenv("CATALOG_HOME", str(folder))
    try:
        assert answers()
    finally:
        assert embedded.stop()


@pytest.mark.parametrize("name", ['a"b', "a$HOME", "a`true`", "a,b"])
def test_a_folder_that_the_servers_programs_would_misread_is_refused(home, monkeypatch, name):
    monkeypatch.setenv("CATALOG_HOME", str(home / name))
    with pytest.raises(DatabaseError, match="choose another folder"):
        embedded.start()


def test_other_users_cannot_open_the_socket(home):
    answers()
    assert (home / "postgres" / ".s.PGSQL.5432").stat().st_mode & 0o077 == 0


def test_a_killed_server_comes_back_with_its_rows(home):
    engine = writer_engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept AS SELECT 7 AS value")
    process = postmaster(home)
    process.kill()
    process.wait(10)
    engine.dispose()
    assert not embedded.running()
    engine = writer_engine()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT value FROM kept").scalar_one() == 7
    engine.dispose()


def test_a_number_that_another_process_got_does_not_pass_for_the_server(home):
    answers()
    embedded.stop()
    stale = home / "postgres" / "postmaster.pid"
    folder = home / "postgres"
    stale.write_text(f"{os.getpid()}\n{folder}\n1700000000\n5432\n{folder}\n\n  1 1\nready\n")
    assert not embedded.running()
    assert answers()


def test_a_half_written_postmaster_file_is_no_obstacle(home):
    answers()
    embedded.stop()
    (home / "postgres" / "postmaster.pid").write_text("99999")
    assert not embedded.running() and answers()


def test_initdb_that_was_killed_is_begun_again(home):

    program = """
import time
from pathlib import Path
from catalog.server import embedded
def rename(*_):
    print("made", flush=True)
    time.sleep(600)
Path.rename = rename
embedded.start()
"""
    process = python_until(program, "made")
    process.kill()
    process.communicate()
    assert not (home / "postgres").exists() and (home / "postgres.new").exists()
    assert answers()


def test_the_command_that_started_it_may_be_killed(home):
    process = python_until(f"{START}\nprint('up', flush=True)\nimport time; time.sleep(600)", "up")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.2)
    assert embedded.running() and answers()


def test_files_that_are_no_database_are_one_sentence(home):
    (home / "postgres").mkdir()
    (home / "postgres" / "PG_VERSION").write_text("18\n")
    with pytest.raises(DatabaseError, match=r"does not start .* or set CATALOG_DATABASE_URL") as caught:
        embedded.start()
    assert "\n" not in str(caught.value)
