"""`catalog rules`: the thresholds of the labels."""

from typing import Annotated

import typer

from cli.options import FormatOption
from cli.output import Format, show_rows, talk

app = typer.Typer(name="rules", help="The thresholds that labels are made by.", no_args_is_help=True)


@app.command("list")
def list_rules(format: FormatOption = Format.TABLE) -> None:
    """The thresholds of every version. The newest published one is in force."""
    from catalog import connect_rows

    with connect_rows() as store:
        show_rows(store.list_rules(), format)


@app.command("set")
def set_rule(
    rule: Annotated[str, typer.Argument(metavar="FAMILY.PARAMETER", help="Such as alphabet.min_variance_reduction.")],
    value: Annotated[float, typer.Argument(metavar="VALUE", help="The new threshold.")],
) -> None:
    """Set a threshold in a draft version. `catalog relabel` applies and publishes it."""
    from catalog import connect_rows

    with connect_rows() as store:
        version = store.set_rule(rule, value)
    talk(f"{rule} is {value:g} in the draft version {version}; `catalog relabel` applies and publishes it")
