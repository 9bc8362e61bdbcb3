"""Every question a reader asks, one typed function each, answered with `catalog.answers.Rows`.

With `run` a question goes to the views of schema `history`, restricted to that run; without, to the views of `public`,
which know the newest published run of each model. Values are bound; only names from fixed lists enter the text.

Lists ask each model for its first rows, which an index hands out in order, and merge them: so the work follows the
number of rows asked for, not the number of rows there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from catalog.answers import Rows, Values, ask
from catalog.documents import as_read
from catalog.errors import InputError
from catalog.known import check_family, check_model, check_run, check_subtype, schema_of


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
    "score": ("l.score DESC", 'l.layer, l."index", l.family, l.subtype'),
    "excess": ("l.excess_corr DESC NULLS LAST", 'l.layer, l."index", l.family, l.subtype'),
    "neuron": ("", 'l.layer, l."index", l.family, l.subtype'),
}
"""What decides first, and what decides among equals of one model; between the two stands the model's name."""

UNIVERSAL_ORDERS = {"excess": ("u.excess_corr DESC", 'u.layer, u."index"'), "neuron": ("", 'u.layer, u."index"')}

FAMILY_COUNTS = {
    "layer": ("family_counts_by_layer", "v.model, v.layer, v.family"),
    "model": ("family_counts", "v.model, v.family"),
}
"""The view that counts, and its key."""


def find_labels(connection: Connection, wanted: LabelFilter) -> Rows:
    """One row per label: model, layer, neuron, family, subtype, score, excess_corr, universal.

    The order is total: score (or excess) descending, then model, layer, neuron, family, subtype.

    Raises:
        NotFoundError: no such family, model or run, or a subtype that is misspelt; the sentence lists what there is.
        InputError: no such order.
    """
    order = _order(wanted.sort, LABEL_ORDERS)
    members, conditions, values = _labels_wanted(connection, wanted)
    first, page = _pages(wanted.limit, wanted.offset, values)
    found = ask(
        connection,
        f"""WITH m AS MATERIALIZED ({members})
            SELECT m.model, l.layer, l."index" AS neuron, l.family, l.subtype, l.score, l.excess_corr,
                   COALESCE(l.excess_corr > 0.5, false) AS universal
            FROM m CROSS JOIN LATERAL (
                SELECT l.layer, l."index", l.family, l.subtype, l.score, l.excess_corr FROM public.labels l
                {_where(["l.run_id = m.run_id", "l.model_id = m.model_id", *conditions])}
                ORDER BY {_joined(order[0], order[1])} {first}) l
            ORDER BY {_joined(order[0], "m.model", order[1])} {page}""",
        values,
    )
    if not found.rows and wanted.subtype is not None:
        check_subtype(connection, wanted.family, wanted.subtype)
    return found


def count_labels(connection: Connection, wanted: LabelFilter) -> int:
    """How many rows `find_labels` has without limit and offset."""
    members, conditions, values = _labels_wanted(connection, wanted)
    counted, source = "count(*)", "labels"
    if wanted.min_excess is None and wanted.min_score is None:
        counted, source = "sum(l.universal_labels)" if wanted.universal else "sum(l.labels)", "label_totals"
        conditions = [condition for condition in conditions if condition != _UNIVERSAL]
    statement = f"""WITH m AS MATERIALIZED ({members})
        SELECT COALESCE(sum(l.n), 0) FROM m CROSS JOIN LATERAL (
            SELECT {counted} AS n FROM public.{source} l
            {_where(["l.run_id = m.run_id", "l.model_id = m.model_id", *conditions])}) l"""
    return int(connection.execute(text(statement), values).scalar_one())


_UNIVERSAL = "l.excess_corr > 0.5"


def _labels_wanted(connection: Connection, wanted: LabelFilter) -> tuple[str, list[str], Values]:
    """The members and the conditions on labels `l` that a filter asks for, once all that it names is known."""
    check_run(connection, wanted.run)
    model = None if wanted.model is None else check_model(connection, wanted.model, wanted.run)
    if wanted.family is not None:
        check_family(connection, wanted.family, wanted.run)
    members, values = _members(model, wanted.run)
    conditions = _of_layers("l", wanted.layers, values)
    for column, value, test in (
        ("l.family", wanted.family, "="),
        ("l.subtype", wanted.subtype, "="),
        ("l.score", wanted.min_score, ">="),
        ("l.excess_corr", wanted.min_excess, ">="),
    ):
        if value is not None:
            name = column.replace(".", "_")
            conditions.append(f"{column} {test} :{name}")
            values[name] = value
    if wanted.universal:
        conditions.append(_UNIVERSAL)
    return members, conditions, values


