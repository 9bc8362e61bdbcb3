"""What is not defined for models, where an answer has no rows for that reason (`run_undefined`)."""

import re

from sqlalchemy import Connection

from catalog.answers import Values, ask


def reasons(connection: Connection, select: str, members: str, values: Values) -> dict[str, str]:
    """Why a statement can find nothing of some models: what it reads was left out of them.

    Args:
        select: of a rule, or of a section of a neuron's page.
        members: SQL of the models that are asked about, each with its run.
    """
    known = ask(
        connection,
        f"""WITH m AS MATERIALIZED ({members})
            SELECT m.model, u.left_out, u.reason FROM m JOIN public.run_undefined u USING (run_id, model_id)
            ORDER BY m.model, u.part, u.measure""",
        values,
    ).records()
    return {row["model"]: row["reason"] for row in known if any(_stands_on(select, what) for what in row["left_out"])}


def _stands_on(select: str, left_out: str) -> bool:
    """Whether there are no rows without a table, or column; other tables that are joined may be empty."""
    table, _, column = left_out.partition(".")
    reads = re.search(rf"FROM (public\.)?{re.escape(table)}\b", select) is not None
    return reads and (not column or re.search(rf"\b{column}\b", _condition(select)) is not None)


def _condition(select: str) -> str:
    """The outermost one, without the thresholds in it."""
    return re.sub(r"\(SELECT value FROM rules [^)]*\)", "", select).rpartition("WHERE")[2]


def said(found: dict[str, str]) -> list[str]:
    """In words: one for each reason, with its models."""
    models: dict[str, list[str]] = {}
    for model, reason in found.items():
        models.setdefault(reason, []).append(model)
    return [f"not defined for {', '.join(names)}, because {reason}" for reason, names in models.items()]
