"""Why a question had no rows: nothing is there yet, no such layer or subtype, never measured, or looked for and not found.

Each function answers for one question, with one sentence; the question itself has been asked before, so that all that it
names is known.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from catalog import parts
from catalog.answers import Values
from catalog.errors import did_you_mean
from catalog.labels.thresholds import in_force
from catalog.questions import groups as group_questions
from catalog.questions import not_defined, queries
from catalog.questions import universal as universal_questions
from catalog.questions.candidates import no_candidates
from catalog.questions.known import NOTHING, check_model_if_any
from catalog.questions.neuron_page import NeuronPage, NeuronRef, find_neuron
from catalog.questions.statements import members_asked

LISTED = 12
"""Choices that a sentence lists at most."""


def nothing(connection: Connection) -> str:
    """Of questions about the catalog as a whole: no run is published."""
    newest = connection.execute(text("SELECT id, status FROM runs ORDER BY id DESC LIMIT 1")).one_or_none()
    if newest is None:
        return f"{NOTHING}; `catalog ingest` or `make demo` makes one"
    return f"{NOTHING}: run {newest.id} is {newest.status}, see `catalog runs list`"


def labels(connection: Connection, wanted: queries.LabelFilter) -> str:
    """Why `find_labels` has none."""
    runs = runs_asked(connection, wanted.model, wanted.run)
    if not runs:
        return nothing(connection)
    total = queries.count_labels(connection, wanted)
    return (
        (total and _past_the_last(wanted.offset, total))
        or no_layer(connection, wanted.layers, wanted.model, wanted.run)
        or (wanted.family is not None and never_asked(connection, runs, wanted.family))
        or (wanted.subtype is not None and _no_subtype(connection, runs, wanted.family, wanted.subtype))
        or ((wanted.universal in ("yes", "undecided") or wanted.min_excess is not None) and _no_excess(connection, runs))
        or (wanted.family is not None and _no_candidates(connection, wanted.model, wanted.run, wanted.family))
        or (wanted.min_restored is not None and _no_substitutions(connection, runs))
        or f"looked for, and none found: no label of {_named(wanted.model, runs)} meets {_conditions(wanted)}"
    )


def universal(connection: Connection, wanted: universal_questions.UniversalFilter) -> str:
    """Why `universal_neurons` has none."""
    runs = runs_asked(connection, wanted.model, wanted.run)
    if not runs:
        return nothing(connection)
    total = universal_questions.count_universal(connection, wanted)
    known = (
        (total and _past_the_last(wanted.offset, total))
        or no_layer(connection, wanted.layers, wanted.model, wanted.run)
        or _no_excess(connection, runs)
    )
    if known:
        return known
    least = f"of at least {wanted.min_excess:g}" if wanted.min_excess is not None else (
        f"{_OF_STATE[wanted.state or 'yes']} {in_force(connection, 'universal', 'min_excess'):g}"
    )
    anywhere = universal_questions.UniversalFilter(wanted.model, wanted.layers, -2.0, run=wanted.run, limit=1)
    largest = universal_questions.universal_neurons(connection, anywhere).records()
    highest = _with_error(largest[0]) if largest else "none is defined"
    return f"looked for, and none found: no excess correlation of {_named(wanted.model, runs)} is {least}; {highest}"


_OF_STATE = {"yes": "surely above", "no": "surely not above", "undecided": "perhaps above"}


def _with_error(row: Values) -> str:
    """The largest excess correlation that there is, and how sure it is."""
    error = "with an unknown error" if row["excess_se"] is None else f"± {row['excess_se']:.2g}"
    return f"the largest is {row['excess_corr']:.3g} {error}"


def counts(connection: Connection, model: str | None = None, run: int | None = None) -> str:
    """Why `family_counts` has none."""
    runs = runs_asked(connection, model, run)
    return _never(runs, "labels", ("vocabulary",)) if runs else nothing(connection)


def depth(connection: Connection, model: str | None = None, run: int | None = None) -> str:
    """Why `depth_matrix` has none."""
    runs = runs_asked(connection, model, run)
    if not runs:
        return nothing(connection)
    return _no_excess(connection, runs) or f"looked for, and none found: no neuron of {_named(model, runs)} has a best match"


def groups(connection: Connection, min_size: int = 2, model: str | None = None, run: int | None = None) -> str:
    """Why `groups` has none."""
    runs = runs_asked(connection, model, run)
    if not runs:
        return nothing(connection)
    if missing := _no_excess(connection, runs):
        return missing
    smaller = group_questions.count_groups(connection, 2, model, run)
    others = f"; {smaller} are smaller" if smaller else ""
    return f"looked for, and none found: no group with {_named(model, runs)} has {min_size} members or more{others}"


def matches(connection: Connection, ref: NeuronRef, run: int | None = None, other_model: str | None = None) -> str:
    """Why `neuron_matches` has none."""
    row = find_neuron(connection, ref, run)
    missing = _no_excess(connection, [row["run_id"]])
    if missing:
        return missing
    where = "another model" if other_model is None else other_model
    why = ": the variance of its activation is too small for a correlation" if row["degenerate"] else ""
    return f"looked for, and none found: {ref.model} {ref.layer}.{ref.index} has no match in {where}{why}"


def page(connection: Connection, neuron_page: NeuronPage[Any]) -> list[str]:
    """Why tables of a neuron's page have no rows: those never measured, and those looked for."""
    run = neuron_page.identity["run_id"]
    known = _parts(connection, [run])
    empty = [(part, section) for part, section in parts.sections() if not len(neuron_page.tables[section.name])]
    never = [(part, section) for part, section in empty if not {part, *section.also} & known]
    asked = members_asked(neuron_page.identity["model"], run)
    measured = [section for part, section in empty if (part, section) not in never]
    undefined = {section.name: not_defined.reasons(connection, section.select, *asked) for section in measured}
    looked_for = [name for name, reasons in undefined.items() if not reasons]
    said = []
    if never:
        wanted = dict.fromkeys(part for part, _ in never)
        said.append(_never([run], ", ".join(_words(section.name) for _, section in never), tuple(wanted)))
    for reason in dict.fromkeys(said for found in undefined.values() for said in not_defined.said(found)):
        names = [_words(name) for name, found in undefined.items() if reason in not_defined.said(found)]
        said.append(f"{', '.join(names)}: {reason}")
    if looked_for:
        said.append(f"looked for, and none found: {', '.join(map(_words, looked_for))}")
    return said


