"""What is known of every neuron family, with evidence: who has it, what its rule looked at, and where those neurons are active.

One snapshot answers: the counts, the best neurons of a family, or, where no neuron has it, whether it was looked for and which
neurons come closest to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from catalog import parts
from catalog.answers import Rows, Values, ask
from catalog.errors import InputError
from catalog.labels.thresholds import newest_version
from catalog.parts.rule import Rule
from catalog.questions import queries
from catalog.questions.candidates import no_candidates
from catalog.questions.evidence import in_words
from catalog.questions.known import check_family, check_model_if_any, check_run
from catalog.questions.statements import members_asked
from catalog.questions.why_empty import never_asked

TOP_TOKENS = 6
HIGHEST = 2
"""Examples with the highest values that stand beside a neuron."""
MIDDLE = ("quantile_50_75", "quantile_25_50", "quantile_75_90")
"""Of the first of these kinds that a neuron has, one example stands beside the highest ones."""


@dataclass(frozen=True)
class FindingsFilter:
    """Which findings; None asks for all."""

    family: str | None = None
    model: str | None = None
    run: int | None = None
    limit: int = 5
    """Most neurons of each family, or closest to it."""


@dataclass(frozen=True)
class Family:
    """What is known of one family."""

    family: str
    about: str
    """What it is; empty where its rule alone says it."""
    lowest_is_best: bool
    """Of two of its labels the one with the lower score is the better."""
    parts: list[str]
    """The parts of a run of which its rule needs one; none where no rule is known."""
    thresholds: list[Values]
    """parameter, value, description."""
    counts: list[Values]
    """model, layer, subtype, labels, neurons, universal_neurons, undecided_neurons; nothing where no neuron has it."""
    chance: str
    """How many neurons chance gives, of how many that there are; empty where no neuron has it."""
    best: list[Values]
    """Its best neurons, with what the rule looked at, top tokens and examples."""
    looked_for: bool
    """In a run that answers, at least."""
    not_looked_for: str
    """Why, and what to do, where a run that answers did not look for it; empty where all did."""
    closest: list[Values]
    """Where no neuron has it: those that come closest by what the rule measures."""
    nothing_to_measure: str
    """Where nothing comes close: what it lacks."""


@dataclass(frozen=True)
class Findings:
    """What a catalog holds of every family."""

    runs: list[Values]
    """run, models, quantised (those whose file stores blocks, and how), corpus, n_tokens, n_kept, parts, intervention_tokens
    (NULL where no part asks for them), control_tokens (of the first control; NULL without one)."""
    layers: list[Values]
    """model, layer, n_neurons, n_universal, n_undecided."""
    families: list[Family]
    """By name; nothing where no run is published."""

    @property
    def compared(self) -> bool:
        """Whether neurons were compared with those of other models, so that some may be universal."""
        return any("correlations" in run["parts"] for run in self.runs)


def findings(connection: Connection, wanted: FindingsFilter) -> Findings:
    """Everything of the families that are asked for.

    Raises:
        NotFoundError: no such family, model or run; the sentence lists those that exist.
        InputError: no neuron is asked for.
    """
    if wanted.limit < 1:
        raise InputError(f"--limit {wanted.limit} asks for no neuron; at least 1 is needed.")
    check_run(connection, wanted.run)
    model = check_model_if_any(connection, wanted.model, wanted.run)
    if wanted.family is not None:
        check_family(connection, wanted.family, wanted.run)
    question = _Question(connection, *members_asked(model, wanted.run), wanted.limit)
    runs = question.ask(_RUNS).records()
    layers = queries.layer_profiles(connection, model, wanted.run)
    shapes = layers.select("model", "layer", "n_neurons", "n_universal", "n_undecided").records()
    if not runs:
        return Findings([], [], [])
    totals = question.ask(_TOTALS).records()
    thresholds = question.ask(_THRESHOLDS, version=newest_version(connection, drafts=False)).records()
    names = {row["family"] for row in totals} | {rule.family for rule in parts.rules()}
    chosen = sorted(names) if wanted.family is None else [wanted.family]
    chances = queries.chances(connection, model, wanted.run)
    families = [_family(question, name, [run["run"] for run in runs], totals, thresholds, chances) for name in chosen]
    return Findings(runs, shapes, families)


@dataclass(frozen=True)
class _Question:
    """Statements about the members `m` that are asked about."""

    connection: Connection
    members: str
    values: Values
    limit: int

    def ask(self, statement: str, **more: Any) -> Rows:
        return ask(self.connection, f"WITH m AS MATERIALIZED ({self.members}) {statement}", {**self.values, **more})


_RUNS = """
SELECT r.id AS run, (SELECT array_agg(m.model ORDER BY m.model) FROM m WHERE m.run_id = r.id) AS models,
       (SELECT array_agg(m.model || ': ' || o.quantisation ORDER BY m.model)
          FROM m JOIN public.models o ON o.id = m.model_id WHERE m.run_id = r.id AND o.quantisation IS NOT NULL) AS quantised,
       c.name AS corpus, c.n_tokens, c.n_kept,
       (SELECT min((p.settings ->> 'intervention_tokens')::bigint) FROM public.run_parts p
         WHERE p.run_id = r.id) AS intervention_tokens,
       (SELECT k.n_tokens FROM public.run_controls rc JOIN public.runs kr ON kr.id = rc.control_run_id
          JOIN public.corpora k ON k.id = kr.corpus_id
         WHERE rc.run_id = r.id ORDER BY rc.control_run_id LIMIT 1) AS control_tokens,
       (SELECT array_agg(p.part ORDER BY p.part) FROM public.run_parts p WHERE p.run_id = r.id) AS parts
  FROM public.runs r LEFT JOIN public.corpora c ON c.id = r.corpus_id
 WHERE r.id IN (SELECT run_id FROM m) ORDER BY r.id"""

_TOTALS = """
SELECT m.run_id, m.model, t.layer, t.family, t.subtype, t.labels, t.neurons, t.universal_neurons, t.undecided_neurons
  FROM m JOIN public.label_totals t ON t.run_id = m.run_id AND t.model_id = m.model_id ORDER BY 2, 3, 4, 5"""

_THRESHOLDS = """
SELECT family, parameter, value, description FROM public.rules WHERE rule_version = :version ORDER BY 1, 2"""

_BEST = """
SELECT l.run_id, l.neuron_id, m.model, l.layer, l."index" AS neuron, l.subtype, l.score, p.excess_corr, p.excess_se,
       p.universal, l.evidence
  FROM m CROSS JOIN LATERAL (
       SELECT * FROM public.labels l
        WHERE l.run_id = m.run_id AND l.model_id = m.model_id AND l.family = :family
        ORDER BY l.sort_key, l.layer, l."index", l.subtype LIMIT :shown) l
  JOIN history.neuron_profiles p ON p.run_id = l.run_id AND p.neuron_id = l.neuron_id
 ORDER BY l.sort_key, m.model, l.layer, l."index", l.subtype LIMIT :shown"""

_TOP_TOKENS = """
SELECT t.text FROM public.top_tokens v JOIN public.neurons n ON n.id = v.neuron_id JOIN public.models o ON o.id = n.model_id
  JOIN public.tokens t ON t.tokenizer_id = o.tokenizer_id AND t.token_id = v.token_id
 WHERE v.run_id = :run_id AND v.neuron_id = :neuron_id ORDER BY v.rank LIMIT :shown"""

_EXAMPLES = """
SELECT kind, rank, value, subset, before, token, after FROM history.neuron_examples
 WHERE run_id = :run_id AND neuron_id = :neuron_id
   AND (kind = 'top' AND rank <= :highest OR kind = ANY(:middle) AND rank = 1) ORDER BY rank"""

_DETECTED = """
SELECT tokens FROM history.token_detectors WHERE run_id = :run_id AND neuron_id = :neuron_id AND n = :n"""


def _family(
    question: _Question,
    name: str,
    runs: Sequence[int],
    totals: Sequence[Values],
    thresholds: Sequence[Values],
    chances: Mapping[str, str],
) -> Family:
    totals_here = [row for row in totals if row["family"] == name]
    counts = [row for row in totals_here if row["labels"]]
    looked_in = {row["run_id"] for row in totals_here}
    others = [run for run in runs if run not in looked_in]
    rule = parts.rule_of(name)
    closest = [] if counts or rule is None else _closest(question, rule)
    return Family(
        family=name,
        about="" if rule is None else rule.about,
        lowest_is_best=rule is not None and rule.lowest_is_best,
        parts=[] if rule is None else [*parts.parts_of_rule(name)],
        thresholds=[_but(row, "family") for row in thresholds if row["family"] == name],
        counts=[_but(row, "run_id", "family") for row in counts],
        chance=chances[name] if counts else "",
        best=_best(question, name) if counts else [],
        looked_for=bool(looked_in),
        not_looked_for=never_asked(question.connection, others, name) if others else "",
        closest=closest,
        nothing_to_measure="" if rule is None or counts or closest else _nothing(question, rule),
    )


def _nothing(question: _Question, rule: Rule) -> str:
    """What a rule lacks that nothing comes close to."""
    return no_candidates(question.connection, rule, question.members, question.values) or rule.unless


def _but(row: Values, *names: str) -> Values:
    return {name: value for name, value in row.items() if name not in names}


def _closest(question: _Question, rule: Rule) -> list[Values]:
    """The neurons that come closest to a family, best first, by what its rule measures."""
    if not rule.closest:
        return []
    version = newest_version(question.connection, drafts=False)
    return question.ask(rule.closest, shown=question.limit, version=version).records()


def _best(question: _Question, name: str) -> list[Values]:
    """The best neurons of a family; evidence is what the rule looked at, `in_words` the same for a person."""
    labels = question.ask(_BEST, family=name, shown=question.limit).records()
    return [
        {
            **_but(label, "run_id", "neuron_id"),
            "in_words": in_words(name, label["evidence"]),
            "detected": _detected(question.connection, label),
            "top_tokens": ask(question.connection, _TOP_TOKENS, {**_key(label), "shown": TOP_TOKENS}).column("text"),
            "examples": _examples(question.connection, label),
        }
        for label in labels
    ]


def _key(label: Values) -> Values:
    return {name: label[name] for name in ("run_id", "neuron_id")}


def _examples(connection: Connection, label: Values) -> list[Values]:
    """Places in the text: the highest values, and one of the middle."""
    values = {**_key(label), "highest": HIGHEST, "middle": list(MIDDLE)}
    records = ask(connection, _EXAMPLES, values).records()
    middle = next((kind for kind in MIDDLE if any(row["kind"] == kind for row in records)), None)
    return [row for kind in ("top", middle) for row in records if row["kind"] == kind]


def _detected(connection: Connection, label: Values) -> list[str]:
    """The n-grams that a detector detects, the most frequent first; of other families none."""
    if "detected" not in label["evidence"]:
        return []
    ((tokens,),) = ask(connection, _DETECTED, {**_key(label), "n": label["evidence"]["n"]})
    return list(tokens)
