"""Pieces of statements that several questions are put together from; they name nothing but columns from fixed lists."""

import math
from collections.abc import Mapping

from catalog.answers import Values
from catalog.errors import InputError
from catalog.questions.known import schema_of
from catalog.words import UNIVERSAL_STATES


def members_asked(model: str | None, run: int | None) -> tuple[str, Values]:
    """A statement for the models that answer, each with its run, and its values."""
    conditions, values = of_members("b", model, run)
    return f"SELECT b.run_id, b.model_id, b.model FROM {schema_of(run)}.members b {where(conditions)}", values


def of_members(alias: str, model: str | None, run: int | None) -> tuple[list[str], Values]:
    """Conditions on a relation with the columns run_id and model."""
    conditions: list[str] = []
    values: Values = {}
    if run is not None:
        conditions.append(f"{alias}.run_id = :run")
        values["run"] = run
    if model is not None:
        conditions.append(f"{alias}.model = :model")
        values["model"] = model
    return conditions, values


def of_layers(alias: str, layers: tuple[int, int] | None, values: Values) -> list[str]:
    """The condition on the layer; its values are added.

    Raises:
        InputError: the first layer is after the last, or below 0.
    """
    if layers is None:
        return []
    if not 0 <= layers[0] <= layers[1]:
        raise InputError(f"layers {layers[0]} to {layers[1]} are no range; give the first and the last layer, from 0.")
    values |= {"first_layer": layers[0], "last_layer": layers[1]}
    return [f"{alias}.layer BETWEEN :first_layer AND :last_layer"]


def where(conditions: list[str]) -> str:
    return "WHERE " + " AND ".join(conditions) if conditions else ""


def joined(*orders: str) -> str:
    return ", ".join(order for order in orders if order)


def order_of(sort: str, orders: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    if sort not in orders:
        raise InputError(f"--sort {sort!r} is no order; choose from {', '.join(orders)}.")
    return orders[sort]


def pages(limit: int, offset: int, values: Values) -> tuple[str, str]:
    """LIMIT for each model and LIMIT for all of them; the values are added.

    Raises:
        InputError: one of the two is negative.
    """
    check_page(limit, offset)
    values["offset"] = offset
    if limit == 0:
        return "", "OFFSET :offset"
    values |= {"limit": limit, "first": limit + offset}
    return "LIMIT :first", "LIMIT :limit OFFSET :offset"


def check_page(limit: int, offset: int = 0) -> None:
    """Raises:
    InputError: one of the two is negative.
    """
    if limit < 0 or offset < 0:
        options = f"--limit {limit}" + (f" --offset {offset}" if offset else "")
        raise InputError(f"{options}: neither may be negative; --limit 0 shows all.")


def check_finite(option: str, value: float | None) -> None:
    """Raises:
    InputError: the value is infinite or no number, and no row could be compared with it.
    """
    if value is not None and not math.isfinite(value):
        raise InputError(f"{option} {value} is no finite number; give one.")


def check_state(option: str, state: str | None) -> None:
    """Raises:
    InputError: neurons are neither of it nor not.
    """
    if state is not None and state not in UNIVERSAL_STATES:
        raise InputError(f"{option} {state!r} is no state; choose from {', '.join(UNIVERSAL_STATES)}.")
