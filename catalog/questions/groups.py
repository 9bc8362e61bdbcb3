"""Groups: neurons of different models that are all best matches of each other."""

from sqlalchemy import Connection, text

from catalog.answers import Rows, Values, ask
from catalog.errors import InputError
from catalog.questions.known import check_model_if_any, check_run
from catalog.questions.statements import members_asked, pages

_SHOWN = """public.group_members gm JOIN public.neurons n ON n.id = gm.neuron_id
                           JOIN m ON m.run_id = gm.run_id AND m.model_id = n.model_id"""
_ORDER = "g.size DESC, g.lowest_corr DESC, g.id"


def groups(
    connection: Connection, min_size: int = 2, model: str | None = None, run: int | None = None, limit: int = 50
) -> Rows:
    """One row per group and member: largest groups first, then the highest lowest correlation, then id and model.

    `limit` counts groups; 0 is all of them.

    Raises:
        NotFoundError: no such model or run.
        InputError: a group has two members at least, and a limit is not negative.
    """
    members, chosen, values = _wanted(connection, min_size, model, run)
    limited, _ = pages(limit, 0, values)
    return ask(
        connection,
        f"""WITH m AS MATERIALIZED ({members}),
                 chosen AS MATERIALIZED (
                    SELECT g.* FROM (SELECT DISTINCT run_id FROM m) r CROSS JOIN LATERAL (
                        SELECT g.id, g.size, g.lowest_corr {chosen} ORDER BY {_ORDER} {limited}) g
                    ORDER BY {_ORDER} {limited})
            SELECT g.id AS group_id, g.size, g.lowest_corr, m.model, n.layer, n."index" AS neuron
            FROM chosen g JOIN {_SHOWN} ON gm.group_id = g.id
            ORDER BY {_ORDER}, m.model, n.layer, n."index"
            """,
        values,
    )


def count_groups(connection: Connection, min_size: int = 2, model: str | None = None, run: int | None = None) -> int:
    """How many groups `groups` has without a limit."""
    members, chosen, values = _wanted(connection, min_size, model, run)
    statement = f"""WITH m AS MATERIALIZED ({members})
        SELECT COALESCE(sum(g.n), 0) FROM (SELECT DISTINCT run_id FROM m) r CROSS JOIN LATERAL (
            SELECT count(*) AS n {chosen}) g"""
    return int(connection.execute(text(statement), values).scalar_one())


def _wanted(connection: Connection, min_size: int, model: str | None, run: int | None) -> tuple[str, str, Values]:
    """The members, and the groups `g` of the run `r` that are asked for, once all that is named is known."""
    if min_size < 2:
        raise InputError(f"--min-size {min_size} cannot act, since a group has two members at least; give 2 or more.")
    check_run(connection, run)
    model = check_model_if_any(connection, model, run)
    members, values = members_asked(None, run)
    values["min_size"] = min_size
    has_model = ""
    if model is not None:
        has_model, values["model"] = "AND m.model = :model", model
    chosen = f"""FROM public.neuron_groups g
                        WHERE g.run_id = r.run_id AND g.size >= :min_size
                          AND EXISTS (SELECT FROM {_SHOWN} WHERE gm.group_id = g.id {has_model})"""
    return members, chosen, values
