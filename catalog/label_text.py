"""What the SQL of all label rules shares."""

from typing import NamedTuple

# Place and excess correlation of the neuron stand in the label as well, for the sake of indexes.
INSERT = """
INSERT INTO labels (run_id, neuron_id, family, subtype, score, rule_version, evidence, model_id, layer, "index", excess_corr)
"""
PLACE = 'n.model_id, n.layer, n."index", u.excess_corr'
NEURON = """JOIN neurons n ON n.id = {alias}.neuron_id
  LEFT JOIN universality u ON u.run_id = {alias}.run_id AND u.neuron_id = {alias}.neuron_id"""


def threshold(family: str, parameter: str) -> str:
    """SQL for a value of the table `rules`, of the version `:version`."""
    return f"(SELECT value FROM rules WHERE rule_version = :version AND family = '{family}' AND parameter = '{parameter}')"


class Rule(NamedTuple):
    """How the labels of one family are made."""

    family: str
    parts: tuple[str, ...]
    """The parts of a run that it reads, each enough by itself; a run without any has no such labels."""
    insert: str
    needs: str = ""
    """SQL: whether the parts left anything that the rule can decide by; else the family was not looked for."""
