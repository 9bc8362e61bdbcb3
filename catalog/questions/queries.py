"""Every question a reader asks, one typed function each, answered with `catalog.answers.Rows`.

With `run` a question goes to the views of schema `history`, restricted to that run; without, to the views of `public`,
which know the newest published run of each model. Values are bound; only names from fixed lists enter the text.

Lists ask each model for its first rows, which an index hands out in order, and merge them: so the work follows the
number of rows asked for, not the number of rows there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from catalog.answers import Rows, Values, ask
from catalog.documents import as_read
from catalog.errors import InputError
from catalog.questions.known import check_family, check_model_if_any, check_run, schema_of
from catalog.questions.statements import (
    check_finite,
    check_state,
    joined,
    members_asked,
    of_layers,
    of_members,
    order_of,
    pages,
    where,
)


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
    min_restored: float | None = None
    """Of what ablation costs, the least share that the neuron's matches in other models restore in its place."""
    universal: str | None = None
    """yes, no or undecided."""
    run: int | None = None
    sort: str = "score"
    limit: int = 50
    """0: all."""
    offset: int = 0


LABEL_ORDERS = {
    "score": ("l.family, l.sort_key", 'l.layer, l."index", l.subtype'),
    "excess": ("l.excess_corr DESC NULLS LAST", 'l.layer, l."index", l.family, l.subtype'),
    "neuron": ("", 'l.layer, l."index", l.family, l.subtype'),
}
"""What decides first, and what decides among equals of one model; between the two stands the model's name.

Scores of different families have different units, so that by score one family follows the other.
"""

FAMILY_COUNTS = {
    "layer": ("family_counts_by_layer", "v.model, v.layer, v.family"),
    "model": ("family_counts", "v.model, v.family"),
}
"""The view that counts, and its key."""


def find_labels(connection: Connection, wanted: LabelFilter) -> Rows:
    """One row per label: model, layer, neuron, family, subtype, score, excess_corr, universal.

    The order is total. By score: family, then score, the best first, then model, layer, neuron, subtype. The best is the
    highest score, or the lowest where the family's rule says so (dead, for one). By excess: the highest
    first, then model, layer, neuron, family, subtype.

    Raises:
        NotFoundError: no such family, model or run; the sentence lists those that exist.
        InputError: no such order or state, a range of layers that is none, a number that is not finite, or a least excess
            beside `universal`.
    """
    order = order_of(wanted.sort, LABEL_ORDERS)
    members, conditions, values = _labels_wanted(connection, wanted)
    first, page = pages(wanted.limit, wanted.offset, values)
    return ask(
        connection,
        f"""WITH m AS MATERIALIZED ({members})
            SELECT m.model, l.layer, l."index" AS neuron, l.family, l.subtype, l.score, l.excess_corr, l.universal
            FROM m CROSS JOIN LATERAL (
                SELECT l.layer, l."index", l.family, l.subtype, l.score, l.sort_key, l.excess_corr, l.universal
                  FROM public.labels l
                {where(["l.run_id = m.run_id", "l.model_id = m.model_id", *conditions])}
                ORDER BY {joined(order[0], order[1])} {first}) l
            ORDER BY {joined(order[0], "m.model", order[1])} {page}""",
        values,
    )


def count_labels(connection: Connection, wanted: LabelFilter) -> int:
    """How many rows `find_labels` has without limit and offset."""
    members, conditions, values = _labels_wanted(connection, wanted)
    counted, source = "count(*)", "labels"
    if (wanted.min_excess, wanted.min_score, wanted.min_restored) == (None, None, None):
        counted, source = f"sum({_COUNTED[wanted.universal]})", "label_totals"
        conditions = [condition for condition in conditions if condition != _UNIVERSAL]
    statement = f"""WITH m AS MATERIALIZED ({members})
        SELECT COALESCE(sum(l.n), 0) FROM m CROSS JOIN LATERAL (
            SELECT {counted} AS n FROM public.{source} l
            {where(["l.run_id = m.run_id", "l.model_id = m.model_id", *conditions])}) l"""
    return int(connection.execute(text(statement), values).scalar_one())


