"""Every question a reader asks, one typed function each, as a pandas DataFrame.

With `run` a question goes to the views of schema `history`, restricted to that run; without, to the views of `public`,
which know the newest published run of each model. Values are bound; only names from fixed lists enter the text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Connection, text

from catalog.errors import InputError, NotFoundError
from catalog.frames import typed_frame

Values = dict[str, Any]


@dataclass(frozen=True)
class LabelFilter:
    """Which labels; None asks for all."""

    family: str | None = None
    subtype: str | None = None
    model: str | None = None
    layers: tuple[int, int] | None = None
    """First and last layer, both included."""
    min_excess: float | None = None
    min_score: float | None = None
    universal: bool = False
    run: int | None = None
    sort: str = "score"
    limit: int = 50
    """0: all."""
    offset: int = 0


@dataclass(frozen=True)
class UniversalFilter:
    """Which universal neurons."""

    model: str | None = None
    layers: tuple[int, int] | None = None
    min_excess: float | None = None
    run: int | None = None
    sort: str = "excess"
    limit: int = 50
    offset: int = 0


LABEL_ORDERS = {
    "score": "l.score DESC, l.model, l.layer, l.neuron, l.family, l.subtype",
    "excess": "u.excess_corr DESC NULLS LAST, l.model, l.layer, l.neuron, l.family, l.subtype",
    "neuron": "l.model, l.layer, l.neuron, l.family, l.subtype",
}
UNIVERSAL_ORDERS = {
    "excess": "u.excess_corr DESC, u.model, u.layer, u.neuron",
    "neuron": "u.model, u.layer, u.neuron",
}


def frame(connection: Connection, statement: str, values: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The rows of a statement, with the column types of `catalog.frames`."""
    result = connection.execute(text(statement), values or {})
    assert result.cursor is not None
    types = [int(column[1]) for column in result.cursor.description]  # type: ignore[call-overload]
    return typed_frame(list(result.keys()), types, result.all())


def schema_of(run: int | None) -> str:
    """The schema whose views answer."""
    return "public" if run is None else "history"


def find_labels(connection: Connection, wanted: LabelFilter) -> pd.DataFrame:
    """One row per label: model, layer, neuron, family, subtype, score, excess_corr, universal.

    The order is total: score (or excess) descending, then model, layer, neuron, family, subtype.

    Raises:
        NotFoundError: no such family, model or run; the sentence lists those that exist.
        InputError: no such order.
    """
    order = _order(wanted.sort, LABEL_ORDERS)
    source, values = _labels_source(connection, wanted)
    return frame(
        connection,
        f"""SELECT l.model, l.layer, l.neuron, l.family, l.subtype, l.score, u.excess_corr,
                   COALESCE(u.excess_corr > 0.5, false) AS universal
            {source} ORDER BY {order} {_page(wanted.limit, wanted.offset, values)}""",
        values,
    )


def count_labels(connection: Connection, wanted: LabelFilter) -> int:
    """How many rows `find_labels` has without limit and offset."""
    source, values = _labels_source(connection, wanted)
    return int(connection.execute(text(f"SELECT count(*) {source}"), values).scalar_one())


def _labels_source(connection: Connection, wanted: LabelFilter) -> tuple[str, Values]:
    schema = schema_of(wanted.run)
    check_run(connection, wanted.run)
    if wanted.model is not None:
        check_model(connection, wanted.model, wanted.run)
    if wanted.family is not None:
        check_family(connection, wanted.family, wanted.run)
    conditions, values = _conditions("l", wanted.model, wanted.layers, wanted.run)
    for column, value, test in (
        ("l.family", wanted.family, "="),
        ("l.subtype", wanted.subtype, "="),
        ("l.score", wanted.min_score, ">="),
        ("u.excess_corr", wanted.min_excess, ">="),
    ):
        if value is not None:
            name = column.replace(".", "_")
            conditions.append(f"{column} {test} :{name}")
            values[name] = value
    if wanted.universal:
        conditions.append("u.excess_corr > 0.5")
    source = f"""FROM {schema}.neuron_labels l
                 LEFT JOIN public.universality u ON u.run_id = l.run_id AND u.neuron_id = l.neuron_id
                 {_where(conditions)}"""
    return source, values


