"""Tables to which rows are added after their run is published: what somebody asks for, which is no part of the run."""

from psycopg import sql

_PAIR = ("run_id", "neuron_id", "head_layer", "head", "n_rows")
KEYS = {
    "interventions": ("run_id", "neuron_id", "together", "kind", "value", "n_rows"),
    "path_ablations": _PAIR,
    "ablation_relations": (*_PAIR, "x", "y"),
}
"""The tables and their keys."""


def rows_of_run(table: str, alias: str) -> str:
    """SQL that says which rows of one of the tables the run itself has written."""
    if table != "ablation_relations":
        return f"{alias}.purpose <> 'asked'"
    own = ", ".join(f"{alias}.{name}" for name in _PAIR)
    return f"({own}) IN (SELECT {', '.join(_PAIR)} FROM public.path_ablations WHERE purpose <> 'asked')"


def make_room(table: str, staged: sql.Composable) -> sql.Composed:
    """A statement that removes what was asked for before and the run is about to write itself."""
    keys = {alias: sql.SQL(", ").join(sql.Identifier(alias, name) for name in KEYS[table]) for alias in ("t", "s")}
    return sql.SQL("DELETE FROM public.{} t USING {} s WHERE ({}) = ({})").format(
        sql.Identifier(table), staged, keys["t"], keys["s"]
    )
