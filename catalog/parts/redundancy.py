"""The part `redundancy`: which neurons of a model repeat or undo one another, and vectors to search by (UN App. C, SPEC 10)."""

from sqlalchemy import REAL, Boolean, Integer, SmallInteger, Text

from catalog.parts.part import Check, Part, Rows, Section, View
from catalog.parts.rule import PARTNER, Evidence, Rule, Threshold, threshold
from catalog.parts.view_text import LABEL, LABELS, NEURON
from catalog.parts.words import shown
from catalog.schema.base import Halfvec, check, column, index, of_neuron, refers, table
from catalog.words import VECTOR_KINDS

COSINE = "BETWEEN -1.00001 AND 1.00001"

similar_neurons = table(
    "similar_neurons",
    *of_neuron(),
    column("kind", Text, "The weights compared.", check("kind_known", "kind IN ('w_in', 'w_out')"), key=True),
    column("opposite", Boolean, "Whether the row is of the most opposite neurons, not the nearest.", key=True),
    column("rank", SmallInteger, "1 is the nearest, or the most opposite.", key=True),
    column("other_neuron_id", Integer, "A neuron of the same model.", refers("neurons.id", cascade=True)),
    column("cosine", REAL, "Cosine of the processed weights.", check("cosine_range", f"cosine {COSINE}")),
    column("mutual", Boolean, "Each is the other's rank 1."),
    comment="The neurons of the same model whose weights are nearest and most opposite to each neuron's (UN App. C, SPEC 10). "
    "By run.",
    serves="show and neuron_similarities: a neuron's nearest and most opposite in order",
    by_run=True,
)

# a vector stays in its row where both fit a page (of up to 4,000 dimensions): a question reads all of them, and to fetch each
# from the table of long values takes five times as long
neuron_vectors = table(
    "neuron_vectors",
    *of_neuron(),
    column("kind", Text, "What it is.", check("kind_known", f"kind IN {VECTOR_KINDS}"), key=True),
    column("model_id", Integer, "The neuron's model.", refers("models.id", cascade=True)),
    column(
        "vector",
        Halfvec(),
        "Of norm 1: processed weights, or the effect on the logits in a basis that the run's models share.",
    ),
    comment="Weight vectors for the search by similarity; effects may be compared between the models of a run. By run.",
    serves="similar: the vector of a neuron",
    by_run=True,
    stored="toast_tuple_target = 8160",
)
index(
    "ix_neuron_vectors_by_kind",
    "similar: the vectors of one kind, of a model or of all in a run",
    neuron_vectors.c.run_id,
    neuron_vectors.c.kind,
    neuron_vectors.c.model_id,
)

_LEAST_IN, _LEAST_OUT = threshold("duplicate", "min_in_cosine"), threshold("duplicate", "min_out_cosine")

_DUPLICATE = f"""
SELECT i.neuron_id, {PARTNER}, i.cosine,
       jsonb_build_object('other_layer', o.layer, 'other_neuron', o."index", 'in_cosine', i.cosine, 'out_cosine', w.cosine,
                          'same_partner', i.other_neuron_id = w.other_neuron_id, 'mutual', i.mutual,
                          'threshold', {_LEAST_IN})
  FROM similar_neurons i
  JOIN neurons o ON o.id = i.other_neuron_id
  JOIN similar_neurons w ON w.run_id = i.run_id AND w.neuron_id = i.neuron_id AND w.kind = 'w_out' AND NOT w.opposite
   AND w.rank = 1
 WHERE i.run_id = :run_id AND i.kind = 'w_in' AND NOT i.opposite AND i.rank = 1
   AND i.cosine >= {_LEAST_IN} AND w.cosine >= {_LEAST_OUT}"""

_MOST_COSINE = threshold("antipodal", "max_cosine")

_ANTIPODAL = f"""
SELECT s.neuron_id, {PARTNER}, abs(s.cosine),
       jsonb_build_object('other_layer', o.layer, 'other_neuron', o."index", 'cosine', s.cosine, 'mutual', s.mutual,
                          'threshold', {_MOST_COSINE})
  FROM similar_neurons s
  JOIN neurons o ON o.id = s.other_neuron_id
 WHERE s.run_id = :run_id AND s.kind = 'w_out' AND s.opposite AND s.rank = 1 AND s.cosine <= {_MOST_COSINE}"""


