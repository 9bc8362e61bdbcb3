"""What the parts share that explain neurons by yes-or-no features: their rows of `explanations`, their rules and words.

Each keeps five features of a neuron and the best of each shift; which part a feature is of is told by its family.
"""

from catalog.parts.part import Check, Rows
from catalog.parts.rule import Evidence, Rule, Threshold, in_force, threshold
from catalog.parts.words import percent, percent_with_error, shown, signed
from catalog.schema.labels import explanations

OF_SYNTAX = "starts_with(f.family, 'spacy_')"
OF_TOPICS = "f.family IN ('topic', 'machine_topic')"
OF_SUBSETS = "f.family = 'subset'"
OF_TOKENS = f"NOT ({OF_SYNTAX} OR {OF_TOPICS} OR {OF_SUBSETS})"

FAMILY_OF_FEATURE = f"""CASE WHEN e.shift = 'previous' THEN 'previous_token'
                         WHEN f.family = 'unigram' THEN 'unigram'
                         WHEN {OF_SYNTAX} THEN 'syntax'
                         WHEN {OF_SUBSETS} THEN 'context'
                         ELSE 'token_class' END"""
"""The family that an explanation `e` by a feature `f` speaks for, if it is the neuron's best and passes the threshold."""

SUBTYPE = r"regexp_replace(f.name, '^(topic_(.*)#[0-9a-f]{8}|(spacy|subset)_(.*))$', '\2\4')"
"""The feature's name without the words that tell features of equal names apart."""

MORE_ACTIVE = "({e}.frequency_in > {e}.frequency_out AND {e}.rectified_in > {e}.rectified_out)"
"""SQL: the neuron is active more often and more strongly where an explanation's feature is, which decides the direction of a
label: a GELU neuron driven far below zero has a higher mean than one just below."""
LESS_ACTIVE = MORE_ACTIVE.replace(">", "<")

PARTIAL = (
    ", ".join(
        f"CASE WHEN e.overlap >= {in_force('context', 'min_overlap')} THEN e.{name} END AS {name}"
        for name in ("partial_effect", "partial_variance_reduction")
    )
    + ", e.overlap"
)
"""SQL: what an explanation `e` says given the token, where there is enough overlap by the rules in force."""

_ALL_NUMBERS = ", ".join(
    f"'{name}', {{e}}.{name}"
    for name in (
        *("held_out_variance_reduction", "held_out_variance_reduction_se", "variance_reduction", "variance_reduction_se"),
        *("chosen_variance_reduction", "n_in", "n_out", "mean_in", "mean_in_se", "mean_out", "mean_out_se", "cohen_d"),
    )
).format(e="e")
_DIRECTION = ", ".join(
    f"'{name}_{side}{end}', e.{name}_{side}{end}"
    for name in ("frequency", "rectified")
    for side in ("in", "out")
    for end in ("", "_se")
)

EVIDENCE = f"""jsonb_build_object('feature', f.name, 'shift', e.shift, {_ALL_NUMBERS}) || jsonb_strip_nulls(jsonb_build_object(
           {_DIRECTION}, 'partial_effect', e.partial_effect, 'partial_variance_reduction', e.partial_variance_reduction,
           'overlap', e.overlap))
       || jsonb_build_object('runner_up', runner_up.name, 'runner_up_shift', second.shift,
           'runner_up_variance_reduction', second.held_out_variance_reduction,
           'runner_up_within_error', second.held_out_variance_reduction
               >= e.held_out_variance_reduction - second.held_out_variance_reduction_se)"""
"""SQL: what rules of explanations looked at, of the explanation `e` by the feature `f` and of `second` by `runner_up`."""

# The neuron's best feature over all features and both shifts decides: the one that half of the documents chose. Where its
# direction is known, the neuron has to be the more active with it.
_BEST_FEATURE = """
SELECT e.neuron_id, {subtype}, e.held_out_variance_reduction, {evidence} || jsonb_build_object('threshold', {least}){more}
  FROM explanations e
  JOIN features f ON f.id = e.feature_id
  LEFT JOIN explanations second ON second.run_id = e.run_id AND second.neuron_id = e.neuron_id AND second.rank = 2
  LEFT JOIN features runner_up ON runner_up.id = second.feature_id
 WHERE e.run_id = :run_id AND e.rank = 1 AND e.held_out_variance_reduction >= {least}
   AND {of_feature} = '{family}' AND COALESCE({more_active}, true)"""


