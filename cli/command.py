"""What every command has: negative numbers as values; and, if it prints tables, `--wide`."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from catalog.errors import InputError
from cli.numbers import behind_options
from cli.output import Format, whole_values

WIDE = "Print all columns and values whole, as in a pipe or a file. Else a terminal's width (or COLUMNS) decides."


_app = typer.Typer(add_completion=False)


@_app.command()
def _rows(wide: Annotated[bool, typer.Option("--wide", help=WIDE)] = False) -> None:
    """The options of whatever prints tables."""


class Command(TyperCommand):
    """A command for which what begins with a minus and a digit is a value; no option is named so.

    One whose `--format` may be a table has `--wide`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if any(parameter.name == "format" and isinstance(parameter.default, Format) for parameter in self.params):
            self.params += [parameter for parameter in get_command(_app).params if parameter.name == "wide"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a command line."""
        takes_value = {
            name
            for parameter in self.params
            if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        return super().parse_args(ctx, behind_options(args, takes_value))

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            InputError: `--wide` is given for rows that are not printed as a table.
        """
        source = ctx.get_parameter_source("wide")
        wide = ctx.params.pop("wide", False)
        format = ctx.params.get("format", Format.TABLE)
        if wide and Format(format) is not Format.TABLE and source is not None and source.name == "COMMANDLINE":
            raise InputError(f"--wide is for tables, and --format {format} cuts no value; leave one of them out.")
        with whole_values(wide):
            return super().invoke(ctx)
