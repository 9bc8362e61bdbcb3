"""Explanations by features of tokens, topics, syntax and subsets: parts of a run that fill one table."""

from sqlalchemy import Connection, text

from catalog import later

_FAMILIES_OF = {
    "syntax": "starts_with(family, 'spacy_')",
    "topics": "family IN ('topic', 'machine_topic')",
    "distributions": "family = 'subset'",
}
_FAMILIES_OF["vocabulary"] = " AND ".join(f"NOT ({condition})" for condition in _FAMILIES_OF.values())
"""Which features a part's explanations point to."""
PARTS = tuple(_FAMILIES_OF)
ROUNDING = 1e-6
"""Scores this close are equal; they are good to 1e-5, and to much less on the same activations."""

# Five of each part are kept, so that the best five of all are among them. Scores of different parts are sums of different
# kinds: those that differ by rounding alone are a tie, which the current token wins, and of these the feature of the token.
_RANK = """
UPDATE explanations e SET rank = ranked.rank
  FROM (SELECT x.neuron_id, x.feature_id, x.shift,
               row_number() OVER (PARTITION BY x.neuron_id ORDER BY x.tie, x.shift, x.ordinal) AS rank
          FROM (SELECT s.*, count(*) FILTER (WHERE s.step > :rounding) OVER
                         (PARTITION BY s.neuron_id ORDER BY s.variance_reduction DESC, s.shift, s.ordinal) AS tie
                  FROM (SELECT y.neuron_id, y.feature_id, y.shift, y.variance_reduction, f.ordinal,
                               lag(y.variance_reduction) OVER (PARTITION BY y.neuron_id
                                 ORDER BY y.variance_reduction DESC, y.shift, f.ordinal) - y.variance_reduction AS step
                          FROM explanations y JOIN features f ON f.id = y.feature_id
                         WHERE y.run_id = :run_id) s) x) ranked
 WHERE e.run_id = :run_id AND (e.neuron_id, e.feature_id, e.shift) = (ranked.neuron_id, ranked.feature_id, ranked.shift)
   AND e.rank <> ranked.rank
   AND (SELECT count(*) FROM run_parts WHERE run_id = :run_id AND part = ANY(:parts)) > 1
"""


def rows_of(part: str, table: str) -> str:
    """SQL that says which rows of a table are a part's: all but where several parts, or people, fill it."""
    if table in later.TABLES:
        return later.rows_of_run(table, table)
    if table != "explanations" or not part:
        return "true"
    return f"feature_id IN (SELECT id FROM public.features WHERE {_FAMILIES_OF[part]})"


def rank_together(connection: Connection, run_id: int) -> None:
    """Rank a run's explanations over the features of all its parts, if it has several.

    Ranks up to 5 are exact; beyond, they count the rows that are kept.
    """
    connection.execute(text(_RANK), {"run_id": run_id, "rounding": ROUNDING, "parts": list(PARTS)})