def universal_neurons(connection: Connection, wanted: UniversalFilter) -> pd.DataFrame:
    """Universal neurons with their correlations, largest excess first, then model, layer, neuron."""
    check_run(connection, wanted.run)
    if wanted.model is not None:
        check_model(connection, wanted.model, wanted.run)
    conditions, values = _conditions("u", wanted.model, wanted.layers, wanted.run)
    if wanted.min_excess is not None:
        conditions.append("u.excess_corr >= :min_excess")
        values["min_excess"] = wanted.min_excess
    return frame(
        connection,
        f"""SELECT u.model, u.layer, u.neuron, u.excess_corr, u.mean_corr, u.max_corr, u.min_corr, u.mean_baseline,
                   u.n_models, u.sparsity, u.skew, u.kurt,
                   (SELECT string_agg(l.family || ':' || l.subtype, ', ' ORDER BY l.family, l.subtype)
                      FROM public.labels l WHERE l.run_id = u.run_id AND l.neuron_id = u.neuron_id) AS labels
            FROM {schema_of(wanted.run)}.universal_neurons u {_where(conditions)}
            ORDER BY {_order(wanted.sort, UNIVERSAL_ORDERS)} {_page(wanted.limit, wanted.offset, values)}""",
        values,
    )


def family_counts(connection: Connection, model: str | None = None, run: int | None = None) -> pd.DataFrame:
    """Distinct neurons per model and family, ordered by both."""
    return _of_model(
        connection, "family_counts", "v.model, v.family, v.neurons, v.universal_neurons", "v.model, v.family", model, run
    )


def layer_profiles(connection: Connection, model: str | None = None, run: int | None = None) -> pd.DataFrame:
    """One row per model and layer, in that order."""
    return _of_model(connection, "layer_profiles", "v.*", "v.model, v.layer", model, run)


def depth_matrix(connection: Connection, model: str | None = None, run: int | None = None) -> pd.DataFrame:
    """Fraction of each layer's neurons whose best match lies in each layer of the other models."""
    columns = "v.model, v.layer, v.other_layer, v.fraction"
    return _of_model(connection, "depth_matrix", columns, "v.model, v.layer, v.other_layer", model, run)


def _of_model(connection: Connection, view: str, columns: str, order: str, model: str | None, run: int | None) -> pd.DataFrame:
    check_run(connection, run)
    if model is not None:
        check_model(connection, model, run)
    conditions, values = _conditions("v", model, None, run)
    return frame(connection, f"SELECT {columns} FROM {schema_of(run)}.{view} v {_where(conditions)} ORDER BY {order}", values)


def groups(
    connection: Connection, min_size: int = 2, model: str | None = None, run: int | None = None, limit: int = 50
) -> pd.DataFrame:
    """One row per group and member: largest groups first, then the highest lowest correlation, then id and model.

    `limit` counts groups; 0 is all of them.
    """
    check_run(connection, run)
    values: Values = {"min_size": min_size}
    conditions, more = _conditions("v", None, None, run)
    values |= more
    has_model = ""
    if model is not None:
        check_model(connection, model, run)
        has_model = "AND g.group_id IN (SELECT group_id FROM rows WHERE model = :model)"
        values["model"] = model
    limited = _page(limit, 0, values)
    return frame(
        connection,
        f"""WITH rows AS (SELECT * FROM {schema_of(run)}.neuron_group_members v {_where(conditions)}),
                 chosen AS (SELECT DISTINCT g.size, g.lowest_corr, g.group_id FROM rows g
                            WHERE g.size >= :min_size {has_model}
                            ORDER BY g.size DESC, g.lowest_corr DESC, g.group_id {limited})
            SELECT r.group_id, r.size, r.lowest_corr, r.model, r.layer, r.neuron
            FROM rows r JOIN chosen c ON c.group_id = r.group_id
            ORDER BY r.size DESC, r.lowest_corr DESC, r.group_id, r.model, r.layer, r.neuron""",
        values,
    )


def models(connection: Connection) -> pd.DataFrame:
    """One row per model of a published run, by name."""
    return frame(
        connection,
        """SELECT b.model, b.family, m.architecture, m.activation_function, m.n_layers, m.d_model, m.d_mlp,
                  m.n_layers * m.d_mlp AS neurons, m.d_vocab, m.n_ctx, b.run_id, m.source
           FROM public.members b JOIN public.models m ON m.id = b.model_id ORDER BY b.model""",
    )


def runs(connection: Connection) -> pd.DataFrame:
    """One row per run, newest first."""
    return frame(
        connection,
        """SELECT r.id AS run, r.status, r.phase, r.superseded, r.model_family,
                  (SELECT count(*) FROM run_models m WHERE m.run_id = r.id) AS models,
                  (SELECT string_agg(p.part, ', ' ORDER BY p.part) FROM run_parts p WHERE p.run_id = r.id) AS parts,
                  c.name AS corpus, c.n_tokens AS tokens, r.started_at, r.published_at, r.error
           FROM runs r LEFT JOIN corpora c ON c.id = r.corpus_id ORDER BY r.id DESC""",
    )