def universal_neurons(connection: Connection, wanted: UniversalFilter) -> Rows:
    """Universal neurons with their correlations, largest excess first, then model, layer, neuron."""
    order = _order(wanted.sort, UNIVERSAL_ORDERS)
    check_run(connection, wanted.run)
    model = None if wanted.model is None else check_model(connection, wanted.model, wanted.run)
    members, values = _members(model, wanted.run)
    conditions = ["u.excess_corr > 0.5", *_of_layers("u", wanted.layers, values)]
    if wanted.min_excess is not None:
        conditions.append("u.excess_corr >= :min_excess")
        values["min_excess"] = wanted.min_excess
    first, page = _pages(wanted.limit, wanted.offset, values)
    return ask(
        connection,
        f"""WITH m AS MATERIALIZED ({members}),
            chosen AS MATERIALIZED (
                SELECT m.model, u.* FROM m CROSS JOIN LATERAL (
                    SELECT u.* FROM public.universality u
                    {_where(["u.run_id = m.run_id", "u.model_id = m.model_id", *conditions])}
                    ORDER BY {_joined(order[0], order[1])} {first}) u
                ORDER BY {_joined(order[0], "m.model", order[1])} {page})
            SELECT u.model, u.layer, u."index" AS neuron, u.excess_corr, u.mean_corr, u.max_corr, u.min_corr,
                   u.mean_baseline, u.n_models, a.sparsity, a.skew, a.kurt,
                   (SELECT string_agg(l.family || ':' || l.subtype, ', ' ORDER BY l.family, l.subtype)
                      FROM public.labels l WHERE l.run_id = u.run_id AND l.neuron_id = u.neuron_id) AS labels
            FROM chosen u
            LEFT JOIN public.activation_statistics a ON a.run_id = u.run_id AND a.neuron_id = u.neuron_id
            ORDER BY {_joined(order[0], "u.model", order[1])}""",
        values,
    )


def family_counts(connection: Connection, model: str | None = None, run: int | None = None, by: str = "layer") -> Rows:
    """Distinct neurons per model, layer and family, or per model and family, in that order.

    A family that was looked for and not found is there with 0; one whose part the run lacks is not there.

    Raises:
        InputError: `by` is neither layer nor model.
    """
    if by not in FAMILY_COUNTS:
        raise InputError(f"--by {by!r} is no way to count; choose from {', '.join(FAMILY_COUNTS)}.")
    view, order = FAMILY_COUNTS[by]
    return _of_model(connection, view, f"{order}, v.neurons, v.universal_neurons", order, model, run)


def layer_profiles(connection: Connection, model: str | None = None, run: int | None = None) -> Rows:
    """One row per model and layer, in that order."""
    return _of_model(connection, "layer_profiles", "v.*", "v.model, v.layer", model, run)


def depth_matrix(connection: Connection, model: str | None = None, run: int | None = None) -> Rows:
    """Fraction of each layer's neurons whose best match lies in each layer of the other models."""
    columns = "v.model, v.layer, v.other_layer, v.fraction"
    return _of_model(connection, "depth_matrix", columns, "v.model, v.layer, v.other_layer", model, run)


def _of_model(connection: Connection, view: str, columns: str, order: str, model: str | None, run: int | None) -> Rows:
    check_run(connection, run)
    if model is not None:
        model = check_model(connection, model, run)
    conditions, values = _of_members("v", model, run)
    return ask(connection, f"SELECT {columns} FROM {schema_of(run)}.{view} v {_where(conditions)} ORDER BY {order}", values)


