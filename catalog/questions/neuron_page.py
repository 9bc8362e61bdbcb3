"""Everything the catalog knows of one neuron."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, text

from catalog import parts
from catalog.answers import FLOAT8, TEXT, Rows, Values, ask
from catalog.errors import InputError, NotFoundError
from catalog.questions import unlabelled
from catalog.questions.known import check_model, check_run, schema_of
from catalog.questions.statements import check_page
from catalog.words import EXAMPLE_KINDS

Table = TypeVar("Table")
Other = TypeVar("Other")

IDENTITY = ("model", "family", "layer", "neuron", "universal", "degenerate", "n_tokens", "run_id")
"""What says which neuron a page is about."""


@dataclass(frozen=True)
class NeuronRef:
    """A neuron by model, layer and index."""

    model: str
    layer: int
    index: int


@dataclass(frozen=True)
class NeuronPage(Generic[Table]):
    """One neuron; every table is ordered, and is what the catalog was opened for: `Rows` or a DataFrame.

    A table is asked for by its name, as `page.labels`: those of `OWN_SECTIONS`, and the sections of all parts.
    """

    identity: dict[str, Any]
    """`IDENTITY`, and `no_label`: why it has no label; None where it has one."""
    tables: dict[str, Table]
    """By the name of the section, in order."""

    def __getattr__(self, name: str) -> Table:
        tables: dict[str, Table] = self.__dict__.get("tables", {})
        if name in tables:
            return tables[name]
        raise AttributeError(f"a neuron's page has no table {name!r}")

    def each(self, shown: Callable[[Table], Other]) -> "NeuronPage[Other]":
        """The page with each of its tables shown otherwise."""
        return NeuronPage(self.identity, {name: shown(table) for name, table in self.tables.items()})


OWN_SECTIONS = {"labels": "Labels", "statistics": "Statistics, with the percentile within the layer"}
"""Titles of the tables that are no part's, by name."""


def titles() -> dict[str, str]:
    """Titles of all tables of a page, by name, in order."""
    return OWN_SECTIONS | {section.name: section.title for _, section in parts.sections()}


def neuron(connection: Connection, ref: NeuronRef, run: int | None = None) -> NeuronPage[Rows]:
    """The page of a neuron.

    Raises:
        NotFoundError: no such model or neuron; the sentence says the ranges.
    """
    row = find_neuron(connection, ref, run)
    values: Values = {"run": row["run_id"], "neuron": row["neuron_id"], "tokenizer": row["tokenizer_id"]}
    key: Values = {name: values[name] for name in ("run", "neuron")}
    labels = _labels(connection, key)
    no_label = None if labels.rows else unlabelled.reason(connection, key, row["universal"] == "yes")
    tables = {"labels": labels, "statistics": _statistics(connection, row)}
    for _, section in parts.sections():
        asked = values if ":tokenizer" in section.select else key
        tables[section.name] = ask(connection, section.select, asked)
    return NeuronPage({key: row[key] for key in IDENTITY} | {"no_label": no_label}, tables)


def _labels(connection: Connection, key: Values) -> Rows:
    return ask(
        connection,
        """SELECT family, subtype, score, rule_version, evidence FROM labels
           WHERE run_id = :run AND neuron_id = :neuron ORDER BY family, subtype""",
        key,
    )


def examples(
    connection: Connection, ref: NeuronRef, run: int | None = None, kind: str | None = None, limit: int = 0
) -> Rows:
    """Places in the corpus that show what a neuron responds to, with the text around them.

    Args:
        kind: one of `EXAMPLE_KINDS`; None: all, top first, then the lowest, and then the bands from below.
        limit: rows of each kind; 0 for all.
    Raises:
        InputError: no such kind, or a negative limit.
        NotFoundError: no such model or neuron.
    """
    check_page(limit)
    if kind is not None and kind not in EXAMPLE_KINDS.values():
        raise InputError(f"{kind!r} is no kind of example; choose from {', '.join(EXAMPLE_KINDS.values())}.")
    row = find_neuron(connection, ref, run)
    return _examples(connection, {"run": row["run_id"], "neuron": row["neuron_id"]}, kind, limit)


def _examples(connection: Connection, values: Values, kind: str | None, limit: int) -> Rows:
    asked: Values = {"run": values["run"], "neuron": values["neuron"], "kinds": list(EXAMPLE_KINDS.values())}
    conditions = ""
    if kind is not None:
        conditions, asked["kind"] = "AND v.kind = :kind", kind
    if limit:
        conditions, asked["limit"] = f"{conditions} AND v.rank <= :limit", limit
    return ask(
        connection,
        f"""SELECT v.kind, v.rank, v.value, v.quantile, v.subset, v.row, v.position, v.before, v.token, v.after
            FROM history.neuron_examples v WHERE v.run_id = :run AND v.neuron_id = :neuron {conditions}
            ORDER BY array_position(CAST(:kinds AS text[]), v.kind), v.rank""",
        asked,
    )


def neuron_matches(
    connection: Connection, ref: NeuronRef, run: int | None = None, other_model: str | None = None, limit: int = 50
) -> Rows:
    """The best partners of a neuron: by rank, then correlation, then other model; `limit` rows, 0 for all.

    Raises:
        NotFoundError: no such run, model or neuron.
        InputError: the other model is the neuron's own, or the limit is negative.
    """
    check_page(limit)
    condition, values = _matches_wanted(connection, ref, run, other_model)
    if limit:
        values["limit"] = limit
    return ask(
        connection,
        f"""SELECT v.other_model, v.other_layer, v.other_neuron, v.correlation, v.correlation_se, v.rank, v.mutual_best,
                   v.restored, v.restored_se
            FROM history.neuron_matches v WHERE v.run_id = :run AND v.neuron_id = :neuron {condition}
            ORDER BY v.rank, v.correlation DESC, v.other_model {"LIMIT :limit" if limit else ""}""",
        values,
    )


