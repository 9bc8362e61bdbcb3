"""Families whose rule had nothing to decide about: it tests few neurons, which are chosen before, and none was."""

from collections.abc import Sequence

from sqlalchemy import Connection

from catalog import parts
from catalog.answers import Values, ask
from catalog.parts.rule import Rule
from catalog.questions import not_defined
from catalog.questions.known import check_model_if_any
from catalog.questions.statements import members_asked


def without_candidates(connection: Connection, model: str | None = None, run: int | None = None) -> list[str]:
    """One sentence for each kind of candidates that models which were looked at lack: of which families, and why."""
    members, values = members_asked(check_model_if_any(connection, model, run), run)
    families: dict[str, list[str]] = {}
    for rule in parts.rules():
        if said := no_candidates(connection, rule, members, values):
            families.setdefault(said, []).append(rule.family)
    return [f"{', '.join(names)}: {said}" for said, names in families.items()]


def no_candidates(connection: Connection, rule: Rule, members: str, values: Values, anywhere: bool = False) -> str:
    """Which of the members have no candidate of a rule, or nothing that it reads, and why; empty where all have, or none was
    looked at.

    Args:
        anywhere: only if none of them has.
    """
    lacking = not_defined.reasons(connection, rule.select, members, values)
    # without a condition on candidates all others have some
    candidates = rule.candidates or "SELECT m.model, 1 AS candidates FROM m"
    counted = ask(connection, f"WITH m AS MATERIALIZED ({members}) {candidates}", values).records()
    judged = [row for row in counted if row["model"] not in lacking]
    none = sorted(row["model"] for row in judged if not row["candidates"])
    if anywhere and len(none) < len(judged):
        return ""
    said = not_defined.said(lacking)
    return "; ".join([*said, *([f"0 candidates in {_listed(none)}: {rule.unless}"] if none else [])])


def _listed(models: Sequence[str], most: int = 12) -> str:
    more = f" and {len(models) - most:,} more" if len(models) > most else ""
    return f"{', '.join(models[:most])}{more}"
