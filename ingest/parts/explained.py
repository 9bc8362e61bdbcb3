"""What features of positions explain of a neuron: from sums by feature to explanations, and to rows of the catalog."""

from collections.abc import Iterator

import numpy as np

from ingest.features.scores import LEAST_SUPPORT, Neurons, class_statistics, kept_rows
from ingest.parts.arrays import Arrays, Ids, TableRows
from ingest.statistics.features import FeatureAccumulator
from ingest.statistics.moments import LEAST_VARIANCE

SHIFTS = np.array(["current", "previous"], dtype=object)


def explain_features(accumulator: FeatureAccumulator, least_support: int = LEAST_SUPPORT) -> Arrays:
    """The explanations that are kept: per neuron the best five of these features, and the best of each shift.

    Returns:
        Columns of explanations; `neuron_index` and `feature_index` are places. No rows for neurons that do not vary.
    """
    counts, sums = accumulator.counts_.cpu().numpy(), accumulator.sums_.cpu().numpy()
    squares = accumulator.squares_.cpu().numpy()
    n, n_features = int(counts[-1]), len(counts) // 2
    neurons = neurons_of(n, sums[-1], squares, accumulator.pivot.double().cpu().numpy())
    current, previous = (
        class_statistics(counts[part], sums[part], sums[-1], max(n, 1), neurons, least_support)
        for part in (slice(n_features), slice(n_features, -1))
    )
    return kept_rows([current, previous], n, neurons)


def neurons_of(n: int, sums: np.ndarray, squares: np.ndarray, pivot: np.ndarray) -> Neurons:
    """Means and variances from (neurons,) sums about the pivot over n positions."""
    centre = sums / max(n, 1)
    variance = squares / max(n, 1) - centre**2
    varies = variance * n > LEAST_VARIANCE * np.maximum(squares, 1)
    return Neurons(0, centre, pivot, np.where(varies, variance, np.nan))


def explanation_columns(arrays: Arrays, ids: Ids) -> Iterator[TableRows]:
    """Rows of explanations; their features are places, until they have keys."""
    numbers = ("variance_reduction", "n_in", "n_out", "mean_in", "mean_out", "cohen_d")
    yield (
        "explanations",
        {
            "neuron_id": ids[arrays["neuron_index"]],
            "feature_id": arrays["feature_index"].astype(np.int32),
            "shift": SHIFTS[arrays["shift"]],
            **{name: arrays[name] for name in numbers},
            "rank": arrays["rank"].astype(np.int32),
        },
    )