def examples(connection: Connection, ref: NeuronRef, run: int | None = None) -> str:
    """Why `examples` has none."""
    row = find_neuron(connection, ref, run)
    if "examples" not in _parts(connection, [row["run_id"]]):
        return _never([row["run_id"]], "examples", ("examples",))
    return f"looked for, and none found: {ref.model} {ref.layer}.{ref.index} is active on no token that examples are taken of"


def runs_asked(connection: Connection, model: str | None, run: int | None) -> list[int]:
    """The published runs that answer, in order; none where nothing is published."""
    members, values = members_asked(check_model_if_any(connection, model, run), run)
    statement = f"SELECT DISTINCT run_id FROM ({members}) m ORDER BY run_id"
    return list(connection.execute(text(statement), values).scalars())


def no_layer(connection: Connection, layers: tuple[int, int] | None, model: str | None, run: int | None) -> str:
    """That no model that is asked about has any of the layers; empty where one has."""
    if layers is None:
        return ""
    members, values = members_asked(check_model_if_any(connection, model, run), run)
    statement = f"SELECT max(o.n_layers) FROM ({members}) m JOIN public.models o ON o.id = m.model_id"
    n_layers = connection.execute(text(statement), values).scalar_one()
    if n_layers is None or layers[0] < n_layers:
        return ""
    asked = f"layer {layers[0]}" if layers[0] == layers[1] else f"layer {layers[0]} to {layers[1]}"
    whose = "the models have" if model is None else f"model {model} has"
    return f"there is no {asked}: {whose} layers 0 to {n_layers - 1}"