def groups(
    connection: Connection, min_size: int = 2, model: str | None = None, run: int | None = None, limit: int = 50
) -> Rows:
    """One row per group and member: largest groups first, then the highest lowest correlation, then id and model.

    `limit` counts groups; 0 is all of them.
    """
    check_run(connection, run)
    if model is not None:
        model = check_model(connection, model, run)
    members, values = _members(None, run)
    values["min_size"] = min_size
    has_model = ""
    if model is not None:
        has_model, values["model"] = "AND m.model = :model", model
    limited, _ = _pages(limit, 0, values)
    order = "g.size DESC, g.lowest_corr DESC, g.id"
    shown = """public.group_members gm JOIN public.neurons n ON n.id = gm.neuron_id
                           JOIN m ON m.run_id = gm.run_id AND m.model_id = n.model_id"""
    return ask(
        connection,
        f"""WITH m AS MATERIALIZED ({members}),
                 chosen AS MATERIALIZED (
                    SELECT g.* FROM (SELECT DISTINCT run_id FROM m) r CROSS JOIN LATERAL (
                        SELECT g.id, g.size, g.lowest_corr FROM public.neuron_groups g
                        WHERE g.run_id = r.run_id AND g.size >= :min_size
                          AND EXISTS (SELECT FROM {shown} WHERE gm.group_id = g.id {has_model})
                        ORDER BY {order} {limited}) g
                    ORDER BY {order} {limited})
            SELECT g.id AS group_id, g.size, g.lowest_corr, m.model, n.layer, n."index" AS neuron
            FROM chosen g JOIN {shown} ON gm.group_id = g.id
            ORDER BY {order}, m.model, n.layer, n."index"
            """,
        values,
    )


def models(connection: Connection) -> Rows:
    """One row per model of a published run, by name."""
    return ask(
        connection,
        """SELECT b.model, b.family, m.architecture, m.activation_function, m.n_layers, m.d_model, m.d_mlp,
                  m.n_layers * m.d_mlp AS neurons, m.d_vocab, m.n_ctx, b.run_id, m.source,
                  (SELECT string_agg(a.name, ', ' ORDER BY a.name) FROM model_aliases a WHERE a.model_id = m.id) AS aliases
           FROM public.members b JOIN public.models m ON m.id = b.model_id ORDER BY b.model""",
    )


def runs(connection: Connection) -> Rows:
    """One row per run, newest first."""
    return ask(
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
    (row,) = ask(
        connection,
        """SELECT r.id AS run, r.*, c.name AS corpus, c.n_tokens AS tokens, c.n_kept AS kept_tokens, c.token_sha256,
                  (SELECT string_agg(n.model, ', ' ORDER BY m.ordinal) FROM run_models m
                     JOIN history.model_names n ON n.model_id = m.model_id WHERE m.run_id = r.id) AS models
           FROM runs r LEFT JOIN corpora c ON c.id = r.corpus_id WHERE r.id = :run""",
        {"run": run},
    ).records()
    found = {key: value for key, value in row.items() if key not in ("id", "corpus_id")}
    return found | as_read(row["settings"])


def _members(model: str | None, run: int | None) -> tuple[str, Values]:
    """A statement for the models that answer, each with its run, and its values."""
    conditions, values = _of_members("b", model, run)
    return f"SELECT b.run_id, b.model_id, b.model FROM {schema_of(run)}.members b {_where(conditions)}", values


def _of_members(alias: str, model: str | None, run: int | None) -> tuple[list[str], Values]:
    """Conditions on a relation with the columns run_id and model."""
    conditions: list[str] = []
    values: Values = {}
    if run is not None:
        conditions.append(f"{alias}.run_id = :run")
        values["run"] = run
    if model is not None:
        conditions.append(f"{alias}.model = :model")
        values["model"] = model
    return conditions, values


def _of_layers(alias: str, layers: tuple[int, int] | None, values: Values) -> list[str]:
    """The condition on the layer; its values are added."""
    if layers is None:
        return []
    values |= {"first_layer": layers[0], "last_layer": layers[1]}
    return [f"{alias}.layer BETWEEN :first_layer AND :last_layer"]


def _where(conditions: list[str]) -> str:
    return "WHERE " + " AND ".join(conditions) if conditions else ""


def _joined(*orders: str) -> str:
    return ", ".join(order for order in orders if order)


def _order(sort: str, orders: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    if sort not in orders:
        raise InputError(f"--sort {sort!r} is no order; choose from {', '.join(orders)}.")
    return orders[sort]


def _pages(limit: int, offset: int, values: Values) -> tuple[str, str]:
    """LIMIT for each model and LIMIT for all of them; the values are added."""
    if limit < 0 or offset < 0:
        raise InputError(f"--limit {limit} --offset {offset}: neither may be negative; --limit 0 shows all.")
    values["offset"] = offset
    if limit == 0:
        return "", "OFFSET :offset"
    values |= {"limit": limit, "first": limit + offset}
    return "LIMIT :first", "LIMIT :limit OFFSET :offset"
