"""The part `positions`: how being active depends on the position in the row (VO 5, SPEC 12.8).

Positions that a residual stream holds reach every neuron a little, whatever it reads: so a label asks for more than the
neurons of the controls have, and for a pattern that is one.
"""

from sqlalchemy import ARRAY, REAL, Integer, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB

from catalog.parts.part import IS_CONTROL, Part, Rows, Section, View
from catalog.parts.rule import Evidence, Rule, Threshold, measured, threshold
from catalog.parts.view_text import LABEL, LABELS
from catalog.parts.words import percent, shown, with_error
from catalog.schema.base import check, column, error_of, number, of_neuron, table

POSITION_PATTERNS = ("oscillatory", "both_extremes", "one_extreme", "other")

position_statistics = table(
    "position_statistics",
    *of_neuron(),
    column("n_rows", Integer, "Rows of the corpus, each with one token per position."),
    number(
        "mutual_information",
        "Of being active and the position, without BOS, in nats (VO 5.1, SPEC 12.8); NULL below 1,000 rows.",
        check("mutual_information_range", "mutual_information BETWEEN 0 AND 0.6932"),
    ),
    number("mutual_information_bos", "The same with BOS's position; NULL where rows begin without BOS."),
    number("pos_std", "Standard deviation over positions of the mean post."),
    number("pos_std_mean", "Mean over positions of the standard deviation of post over rows."),
    column(
        "pattern",
        Text,
        "How the frequency depends on the position (VO 5.2, SPEC 12.9); NULL below 1,000 rows.",
        check("pattern_known", f"pattern IN {POSITION_PATTERNS}"),
        null=True,
    ),
    column("strength", Text, "strong or weak.", check("strength_known", "strength IN ('strong', 'weak')"), null=True),
    number("tolerance", "Distance from 0 and 1 within which a frequency is extreme; NULL for the pattern other."),
    column("alternations", SmallInteger, "Changes between runs of low and of high frequency.", null=True),
    number("coverage", "Share of positions in such runs.", check("coverage_range", "coverage BETWEEN 0 AND 1")),
    number("predictability", "1 - mean squared distance from the neighbours' mean / variance of the frequency."),
    column("runs", JSONB, "The runs: first position, last position, high or low."),
    column(
        "curve",
        ARRAY(REAL),
        "Frequency at each position, BOS first where rows have it; of neurons with at least 0.01 nats.",
        null=True,
    ),
    error_of("mutual_information"),
    error_of("mutual_information_bos"),
    comment="How being active depends on the position in the row.",
)

_LEAST = threshold("position", "min_mutual_information")
_MARGIN = threshold("position", "margin")

# A control is judged by itself, so that none of its neurons is labelled. Where there is none, greatest() leaves its NULL out.
_POSITION = f"""
WITH chance AS (
     SELECT max(c.mutual_information) AS largest FROM position_statistics c
      WHERE c.run_id IN (SELECT k.control_run_id FROM run_controls k WHERE k.run_id = :run_id)
         OR c.run_id = :run_id AND {IS_CONTROL})
SELECT p.neuron_id, p.pattern, p.mutual_information,
       jsonb_build_object('mutual_information', p.mutual_information, 'strength', p.strength,
                          'mutual_information_se', p.mutual_information_se,
                          'alternations', p.alternations, 'coverage', p.coverage, 'runs', p.runs, 'least', {_LEAST},
                          'largest_of_controls', chance.largest, 'margin', {_MARGIN},
                          'threshold', greatest({_LEAST}, {_MARGIN} * chance.largest))
  FROM position_statistics p CROSS JOIN chance
 WHERE p.run_id = :run_id AND p.mutual_information > greatest({_LEAST}, {_MARGIN} * chance.largest)
   AND p.pattern <> 'other' AND p.strength <> 'weak'"""


def _words(evidence: Evidence) -> str:
    largest = evidence.get("largest_of_controls")
    chance = "no control" if largest is None else f"{shown(largest)} at most in the control"
    runs = "; ".join(f"{state} {first}–{last}" for first, last, state in (evidence.get("runs") or [])[:6])
    information = with_error(evidence["mutual_information"], evidence.get("mutual_information_se"))
    return (
        f"{information} nats about the position, {chance}; {evidence['strength']}, "
        f"{shown(evidence['alternations'])} alternations, at an extreme on {percent(evidence['coverage'])} of the positions"
        f"{f': {runs}' if runs else ''}"
    )


