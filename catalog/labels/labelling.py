"""Labels: the rules of the parts (SPEC 6.6), applied to stored rows, with thresholds from the table `rules`.

Every statement inserts the labels of one family for one run. They read stored rows only, so that changed thresholds are
applied without a model, a corpus or a cache.
"""

from typing import Any

from sqlalchemy import Connection, text

from catalog import parts
from catalog.labels.totals import total_labels
from catalog.parts.rule import Rule, decided, threshold

# Place and excess correlation of the neuron stand in the label as well, for the sake of indexes.
_INSERT = """
INSERT INTO labels (run_id, neuron_id, family, subtype, score, sort_key, rule_version, evidence,
                    model_id, layer, "index", excess_corr, universal)
SELECT :run_id, found.neuron_id, '{family}', found.subtype, found.score, {sign}found.score, :version, found.evidence,
       n.model_id, n.layer, n."index", u.excess_corr, COALESCE(u.universal, 'no')
  FROM ({select}) AS found(neuron_id, subtype, score, evidence)
  JOIN neurons n ON n.id = found.neuron_id
  LEFT JOIN universality u ON u.run_id = :run_id AND u.neuron_id = found.neuron_id"""


_UNIVERSAL = decided(threshold("universal", "min_excess"))
_DECIDE = f"UPDATE universality SET universal = {_UNIVERSAL} WHERE run_id = :run_id AND universal <> {_UNIVERSAL}"


def decide_universal(connection: Connection, run_id: int, version: int) -> None:
    """Say which neurons of a run are universal, not, or undecided, by a version of the rules."""
    connection.execute(text(_DECIDE), {"run_id": run_id, "version": version})


def label_run(connection: Connection, run_id: int, version: int) -> dict[str, int]:
    """Say which neurons of a run are universal and replace its labels; returns how many each family has."""
    decide_universal(connection, run_id, version)
    connection.execute(text("DELETE FROM labels WHERE run_id = :run_id"), {"run_id": run_id})
    asked = rules_asked(connection, run_id)
    values = {
        "run_id": run_id,
        "version": version,
        "causes": [rule.family for rule in parts.rules() if rule.is_cause],
        "evaluated": [rule.family for rule in asked if rule.is_cause],
    }
    counts = {rule.family: _insert(connection, rule, values) for rule in asked}
    total_labels(connection, run_id, [*counts])
    return counts


def rules_asked(connection: Connection, run_id: int) -> list[Rule]:
    """The rules whose families can be looked for in a run, in order."""
    answer = connection.execute(text("SELECT part FROM run_parts WHERE run_id = :run_id"), {"run_id": run_id})
    known = set(answer.scalars())
    readable = [rule for rule in parts.rules() if {*parts.parts_of_rule(rule.family)} & known]
    return [
        rule
        for rule in readable
        if not rule.needs or connection.execute(text(f"SELECT {rule.needs}"), {"run_id": run_id}).scalar_one()
    ]


def _insert(connection: Connection, rule: Rule, values: dict[str, Any]) -> int:
    """Insert the labels of one family; returns how many."""
    statement = _INSERT.format(family=rule.family, select=rule.select, sign="" if rule.lowest_is_best else "-")
    asked_for = {name: value for name, value in values.items() if f":{name}" in statement}
    return connection.execute(text(statement), asked_for).rowcount
