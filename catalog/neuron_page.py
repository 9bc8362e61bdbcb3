"""Everything the catalog knows of one neuron."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, text

from catalog import neuron_activity, neuron_roles, unlabelled
from catalog.answers import FLOAT8, TEXT, Rows, Values, ask
from catalog.errors import InputError, NotFoundError
from catalog.known import check_model, check_run, schema_of
from catalog.statements import check_page
from catalog.words import EXAMPLE_KINDS

RANKED = {
    "activation_statistics": ("mean", "var", "skew", "kurt", "sparsity", "post_mean", "post_var"),
    "weight_statistics": (
        "w_in_norm", "w_out_norm", "input_bias", "in_out_sim", "l2_penalty", "vocab_mean", "vocab_var", "vocab_skew",
        "vocab_kurt", "logit_var", "logit_skew", "logit_kurt",
    ),
    "universality": (
        "max_corr", "mean_corr", "min_corr", "max_baseline", "mean_baseline", "min_baseline", "excess_corr",
    ),
}  # fmt: skip
"""Statistics shown with their percentile within the layer (SPEC 3.7), by table."""


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
    """One neuron; every table is ordered, and is what the catalog was opened for: `Rows` or a DataFrame."""

    identity: dict[str, Any]
    """`IDENTITY`, and `no_label`: why it has no label; None where it has one."""
    statistics: Table
    """statistic, value, percentile within the layer."""
    best_matches: Table
    """One row per other model."""
    top_tokens: Table
    explanations: Table
    letter: Table
    labels: Table
    promoted: Table
    suppressed: Table
    quantiles: Table
    """percent, pre, post."""
    bos: Table
    """One row: bos_activation, bos_ratio."""
    position: Table
    """One row, with the frequency by position as `curve`, BOS first."""
    subsets: Table
    ngrams: Table
    """n, cover, activations, n_tokens."""
    next_tokens: Table
    """Classes of next tokens before which pre differs most: frequency and mean before them and before others."""
    logit_explanations: Table
    """Vocabulary features that explain its effect on the logits."""
    similar: Table
    """Neurons of its model with the nearest and the most opposite weights."""
    heads: Table
    """Heads of later layers that it turns towards BOS or away."""
    interventions: Table
    """What is predicted when it is held."""
    examples: Table
    """The highest values first, then the bands of quantiles from below; see `examples`."""

    def each(self, shown: Callable[[Table], Other]) -> "NeuronPage[Other]":
        """The page with each of its tables shown otherwise."""
        tables = {field.name: shown(getattr(self, field.name)) for field in fields(self) if field.name != "identity"}
        return NeuronPage(self.identity, **tables)


def neuron(connection: Connection, ref: NeuronRef, run: int | None = None) -> NeuronPage[Rows]:
    """The page of a neuron.

    Raises:
        NotFoundError: no such model or neuron; the sentence says the ranges.
    """
    row = find_neuron(connection, ref, run)
    values: Values = {"run": row["run_id"], "neuron": row["neuron_id"], "tokenizer": row["tokenizer_id"]}
    key: Values = {name: values[name] for name in ("run", "neuron")}
    quantiles, bos = neuron_activity.quantiles_and_bos(connection, key)
    labels = _labels(connection, key)
    no_label = None if labels.rows else unlabelled.reason(connection, key, row["universal"])
    return NeuronPage(
        identity={key: row[key] for key in IDENTITY} | {"no_label": no_label},
        statistics=_statistics(connection, row),
        best_matches=_best_matches(connection, values),
        top_tokens=_tokens(connection, "top_tokens", "v.mean, v.n", "", values),
        explanations=ask(
            connection,
            """SELECT e.rank, f.name AS feature, e.shift, e.variance_reduction, e.n_in, e.n_out, e.mean_in, e.mean_out,
                      e.cohen_d
               FROM explanations e JOIN features f ON f.id = e.feature_id
               WHERE e.run_id = :run AND e.neuron_id = :neuron ORDER BY e.rank, e.shift, f.name""",
            values,
        ),
        letter=ask(
            connection,
            """SELECT letter, variance_reduction, mean_a, mean_b, mean_c FROM letter_scores
               WHERE run_id = :run AND neuron_id = :neuron""",
            values,
        ),
        labels=labels,
        promoted=_tokens(connection, "logit_effects", "v.effect", "AND v.direction = 'promoted'", values),
        suppressed=_tokens(connection, "logit_effects", "v.effect", "AND v.direction = 'suppressed'", values),
        quantiles=quantiles,
        bos=bos,
        position=neuron_activity.position(connection, key),
        subsets=neuron_activity.subsets(connection, key),
        ngrams=neuron_activity.ngrams(connection, key),
        next_tokens=neuron_activity.next_tokens(connection, key),
        logit_explanations=neuron_roles.logit_explanations(connection, key),
        similar=neuron_roles.similar(connection, key),
        heads=neuron_roles.heads(connection, key),
        interventions=neuron_roles.interventions(connection, key),
        examples=_examples(connection, values, None, 0),
    )


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
        kind: top, or one of the bands of `EXAMPLE_KINDS`; None: all, top first and then the bands from below.
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
        f"""SELECT v.other_model, v.other_layer, v.other_neuron, v.correlation, v.standard_error, v.rank, v.mutual_best
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
    found = ask(
        connection,
        f"""SELECT p.*, n.model_id, m.tokenizer_id FROM {schema_of(run)}.neuron_profiles p
            JOIN neurons n ON n.id = p.neuron_id JOIN models m ON m.id = n.model_id
            WHERE p.model = :model AND p.layer = :layer AND p.neuron = :index {condition}""",
        {"model": ref.model, "layer": ref.layer, "index": ref.index, **values},
    ).records()
    if found:
        return found[0]
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