def run_details(connection: Connection, run: int) -> Values:
    """Everything recorded of one run."""
    check_run(connection, run, published=False)
    row = connection.execute(
        text(
            """SELECT r.id AS run, r.*, c.name AS corpus, c.n_tokens AS tokens, c.n_kept AS kept_tokens, c.token_sha256,
                      (SELECT string_agg(n.model, ', ' ORDER BY m.ordinal) FROM run_models m
                         JOIN history.model_names n ON n.model_id = m.model_id WHERE m.run_id = r.id) AS models
               FROM runs r LEFT JOIN corpora c ON c.id = r.corpus_id WHERE r.id = :run"""
        ),
        {"run": run},
    ).one()
    return {key: value for key, value in row._mapping.items() if key not in ("id", "corpus_id")}


def check_run(connection: Connection, run: int | None, published: bool = True) -> None:
    """Raises:
    NotFoundError: there is no such run, or readers cannot see it yet.
    """
    if run is None:
        return
    condition = "AND status = 'published'" if published else ""
    if connection.execute(text(f"SELECT 1 FROM runs WHERE id = :run {condition}"), {"run": run}).first() is None:
        known = connection.execute(text("SELECT id FROM runs WHERE status = 'published' ORDER BY id")).scalars().all()
        listed = ", ".join(map(str, known)) or "none"
        raise NotFoundError(f"there is no published run {run}, the published ones are: {listed}; see `catalog runs list`.")


def check_model(connection: Connection, model: str, run: int | None = None) -> None:
    """Raises:
    NotFoundError: no such model; the sentence lists those that exist.
    """
    known = model_names(connection, run)
    if model not in known:
        require_models(known)
        raise NotFoundError(f"there is no model {model!r}; the catalog has {', '.join(known)}.")


def model_names(connection: Connection, run: int | None) -> Sequence[str]:
    """The models that readers see, by name."""
    condition, values = ("", {}) if run is None else ("WHERE run_id = :run", {"run": run})
    statement = f"SELECT DISTINCT model FROM {schema_of(run)}.members {condition} ORDER BY model"
    return connection.execute(text(statement), values).scalars().all()


def require_models(known: Sequence[str]) -> None:
    """Raises:
    NotFoundError: nothing is published; the sentence names the command that fills the catalog.
    """
    if not known:
        raise NotFoundError("the catalog has no published run yet; `catalog ingest` or `make demo` makes one.")


def check_family(connection: Connection, family: str, run: int | None = None) -> None:
    """Raises:
    NotFoundError: no rule makes such labels and none exist; the sentence lists the families with their counts.
    """
    known = connection.execute(
        text(
            f"""SELECT f.family, COALESCE(sum(c.neurons), 0)::bigint
                FROM (SELECT DISTINCT family FROM rules UNION SELECT DISTINCT family FROM labels) f
                LEFT JOIN {schema_of(run)}.family_counts c
                       ON c.family = f.family {"AND c.run_id = :run" if run is not None else ""}
                GROUP BY f.family ORDER BY f.family"""
        ),
        {} if run is None else {"run": run},
    ).all()
    if family not in [name for name, _ in known]:
        listed = ", ".join(f"{name} ({count} neurons)" for name, count in known)
        raise NotFoundError(f"there is no family {family!r}; the catalog has {listed}.")


def _conditions(alias: str, model: str | None, layers: tuple[int, int] | None, run: int | None) -> tuple[list[str], Values]:
    conditions: list[str] = []
    values: Values = {}
    if run is not None:
        conditions.append(f"{alias}.run_id = :run")
        values["run"] = run
    if model is not None:
        conditions.append(f"{alias}.model = :model")
        values["model"] = model
    if layers is not None:
        conditions.append(f"{alias}.layer BETWEEN :first_layer AND :last_layer")
        values |= {"first_layer": layers[0], "last_layer": layers[1]}
    return conditions, values


def _where(conditions: list[str]) -> str:
    return "WHERE " + " AND ".join(conditions) if conditions else ""


def _order(sort: str, orders: Mapping[str, str]) -> str:
    if sort not in orders:
        raise InputError(f"--sort {sort!r} is no order; choose from {', '.join(orders)}.")
    return orders[sort]


def _page(limit: int, offset: int, values: Values) -> str:
    if limit < 0 or offset < 0:
        raise InputError(f"--limit {limit} --offset {offset}: neither may be negative; --limit 0 shows all.")
    values["offset"] = offset
    if limit == 0:
        return "OFFSET :offset"
    values["limit"] = limit
    return "LIMIT :limit OFFSET :offset"
