"""Whether what a question names is in the catalog: runs, models, families; if not, one sentence lists what is."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from catalog.aliases import resolve
from catalog.errors import NotFoundError, did_you_mean
from catalog.words import NO_FAMILIES

NOTHING = "the catalog has no published run yet"


def schema_of(run: int | None) -> str:
    """The schema whose views answer."""
    return "public" if run is None else "history"


def check_run(connection: Connection, run: int | None, published: bool = True) -> None:
    """Raises:
    NotFoundError: there is no such run, or readers cannot see it yet.
    """
    if run is None:
        return
    condition = "AND published_at IS NOT NULL" if published else ""
    if connection.execute(text(f"SELECT 1 FROM runs WHERE id = :run {condition}"), {"run": run}).first() is None:
        known = connection.execute(text("SELECT id FROM runs WHERE published_at IS NOT NULL ORDER BY id")).scalars().all()
        listed = ", ".join(map(str, known)) or "none"
        raise NotFoundError(f"there is no published run {run}, the published ones are: {listed}; see `catalog runs list`.")


def check_model(connection: Connection, model: str, run: int | None = None) -> str:
    """The model's name as readers know it, which may have been asked for by another of its names.

    Raises:
        NotFoundError: no such model; the sentence lists those that exist.
    """
    known = model_names(connection, run)
    if model not in known:
        meant = resolve(connection, model)
        if meant is not None and meant in known:
            return meant
        require_models(known)
        raise NotFoundError(f"there is no model {model!r}{did_you_mean(model, known)}; the catalog has {', '.join(known)}.")
    return model


def check_model_if_any(connection: Connection, model: str | None, run: int | None = None) -> str | None:
    """`check_model` of a question that need not name one."""
    return None if model is None else check_model(connection, model, run)


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
        raise NotFoundError(f"{NOTHING}; `catalog ingest` or `make demo` makes one.")


def check_family(connection: Connection, family: str, run: int | None = None) -> None:
    """Raises:
    NotFoundError: no rule makes such labels and none exist; the sentence lists the families with their counts.
    """
    families = f"(SELECT family FROM rules WHERE family NOT IN {NO_FAMILIES} UNION SELECT family FROM label_totals)"
    # few rules answer for nearly all; the index of the many totals begins with run and model
    of_rules = "SELECT 1 FROM rules WHERE family = :family LIMIT 1"
    of_labels = """SELECT 1 FROM run_models rm CROSS JOIN LATERAL (
                          SELECT 1 FROM label_totals t
                           WHERE t.run_id = rm.run_id AND t.model_id = rm.model_id AND t.family = :family LIMIT 1) f LIMIT 1"""
    for statement in (of_rules, of_labels):
        if family not in NO_FAMILIES and connection.execute(text(statement), {"family": family}).first():
            return
    known = connection.execute(
        text(
            f"""SELECT f.family, COALESCE(sum(c.neurons), 0)::bigint
                FROM {families} f
                LEFT JOIN {schema_of(run)}.family_counts c
                       ON c.family = f.family {"AND c.run_id = :run" if run is not None else ""}
                GROUP BY f.family ORDER BY f.family"""
        ),
        {} if run is None else {"run": run},
    )
    counts = {name: count for name, count in known}
    listed = ", ".join(f"{name} ({count} neurons)" for name, count in counts.items())
    raise NotFoundError(f"there is no family {family!r}{did_you_mean(family, counts)}; the catalog has {listed}.")