_CLOSEST = """SELECT s.model, s.layer, s.neuron, s.other_layer, s.other_neuron, s.cosine, s.mutual
               FROM m JOIN history.neuron_similarities s USING (run_id, model)
               WHERE s.kind = '{kind}' AND s.opposite = {opposite} AND s.rank = 1
               ORDER BY s.cosine {order}, 1, 2, 3 LIMIT :shown"""


def _duplicate_words(evidence: Evidence) -> str:
    out = "" if evidence["same_partner"] else ", which is another neuron's"
    return (
        "input weights like those of "
        f"{evidence['other_layer']}.{evidence['other_neuron']}, cosine {shown(evidence['in_cosine'])}"
        f"; nearest output weights at {shown(evidence['out_cosine'])}{out}"
    )


def _antipodal_words(evidence: Evidence) -> str:
    mutual = ", each the other's most opposite" if evidence["mutual"] else ""
    other = f"{evidence['other_layer']}.{evidence['other_neuron']}"
    return f"writes the opposite of {other}, cosine {shown(evidence['cosine'])}{mutual}"


# A partner is the neuron of rank 1; `{{opposite}}` says at which end.
_PARTNER = """JOIN public.similar_neurons s
    ON s.run_id = l.run_id AND s.neuron_id = l.neuron_id AND s.kind = '{kind}' AND s.opposite = {opposite} AND s.rank = 1
  JOIN public.neurons o ON o.id = s.other_neuron_id"""

VIEWS = (
    View(
        "neuron_similarities",
        "The neurons of the same model whose weights are nearest and most opposite to each neuron's, exactly (UN App. C).",
        f"""SELECT {NEURON}, s.kind, s.opposite, s.rank, o.layer AS other_layer, o."index" AS other_neuron,
       s.cosine, s.mutual, s.neuron_id, s.other_neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.similar_neurons s ON s.run_id = m.run_id AND s.neuron_id = n.id
  JOIN public.neurons o ON o.id = s.other_neuron_id""",
        words={"rank": "1 is the nearest, or the most opposite.", "kind": "The weights compared: w_in or w_out."},
    ),
    View(
        "antipodal_pairs",
        "Neurons that write the opposite of another one of their model; mutual where each is the other's most opposite.",
        f"""SELECT {LABEL}, o.layer AS other_layer, o."index" AS other_neuron, s.cosine, s.mutual,
       l.excess_corr, l.neuron_id, s.other_neuron_id
  {LABELS} = 'antipodal'
  {_PARTNER.format(kind="w_out", opposite="true")}""",
        words={
            "cosine": "Cosine of the two neurons' processed output weights.",
            "mutual": "Each is the other's most opposite neuron.",
        },
    ),
    View(
        "duplicate_neurons",
        "Neurons that read what another one of their model reads, and write alike; cosine is of the input weights.",
        f"""SELECT {LABEL}, o.layer AS other_layer, o."index" AS other_neuron, s.cosine, s.mutual,
       (l.evidence ->> 'out_cosine')::double precision AS out_cosine,
       (l.evidence ->> 'same_partner')::boolean AS same_partner, l.excess_corr, l.neuron_id, s.other_neuron_id
  {LABELS} = 'duplicate'
  {_PARTNER.format(kind="w_in", opposite="false")}""",
        words={
            "cosine": "Cosine of the two neurons' processed input weights.",
            "mutual": "Each is the other's nearest neuron by input weights.",
            "out_cosine": "Cosine of the neuron's output weights and those of the nearest by output weights.",
            "same_partner": "Whether the nearest by input weights and by output weights are one neuron.",
        },
    ),
    View(
        "redundancy_universality",
        "Per model: the correlation of excess_corr with the cosine of the nearest and of the most opposite neuron (Fig. 10).",
        """SELECT m.run_id, m.model, t.kind, t.opposite, t.neurons, t.correlation
  FROM {members} m
 CROSS JOIN LATERAL (
       SELECT s.kind, s.opposite, count(*) AS neurons, corr(u.excess_corr, s.cosine) AS correlation
         FROM public.universality u
         JOIN public.similar_neurons s ON s.run_id = u.run_id AND s.neuron_id = u.neuron_id AND s.rank = 1
        WHERE u.run_id = m.run_id AND u.model_id = m.model_id AND u.excess_corr IS NOT NULL
        GROUP BY s.kind, s.opposite ORDER BY s.kind, s.opposite) t""",
        words={
            "kind": "The weights compared: w_in or w_out.",
            "opposite": "Whether the cosine is that of the most opposite neuron, not of the nearest.",
            "neurons": "Neurons of the model with both numbers.",
            "correlation": "Pearson correlation of excess_corr with that cosine over them.",
        },
    ),
)

