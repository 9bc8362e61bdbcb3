"""What a part of a run is: one kind of knowledge about neurons, under one name.

`catalog.parts.<name>` says what is known (tables, views, rules, checks, sections of `catalog show`), `ingest.parts.<name>` how
it is measured. What follows from these declarations is derived from them and listed nowhere else: the rows of a part, what
is hashed, staged, partitioned, taken over from earlier runs and checked, `--only`, titles.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import Table

from catalog.parts.rule import Rule, Threshold

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection

    from catalog.rows import CorpusRow


OWN_NEURONS = """(SELECT n.id, n.model_id FROM neurons n JOIN run_models rm ON rm.model_id = n.model_id
                   WHERE rm.run_id = :run_id)"""
"""SQL: the neurons of the models of the run."""


IS_CONTROL = """EXISTS (SELECT FROM run_models rm JOIN models cm ON cm.id = rm.model_id
                 WHERE rm.run_id = :run_id AND cm.control_of IS NOT NULL)"""
"""SQL: the run is that of a control."""


@dataclass(frozen=True)
class View:
    """A view and what it answers."""

    name: str
    comment: str
    select: str
    """SQL with `{members}` for the relation (run_id, model_id, model, family) and `{schema}` for its own schema."""
    words: dict[str, str] = field(default_factory=dict)
    """What columns are that are not a table's column under its own comment; see `catalog.views.view_columns`."""


@dataclass(frozen=True)
class Rows:
    """Rows that a part fills."""

    table: Table
    each: Literal["neuron", "some", "pair", "model", "run"]
    """Whose they are, which `verify` checks. neuron: one row for every neuron of the run. some: of neurons of the run. pair: of
    neurons of the run, with another model. model: of models of the run. run: of the run as a whole."""
    condition: str = "true"
    """SQL: which rows `{t}` of the table are the part's, where several parts, or people, fill it."""
    of_all_models: bool = False
    """They depend on which models the run has, and are not taken over from an earlier run model by model."""
    asked_too: bool = False
    """People add rows to a published run; those of the run itself meet the condition."""
    measurement: tuple[str, ...] = ()
    """Columns that say which measurement a row is of, of which there are several; else each row is one, by its key."""

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def measured_by(self) -> tuple[str, ...]:
        """Columns that tell one measurement from another."""
        return self.measurement or tuple(column.name for column in self.table.primary_key)

    def condition_on(self, alias: str) -> str:
        """`condition`, of rows that are called so."""
        return self.condition.format(t=alias)


class Check(NamedTuple):
    """What must hold between the rows of a published run."""

    name: str
    select: str
    """Rows with a column `what`, one per offence, of the run :run_id."""


@dataclass(frozen=True)
class Section:
    """A table of a neuron's page."""

    name: str
    title: str
    select: str
    """SQL of its rows, in order, of the neuron :neuron in the run :run; :tokenizer is that of its model."""
    also: tuple[str, ...] = ()
    """Other parts that fill it, each enough by itself."""


class Publication(NamedTuple):
    """Where a part's `after_rows` stands: within the transaction that publishes a run, its rows in place."""

    connection: "Connection"
    driver: "psycopg.Connection[Any]"
    run_id: int
    corpus_id: int
    corpus: "CorpusRow"


@dataclass(frozen=True)
class Part:
    """One kind of knowledge about neurons."""

    name: str
    about: str
    """What it is, in a few words."""
    reads: Literal["weights", "corpus"]
    """What it is measured from; corpus: from weights as well."""
    rows: tuple[Rows, ...]
    """Deleted in this order."""
    version: int = 1
    """Of the definitions: raised whenever a number changes its meaning, for results of other versions are never mixed."""
    settings: tuple[str, ...] = ()
    """Names of settings of an ingest that change its numbers, beyond those that make a run. Another value of one has the part
    measured again, and no other. What makes a run (context, seed, precision, bos) is named by parts that read no corpus: a run
    of weights is made of its models alone, and any run may answer for its parts."""
    defined_by_bos: str = ""
    """What of it BOS defines, so that runs whose rows begin without BOS do not have it."""
    needs_bos: bool = False
    """That is all of it."""
    group: str = ""
    """What else `--only` calls it, together with others."""
    views: tuple[View, ...] = ()
    rules: tuple[Rule, ...] = ()
    thresholds: tuple[tuple[str, Threshold], ...] = ()
    """Family and threshold, of numbers that decide something but no label."""
    checks: tuple[Check, ...] = ()
    """Beyond those that follow from `rows`."""
    page: tuple[Section, ...] = ()
    uses: tuple[Table, ...] = ()
    """Tables beside features that several runs share, to which its rows point."""
    after_rows: Callable[[Publication], None] | None = None
    """What is to be done once the rows are where readers will see them."""
