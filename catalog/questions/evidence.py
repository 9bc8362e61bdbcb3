"""What a label's rule looked at, in words for a person."""

from catalog import parts
from catalog.parts.rule import Evidence
from catalog.parts.words import shown


def in_words(family: str, evidence: Evidence) -> str:
    """What the rule of a family looked at; names and values where no part knows such a rule any more."""
    rule = parts.rule_of(family)
    if rule is not None:
        return rule.words(evidence)
    return ", ".join(f"{name} {shown(value)}" for name, value in evidence.items() if value is not None)
