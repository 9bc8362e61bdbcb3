"""What features of positions explain of a neuron: from sums by feature to explanations, and to rows of the catalog."""

from collections.abc import Iterator

import numpy as np

from ingest.features.held_out import DIRECTION, PARTIAL, Scores, ShiftSums, Totals
from ingest.features.scores import LEAST_SUPPORT
from ingest.parts.arrays import Arrays, Ids, TableRows
from ingest.statistics.features import FeatureAccumulator
from ingest.statistics.given_token import Partial

SHIFTS = np.array(["current", "previous"], dtype=object)
NUMBERS = (
    "variance_reduction",
    "chosen_variance_reduction",
    "held_out_variance_reduction",
    "variance_reduction_se",
    "held_out_variance_reduction_se",
    "n_in",
    "n_out",
    "mean_in",
    "mean_out",
    "mean_in_se",
    "mean_out_se",
    "cohen_d",
    *(f"{name}_{side}{end}" for name in DIRECTION for side in ("in", "out") for end in ("", "_se")),
    *PARTIAL,
)
"""Columns of explanations that `Scores` finds."""


def explain_features(
    accumulator: FeatureAccumulator, partial: Partial | None = None, least_support: int = LEAST_SUPPORT
) -> Arrays:
    """The explanations that are kept: per neuron the best five of these features, and the best of each shift.

    Args:
        accumulator: of features of the current token, which are directed, and of as many of the previous one.
        partial: what those of the current token explain given it.
    Returns:
        Columns of explanations; `neuron_index` and `feature_index` are places. No rows for neurons that do not vary.
    """
    made, n_features = accumulator, accumulator.n_directed
    counts, sums, squares = (values.cpu().numpy() for values in (made.counts_, made.sums_, made.squares_))
    activity = [values.cpu().numpy() for values in (made.active_, made.rectified_)]
    current, previous = slice(n_features), slice(n_features, -1)
    pivot = made.pivot.double().cpu().numpy()
    # without features there is no last entry of all positions
    of_all = [values[:, n_features:].sum(1) for values in activity]
    totals = Totals(0, counts[:, -1], sums[:, -1], squares, pivot, np.ones(len(pivot), dtype=bool), of_all)
    directed = [values[:, :n_features] for values in activity]
    shifts = [
        ShiftSums.of_each(counts[:, current], sums[:, current], directed, partial),
        ShiftSums.of_each(counts[:, previous], sums[:, previous]),
    ]
    return Scores(shifts, totals, least_support).kept_rows()


def of_sets(accumulator: FeatureAccumulator) -> Partial:
    """What sets of tokens explain given the token: nothing, for a token is in the set or not."""
    shape = accumulator.n_directed, len(accumulator.pivot)
    overlap = np.where(accumulator.counts_[:, : shape[0]].sum(0).cpu().numpy() > 0, 0.0, np.nan)
    return Partial(np.full(shape, np.nan), np.full(shape, np.nan), overlap)


def explanation_columns(arrays: Arrays, ids: Ids) -> Iterator[TableRows]:
    """Rows of explanations; their features are places, until they have keys."""
    yield (
        "explanations",
        {
            "neuron_id": ids[arrays["neuron_index"]],
            "feature_id": arrays["feature_index"].astype(np.int32),
            "shift": SHIFTS[arrays["shift"]],
            **{name: arrays[name] for name in NUMBERS},
            "rank": arrays["rank"].astype(np.int32),
        },
    )
