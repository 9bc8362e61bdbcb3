"""Rules of labels: what says that a neuron is of a family, its thresholds and words; see `catalog.labels.labelling`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.words import BOUND

Evidence = Mapping[str, Any]
"""What a rule looked at, by name, as it is kept with the label."""


@dataclass(frozen=True)
class Threshold:
    """A number of the table `rules`, which people change."""

    parameter: str
    value: float
    """What it is at first."""
    about: str
    least: float | None = None
    most: float | None = None
    """The stored measurements cannot answer for a value below, or above."""
    among: str = ""
    """SQL: the values that they can answer for, where these are single ones; no rows: nothing is stored yet."""
    beyond: str = ""
    """Why they cannot, and what would have to be measured."""


@dataclass(frozen=True)
class Rule:
    """How the labels of one family are made."""

    family: str
    about: str
    """What the neurons are."""
    select: str
    """SQL: neuron_id, subtype, score and evidence (jsonb) of each label of the run :run_id, by the rules of :version."""
    words: Callable[[Evidence], str]
    """What the rule looked at, for a person."""
    thresholds: tuple[Threshold, ...] = ()
    also: tuple[str, ...] = ()
    """Other parts that the rule reads, each enough by itself."""
    needs: str = ""
    """SQL: whether the parts left anything that the rule can decide by; else the family was not looked for."""
    lacking: str = ""
    """What a run lacks whose parts are there, but left nothing that the rule can decide by."""
    closest: str = ""
    """SQL: neurons by what the rule measures, best first; model, layer, neuron, and columns that explain themselves. It is
    about the members `m` (run_id, model_id, model), and binds :version, that of the rules, and :shown, how many it gives."""
    candidates: str = ""
    """SQL, of a rule that decides about few neurons, which were chosen before: model and candidates, how many these are, of
    each of the members `m` that was looked at."""
    unless: str = ""
    """When no neuron has what the rule measures."""
    lowest_is_best: bool = False
    """Of two labels the one with the lower score is the better."""
    is_cause: bool = False
    """Accounts for what a neuron does without a feature of the text that explains it."""
    of_activations: bool = False
    """It looks at activations on the corpus alone, so that a model whose neurons read permuted weights is its control."""
    by_chance: str = ""
    """SQL, where a formula tells it: the share of neurons that get a label by chance, of a model `o` of the member `m`."""
    asks_others: bool = False
    """Reads the labels of other families, and so comes last."""


def threshold(family: str, parameter: str) -> str:
    """SQL for a value of the table `rules`, of the version `:version`."""
    return f"(SELECT value FROM rules WHERE rule_version = :version AND family = '{family}' AND parameter = '{parameter}')"


def decided(least: str) -> str:
    """SQL: whether a neuron of universality is universal: yes, no or undecided.

    Args:
        least: SQL of the threshold of excess correlation.
    """
    # where the error is unknown, nothing is above the threshold for sure, nor below it
    return f"""CASE WHEN excess_corr IS NULL THEN 'no'
                      WHEN excess_corr - {BOUND} * excess_se > {least} THEN 'yes'
                      WHEN excess_corr + {BOUND} * excess_se <= {least} THEN 'no'
                      ELSE 'undecided' END"""


def in_force(family: str, parameter: str) -> str:
    """The same of the rules that labels are made by now, for views."""
    return (
        f"(SELECT r.value FROM public.rules r WHERE r.family = '{family}' AND r.parameter = '{parameter}' AND r.rule_version ="
        " (SELECT max(v.version) FROM public.rule_versions v WHERE v.published_at IS NOT NULL))"
    )


PARTNER = """o.layer || '.' || o."index\""""
"""SQL: the place of the neuron `o`, as the shell writes it."""


def measured(table: str, columns: str, order: str) -> str:
    """`Rule.closest` by one number of a table.

    Args:
        table: a table, or a statement in parentheses, of rows `s` of neurons.
        order: SQL, that begins with the number.
    """
    return f"""SELECT m.model, n.layer, n."index" AS neuron, {columns}
               FROM m JOIN public.neurons n ON n.model_id = m.model_id
               JOIN {table} s ON s.run_id = m.run_id AND s.neuron_id = n.id
               WHERE {order.split()[0]} IS NOT NULL ORDER BY {order}, 1, 2, 3 LIMIT :shown"""
