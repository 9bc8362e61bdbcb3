"""Explanations by features of tokens and by features of syntax: two parts of a run that fill one table."""

from sqlalchemy import Connection, text

_SYNTAX = "feature_id IN (SELECT id FROM public.features WHERE starts_with(family, 'spacy_'))"
_ROWS_OF = {
    ("vocabulary", "explanations"): f"NOT {_SYNTAX}",
    ("syntax", "explanations"): _SYNTAX,
}

# Five of each part are kept, so that the best five of both are among them.
_RANK = """
UPDATE explanations e SET rank = ranked.rank
  FROM (SELECT x.neuron_id, x.feature_id, x.shift,
               row_number() OVER (PARTITION BY x.neuron_id ORDER BY x.variance_reduction DESC, x.shift, f.ordinal) AS rank
          FROM explanations x JOIN features f ON f.id = x.feature_id
         WHERE x.run_id = :run_id) ranked
 WHERE e.run_id = :run_id AND (e.neuron_id, e.feature_id, e.shift) = (ranked.neuron_id, ranked.feature_id, ranked.shift)
   AND e.rank <> ranked.rank
   AND (SELECT count(*) FROM run_parts WHERE run_id = :run_id AND part IN ('vocabulary', 'syntax')) = 2
"""


def rows_of(part: str, table: str) -> str:
    """SQL that says which rows of a table are a part's: all but where several parts fill it."""
    return _ROWS_OF.get((part, table), "true")


def rank_together(connection: Connection, run_id: int) -> None:
    """Rank a run's explanations over the features of both parts, if the run has both.

    Ranks up to 5 are exact; beyond, they count the rows that are kept.
    """
    connection.execute(text(_RANK), {"run_id": run_id})
