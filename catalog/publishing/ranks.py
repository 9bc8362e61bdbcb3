"""Explanations by features of tokens, topics, syntax and subsets: parts of a run that fill one table."""

from sqlalchemy import Connection, text

from catalog import parts

ROUNDING = 1e-6
"""Scores this close are equal; they are good to 1e-5, and to much less on the same activations."""

# Five of each part are kept, so that the best five of all are among them. Scores of different parts are sums of different
# kinds: those that differ by rounding alone are a tie, which the current token wins, and of these the feature of the token.
_RANK = """
UPDATE explanations e SET rank = ranked.rank
  FROM (SELECT x.neuron_id, x.feature_id, x.shift,
               row_number() OVER (PARTITION BY x.neuron_id ORDER BY x.tie, x.shift, x.ordinal) AS rank
          FROM (SELECT s.*, count(*) FILTER (WHERE s.step > :rounding) OVER
                         (PARTITION BY s.neuron_id ORDER BY s.score DESC, s.shift, s.ordinal) AS tie
                  FROM (SELECT y.neuron_id, y.feature_id, y.shift, y.score, f.ordinal,
                               lag(y.score) OVER (PARTITION BY y.neuron_id
                                 ORDER BY y.score DESC, y.shift, f.ordinal) - y.score AS step
                          FROM (SELECT e.*, COALESCE(e.chosen_variance_reduction, e.variance_reduction) AS score
                                  FROM explanations e WHERE e.run_id = :run_id) y
                          JOIN features f ON f.id = y.feature_id) s) x) ranked
 WHERE e.run_id = :run_id AND (e.neuron_id, e.feature_id, e.shift) = (ranked.neuron_id, ranked.feature_id, ranked.shift)
   AND e.rank <> ranked.rank
   AND (SELECT count(*) FROM run_parts WHERE run_id = :run_id AND part = ANY(:parts)) > 1
"""


def rank_together(connection: Connection, run_id: int) -> None:
    """Rank a run's explanations over the features of all its parts, if it has several.

    Ranks up to 5 are exact; beyond, they count the rows that are kept.
    """
    values = {"run_id": run_id, "rounding": ROUNDING, "parts": list(parts.filling("explanations"))}
    connection.execute(text(_RANK), values)