_UNIVERSAL = "l.universal = :universal"
_COUNTED = {
    None: "l.labels",
    "yes": "l.universal_labels",
    "undecided": "l.undecided_labels",
    "no": "l.labels - l.universal_labels - l.undecided_labels",
}
"""By the state that is asked for, the labels in a row of label_totals."""
# the ablation is the same whichever model the match is in: the mean is a ratio of sums
_RESTORED = """(SELECT avg(s.restored) FROM public.substitutions s
                 WHERE s.run_id = l.run_id AND s.neuron_id = l.neuron_id AND s.kind = 'match')"""


def _labels_wanted(connection: Connection, wanted: LabelFilter) -> tuple[str, list[str], Values]:
    """The members and the conditions on labels `l` that a filter asks for, once all that it names is known."""
    check_run(connection, wanted.run)
    model = check_model_if_any(connection, wanted.model, wanted.run)
    if wanted.family is not None:
        check_family(connection, wanted.family, wanted.run)
    check_finite("--min-score", wanted.min_score)
    check_finite("--min-excess", wanted.min_excess)
    check_finite("--min-restored", wanted.min_restored)
    check_state("--universal", wanted.universal)
    if wanted.universal is not None and wanted.min_excess is not None:
        raise InputError(
            f"--universal asks for an excess correlation by the rules, and --min-excess {wanted.min_excess:g} for another; "
            "leave one of them out."
        )
    members, values = members_asked(model, wanted.run)
    conditions = of_layers("l", wanted.layers, values)
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
    if wanted.min_restored is not None:
        conditions.append(f"{_RESTORED} >= :min_restored")
        values["min_restored"] = wanted.min_restored
    if wanted.universal is not None:
        conditions.append(_UNIVERSAL)
        values["universal"] = wanted.universal
    return members, conditions, values


def family_counts(connection: Connection, model: str | None = None, run: int | None = None, by: str = "layer") -> Rows:
    """Distinct neurons per model, layer and family, or per model and family, in that order.

    A family that was looked for and not found is there with 0; one whose part the run lacks is not there.

    Raises:
        InputError: `by` is neither layer nor model.
    """
    if by not in FAMILY_COUNTS:
        raise InputError(f"--by {by!r} is no way to count; choose from {', '.join(FAMILY_COUNTS)}.")
    view, order = FAMILY_COUNTS[by]
    counts = ("neurons", "universal_neurons", "undecided_neurons", "expected_by_chance", "chance_ratio", "chance_ratio_upper")
    columns = f"{order}, {', '.join(f'v.{name}' for name in counts)}, v.control"
    return _of_model(connection, view, columns, order, model, run)


def chance_of(connection: Connection, family: str, model: str | None = None, run: int | None = None) -> str:
    """How many neurons of a family chance gives, of how many that there are, in a few words."""
    return chances(connection, model, run).get(family, "no control")


def chances(connection: Connection, model: str | None = None, run: int | None = None) -> dict[str, str]:
    """The same of every family that was looked for."""
    by_family: dict[str, list[Values]] = {}
    for count in family_counts(connection, model, run, "model").records():
        by_family.setdefault(count["family"], []).append(count)
    return {family: _chance(counts) for family, counts in by_family.items()}


MANY_TIMES = 10
"""As many as are found, from which on what chance gives is told in times and not in percent."""


def _chance(counts: Sequence[Values]) -> str:
    """Of one family, given its counts of models."""
    known = [count for count in counts if count["expected_by_chance"] is not None]
    if not known:
        return str(counts[0]["control"])
    expected = sum(count["expected_by_chance"] for count in known)
    said = f"{'fewer than 0.001' if 0 < expected < 0.001 else f'{expected:,.4g}'} neurons expected by chance"
    found = [count for count in known if count["neurons"]]
    if not found:
        return said
    neurons = sum(count["neurons"] for count in found)
    # the limit is that of the control, the same for models that have none
    limits = [count["chance_ratio_upper"] * float(count["neurons"]) for count in found]
    upper = sum(limits) / len(limits) * len(known)
    ratio, most = expected / float(neurons), upper / float(neurons)
    if most > MANY_TIMES:
        return f"{said}, {ratio:,.0f} times as many as found, at most {most:,.0f} times"
    return f"{said}, {100 * ratio:,.0f} % of those found, at most {100 * most:,.0f} %"


def layer_profiles(connection: Connection, model: str | None = None, run: int | None = None) -> Rows:
    """One row per model and layer, in that order."""
    return _of_model(connection, "layer_profiles", "v.*", "v.model, v.layer", model, run)


