"""Why a neuron has no label: its best explanation, and the rule that it does not pass."""

from sqlalchemy import Connection, text

from catalog.answers import Values
from catalog.labels.thresholds import in_force, newest_version
from catalog.parts.explained import FAMILY_OF_FEATURE

_BEST = f"""SELECT f.name, {FAMILY_OF_FEATURE} AS family, e.shift, e.variance_reduction
             FROM explanations e JOIN features f ON f.id = e.feature_id
            WHERE e.run_id = :run AND e.neuron_id = :neuron AND e.rank = 1 ORDER BY e.shift, f.name LIMIT 1"""


def reason(connection: Connection, key: Values, universal: bool) -> str:
    """Why the neuron of `key` (run, neuron), which has no label, has none.

    Args:
        universal: whether it is universal, so that the family unexplained could be asked.
    """
    best = connection.execute(text(_BEST), key).one_or_none()
    if best is None:
        explained = "SELECT 1 FROM explanations WHERE run_id = :run LIMIT 1"
        if connection.execute(text(explained), {"run": key["run"]}).first() is None:
            return f"never measured: run {key['run']} has no explanations; repeat its `catalog ingest` with --only vocabulary"
        return "no feature explains it at all"
    version = newest_version(connection, drafts=False)
    least = in_force(connection, best.family, "min_variance_reduction")
    shifted = " of the token before" if best.shift == "previous" else ""
    best_feature = f"best explanation {best.name}{shifted} at {_shown(best.variance_reduction, least)}"
    if best.variance_reduction >= least:
        return f"{best_feature}, but the family {best.family} was not looked for"
    said = f"{best_feature}, below its threshold {least:g} ({best.family}.min_variance_reduction of rules {version})"
    most = in_force(connection, "unexplained", "max_variance_reduction")
    if universal and best.variance_reduction >= most:
        said += f"; universal, but not unexplained, which takes less than {most:g}"
    return said


def _shown(value: float, least: float) -> str:
    """Three digits, or as many as keep it on its side of the threshold."""
    return next(said for digits in range(3, 18) if ((float(said := f"{value:.{digits}g}")) >= least) == (value >= least))
