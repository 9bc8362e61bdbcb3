"""The part `gates`: what gated neurons do in the four quadrants of what their gate reads and what it multiplies (DECISIONS).

A gated neuron has post = act(g)·u. It writes along its output weights or against them, with its gate open or all but shut;
which of the four it mostly does is what its frequency, the fraction of tokens with g > 0, leaves open.
"""

from collections.abc import Iterator

from sqlalchemy import BigInteger, Column, Double

from catalog.parts.part import OWN_NEURONS, Check, Part, Rows, Section, View
from catalog.parts.view_text import NEURON
from catalog.schema.base import check, column, error_of, number, of_neuron, table

QUADRANTS = {
    "open_positive": "g > 0 and u > 0",
    "open_negative": "g > 0 and u <= 0",
    "shut_positive": "g <= 0 and u > 0",
    "shut_negative": "g <= 0 and u <= 0",
}
"""The quadrants of (g, u), in order: g is pre, what the gate reads, u what its activation is multiplied by, signs chosen."""
NAMES = ("frequency", "post_mean", "share")


def _numbers() -> Iterator[Column[Double]]:
    for quadrant, where in QUADRANTS.items():
        name = f"frequency_{quadrant}"
        yield number(name, f"Fraction of tokens with {where}.", check(f"{name}_range", f"{name} BETWEEN 0 AND 1"))
    for quadrant, where in QUADRANTS.items():
        yield number(f"post_mean_{quadrant}", f"Mean of post over the tokens with {where}; NULL where there are none.")
    for quadrant, where in QUADRANTS.items():
        name = f"share_{quadrant}"
        yield number(
            name,
            f"Share of the tokens with {where} in the sum of |post| over all; NULL where post is always 0.",
            check(f"{name}_range", f"{name} BETWEEN 0 AND 1"),
        )


def _errors() -> Iterator[Column[Double]]:
    for name in NAMES:
        more = "NULL also of a neuron that is there never or always." if name == "frequency" else ""
        yield from (error_of(f"{name}_{quadrant}", more) for quadrant in QUADRANTS)


gate_statistics = table(
    "gate_statistics",
    *of_neuron(),
    column("n_tokens", BigInteger, "Kept tokens (SPEC 0.3, M_corr)."),
    *_numbers(),
    *_errors(),
    comment="What gated neurons do in the quadrants of (g, u): g is pre, what the gate reads, u what its activation is "
    "multiplied by to give post, after the sign rule. Neurons without gates have no rows.",
)

_COLUMNS = ", ".join(f"s.{item.name}" for item in gate_statistics.columns if item.name not in ("run_id", "neuron_id"))


def _sum(names: Iterator[str]) -> str:
    return " + ".join(f"COALESCE({name}, 0)" for name in names)


_WHOLE = f"""
SELECT 'neuron ' || g.neuron_id AS what
  FROM gate_statistics g LEFT JOIN activation_statistics a ON a.run_id = g.run_id AND a.neuron_id = g.neuron_id
 WHERE g.run_id = :run_id AND g.n_tokens > 0
   AND (abs({_sum(f"g.frequency_{quadrant}" for quadrant in QUADRANTS)} - 1) > 1e-9
        OR abs({_sum(f"g.share_{quadrant}" for quadrant in QUADRANTS)} - 1) > 1e-9 AND g.share_open_positive IS NOT NULL
        OR a.n_tokens <> g.n_tokens OR abs(g.frequency_open_positive + g.frequency_open_negative - a.sparsity) > 1e-9
        OR abs({_sum(f"g.frequency_{quadrant} * g.post_mean_{quadrant}" for quadrant in QUADRANTS)} - a.post_mean)
           > 1e-3 * sqrt(a.post_var) + 1e-6 * abs(a.post_mean) + 1e-6)"""

_ALL_OR_NONE = f"""
SELECT m.name || ' with rows of ' || count(g.neuron_id) || ' of its ' || count(*) || ' neurons' AS what
  FROM {OWN_NEURONS} n JOIN models m ON m.id = n.model_id
  LEFT JOIN gate_statistics g ON g.run_id = :run_id AND g.neuron_id = n.id
 GROUP BY m.id
HAVING count(g.neuron_id) <> CASE WHEN m.gated THEN count(*) ELSE 0 END"""

_OF_QUADRANTS = ",\n            ".join(
    f"({place}, '{'open' if quadrant.startswith('open') else 'shut'}', '{'> 0' if quadrant.endswith('positive') else '<= 0'}', "
    + ", ".join(f"g.{name}_{quadrant}, g.{name}_{quadrant}_se" for name in NAMES)
    + ")"
    for place, quadrant in enumerate(QUADRANTS)
)

PART = Part(
    name="gates",
    about="what gated neurons do with their gate open or shut, and their input of either sign",
    reads="corpus",
    rows=(Rows(gate_statistics, "some"),),
    views=(
        View(
            "neuron_gates",
            "What each gated neuron does with its gate open or shut (g > 0 or not) and its input u of either sign.",
            f"""SELECT {NEURON}, {_COLUMNS}, s.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.gate_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id""",
        ),
    ),
    checks=(
        Check("quadrants of gated neurons sum up to the whole", _WHOLE),
        Check("all neurons of a model with gates have quadrants, and no others", _ALL_OR_NONE),
    ),
    page=(
        Section(
            "gates",
            "Gate and input: where it is active, and where its output comes from",
            f"""
SELECT v.gate, v.input, v.frequency, v.frequency_se, v.post_mean, v.post_mean_se, v.share, v.share_se
  FROM gate_statistics g
 CROSS JOIN LATERAL (VALUES
            {_OF_QUADRANTS}) AS v(place, gate, input, frequency, frequency_se, post_mean, post_mean_se, share, share_se)
 WHERE g.run_id = :run AND g.neuron_id = :neuron ORDER BY v.place""",
        ),
    ),
)
