"""The parts of a run, in order: the only list of them, and what follows from it.

Modules that the environment variable CATALOG_PARTS names, with commas, may have a tuple `PARTS` of their own, which come after.
Names are known at once; the parts themselves, with their tables, load when they are asked for.
"""

import os
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from catalog.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import Table

    from catalog.parts.part import Check, Part, Rows, Section, View
    from catalog.parts.rule import Rule, Threshold

    PARTS: tuple[Part, ...]

OWN = (
    "weights", "activations", "gates", "correlations", "vocabulary", "positions", "distributions", "ngrams", "examples",
    "next_tokens", "topics", "prediction", "redundancy", "attention", "ablations", "class_activity", "entropy",
    "confidence", "syntax", "substitution",
)  # fmt: skip
"""Each is a module of this package."""

MORE = "CATALOG_PARTS"
"""The environment variable that names modules with further parts."""


def more_modules() -> list[Any]:
    """The modules that CATALOG_PARTS names.

    Raises:
        InputError: one of them cannot be imported.
    """
    return [_imported(name.strip()) for name in os.environ.get(MORE, "").split(",") if name.strip()]


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(f"{MORE} names {name!r}, which cannot be imported ({error}); correct it, or unset it.") from error


def names() -> tuple[str, ...]:
    """Of all parts, in order; the tables of our own are not loaded."""
    return (*OWN, *(part.name for part in _more()))


def _more() -> "list[Part]":
    # a module that is on its way in asks itself, and has none yet
    return [part for module in more_modules() for part in getattr(module, "PARTS", ())]


@cache
def _own() -> "tuple[Part, ...]":
    return tuple(import_module(f"{__name__}.{name}").PART for name in OWN)


def _parts() -> "tuple[Part, ...]":
    from catalog.schema.base import EXTENSION

    built_in, more = _own(), _more()
    for table in _tables(more) - _frozen():
        table.info[EXTENSION] = True
    return (*built_in, *more)


@cache
def _frozen() -> "frozenset[Table]":
    """The tables that migrations know."""
    from sqlalchemy import Table

    from catalog import schema

    shared = (value for name in schema.__all__ for value in vars(getattr(schema, name)).values())
    return _tables(_own()) | {value for value in shared if isinstance(value, Table)}


def _tables(parts: "Iterable[Part]") -> "frozenset[Table]":
    return frozenset(table for part in parts for table in (*part.uses, *(rows.table for rows in part.rows)))


def __getattr__(name: str) -> Any:
    if name == "PARTS":
        return _parts()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def part_named(name: str) -> "Part":
    """Raises:
    KeyError: there is no such part.
    """
    return {part.name: part for part in _parts()}[name]


def groups() -> dict[str, tuple[str, ...]]:
    """What else `--only` understands: the parts of each group, by its name."""
    parts: dict[str, tuple[str, ...]] = {}
    for part in _parts():
        if part.group:
            parts[part.group] = (*parts.get(part.group, ()), part.name)
    return parts


def of_weights() -> tuple[str, ...]:
    """The parts that read no corpus."""
    return tuple(part.name for part in _parts() if part.reads == "weights")


def rules() -> "tuple[Rule, ...]":
    """The rules of all parts; those come last that ask what the others have found."""
    return tuple(sorted((rule for part in _parts() for rule in part.rules), key=lambda rule: rule.asks_others))


def rule_of(family: str) -> "Rule | None":
    """The rule that makes the labels of a family; None where no part has one."""
    return next((rule for rule in rules() if rule.family == family), None)


def parts_of_rule(family: str) -> tuple[str, ...]:
    """The parts that the rule of a family reads, each enough by itself."""
    return next((part.name, *rule.also) for part in _parts() for rule in part.rules if rule.family == family)


def controlled() -> dict[str, tuple[str, ...]]:
    """The families that have controls, with the parts that decide which neurons are of them; features compete over parts."""
    explaining = filling("explanations")
    read = {rule.family: {*parts_of_rule(rule.family)} for rule in rules() if rule.of_activations}
    all_read = {family: of_rule | {*explaining} if of_rule & {*explaining} else of_rule for family, of_rule in read.items()}
    return {family: tuple(name for name in names() if name in of_family) for family, of_family in all_read.items()}


def by_chance() -> dict[str, str]:
    """The families of which a formula says how many neurons chance gives: `Rule.by_chance`."""
    return {rule.family: rule.by_chance for rule in rules() if rule.by_chance}


def of_controls() -> tuple[str, ...]:
    """The parts that a control is measured by."""
    read = {part for of_family in controlled().values() for part in of_family}
    return tuple(name for name in names() if name in read)


def thresholds() -> "dict[tuple[str, str], Threshold]":
    """All thresholds as they are at first, by family and parameter."""
    of_rules = {(rule.family, threshold.parameter): threshold for rule in rules() for threshold in rule.thresholds}
    return of_rules | {(family, threshold.parameter): threshold for part in _parts() for family, threshold in part.thresholds}


def views() -> "list[View]":
    """The views of all parts."""
    return [view for part in _parts() for view in part.views]


def checks() -> "list[tuple[str, Check]]":
    """The checks that parts have of their own, each with its part."""
    return [(part.name, check) for part in _parts() for check in part.checks]


def sections() -> "list[tuple[str, Section]]":
    """The tables of a neuron's page, each with its part."""
    return [(part.name, section) for part in _parts() for section in part.page]


def rows_of(part: str) -> "tuple[Rows, ...]":
    """What a part fills."""
    return part_named(part).rows


def of_all_models(part: str) -> bool:
    """Whether all that a part fills depends on which models the run has."""
    return all(rows.of_all_models for rows in rows_of(part))


def of_several_models(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the parts that compare models, and have nothing to say of one alone."""
    return tuple(name for name in names if all(rows.each == "pair" or rows.of_all_models for rows in rows_of(name)))


def rows_in(part: str, table: str) -> "Rows":
    """What a part fills in one table.

    Raises:
        KeyError: it fills nothing there, or there is no such part.
    """
    return {rows.name: rows for rows in rows_of(part)}[table]


def tables() -> "dict[str, Table]":
    """All tables that parts fill, by name, each once."""
    return {rows.name: rows.table for part in _parts() for rows in part.rows}


def filling(table: str) -> tuple[str, ...]:
    """The parts that fill a table."""
    return tuple(part.name for part in _parts() if any(rows.name == table for rows in part.rows))


def filled_by(names: Iterable[str]) -> set[str]:
    """Names of the tables that these parts fill."""
    return {rows.name for name in names for rows in rows_of(name)}


def partitioned() -> tuple[str, ...]:
    """Tables with a partition per run."""
    return tuple(name for name, table in tables().items() if table.info["by_run"])


def placed() -> tuple[str, ...]:
    """Tables whose rows say where their neuron is; staged rows leave that out, for new neurons have no row yet."""
    return tuple(name for name, table in tables().items() if {"layer", "index"} <= set(table.columns.keys()))


def asked_too() -> "dict[str, Rows]":
    """Tables to which people add rows after a run is published, by name."""
    return {rows.name: rows for part in _parts() for rows in part.rows if rows.asked_too}


def with_features() -> tuple[str, ...]:
    """Tables whose rows point to features."""
    return tuple(name for name, table in tables().items() if points_to_features(table))


def points_to_features(table: "Table") -> bool:
    """Whether rows of a table point to features."""
    return any(key.column.table.name == "features" for key in table.foreign_keys)
