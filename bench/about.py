"""What a person needs to know of a family of labels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """What a person needs to know of a family."""

    what: str
    closest: str = ""
    """SQL: neurons by what the rule measures, best first; model, layer, neuron, and columns that explain themselves."""
    unless: str = ""
    """When no neuron has what the rule measures."""
