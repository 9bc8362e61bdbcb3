"""Why a neuron has no label: its best explanation, and the rule that it does not pass."""

from typing import Any

from sqlalchemy import Connection, Row, text

from catalog.answers import Values
from catalog.labels.thresholds import in_force, newest_version
from catalog.parts.explained import FAMILY_OF_FEATURE, MORE_ACTIVE

_BEST = f"""SELECT f.name, {FAMILY_OF_FEATURE} AS family, e.shift, e.held_out_variance_reduction AS score,
                   COALESCE({MORE_ACTIVE.format(e="e")}, true) AS more_active, e.partial_effect IS NOT NULL AS partial
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
    least = in_force(connection, best.family, "min_variance_reduction")
    shifted = " of the token before" if best.shift == "previous" else ""
    if best.score is None:
        return f"best explanation {best.name}{shifted}, for which the documents held out have too few tokens"
    best_feature = f"best explanation {best.name}{shifted} at {_shown(best.score, least)}"
    if best.score >= least:
        return f"{best_feature}, but {_beyond_the_score(best)}"
    version = newest_version(connection, drafts=False)
    said = f"{best_feature}, below its threshold {least:g} ({best.family}.min_variance_reduction of rules {version})"
    most = in_force(connection, "unexplained", "max_variance_reduction")
    if universal and best.score >= most:
        said += f"; universal, but not unexplained, which takes less than {most:g}"
    return said


def _beyond_the_score(best: Row[Any]) -> str:
    if best.family == "context":
        given = "its tokens explain that, by the rules of context" if best.partial else "its tokens are all its own"
        return f"{given}; or the neuron is not more active there in frequency and mean alike, nor less"
    if not best.more_active:
        return "the neuron is not more active there"
    return f"the family {best.family} was not looked for"


def _shown(value: float, least: float) -> str:
    """Three digits, or as many as keep it on its side of the threshold."""
    return next(said for digits in range(3, 18) if ((float(said := f"{value:.{digits}g}")) >= least) == (value >= least))