def _statistics(connection: Connection, row: Values) -> Rows:
    """One row per statistic: value and percentile 50 * (#{x < v} + #{x <= v} + 1) / n of the layer, ties averaged."""
    # the count keeps the planner from looking for the least key among all neurons
    keys = "SELECT min(id) AS first_id, max(id) AS last_id, count(*) FROM neurons WHERE model_id = :model_id AND layer = :layer"
    layer = {**row, **connection.execute(text(keys), {key: row[key] for key in ("model_id", "layer")}).one()._mapping}
    shown = []
    for table, columns in RANKED.items():
        for name, (below, up_to, n) in zip(columns, _ranks(connection, table, columns, layer), strict=True):
            value = row[name]
            shown.append((name, value, None if value is None else 50.0 * (below + up_to + 1) / n))
    return Rows(("statistic", "value", "percentile"), (TEXT, FLOAT8, FLOAT8), tuple(shown))


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
    found = connection.execute(text(statement), {key: row[key] for key in keys}).one()
    return [(found[i], found[i + 1], found[i + 2]) for i in range(0, len(found), 3)]


def _best_matches(connection: Connection, values: Values) -> Rows:
    return ask(
        connection,
        """SELECT v.other_model, v.other_layer, v.other_neuron, v.max_corr, v.baseline, v.diag_corr, v.mutual_best,
                  (SELECT string_agg(l.family || ':' || l.subtype, ', ' ORDER BY l.family, l.subtype) FROM labels l
                    WHERE l.run_id = v.run_id AND l.neuron_id = v.other_neuron_id) AS other_labels
           FROM history.neuron_universality_by_model v
           WHERE v.run_id = :run AND v.neuron_id = :neuron ORDER BY v.other_model""",
        values,
    )


def _tokens(connection: Connection, table: str, columns: str, condition: str, values: Values) -> Rows:
    """Tokens of one neuron in a ranked table, with their text."""
    return ask(
        connection,
        f"""SELECT v.rank, t.text AS token, v.token_id, {columns}
            FROM {table} v JOIN tokens t ON t.tokenizer_id = :tokenizer AND t.token_id = v.token_id
            WHERE v.run_id = :run AND v.neuron_id = :neuron {condition} ORDER BY v.rank""",
        values,
    )
