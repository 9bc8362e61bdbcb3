"""What the parts share that explain neurons by yes-or-no features: their rows of `explanations`, their rules and words.

Each keeps five features of a neuron and the best of each shift; which part a feature is of is told by its family.
"""

from catalog.parts.part import Rows
from catalog.parts.rule import Evidence, Rule, Threshold, threshold
from catalog.parts.words import percent, shown
from catalog.schema.labels import explanations

OF_SYNTAX = "starts_with(f.family, 'spacy_')"
OF_TOPICS = "f.family IN ('topic', 'machine_topic')"
OF_SUBSETS = "f.family = 'subset'"
OF_TOKENS = f"NOT ({OF_SYNTAX} OR {OF_TOPICS} OR {OF_SUBSETS})"

FAMILY_OF_FEATURE = f"""CASE WHEN e.shift = 'previous' THEN 'previous_token'
                         WHEN f.family = 'unigram' THEN 'unigram'
                         WHEN {OF_SYNTAX} THEN 'syntax'
                         WHEN {OF_TOPICS} OR {OF_SUBSETS} THEN 'context'
                         ELSE 'token_class' END"""
"""The family that an explanation `e` by a feature `f` speaks for, if it is the neuron's best and passes the threshold."""

SUBTYPE = r"regexp_replace(f.name, '^(topic_(.*)#[0-9a-f]{8}|(spacy|subset)_(.*))$', '\2\4')"
"""The feature's name without the words that tell features of equal names apart."""

# The neuron's best feature over all features and both shifts decides.
_BEST_FEATURE = """
SELECT e.neuron_id, {subtype}, e.variance_reduction,
       jsonb_build_object('feature', f.name, 'shift', e.shift, 'variance_reduction', e.variance_reduction,
                          'n_in', e.n_in, 'n_out', e.n_out, 'mean_in', e.mean_in, 'mean_out', e.mean_out,
                          'cohen_d', e.cohen_d, 'threshold', {least},
                          'runner_up', runner_up.name, 'runner_up_shift', second.shift,
                          'runner_up_variance_reduction', second.variance_reduction){more}
  FROM explanations e
  JOIN features f ON f.id = e.feature_id
  LEFT JOIN explanations second ON second.run_id = e.run_id AND second.neuron_id = e.neuron_id AND second.rank = 2
  LEFT JOIN features runner_up ON runner_up.id = second.feature_id
 WHERE e.run_id = :run_id AND e.rank = 1 AND e.variance_reduction >= {least}
   AND {of_feature} = '{family}'"""


def explained_by(features: str) -> Rows:
    """A part's rows of `explanations`.

    Args:
        features: SQL that says which features `f` are the part's.
    """
    return Rows(explanations, "some", condition=f"{{t}}.feature_id IN (SELECT f.id FROM public.features f WHERE {features})")


def best_feature(
    family: str,
    about: str,
    subtype: str,
    least: Threshold,
    closest: str,
    unless: str = "",
    also: tuple[str, ...] = (),
    needs: str = "",
    lacks: str = "",
    more: str = "",
) -> Rule:
    """The rule of a family whose neurons are those that some features explain best.

    Args:
        subtype: SQL, of the feature `f`.
        more: SQL that is appended to the evidence.
    """
    minimum = threshold(family, least.parameter)
    select = _BEST_FEATURE.format(family=family, subtype=subtype, least=minimum, more=more, of_feature=FAMILY_OF_FEATURE)
    return Rule(
        family,
        about,
        select,
        _words,
        (least,),
        also=also,
        needs=needs,
        lacks=lacks,
        closest=closest,
        unless=unless,
        of_activations=True,
    )


def by_score(condition: str) -> str:
    """`Rule.closest`: the highest scores, and the highest of those that are their neuron's best, which alone make a label.

    Args:
        condition: SQL on a row of the view neuron_explanations.
    """
    scores = f"""(SELECT model, layer, neuron, feature, shift, variance_reduction, rank AS rank_among_all_features
                  FROM m JOIN history.neuron_explanations USING (run_id, model) WHERE {condition}"""
    order = "ORDER BY variance_reduction DESC, model, layer, neuron LIMIT"
    return f"""SELECT * FROM ({scores} {order} :shown) UNION {scores} AND rank = 1 {order} 1)) found
               ORDER BY variance_reduction DESC, model, layer, neuron"""


def _words(evidence: Evidence) -> str:
    token = "the previous token" if evidence["shift"] == "previous" else "the token"
    said = (
        f"{evidence['feature']} of {token} explains {percent(evidence['variance_reduction'])} of the variance; "
        f"mean {shown(evidence['mean_in'])} on {shown(evidence['n_in'])} tokens with it, {shown(evidence['mean_out'])} on "
        f"{shown(evidence['n_out'])} without"
    )
    if evidence.get("machine_named"):
        said = f"{said}; the topic is machine-named"
    if evidence.get("runner_up") is None:
        return said
    shift = " of the previous token" if evidence.get("runner_up_shift") == "previous" else ""
    return f"{said}; next best {evidence['runner_up']}{shift}, {percent(evidence['runner_up_variance_reduction'])}"
