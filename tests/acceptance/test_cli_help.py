"""Help is instant, complete, and in the README."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from cli.main import app

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "transformer_lens", "datasets", "pandas", "sqlalchemy", "psycopg", "rich")


def commands() -> Iterator[tuple[str, object]]:
    """Every command that does something, by the words that call it."""

    def below(words: tuple[str, ...], command: object) -> Iterator[tuple[str, object]]:
        children = getattr(command, "commands", {})
        if not children:
            yield " ".join(words), command
        for name, child in children.items():
            yield from below((*words, name), child)

    return below(("catalog",), get_command(app))


COMMANDS = dict(commands())


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_line_loads_nothing_heavy():
    answer = run(f"import cli.main, sys; print([name for name in {HEAVY} if name in sys.modules])")
    assert (answer.stdout, answer.stderr) == ("[]\n", "")


def test_help_loads_little_more_than_the_command_line_itself():
    """How long it takes depends on the machine; what takes the time are modules."""
    loaded = "import atexit, sys; atexit.register(lambda: print(len(sys.modules), file=sys.stderr)); "
    least, answer = run(loaded + "import typer"), run(loaded + "from cli.main import main; main(['--help'])")
    assert (least.returncode, answer.returncode) == (0, 0) and "find" in answer.stdout
    assert int(answer.stderr) < int(least.stderr) + 150


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_and_every_parameter_has_help(words):
    command = COMMANDS[words]
    assert command.help, words
    for parameter in command.params:
        assert parameter.help, f"{words} {parameter.name}"
    short = command.get_short_help_str(66)
    assert not short.endswith("..."), f"{words}: {short} does not fit the list of commands"


def test_every_command_is_in_the_readme():
    text = re.sub(r"\s+", " ", (ROOT / "README.md").read_text(encoding="utf-8"))
    missing = [words for words in COMMANDS if not re.search(rf"{re.escape(words)}(?![\w-])", text)]
    assert not missing, f"README.md does not mention {missing}"


def test_no_module_of_the_command_line_shadows_a_package():
    """Run as a script, `cli/ingest.py` would stand before the package `ingest`."""
    names = {path.stem for path in (ROOT / "cli").glob("*.py")}
    assert not names & {"ingest", "catalog", "migrations", "tests", "pocket", "bench", "cli"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["find", "--nonsense"], "No such option"),
        (["find", "--format", "xml"], "--format"),
        (["find", "--limit", "-1"], "--limit"),
        (["nonsense"], "No such command"),
        (["show"], "MODEL"),
        (["ingest"], "MODEL"),
    ],
)
def test_wrong_usage_is_exit_2_and_names_what_is_wrong(arguments, said):
    answer = run(f"from cli.main import main; main({arguments!r})")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(re.findall("^Error: ", answer.stderr, re.MULTILINE)) == 1


def test_the_entry_point_is_installed():
    answer = subprocess.run(
        [str(Path(sys.executable).with_name("catalog")), "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "100"},
    )
    assert answer.returncode == 0