def count_matches(connection: Connection, ref: NeuronRef, run: int | None = None, other_model: str | None = None) -> int:
    """How many rows `neuron_matches` has without a limit."""
    condition, values = _matches_wanted(connection, ref, run, other_model)
    statement = f"SELECT count(*) FROM history.neuron_matches v WHERE v.run_id = :run AND v.neuron_id = :neuron {condition}"
    return int(connection.execute(text(statement), values).scalar_one())


def _matches_wanted(connection: Connection, ref: NeuronRef, run: int | None, other_model: str | None) -> tuple[str, Values]:
    """The condition on `v` of neuron_matches beside the neuron's keys, and the values of all."""
    row = find_neuron(connection, ref, run)
    values: Values = {"run": row["run_id"], "neuron": row["neuron_id"]}
    if other_model is None:
        return "", values
    other_model = check_model(connection, other_model, row["run_id"])
    if other_model == row["model"]:
        raise InputError(
            f"--other-model {other_model} is the neuron's own model, and matches are in others; see `catalog similar "
            f"{ref.model} {ref.layer}.{ref.index}`."
        )
    return "AND v.other_model = :other_model", {**values, "other_model": other_model}


def find_neuron(connection: Connection, ref: NeuronRef, run: int | None) -> Values:
    """The profile of the neuron and its keys.

    Raises:
        NotFoundError: no such run, model or neuron.
    """
    check_run(connection, run)
    ref = replace(ref, model=check_model(connection, ref.model, run))
    condition, values = ("", {}) if run is None else ("AND p.run_id = :run", {"run": run})
    records = ask(
        connection,
        f"""SELECT p.*, n.model_id, m.tokenizer_id FROM {schema_of(run)}.neuron_profiles p
            JOIN neurons n ON n.id = p.neuron_id JOIN models m ON m.id = n.model_id
            WHERE p.model = :model AND p.layer = :layer AND p.neuron = :index {condition}""",
        {"model": ref.model, "layer": ref.layer, "index": ref.index, **values},
    ).records()
    if records:
        return records[0]
    shape = connection.execute(
        text(
            """SELECT m.n_layers, m.d_mlp FROM models m JOIN history.model_names n ON n.model_id = m.id
               WHERE n.model = :model"""
        ),
        {"model": ref.model},
    ).one()
    raise NotFoundError(
        f"{ref.model} has no neuron {ref.layer}.{ref.index}; its layers are 0 to {shape.n_layers - 1}, its neurons 0 to "
        f"{shape.d_mlp - 1}."
    )


def _ranked() -> dict[str, list[str]]:
    """Statistics that are shown with their percentile within the layer (SPEC 3.7), by table."""
    ranked = {
        name: [column.name for column in table.columns if column.info.get("ranked")] for name, table in parts.tables().items()
    }
    return {name: columns for name, columns in ranked.items() if columns}


def _statistics(connection: Connection, row: Values) -> Rows:
    """One row per statistic: value, standard error if any, percentile 50 * (#{x < v} + #{x <= v} + 1) / n of the layer."""
    # the count keeps the planner from looking for the least key among all neurons
    keys = "SELECT min(id) AS first_id, max(id) AS last_id, count(*) FROM neurons WHERE model_id = :model_id AND layer = :layer"
    layer = {**row, **connection.execute(text(keys), {key: row[key] for key in ("model_id", "layer")}).one()._mapping}
    shown = []
    for table, columns in _ranked().items():
        for name, (below, up_to, n) in zip(columns, _ranks(connection, table, columns, layer), strict=True):
            value = row[name]
            percentile = None if value is None else 50.0 * (below + up_to + 1) / n
            shown.append((name, value, row.get(f"{name}_se"), percentile))
    return Rows(("statistic", "value", "value_se", "percentile"), (TEXT, FLOAT8, FLOAT8, FLOAT8), tuple(shown))


def _ranks(connection: Connection, table: str, columns: Sequence[str], row: Values) -> list[tuple[int, int, int]]:
    """How many neurons of the layer are below, and not above, the neuron's value, and how many have one.

    One pass counts for all columns. A layer's keys lie together, as they were reserved, so that their range reads the
    table in one piece; it is the join that says which neurons count.
    """
    counts = ", ".join(
        f"count(*) FILTER (WHERE t.{name} < CAST(:{name} AS double precision)),"
        f" count(*) FILTER (WHERE t.{name} <= CAST(:{name} AS double precision)), count(t.{name})"
        for name in columns
    )
    statement = f"""
        SELECT {counts} FROM {table} t JOIN neurons n ON n.id = t.neuron_id
        WHERE t.run_id = :run_id AND t.neuron_id BETWEEN :first_id AND :last_id
          AND n.model_id = :model_id AND n.layer = :layer"""
    keys = ("run_id", "first_id", "last_id", "model_id", "layer", *columns)
    ranks = connection.execute(text(statement), {key: row[key] for key in keys}).one()
    return [(ranks[i], ranks[i + 1], ranks[i + 2]) for i in range(0, len(ranks), 3)]
