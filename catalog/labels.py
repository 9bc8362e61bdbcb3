"""Labels: the rules of SPEC 6.6 as SQL over statistics and explanations, with thresholds from the table `rules`.

Every statement inserts the labels of one family for one run. They read stored rows only, so that changed thresholds are
applied without a model, a corpus or a cache.
"""

from typing import Any

from sqlalchemy import Connection, Engine, text

from catalog import locks, summaries
from catalog.label_text import INSERT, NEURON, PLACE, Rule, threshold
from catalog.role_rules import ROLE_RULES
from catalog.rules import newest_version

# One label per neuron: the letter whose own tokens explain it best (UN Figs. 1a, 18). An empty class of other words
# with that letter cannot contradict the order of the means.
_ALPHABET = f"""{INSERT}SELECT l.run_id, l.neuron_id, 'alphabet', l.letter, l.variance_reduction, :version,
       jsonb_build_object('feature', f.name, 'variance_reduction', l.variance_reduction, 'mean_a', l.mean_a,
                          'mean_b', l.mean_b, 'mean_c', l.mean_c,
                          'threshold', {threshold("alphabet", "min_variance_reduction")}),
       {PLACE}
  FROM letter_scores l
  JOIN features f ON f.id = l.feature_id
  {NEURON.format(alias="l")}
 WHERE l.run_id = :run_id
   AND l.variance_reduction >= {threshold("alphabet", "min_variance_reduction")}
   AND ({threshold("alphabet", "require_ordered_means")} = 0
        OR (l.mean_a > COALESCE(l.mean_b, l.mean_c)
            AND COALESCE(l.mean_b > l.mean_c, true)
            AND COALESCE(l.mean_a > l.mean_c, true)))
"""

FAMILY_OF_FEATURE = """CASE WHEN e.shift = 'previous' THEN 'previous_token'
                         WHEN f.family = 'unigram' THEN 'unigram'
                         WHEN starts_with(f.family, 'spacy_') THEN 'syntax'
                         WHEN f.family IN ('topic', 'machine_topic', 'subset') THEN 'context'
                         ELSE 'token_class' END"""
"""The family that an explanation `e` by a feature `f` speaks for, if it is the neuron's best and passes the threshold."""

# The neuron's best feature over all features and both shifts decides.
_BEST_FEATURE = """{insert}SELECT e.run_id, e.neuron_id, '{family}', {subtype}, e.variance_reduction, :version,
       jsonb_build_object('feature', f.name, 'shift', e.shift, 'variance_reduction', e.variance_reduction,
                          'n_in', e.n_in, 'n_out', e.n_out, 'mean_in', e.mean_in, 'mean_out', e.mean_out,
                          'cohen_d', e.cohen_d, 'threshold', {threshold},
                          'runner_up', runner_up.name, 'runner_up_shift', second.shift,
                          'runner_up_variance_reduction', second.variance_reduction){more},
       {place}
  FROM explanations e
  JOIN features f ON f.id = e.feature_id
  {neuron}
  LEFT JOIN explanations second ON second.run_id = e.run_id AND second.neuron_id = e.neuron_id AND second.rank = 2
  LEFT JOIN features runner_up ON runner_up.id = second.feature_id
 WHERE e.run_id = :run_id AND e.rank = 1 AND e.variance_reduction >= {threshold}
   AND {of_feature} = '{family}'
"""


def _best_feature(family: str, subtype: str, more: str = "") -> str:
    given = {"insert": INSERT, "place": PLACE, "neuron": NEURON.format(alias="e"), "of_feature": FAMILY_OF_FEATURE}
    least = threshold(family, "min_variance_reduction")
    return _BEST_FEATURE.format(family=family, subtype=subtype, threshold=least, more=more, **given)


_POSITION = f"""{INSERT}SELECT p.run_id, p.neuron_id, 'position', p.pattern, p.mutual_information, :version,
       jsonb_build_object('mutual_information', p.mutual_information, 'strength', p.strength,
                          'alternations', p.alternations, 'coverage', p.coverage, 'runs', p.runs,
                          'threshold', {threshold("position", "min_mutual_information")}),
       {PLACE}
  FROM position_statistics p
  {NEURON.format(alias="p")}
 WHERE p.run_id = :run_id
   AND p.mutual_information > {threshold("position", "min_mutual_information")}
"""

# How often a neuron was active follows from its frequency; few tokens cannot show that it never is (rule of three).
_RARE = """{insert}SELECT a.run_id, a.neuron_id, '{family}',
       CASE WHEN a.n_tokens < {enough} THEN 'provisional' ELSE '{family}' END, a.sparsity, :version,
       jsonb_build_object('activations', round(a.sparsity * a.n_tokens), 'n_tokens', a.n_tokens,
                          'upper_bound', 3.0 / NULLIF(a.n_tokens, 0), 'enough_tokens', {enough}),
       {place}
  FROM activation_statistics a
  {neuron}
 WHERE a.run_id = :run_id AND {condition}
"""


