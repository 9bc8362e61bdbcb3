"""Errors as one sentence, and interruptions that say what they leave behind."""

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from catalog.errors import NotFoundError
from cli.failures import FAILED, INTERRUPTED, TERMINATED, Interrupted, sentence, when_interrupted, without_passwords

ROOT = Path(__file__).parents[2]

WAITING = """
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
module = types.ModuleType("ingest.pipeline.main_path")
def ingest(settings, progress):
    progress.phase("accumulate", 100, "tokens")
    progress.advance(40)
    progress.say("waiting")
    time.sleep(60)
module.ingest = ingest
sys.modules["ingest.pipeline.main_path"] = module
checks = types.ModuleType("ingest.first_checks")
checks.check_ingest = lambda settings: None
sys.modules["ingest.first_checks"] = checks
schema = types.ModuleType("catalog.server.first_schema")
schema.open_for_ingest = lambda url, say: types.SimpleNamespace(dispose=lambda: None)
sys.modules["catalog.server.first_schema"] = schema
from cli.main import main
main(["ingest", "a", "b", "--corpus", "c"])
"""
"""The real command line around a computation that only waits, so that a signal can hit it."""


@pytest.mark.parametrize(
    ("signal_number", "code", "word"),
    [(signal.SIGINT, INTERRUPTED, "interrupted"), (signal.SIGTERM, TERMINATED, "terminated")],
)
def test_a_signal_ends_an_ingest_with_one_sentence(signal_number, code, word):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None and process.stdout is not None
    said = []
    while "waiting\n" not in said:
        said.append(process.stderr.readline())
        assert said[-1], said
    time.sleep(0.1)
    process.send_signal(signal_number)
    out, rest = process.communicate(timeout=120)
    assert (process.returncode, out) == (code, "")
    assert rest == f"{word}; nothing more was published; the same command resumes\n"


def test_an_unknown_fault_keeps_its_traceback():
    program = WAITING.replace("time.sleep(60)", "raise ZeroDivisionError('a fault of this program')")
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr and "a fault of this program" in answer.stderr


@pytest.mark.parametrize(("options", "has_traceback"), [([], False), (["--verbose"], True)])
def test_verbose_gives_the_traceback(options, has_traceback):
    fails = "from catalog.errors import InputError; raise InputError('too small; give more.')"
    program = WAITING.replace("time.sleep(60)", fails).replace('main(["', f'main({options} + ["')
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == FAILED
    assert answer.stderr.endswith("error: too small; give more.\n")
    assert ("Traceback" in answer.stderr) == has_traceback


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotFoundError("there is no\n  such family."), "error: there is no such family."),
        (OSError(errno.ENOSPC, "No space left", "/data/x"), "error: the disk is full at /data/x;"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "error: permission denied at /data/x;"),
        (MemoryError(), "error: memory is exhausted;"),
        (psycopg.OperationalError("server closed the connection\nmore"), "(server closed the connection);"),
        (
            OperationalError("SELECT 1", {"x": 1}, psycopg.OperationalError("url postgresql://me:secret@db/c")),
            "(url postgresql://me:***@db/c);",
        ),
    ],
)
def test_known_errors_are_one_sentence(error, said):
    told = sentence(error)
    assert told is not None and told.code == FAILED
    assert said in told.text and told.text.startswith("error: ")
    assert "\n" not in told.text and told.text.endswith(".") and "secret" not in told.text


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyError("x"), FileNotFoundError(errno.ENOENT, "x")])
def test_faults_of_this_program_are_no_sentences(error):
    assert sentence(error) is None


def test_exits_and_interruptions():
    assert sentence(SystemExit(2)) == ("", 2)
    assert sentence(SystemExit()) == ("", 0)
    assert sentence(SystemExit(130)) == ("interrupted", 130)
    assert sentence(KeyboardInterrupt()) == ("interrupted", 130)
    with pytest.raises(Interrupted) as raised, when_interrupted("all is kept"):
        raise KeyboardInterrupt
    assert sentence(raised.value) == ("interrupted; all is kept", INTERRUPTED)


@pytest.mark.parametrize(
    ("interruption", "said"),
    [(KeyboardInterrupt(), ("interrupted", INTERRUPTED)), (Interrupted("terminated", TERMINATED), ("terminated", TERMINATED))],
)
def test_an_interruption_in_the_middle_of_a_library_comes_out_as_its_error_and_is_one(interruption, said):
    """As psycopg's, which cannot be put back into its former state while a statement is under way."""

    def ping() -> None:
        try:
            raise interruption
        finally:
            raise psycopg.ProgrammingError("can't change 'autocommit' now")

    with pytest.raises(psycopg.ProgrammingError) as raised:
        ping()
    assert sentence(raised.value) == said
    with pytest.raises(Interrupted) as told, when_interrupted("all is kept"):
        ping()
    assert sentence(told.value) == (f"{said[0]}; all is kept", said[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql+psycopg://me:p%40ss@db/c", "postgresql+psycopg://me:***@db/c"),
        ("host=db password='a b' user=me", "host=db password=*** user=me"),
        ("host=db PASSWORD=ab", "host=db PASSWORD=***"),
        ("postgresql://me@db/c", "postgresql://me@db/c"),
    ],
)
def test_passwords_are_starred(text, expected):
    assert without_passwords(text) == expected
