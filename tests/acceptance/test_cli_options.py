"""What options accept, and the environment twin of every one of them."""

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer
from typer.main import get_command

from catalog.errors import InputError
from cli.main import Talkativeness, app
from cli.options import parse_layers, parse_names, parse_neuron

NO_TWIN = {"help", "install_completion", "show_completion"}


def commands() -> Iterator[tuple[tuple[str, ...], object]]:
    """Every command with the words that call it."""

    def below(words: tuple[str, ...], command: object) -> Iterator[tuple[tuple[str, ...], object]]:
        yield words, command
        for name, child in getattr(command, "commands", {}).items():
            yield from below((*words, name), child)

    return below((), get_command(app))


def options() -> Iterator[tuple[tuple[str, ...], object]]:
    for words, command in commands():
        for parameter in command.params:  # type: ignore[attr-defined]
            if parameter.param_type_name == "option" and parameter.name not in NO_TWIN:
                yield words, parameter


OPTIONS = list(options())


def context_of(words: tuple[str, ...]) -> typer.Context:
    """The context in which the command `words` reads its options."""
    command = get_command(app)
    context = command.context_class(command, info_name="catalog", obj=Talkativeness(), **command.context_settings)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
        context = command.context_class(command, info_name=word, parent=context)
    return context


def twin(words: tuple[str, ...], option: str) -> str:
    return "_".join(["CATALOG", *words, option.removeprefix("--")]).upper().replace("-", "_")


@pytest.mark.parametrize(("words", "option"), OPTIONS, ids=[f"{' '.join(w)} {o.opts[0]}" for w, o in OPTIONS])
def test_every_option_reads_its_environment_twin(words, option, monkeypatch):
    variable = twin(words, option.opts[0])
    monkeypatch.setenv(variable, "7")
    context = context_of(words)
    assert option.value_from_envvar(context) == "7"
    assert variable in "".join(context.get_help().split())


def test_a_twin_is_used_and_an_option_beats_it(monkeypatch):
    seen = []
    probe = typer.Typer(context_settings={"auto_envvar_prefix": "CATALOG"}, rich_markup_mode=None)

    @probe.callback()
    def root() -> None:
        """Two levels, as in the real application."""

    def find(family: str | None = None, limit: int = 50, universal: bool = False) -> None:
        seen.append((family, limit, universal))

    probe.command()(find)
    for name, value in (("FAMILY", "alphabet"), ("LIMIT", "3"), ("UNIVERSAL", "1")):
        monkeypatch.setenv(f"CATALOG_FIND_{name}", value)
    for arguments in (["find"], ["find", "--limit", "9"]):
        with pytest.raises(SystemExit):
            get_command(probe).main(arguments)
    assert seen == [("alphabet", 3, True), ("alphabet", 9, True)]


@pytest.mark.parametrize(("text", "expected"), [("3.1", (3, 1)), ("3.10", (3, 10)), ("0.37", (0, 37)), ("11.3071", (11, 3071))])
def test_a_neuron_is_text_and_no_decimal_number(text, expected):
    assert parse_neuron(text) == expected


@pytest.mark.parametrize("text", ["3", "3.", ".1", "3.01", "03.1", "3.1.2", "-1.2", "3,1", "a.b", "", "1.99999999999"])
def test_what_is_no_neuron(text):
    with pytest.raises(InputError, match=r"is no LAYER\.INDEX"):
        parse_neuron(text)


@pytest.mark.parametrize(("text", "expected"), [(None, None), ("3", (3, 3)), ("3-5", (3, 5)), ("0-0", (0, 0))])
def test_layers(text, expected):
    assert parse_layers(text) == expected


@pytest.mark.parametrize("text", ["5-3", "a", "3-", "-3", "3-5-7", "", "99999", "3.5"])
def test_what_is_no_range_of_layers(text):
    with pytest.raises(InputError, match="is no range of layers"):
        parse_layers(text)


def test_names():
    assert parse_names("weights, activations,") == ("weights", "activations")
    assert parse_names(None) == ()


def test_parameters_are_named_like_their_options():
    """The prefix makes twins from parameters' names; a different name would make a surprising twin."""
    for words, option in OPTIONS:
        assert option.opts[0] == "--" + option.name.replace("_", "-"), words


@pytest.mark.parametrize("command", ["ingest", "plan"])
def test_the_help_says_for_which_parts_an_option_is(command):
    told = " ".join(context_of((command,)).get_help().split())
    assert "among a neuron's top tokens. For vocabulary." in told
    assert "taken from heads. For ablations, class_activity, entropy, confidence." in told
    assert "rotated baseline. [env var" in told, "the seed makes the run"


def test_a_plan_takes_the_words_of_the_ingest():
    asked, planned = ([option.opts for words, option in OPTIONS if words == (name,)] for name in ("ingest", "plan"))
    assert [option for option in planned if option in asked] == asked != []


def test_ingest_passes_every_setting_on():
    """Each field of the settings has an option, apart from the database, which has a variable of its own, and from which
    control a run is of, which an ingest says to itself."""
    from dataclasses import fields

    from cli.compute import ingest
    from ingest.settings import IngestSettings

    accepted = {"memory_gb" if name == "memory" else name for name in inspect.signature(ingest).parameters}
    assert accepted == {field.name for field in fields(IngestSettings)} - {"database_url", "control"}


def test_completion_completes_commands_and_choices_without_a_warning():
    def complete(words: str, position: int) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "_CATALOG_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(position),
        }
        program = [sys.executable, "-W", "error", "-c", "from cli.main import main; main()"]
        return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)

    answer = complete("catalog fi", 1)
    assert (answer.stdout.split(), answer.stderr) == (["find", "findings"], "")
    answer = complete("catalog find --format ", 3)
    assert (answer.stdout.split(), answer.stderr) == (["table", "json", "jsonl", "csv"], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed(shell):
    program = [sys.executable, "-W", "error", "-c", "from cli.main import main; main(['--show-completion'])"]
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    program[-1] = f"from cli.main import main; main(['--show-completion', '{shell}'])"
    answer = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "_CATALOG_COMPLETE" in answer.stdout