_EXPLAINED = "SELECT 1 FROM explanations WHERE run_id = :run_id"
DECIDABLE = f"(EXISTS ({_EXPLAINED} AND held_out_variance_reduction IS NOT NULL) OR NOT EXISTS ({_EXPLAINED}))"
"""SQL: some feature has a score in the documents held out, or none explains anything."""
LACKING = "its documents are too few to score features on the half that is held out, or were read by an earlier version"


# Scores that differ by rounding are a tie, and ties may follow each other (`catalog.publishing.ranks`).
_ORDER = """
SELECT 'neuron ' || neuron_id || ' with a better feature at rank ' || rank AS what
  FROM (SELECT neuron_id, rank, chosen_variance_reduction AS score,
               lag(chosen_variance_reduction) OVER (PARTITION BY neuron_id ORDER BY rank) AS before
          FROM explanations WHERE run_id = :run_id) AS ranked
 WHERE score > before + 1e-5"""
ORDERED = Check("features are ranked by the half of the documents that chose them", _ORDER)


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
    more: str = "",
) -> Rule:
    """The rule of a family whose neurons are those that some features explain best.

    Args:
        subtype: SQL, of the feature `f`.
        more: SQL that is appended to the evidence.
    """
    minimum = threshold(family, least.parameter)
    select = _BEST_FEATURE.format(
        family=family,
        subtype=subtype,
        least=minimum,
        more=more,
        of_feature=FAMILY_OF_FEATURE,
        evidence=EVIDENCE,
        more_active=MORE_ACTIVE.format(e="e"),
    )
    return Rule(
        family,
        about,
        select,
        in_words,
        (least,),
        also=also,
        needs=DECIDABLE,
        lacking=LACKING,
        closest=closest,
        unless=unless,
        of_activations=True,
    )


def by_score(condition: str) -> str:
    """`Rule.closest`: the highest scores, and the highest of those that are their neuron's best, which alone make a label.

    Args:
        condition: SQL on a row of the view neuron_explanations.
    """
    scores = f"""(SELECT model, layer, neuron, feature, shift, held_out_variance_reduction,
                         held_out_variance_reduction_se, rank AS rank_among_all_features
                  FROM m JOIN history.neuron_explanations USING (run_id, model)
                  WHERE held_out_variance_reduction IS NOT NULL AND {condition}"""
    order = "ORDER BY held_out_variance_reduction DESC, model, layer, neuron LIMIT"
    return f"""SELECT * FROM ({scores} {order} :shown) UNION {scores} AND rank = 1 {order} 1)) found
               ORDER BY held_out_variance_reduction DESC, model, layer, neuron"""


def in_words(evidence: Evidence) -> str:
    """What a rule of explanations looked at."""
    token = " of the previous token" if evidence["shift"] == "previous" else " of the token"
    whose = "" if evidence["feature"].startswith("subset_") else token
    score = percent_with_error(evidence["held_out_variance_reduction"], evidence["held_out_variance_reduction_se"])
    said = (
        f"{evidence['feature']}{_or_runner_up(evidence)}{whose} explains {score} of the variance in documents that did not "
        f"choose it, {percent(evidence['variance_reduction'])} in all; mean {shown(evidence['mean_in'])} on "
        f"{shown(evidence['n_in'])} tokens with it, {shown(evidence['mean_out'])} on {shown(evidence['n_out'])} without"
    )
    if evidence.get("frequency_in") is not None:
        said += f"; active on {percent(evidence['frequency_out'])} outside, {percent(evidence['frequency_in'])} inside"
    if evidence.get("partial_effect") is not None:
        said += (
            f"; given the token {signed(evidence['partial_effect'])} standard deviations, "
            f"{percent(evidence['partial_variance_reduction'])} of the variance within tokens"
        )
    if evidence.get("machine_named"):
        said += "; the topic is machine-named"
    if evidence.get("runner_up") is None:
        return said
    shift = " of the previous token" if evidence.get("runner_up_shift") == "previous" else ""
    return f"{said}; next best {evidence['runner_up']}{shift}, {percent(evidence['runner_up_variance_reduction'])}"


def _or_runner_up(evidence: Evidence) -> str:
    """The runner-up, where it may as well be the best."""
    if not evidence.get("runner_up_within_error"):
        return ""
    previous = evidence.get("runner_up_shift") == "previous" and evidence["shift"] != "previous"
    return f", or {evidence['runner_up']}{' of the previous token' if previous else ''},"
