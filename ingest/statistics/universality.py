"""Per-neuron universality from the best correlations in each other model (UN §4.1, SPEC §2.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ingest.statistics.correlation import DirectedCorrelations
from ingest.statistics.jackknife import error_over_blocks


@dataclass(frozen=True)
class BestMatches:
    """Best partner and baseline of every neuron of one model in one other model; undefined is NaN or -1."""

    max_corr: Float[np.ndarray, " neurons"]
    other: Int[np.ndarray, " neurons"]
    """Flat index of the partner in the other model."""
    baseline: Float[np.ndarray, " neurons"]
    """Mean over draws of each draw's largest correlation with a rotated unit."""
    baseline_sd: Float[np.ndarray, " neurons"]
    """Population standard deviation over draws; NaN for a single draw."""
    baseline_se: Float[np.ndarray, " neurons"]
    """Standard error of the mean over draws; NaN for a single draw."""
    baseline_layer: Int[np.ndarray, " neurons"]
    """Layer of the draw with the largest baseline."""
    without: Float[np.ndarray, "neurons blocks"]
    """What the best correlation is without each block of documents, less `max_corr`; no columns where blocks are too few."""
    baseline_without: Float[np.ndarray, "neurons blocks"]
    """The same of the baseline: mean over the first draws, each with the unit that is best over all documents."""

    @property
    def max_corr_se(self) -> Float[np.ndarray, " neurons"]:
        """Standard error of the best correlation, NaN where undefined."""
        return error_over_blocks(self.without)


def best_matches(
    directed: DirectedCorrelations,
    without: Float[np.ndarray, "neurons blocks"],
    baseline_without: Float[np.ndarray, "neurons blocks"],
    d_mlp: int,
) -> BestMatches:
    """Reduce one direction of a pair to its best partners.

    Args:
        without, baseline_without: see `BestMatches`.
        d_mlp: of the model that has the partners.
    """
    baseline = directed.baseline.double().numpy()
    draws = baseline.shape[1]
    defined = ~np.isnan(baseline).any(1)
    filled = np.where(defined[:, None], baseline, 0.0)
    largest = filled.argmax(1)
    layer = directed.baseline_unit.numpy()[np.arange(len(filled)), largest] // d_mlp
    deviation = np.where(defined & (draws > 1), filled.std(1), np.nan)
    return BestMatches(
        max_corr=directed.top_values[:, 0].numpy(),
        other=directed.top_index[:, 0].numpy(),
        baseline=np.where(defined, filled.mean(1), np.nan),
        baseline_sd=deviation,
        baseline_se=deviation / np.sqrt(max(1, draws - 1)),
        baseline_layer=np.where(defined, layer, -1),
        without=without,
        baseline_without=baseline_without,
    )


def mutual_best(a_to_b: BestMatches, b_to_a: BestMatches) -> np.ndarray:
    """bool (neurons of a,): the best partner's best partner is the neuron itself."""
    partner = a_to_b.other
    back = b_to_a.other[np.clip(partner, 0, None)]
    return (partner >= 0) & (back == np.arange(len(partner)))


@dataclass(frozen=True)
class Universality:
    """Summary over all other models, float64 per neuron; NaN where no other model defines it."""

    max_corr: np.ndarray
    mean_corr: np.ndarray
    min_corr: np.ndarray
    max_baseline: np.ndarray
    mean_baseline: np.ndarray
    min_baseline: np.ndarray
    excess_corr: np.ndarray
    """mean_corr - mean_baseline (eq. 3)."""
    mean_corr_se: np.ndarray
    """Standard error of mean_corr over blocks of documents, the same blocks left out of all models."""
    excess_se: np.ndarray
    """Standard error of excess_corr, over blocks, of which best correlations and baselines depend alike, and over draws."""
    n_models: np.ndarray
    """Other models in which the correlation is defined."""
    n_degenerate: np.ndarray
    """Other models in which it is not."""


def universality(matches: list[BestMatches]) -> Universality:
    """Combine the matches of one model in each of the other models (at least one)."""
    corr = np.stack([match.max_corr for match in matches]).astype(np.float64)
    base = np.stack([match.baseline for match in matches]).astype(np.float64)
    n_models = (~np.isnan(corr)).sum(0)
    c_max, c_mean, c_min = _spread(corr)
    b_max, b_mean, b_min = _spread(base)
    of_corr = _mean_without([match.without for match in matches], corr)
    of_excess = of_corr - _mean_without([match.baseline_without for match in matches], base)
    none = n_models == 0
    return Universality(
        max_corr=c_max,
        mean_corr=c_mean,
        min_corr=c_min,
        max_baseline=b_max,
        mean_baseline=b_mean,
        min_baseline=b_min,
        excess_corr=c_mean - b_mean,
        mean_corr_se=np.where(none, np.nan, error_over_blocks(of_corr)),
        excess_se=np.where(none, np.nan, np.hypot(error_over_blocks(of_excess), _draws_se(matches, base))),
        n_models=n_models,
        n_degenerate=len(matches) - n_models,
    )


def _mean_without(of_models: Sequence[Float[np.ndarray, "neurons blocks"]], values: np.ndarray) -> np.ndarray:
    """(neurons, blocks): what the mean over the models that define it is without each block, less what it is.

    Args:
        values: (models, neurons), NaN undefined.
    """
    assert len({without.shape[1] for without in of_models}) == 1, "all models of a run read the same documents"
    missing = np.isnan(values)
    summed = sum(np.where(gone[:, None], 0, without) for without, gone in zip(of_models, missing, strict=True))
    return np.asarray(summed) / np.maximum((~missing).sum(0), 1)[:, None]


def _draws_se(matches: list[BestMatches], base: np.ndarray) -> np.ndarray:
    """Standard error of the mean baseline over draws: models are rotated independently of each other."""
    errors = np.stack([match.baseline_se for match in matches])
    missing = np.isnan(base)
    variance = (np.where(missing, 0, errors) ** 2).sum(0) / np.maximum((~missing).sum(0), 1) ** 2
    return np.sqrt(variance)


def _spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Largest, mean and smallest over the first axis, ignoring NaN; NaN where all are."""
    missing = np.isnan(values)
    n = (~missing).sum(0)
    none = n == 0
    largest = np.where(missing, -np.inf, values).max(0)
    smallest = np.where(missing, np.inf, values).min(0)
    mean = np.where(missing, 0.0, values).sum(0) / np.maximum(n, 1)
    return tuple(np.where(none, np.nan, column) for column in (largest, mean, smallest))  # type: ignore[return-value]