def _rare(family: str, condition: str) -> str:
    enough = threshold("dead", "enough_tokens")
    given = {"insert": INSERT, "place": PLACE, "neuron": NEURON.format(alias="a")}
    return _RARE.format(family=family, enough=enough, condition=condition, **given)


# Tok(i) are the n-grams that occur often enough and activate the neuron often enough (SPEC 12.4); the label names the first.
_DETECTOR = """{insert}SELECT s.run_id, s.neuron_id, '{family}', {subtype}, tok.activations / s.activations_{n}, :version,
       jsonb_build_object('n', {n}, 'cover', s.cover_{n}, 'activations', s.activations_{n}, 'n_tokens', s.n_tokens,
                          'detected', tok.detected, 'min_count', {min_count}, 'min_probability', {min_probability},
                          'suppressing', tok.effect < 0, 'mean_effect', tok.effect, 'mean_effect_raw', tok.effect_raw,
                          'share_negative', tok.share_negative, 'lowest_percentile', tok.percentile),
       {place}
  FROM ngram_statistics s
  {neuron}
 CROSS JOIN LATERAL (
       SELECT sum(d.activations)::double precision AS activations, count(*) AS detected,
              avg(d.effect) AS effect, avg(d.effect_raw) AS effect_raw, min(d.percentile) AS percentile,
              avg((d.effect < 0)::int)::double precision AS share_negative, min(d.rank) AS first
         FROM detected_ngrams d
        WHERE d.run_id = s.run_id AND d.neuron_id = s.neuron_id AND d.n = {n} AND d.count >= {min_count}
          AND d.activations::double precision / d.count >= {min_probability}) tok
 WHERE s.run_id = :run_id AND s.cover_{n} <= {max_cover} AND s.activations_{n} >= {min_activations}
   AND tok.activations / s.activations_{n} >= {min_share}
"""

_FIRST_TOKEN = r"""(
         SELECT COALESCE(NULLIF(lower(btrim(t.text, E' \t\r\n')), ''), t.text)
           FROM detected_ngrams d
           JOIN models m ON m.id = n.model_id
           JOIN tokens t ON t.tokenizer_id = m.tokenizer_id AND t.token_id = d.token_ids[1]
          WHERE d.run_id = s.run_id AND d.neuron_id = s.neuron_id AND d.n = 1 AND d.rank = tok.first)"""


def _detector(family: str, n: int, subtype: str) -> str:
    names = ("max_cover", "min_count", "min_probability", "min_share", "min_activations")
    thresholds = {name: threshold(family, name) for name in names}
    given = {"insert": INSERT, "place": PLACE, "neuron": NEURON.format(alias="s")}
    return _DETECTOR.format(family=family, n=n, subtype=subtype, **thresholds, **given)


_BOS = f"""{INSERT}SELECT d.run_id, d.neuron_id, 'bos', 'bos', d.bos_ratio, :version,
       jsonb_build_object('bos_activation', d.bos_activation, 'post_p99_9', d.post_p99_9, 'ratio', d.bos_ratio,
                          'threshold', {threshold("bos", "min_ratio")}),
       {PLACE}
  FROM distribution_statistics d
  {NEURON.format(alias="d")}
 WHERE d.run_id = :run_id AND d.bos_activation > 0
   AND d.bos_ratio > {threshold("bos", "min_ratio")}
"""

_OTHER_CAUSES = ("position", "prediction", "suppression", "partition", "entropy", "anti_entropy", "attn_deactivation",
                 "attn_activation", "bos")  # fmt: skip
"""Families of rules 7 to 11: what a neuron may be without a feature of the text explaining it."""

_LEAST_EXPLAINED = threshold("unexplained", "max_variance_reduction")

# The evidence says which of those rules could be asked, for a run without their parts knows less.
_UNEXPLAINED = f"""{INSERT}SELECT u.run_id, u.neuron_id, 'unexplained', 'universal', best.variance_reduction, :version,
       jsonb_build_object('variance_reduction', best.variance_reduction, 'excess_corr', u.excess_corr,
                          'evaluated', to_jsonb(CAST(:evaluated AS text[])), 'threshold', {_LEAST_EXPLAINED}),
       {PLACE}
  FROM universality u
  JOIN neurons n ON n.id = u.neuron_id
 CROSS JOIN LATERAL (
       SELECT COALESCE((SELECT e.variance_reduction FROM explanations e
                         WHERE e.run_id = u.run_id AND e.neuron_id = u.neuron_id AND e.rank = 1), 0) AS variance_reduction
       ) AS best
 WHERE u.run_id = :run_id AND u.excess_corr > 0.5 AND best.variance_reduction < {_LEAST_EXPLAINED}
   AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.run_id = u.run_id AND l.neuron_id = u.neuron_id
                      AND l.family = ANY(CAST(:other_causes AS text[])))
"""


