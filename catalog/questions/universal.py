"""Universal neurons: those whose excess correlation is surely above that of the rules, or of at least another size."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from catalog.answers import Rows, Values, ask
from catalog.errors import InputError
from catalog.questions.known import check_model_if_any, check_run
from catalog.questions.statements import check_finite, check_state, joined, members_asked, of_layers, order_of, pages, where


@dataclass(frozen=True)
class UniversalFilter:
    """Which universal neurons, or undecided ones, or neurons above another threshold."""

    model: str | None = None
    layers: tuple[int, int] | None = None
    min_excess: float | None = None
    """Neurons of at least this excess correlation, universal or not."""
    state: str | None = None
    """yes, no or undecided; None: yes, unless a least excess is asked for."""
    run: int | None = None
    sort: str = "excess"
    limit: int = 50
    offset: int = 0


UNIVERSAL_ORDERS = {"excess": ("u.excess_corr DESC NULLS LAST", 'u.layer, u."index"'), "neuron": ("", 'u.layer, u."index"')}


def universal_neurons(connection: Connection, wanted: UniversalFilter) -> Rows:
    """Universal neurons, or those of another least excess, with their correlations: largest excess first, then model, layer,
    neuron.

    Raises:
        NotFoundError: no such model or run; the sentence lists those that exist.
        InputError: no such order or state, a range of layers that is none, a least excess that is not finite, or one beside
            a state.
    """
    order = order_of(wanted.sort, UNIVERSAL_ORDERS)
    members, conditions, values = _universal_wanted(connection, wanted)
    first, page = pages(wanted.limit, wanted.offset, values)
    return ask(
        connection,
        f"""WITH m AS MATERIALIZED ({members}),
            chosen AS MATERIALIZED (
                SELECT m.model, u.* FROM m CROSS JOIN LATERAL (
                    SELECT u.* FROM public.universality u
                    {where(["u.run_id = m.run_id", "u.model_id = m.model_id", *conditions])}
                    ORDER BY {joined(order[0], order[1])} {first}) u
                ORDER BY {joined(order[0], "m.model", order[1])} {page})
            SELECT u.model, u.layer, u."index" AS neuron, u.excess_corr, u.excess_se, u.universal, u.mean_corr,
                   u.mean_corr_se, u.max_corr, u.min_corr, u.mean_baseline, u.n_models, a.sparsity, a.sparsity_se,
                   a.skew, a.skew_se, a.kurt, a.kurt_se,
                   (SELECT string_agg(l.family || ':' || l.subtype, ', ' ORDER BY l.family, l.subtype)
                      FROM public.labels l WHERE l.run_id = u.run_id AND l.neuron_id = u.neuron_id) AS labels
            FROM chosen u
            LEFT JOIN public.activation_statistics a ON a.run_id = u.run_id AND a.neuron_id = u.neuron_id
            ORDER BY {joined(order[0], "u.model", order[1])}""",
        values,
    )


def count_universal(connection: Connection, wanted: UniversalFilter) -> int:
    """How many rows `universal_neurons` has without limit and offset."""
    members, conditions, values = _universal_wanted(connection, wanted)
    statement = f"""WITH m AS MATERIALIZED ({members})
        SELECT COALESCE(sum(u.n), 0) FROM m CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM public.universality u
            {where(["u.run_id = m.run_id", "u.model_id = m.model_id", *conditions])}) u"""
    return int(connection.execute(text(statement), values).scalar_one())


def _universal_wanted(connection: Connection, wanted: UniversalFilter) -> tuple[str, list[str], Values]:
    """The members and the conditions on `u` of universality that a filter asks for, once all that it names is known."""
    check_run(connection, wanted.run)
    model = check_model_if_any(connection, wanted.model, wanted.run)
    check_finite("--min-excess", wanted.min_excess)
    members, values = members_asked(model, wanted.run)
    conditions = of_layers("u", wanted.layers, values)
    check_state("--state", wanted.state)
    if wanted.state is not None and wanted.min_excess is not None:
        raise InputError(
            f"--state {wanted.state} asks for an excess correlation by the rules, and --min-excess {wanted.min_excess:g} for "
            "another; leave one of them out."
        )
    if wanted.min_excess is None:
        return members, ["u.universal = :state", *conditions], {**values, "state": wanted.state or "yes"}
    return members, ["u.excess_corr >= :min_excess", *conditions], {**values, "min_excess": wanted.min_excess}
