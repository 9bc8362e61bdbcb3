"""What of a run is not defined for its models: what gets no jobs and no rows, and what is NULL, with the reason."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from ingest.checkpoints.undefined import Described
from ingest.parts import MEASURES, MODEL_MEASURES
from ingest.parts.measure import Measure


class Undefined(NamedTuple):
    """Something that a part of a run has not of one model."""

    model: int
    """Index into the models of the run."""
    part: str
    measure: str
    left_out: tuple[str, ...]
    """Tables without rows of the model, and columns that are NULL."""
    reason: str


def reason_of(measure: Measure, model: Described, context: int) -> str | None:
    """Why all of a measure is left out for a model, be it for what it needs; None where it is not."""
    reason = measure.undefined(model, context)
    if reason is None and measure.undefined_in_part(model, context) is None:
        needed = (m for m in MODEL_MEASURES.values() if {*m.provides} & {*measure.needs})
        reason = next((why for provider in needed if (why := reason_of(provider, model, context)) is not None), None)
    return reason


def undefined_of(parts: Collection[str], models: Sequence[Described], context: int) -> list[Undefined]:
    """What these parts of a run have not, by model and in the order of measures.

    Args:
        context: tokens of a row.
    """
    wanted = [measure for measure in MEASURES if measure.part in parts]
    return [u for number, model in enumerate(models) for measure in wanted for u in _of(measure, number, model, context)]


def _of(measure: Measure, number: int, model: Described, context: int) -> Iterator[Undefined]:
    reason = reason_of(measure, model, context)
    lacking = measure.undefined_in_part(model, context) if reason is None else None
    if reason is not None and measure.tables:
        yield Undefined(number, measure.part, measure.name, measure.tables, reason)
    elif lacking is not None:
        yield Undefined(number, measure.part, measure.name, lacking.left_out, lacking.reason)


def sentences(undefined: Sequence[Undefined], names: Sequence[str]) -> Iterator[str]:
    """What people are told: one sentence for each reason, and for each set of parts that models lack for it.

    Args:
        names: of the models.
    """
    lacking: dict[tuple[str, int], dict[str, None]] = {}
    for u in undefined:
        lacking.setdefault((u.reason, u.model), {})[u.part] = None
    models: dict[tuple[str, str], list[str]] = {}
    for (reason, model), lacked in lacking.items():
        models.setdefault((reason, ", ".join(lacked)), []).append(names[model])
    for (reason, parts), of_models in models.items():
        named = ", ".join(of_models)
        yield f"not all of {parts} is defined for {named}, because {reason}; run_undefined says what is left out"
