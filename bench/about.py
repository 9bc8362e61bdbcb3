"""What a person needs to know of a family of labels."""

from dataclasses import dataclass

VERSION = "(SELECT max(version) FROM rule_versions WHERE published_at IS NOT NULL)"
"""SQL: the rules that labels are made by."""


@dataclass(frozen=True)
class About:
    """What a person needs to know of a family."""

    what: str
    closest: str = ""
    """SQL: neurons by what the rule measures, best first; model, layer, neuron, and columns that explain themselves."""
    unless: str = ""
    """When no neuron has what the rule measures."""


def threshold(family: str, parameter: str) -> str:
    """SQL: a threshold of these rules."""
    return f"(SELECT value FROM rules WHERE rule_version = {VERSION} AND family = '{family}' AND parameter = '{parameter}')"
