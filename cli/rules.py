"""`catalog rules`: the thresholds of the labels."""

from typing import Annotated

import typer

from cli.options import FormatOption
from cli.output import Format, show_rows, talk

app = typer.Typer(name="rules", help="The thresholds that labels are made by.", no_args_is_help=True)


@app.command("list")
def list_rules(
    all: Annotated[bool, typer.Option("--all", help="Every version, drafts included, not what is in force alone.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """The thresholds in force, one row per rule."""
    from catalog import connect_rows

    with connect_rows() as store:
        rules, drafted = store.list_rules(all_versions=all), store.drafted_rules()
    show_rows(rules, format)
    if len(drafted):
        changes = ", ".join(f"{row['rule']} at {row['drafted']:g}, not {row['in_force']:g}" for row in drafted.records())
        version = drafted.column("rule_version")[0]
        talk(f"version {version} is a draft, with {changes}; `catalog relabel` puts it in force")


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