def depth_matrix(connection: Connection, model: str | None = None, run: int | None = None) -> Rows:
    """Fraction of each layer's neurons whose best match lies in each layer of the other models."""
    columns = "v.model, v.layer, v.other_layer, v.fraction"
    return _of_model(connection, "depth_matrix", columns, "v.model, v.layer, v.other_layer", model, run)


def _of_model(connection: Connection, view: str, columns: str, order: str, model: str | None, run: int | None) -> Rows:
    check_run(connection, run)
    model = check_model_if_any(connection, model, run)
    conditions, values = of_members("v", model, run)
    return ask(connection, f"SELECT {columns} FROM {schema_of(run)}.{view} v {where(conditions)} ORDER BY {order}", values)


def models(connection: Connection) -> Rows:
    """One row per model of a published run, by name."""
    return ask(
        connection,
        """SELECT b.model, b.family, m.step, m.architecture, m.activation_function, m.n_layers, m.d_model, m.d_mlp,
                  m.n_layers * m.d_mlp AS neurons, m.d_vocab, m.n_ctx, b.run_id, m.source,
                  (SELECT string_agg(a.name, ', ' ORDER BY a.name) FROM model_aliases a WHERE a.model_id = m.id) AS aliases
           FROM public.members b JOIN public.models m ON m.id = b.model_id ORDER BY b.model""",
    )


def runs(connection: Connection) -> Rows:
    """One row per run, newest first; one that is a control says of which runs."""
    return ask(
        connection,
        """SELECT r.id AS run, r.status, r.phase, r.superseded, r.model_family,
                  (SELECT count(*) FROM run_models m WHERE m.run_id = r.id) AS models,
                  (SELECT string_agg(p.part, ', ' ORDER BY p.part) FROM run_parts p WHERE p.run_id = r.id) AS parts,
                  (SELECT string_agg(k.run_id::text, ', ' ORDER BY k.run_id) FROM run_controls k
                    WHERE k.control_run_id = r.id) AS control_of,
                  c.name AS corpus, c.n_tokens AS tokens, r.started_at, r.published_at, r.error
           FROM runs r LEFT JOIN corpora c ON c.id = r.corpus_id ORDER BY r.id DESC""",
    )


def run_details(connection: Connection, run: int) -> Values:
    """Everything recorded of one run."""
    check_run(connection, run, published=False)
    (row,) = ask(
        connection,
        """SELECT r.id AS run, r.*, c.name AS corpus, c.n_tokens AS tokens, c.n_kept AS kept_tokens, c.token_sha256,
                  (SELECT string_agg(COALESCE(n.model, o.name), ', ' ORDER BY m.ordinal) FROM run_models m
                     JOIN models o ON o.id = m.model_id LEFT JOIN history.model_names n ON n.model_id = o.id
                    WHERE m.run_id = r.id) AS models,
                  (SELECT string_agg(k.control_run_id::text, ', ' ORDER BY k.control_run_id) FROM run_controls k
                    WHERE k.run_id = r.id) AS controls,
                  (SELECT string_agg(k.run_id::text, ', ' ORDER BY k.run_id) FROM run_controls k
                    WHERE k.control_run_id = r.id) AS control_of,
                  (SELECT jsonb_object_agg(p.part, p.settings ORDER BY p.part) FROM run_parts p
                    WHERE p.run_id = r.id AND p.settings <> '{}') AS settings_of_parts,
                  (SELECT string_agg(u.said, '; ' ORDER BY u.model, u.said) FROM (
                      SELECT COALESCE(n.model, o.name) AS model,
                             COALESCE(n.model, o.name) || ' has no '
                             || string_agg(array_to_string(u.left_out, ', '), ', ' ORDER BY u.part, u.measure)
                             || ', because ' || u.reason AS said
                        FROM run_undefined u
                        JOIN models o ON o.id = u.model_id LEFT JOIN history.model_names n ON n.model_id = o.id
                       WHERE u.run_id = r.id GROUP BY 1, u.reason) u) AS undefined
           FROM runs r LEFT JOIN corpora c ON c.id = r.corpus_id WHERE r.id = :run""",
        {"run": run},
    ).records()
    details = {key: value for key, value in row.items() if key not in ("id", "corpus_id")}
    return details | as_read(row["settings"])