def never_asked(connection: Connection, runs: Sequence[int], family: str) -> str:
    """That a family was looked for in none of the runs, and what to do; empty where it was in one of them."""
    values: Values = {"runs": list(runs), "family": family}
    asked = text("SELECT 1 FROM label_totals WHERE run_id = ANY(:runs) AND family = :family LIMIT 1")
    rule = parts.rule_of(family)
    if connection.execute(asked, values).first() is not None or rule is None:
        return ""
    read = parts.parts_of_rule(family)
    if not {*read} & _parts(connection, runs):
        return _never(runs, f"labels of the family {family}", read[:1])
    if rule.lacking:
        return f"the family {family} was not looked for in {_runs(runs)}: {rule.lacking}"
    return _no_excess(connection, runs) or _never(runs, f"labels of the family {family}", read[:1])


def _no_candidates(connection: Connection, model: str | None, run: int | None, family: str) -> str:
    """That the rule of a family had no neuron to decide about; empty where it had one."""
    rule = parts.rule_of(family)
    members, values = members_asked(check_model_if_any(connection, model, run), run)
    said = "" if rule is None else no_candidates(connection, rule, members, values, anywhere=True)
    return said if said.startswith("not defined") else said and f"looked for, and none found: {said}"


def _no_subtype(connection: Connection, runs: Sequence[int], family: str | None, subtype: str) -> str:
    values: Values = {"runs": list(runs), "family": family}
    of_family = "" if family is None else "AND family = :family"
    statement = f"SELECT DISTINCT subtype FROM label_totals WHERE run_id = ANY(:runs) AND subtype <> '' {of_family} ORDER BY 1"
    known = list(connection.execute(text(statement), values).scalars())
    if not known or subtype in known:
        return ""
    asking = "" if family is None else f" of the family {family}"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    listed = f"{', '.join(known[:LISTED])}{more}"
    return f"no label{asking} has the subtype {subtype!r}{did_you_mean(subtype, known)}; there are {listed}"


def _no_excess(connection: Connection, runs: Sequence[int]) -> str:
    """That no run compared models; empty where one did."""
    if "correlations" in _parts(connection, runs):
        return ""
    several = text("SELECT 1 FROM run_models WHERE run_id = ANY(:runs) GROUP BY run_id HAVING count(*) > 1 LIMIT 1")
    if connection.execute(several, {"runs": list(runs)}).first() is not None:
        return _never(runs, "correlations", ("correlations",))
    return f"{_runs(runs)} has one model alone, and correlations need two; `catalog ingest` the seeds of a family together"


def _no_substitutions(connection: Connection, runs: Sequence[int]) -> str:
    """That no run replaced neurons by their matches; empty where one did."""
    if "substitution" in _parts(connection, runs):
        return ""
    return _no_excess(connection, runs) or _never(runs, "substitutions", ("substitution",))


def _never(runs: Sequence[int], what: str, wanted: Sequence[str]) -> str:
    return f"never measured: {_runs(runs)} has no {what}; repeat its `catalog ingest` with --only {','.join(wanted)}"


def _past_the_last(offset: int, total: int) -> str:
    return f"--offset {offset} is past the last of {total} rows"


def _parts(connection: Connection, runs: Sequence[int]) -> set[str]:
    answer = connection.execute(text("SELECT DISTINCT part FROM run_parts WHERE run_id = ANY(:runs)"), {"runs": list(runs)})
    return set(answer.scalars())


def _runs(runs: Sequence[int]) -> str:
    """The runs in words; of several, the newest stands for all."""
    return f"run {runs[-1]}"


def _named(model: str | None, runs: Sequence[int]) -> str:
    listed = f"run {runs[0]}" if len(runs) == 1 else f"runs {', '.join(map(str, runs))}"
    return listed if model is None else model


def _conditions(wanted: queries.LabelFilter) -> str:
    asked = {
        "--family": wanted.family,
        "--subtype": wanted.subtype,
        "--layer": None if wanted.layers is None else "-".join(map(str, dict.fromkeys(wanted.layers))),
        "--min-score": wanted.min_score,
        "--min-excess": wanted.min_excess,
        "--min-restored": wanted.min_restored,
    }
    said = [f"{option} {value}" for option, value in asked.items() if value is not None]
    return " ".join([*said, *([f"--universal {wanted.universal}"] if wanted.universal else [])]) or "any rule"


def _words(table: str) -> str:
    return table.replace("_", " ")
