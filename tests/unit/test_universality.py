"""Best matches and the errors of their baselines, from what tiles leave."""

import numpy as np
import pytest
import torch

from ingest.statistics.correlation import DirectedCorrelations
from ingest.statistics.universality import best_matches


def directed(baseline: np.ndarray) -> DirectedCorrelations:
    n, draws = baseline.shape
    values = torch.linspace(0.9, 0.1, n, dtype=torch.float64)[:, None]
    units = 6 * torch.arange(draws).repeat(n, 1) + 5
    return DirectedCorrelations(values, torch.arange(n)[:, None], torch.from_numpy(baseline).float(), units, 0.0 * units)


@pytest.mark.parametrize("draws", [2, 8])
def test_the_error_of_a_baseline_is_that_of_the_mean_over_draws(draws: int) -> None:
    baseline = np.random.default_rng(draws).uniform(0.1, 0.3, (5, draws)).astype(np.float32)
    baseline[2, -1] = np.nan
    match = best_matches(directed(baseline), np.zeros((5, 0)), np.zeros((5, 0)), 6)
    assert match.baseline_layer.tolist() == [-1 if i == 2 else row.argmax() for i, row in enumerate(baseline)]
    expected = baseline.astype(float).std(axis=1, ddof=1) / np.sqrt(draws)
    np.testing.assert_allclose(match.baseline_se, expected, rtol=1e-6)
    np.testing.assert_allclose(match.baseline_se, match.baseline_sd / np.sqrt(draws - 1), rtol=1e-6)
    assert np.isnan(match.baseline_se).tolist() == [False, False, True, False, False]


def test_one_draw_and_no_blocks_have_no_error() -> None:
    match = best_matches(directed(np.full((3, 1), 0.2, dtype=np.float32)), np.zeros((3, 0)), np.zeros((3, 0)), 6)
    assert np.isnan(match.baseline_se).all() and np.isnan(match.max_corr_se).all() and (match.baseline == np.float32(0.2)).all()