_SIMILAR = """
SELECT 'neuron ' || neuron_id || ' by ' || kind || ' with rank ' || rank AS what
  FROM (SELECT s.*, n.model_id, o.model_id AS other_model_id, row_number() OVER best AS place,
               lag(s.cosine) OVER best AS before
          FROM similar_neurons s JOIN neurons n ON n.id = s.neuron_id JOIN neurons o ON o.id = s.other_neuron_id
         WHERE s.run_id = :run_id
        WINDOW best AS (PARTITION BY s.neuron_id, s.kind, s.opposite ORDER BY s.rank)) AS placed
 WHERE rank <> place OR model_id <> other_model_id OR neuron_id = other_neuron_id
    OR CASE WHEN opposite THEN cosine < before ELSE cosine > before END"""

_MUTUAL_SIMILAR = """
WITH best AS (SELECT * FROM similar_neurons WHERE run_id = :run_id AND rank = 1)
SELECT 'neuron ' || one.neuron_id || ' by ' || one.kind AS what
  FROM best one
  LEFT JOIN best back ON (back.neuron_id, back.kind, back.opposite, back.other_neuron_id)
                       = (one.other_neuron_id, one.kind, one.opposite, one.neuron_id)
 WHERE one.mutual <> (back.neuron_id IS NOT NULL)
 UNION ALL
SELECT 'neuron ' || neuron_id || ' by ' || kind || ' with rank ' || rank FROM similar_neurons
 WHERE run_id = :run_id AND rank > 1 AND mutual"""

SHOWN_SIMILAR = 3
"""Neurons at each end, of each kind of weights."""

PART = Part(
    name="redundancy",
    about="neurons of the model with like and opposite weights, and vectors to search by",
    reads="weights",
    group="roles",
    rows=(Rows(similar_neurons, "some"), Rows(neuron_vectors, "some", of_all_models=True)),
    views=VIEWS,
    rules=(
        Rule(
            "duplicate",
            "Neurons that read what another one of the same model reads, and write alike (UN App. C, Fig. 10).",
            _DUPLICATE,
            _duplicate_words,
            (
                Threshold("min_in_cosine", 0.8, "Least cosine of the input weights with the nearest other ones (SPEC 10)."),
                Threshold("min_out_cosine", 0.5, "Least cosine of the output weights with the nearest other ones (SPEC 10)."),
            ),
            closest=_CLOSEST.format(kind="w_in", opposite="false", order="DESC"),
        ),
        Rule(
            "antipodal",
            "Neurons that write the opposite of another one of the same model (UN 5.2 and App. C).",
            _ANTIPODAL,
            _antipodal_words,
            (
                Threshold(
                    "max_cosine", -0.5, "Largest cosine of the output weights with the most opposite other ones (SPEC 10)."
                ),
            ),
            closest=_CLOSEST.format(kind="w_out", opposite="true", order="ASC"),
        ),
    ),
    checks=(
        Check("similar neurons are of the same model, ranked 1, 2, 3, …, the most alike first", _SIMILAR),
        Check("mutual says whose nearest or most opposite neuron's nearest or most opposite it is", _MUTUAL_SIMILAR),
    ),
    page=(
        Section(
            "similar",
            "Neurons of the model with the most similar and the most opposite weights",
            f"""
SELECT s.kind, CASE WHEN s.opposite THEN 'opposite' ELSE 'nearest' END AS relation, s.rank,
       o.layer AS other_layer, o."index" AS other_neuron, s.cosine, s.mutual
  FROM similar_neurons s JOIN neurons o ON o.id = s.other_neuron_id
 WHERE s.run_id = :run AND s.neuron_id = :neuron AND s.rank <= {SHOWN_SIMILAR} ORDER BY s.kind, s.opposite, s.rank""",
        ),
    ),
)
