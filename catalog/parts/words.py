"""Numbers in words for a person, as the words of rules need them."""

import math
from typing import Any


def shown(value: Any) -> str:
    """Three digits of a fraction, a whole number with its thousands, or a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def with_error(value: float | None, error: float | None) -> str:
    """A number with its standard error, 0.153 ± 0.004: the error with one figure, two where the first is 1, the number with as
    many decimals. Without an error the number alone."""
    if value is None or error is None or not math.isfinite(error):
        return shown(value)
    if error <= 0:
        return f"{value:.3g} ± 0"
    exponent = math.floor(math.log10(error))
    decimals = -exponent + (error < 2 * 10.0**exponent)
    if -6 <= exponent < 6:
        return f"{value:.{max(decimals, 0)}f} ± {error:.{max(decimals, 0)}f}"
    return f"{value:.3g} ± {error:.2g}"


def percent(value: float | None) -> str:
    """A share as a percentage."""
    return "–" if value is None else f"{100 * value:.3g} %"


def percent_with_error(value: float | None, error: float | None) -> str:
    """A share and its standard error as percentages."""
    return "–" if value is None else f"{with_error(100 * value, None if error is None else 100 * error)} %"


def signed(value: float | None, unit: str = "") -> str:
    """A change, with its sign."""
    return "–" if value is None else f"{value:+.3g}{unit}"


OF_FAMILY = {"family": "The group of seeds of one architecture that the model belongs to."}
"""Of the column `family` of views of models."""

EFFECTS = {
    "n_in": "Tokens of the vocabulary with the feature.",
    "n_out": "Tokens of the vocabulary without it.",
    "mean_difference": "Mean effect on logits of tokens with the feature less that of others; above 0 it promotes them.",
    "variance_reduction": "Share of the variance of the effects that the feature explains (UN 5.1, SPEC 7).",
}
"""Of columns of views that say which class of tokens an effect on the logits is about."""


RANK_IN_LAYER = "Rank of {} among the neurons of its layer, 0 to 100, ties averaged."