_MACHINE_NAMED = " || jsonb_build_object('machine_named', f.family = 'machine_topic')"
_SUBTYPE = r"regexp_replace(f.name, '^(topic_(.*)#[0-9a-f]{8}|(spacy|subset)_(.*))$', '\2\4')"
_KNOWN = "EXISTS (SELECT 1 FROM {table} WHERE run_id = :run_id AND {column} IS NOT NULL)"
_HAS_TOPICS = "EXISTS (SELECT 1 FROM run_topics WHERE run_id = :run_id)"
_CORRELATED = "EXISTS (SELECT 1 FROM run_parts WHERE run_id = :run_id AND part = 'correlations')"
_NEAR_DEAD = threshold("near_dead", "max_frequency")

RULES = (
    Rule("alphabet", ("vocabulary",), _ALPHABET),
    Rule(
        "unigram",
        ("vocabulary",),
        _best_feature("unigram", "regexp_replace(f.name, '_unigram$', '')"),
    ),
    Rule(
        "token_class",
        ("vocabulary",),
        _best_feature("token_class", "f.name"),
    ),
    Rule(
        "previous_token",
        ("vocabulary", "syntax", "topics"),
        _best_feature("previous_token", _SUBTYPE),
    ),
    Rule("syntax", ("syntax",), _best_feature("syntax", _SUBTYPE)),
    Rule(
        "position",
        ("positions",),
        _POSITION,
        needs=_KNOWN.format(table="position_statistics", column="mutual_information"),
    ),
    Rule("bos", ("distributions",), _BOS),
    Rule(
        "context",
        ("distributions", "topics"),
        _best_feature("context", _SUBTYPE, _MACHINE_NAMED),
        needs=f"{_HAS_TOPICS} OR {_KNOWN.format(table='subset_statistics', column='variance_reduction')}",
    ),
    Rule("token_detector", ("ngrams",), _detector("token_detector", 1, _FIRST_TOKEN)),
    Rule("ngram_detector", ("ngrams",), _detector("ngram_detector", 3, "'trigram'")),
    Rule("dead", ("activations",), _rare("dead", "a.sparsity = 0")),
    Rule("near_dead", ("activations",), _rare("near_dead", f"a.sparsity > 0 AND a.sparsity < {_NEAR_DEAD}")),
    *ROLE_RULES,
    Rule("unexplained", ("vocabulary",), _UNEXPLAINED, needs=_CORRELATED),
)
"""In order: the last one asks what the others have found."""


def label_run(connection: Connection, run_id: int, version: int) -> dict[str, int]:
    """Replace the labels of one run; returns how many each family has."""
    connection.execute(text("DELETE FROM labels WHERE run_id = :run_id"), {"run_id": run_id})
    asked = rules_asked(connection, run_id)
    values = {
        "run_id": run_id,
        "version": version,
        "other_causes": list(_OTHER_CAUSES),
        "evaluated": [rule.family for rule in asked if rule.family in _OTHER_CAUSES],
    }
    counts = {rule.family: connection.execute(text(rule.insert), _used(rule.insert, values)).rowcount for rule in asked}
    summaries.total_labels(connection, run_id, [*counts])
    return counts


def rules_asked(connection: Connection, run_id: int) -> list[Rule]:
    """The rules whose families can be looked for in a run, in order."""
    found = connection.execute(text("SELECT part FROM run_parts WHERE run_id = :run_id"), {"run_id": run_id})
    parts = set(found.scalars())
    readable = [rule for rule in RULES if {*rule.parts} & parts]
    return [
        rule
        for rule in readable
        if not rule.needs or connection.execute(text(f"SELECT {rule.needs}"), {"run_id": run_id}).scalar_one()
    ]


def _used(statement: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values that a statement asks for."""
    return {name: value for name, value in values.items() if f":{name}" in statement}


def relabel(engine: Engine) -> dict[int, dict[str, int]]:
    """Apply the newest rules to every published run, in one transaction; a draft becomes the published version.

    Returns:
        Labels per family, by run.
    """
    from catalog import checksums  # loads numpy, which those who only ask for the rules do without

    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({locks.PUBLISH})"))
        version = newest_version(connection, drafts=True)
        runs = connection.execute(text("SELECT id FROM runs WHERE status = 'published' ORDER BY id")).scalars().all()
        counts = {run: label_run(connection, run, version) for run in runs}
        for run in runs:
            checksums.record(connection, run, ["labels", "label_totals"])
        connection.execute(
            text("UPDATE rule_versions SET published_at = COALESCE(published_at, now()) WHERE version = :version"),
            {"version": version},
        )
    return counts