VIEWS = (
    View(
        "position_neurons",
        "Neurons whose activity tells the position, by the rule position (VO 5.1).",
        f"""SELECT {LABEL}, p.mutual_information, p.mutual_information_se, p.pattern, p.strength,
       p.alternations, p.coverage, p.predictability, p.pos_std, p.pos_std_mean, p.runs, p.curve, p.n_rows, p.neuron_id
  {LABELS} = 'position'
  JOIN public.position_statistics p ON p.run_id = l.run_id AND p.neuron_id = l.neuron_id""",
        words={
            "runs": "Ranges of positions of extreme frequency: first position, last position, high or low.",
        },
    ),
    View(
        "position_teams",
        "Per layer: the positions at which at least one of its position neurons is active that oscillate strongly (VO Fig. 9).",
        """SELECT m.run_id, m.model, t.layer, t.neurons, t.covered, t.positions,
       t.covered::double precision / NULLIF(t.positions, 0) AS share
  FROM {members} m
 CROSS JOIN LATERAL (
       SELECT n.layer, count(DISTINCT n.id) AS neurons, count(DISTINCT place.position) AS covered,
              max(c.context_length - c.begins_with_bos::int) AS positions
         FROM public.neurons n
         JOIN public.labels l
           ON l.run_id = m.run_id AND l.neuron_id = n.id AND l.family = 'position' AND l.subtype = 'oscillatory'
         JOIN public.position_statistics p ON p.run_id = m.run_id AND p.neuron_id = n.id AND p.strength = 'strong'
         JOIN public.runs r ON r.id = m.run_id
         JOIN public.corpora c ON c.id = r.corpus_id
        CROSS JOIN LATERAL jsonb_array_elements(p.runs) AS run(ends)
         LEFT JOIN LATERAL generate_series((run.ends ->> 0)::int, (run.ends ->> 1)::int) AS place(position)
           ON run.ends ->> 2 = 'high'
        WHERE n.model_id = m.model_id
        GROUP BY n.layer ORDER BY n.layer) t""",
        words={
            "layer": "Transformer block, from 0.",
            "neurons": "Neurons of the layer that have the label position and oscillate strongly.",
            "covered": "Positions at which at least one of them is active more often than not: within a run that is high.",
            "positions": "Positions of a row without BOS.",
            "share": "covered / positions, 0 to 1.",
        },
    ),
)

PART = Part(
    name="positions",
    about="frequency by position in the row",
    reads="corpus",
    version=2,
    defined_by_bos="what the position tells with that of BOS",
    rows=(Rows(position_statistics, "neuron"),),
    views=VIEWS,
    rules=(
        Rule(
            "position",
            "Neurons whose activity tells the position in the row (UN Figs. 1c and 20, VO 5); the pattern says how.",
            _POSITION,
            _words,
            (
                Threshold(
                    "min_mutual_information",
                    0.05,
                    "Nats of mutual information with the position that more than suffice (VO 5.1).",
                ),
                # the largest values of five twins of a pocket model differ by a factor of 1.46
                Threshold(
                    "margin",
                    1.5,
                    "Times the largest mutual information of a neuron of the run's controls that more than suffice as well.",
                ),
            ),
            needs="EXISTS (SELECT 1 FROM position_statistics WHERE run_id = :run_id AND mutual_information IS NOT NULL)",
            lacking="its corpus has too few rows for a mutual information with the position",
            closest=measured(
                "public.position_statistics",
                "s.mutual_information, s.mutual_information_se, s.pattern, s.strength, s.n_rows",
                "s.mutual_information DESC",
            ),
            unless="no run has the 1,000 rows that it takes to tell (SPEC 12.8)",
            is_cause=True,
            of_activations=True,
        ),
    ),
    page=(
        Section(
            "position",
            "Activity by position",
            """
SELECT p.mutual_information, p.mutual_information_se, said.pattern, said.strength, said.alternations, said.coverage,
       said.predictability, said.runs, p.curve
  FROM position_statistics p
  LEFT JOIN LATERAL (SELECT p.pattern, p.strength, p.alternations, p.coverage, p.predictability, p.runs FROM labels l
                      WHERE l.run_id = p.run_id AND l.neuron_id = p.neuron_id AND l.family = 'position') said ON true
 WHERE p.run_id = :run AND p.neuron_id = :neuron""",
        ),
    ),
)
