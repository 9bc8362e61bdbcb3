"""`catalog`: the commands put together, and the one place where errors become sentences."""

import functools
import gc
import signal
import sys
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from catalog.errors import TERMINATED, InputError
from cli import compute, db, doctor, findings, intervene, models, neurons, page, plan, report, rules, runs, verify
from cli.command import Command
from cli.failures import Interrupted, sentence
from cli.output import talk

app = typer.Typer(
    name="catalog",
    help="A catalog of language-model neurons: what each of them does, and which come back in every seed.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={
        "auto_envvar_prefix": "CATALOG",
        "help_option_names": ["--help", "-h"],
        "max_content_width": 100,
    },
)
BETWEEN_COLLECTIONS = (100_000, 20, 20)
"""Of objects that may be garbage: libraries make some hundred thousand that are none, which took an answer an eighth longer."""

for noun in (neurons, page, models, compute, intervene, plan, verify, db, doctor, report, findings):
    noun.register(app)
for group in (runs, rules, db):
    app.add_typer(group.app)
for level in (app, runs.app, rules.app, db.app):
    for command in level.registered_commands:
        if command.cls is None or not issubclass(command.cls, Command):
            command.cls = Command


@dataclass
class Talkativeness:
    """What `--verbose` asked for; `main` holds it, so that it is known when a command fails."""

    verbose: bool = False


@app.callback()
def _root(
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")] = False,
) -> None:
    context.obj.verbose = verbose


@functools.cache
def _commands() -> Any:
    """Click's tree of all of them, made of the signatures of their functions, which takes as long as a small answer."""
    return get_command(app)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 done, 1 an error told in a sentence, 2 wrong usage, 130 or 143 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot write a token's characters gets their escapes, not an error.
        getattr(stream, "reconfigure", lambda errors: None)(errors="backslashreplace")
    gc.set_threshold(*BETWEEN_COLLECTIONS)
    before = signal.signal(signal.SIGTERM, _terminate)
    asked = Talkativeness()
    try:
        _check_text(sys.argv[1:] if arguments is None else arguments)
        _commands().main(arguments, prog_name="catalog", obj=asked)
    except BaseException as error:
        told = sentence(error)
        if asked.verbose and not isinstance(error, SystemExit):
            talk(traceback.format_exc().rstrip())
        if told is None:
            raise
        if told.text:
            talk(told.text)
        sys.exit(told.code)
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(0)


def _check_text(arguments: list[str]) -> None:
    """Raises:
    InputError: an argument has bytes that are no text, which neither a database nor a terminal takes.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError(f"the argument {argument!r} is no UTF-8 text; write it in UTF-8.") from None


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted("terminated", TERMINATED)
