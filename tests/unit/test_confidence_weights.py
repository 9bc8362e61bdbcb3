"""Null space, direction of token frequency and candidates are what their definitions say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.roles.confidence_weights import (
    frequency_candidates,
    frequency_controls,
    frequency_cosines,
    null_dimensions,
    null_shares,
)
from ingest.roles.token_frequency import TokenFrequency

N, D_MODEL, IDS = 30, 24, 50


def weights(seed: int, n_ids: int = IDS, centred: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    w_out, w_u = torch.randn(N, D_MODEL, generator=generator), torch.randn(D_MODEL, n_ids, generator=generator)
    return (w_out - w_out.mean(1, keepdim=True), w_u - w_u.mean(0)) if centred else (w_out, w_u)


def test_as_many_directions_as_one_percent() -> None:
    assert [null_dimensions(d_model) for d_model in (16, 149, 151, 576, 4096)] == [1, 1, 2, 6, 41]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([12, 24, 50, 300]))
def test_the_null_space_is_that_of_singular_vectors(seed: int, n_ids: int) -> None:
    w_out, w_u = weights(seed, n_ids)
    about_mean = w_u.double() - w_u.double().mean(1, keepdim=True)
    squares = torch.linalg.eigh(about_mean @ about_mean.T)
    last = squares.eigenvectors[:, :1]
    expected = (w_out.double() @ last).norm(dim=1) / w_out.double().norm(dim=1)
    found = null_shares(w_out, w_u, centred=False)
    if n_ids > D_MODEL:
        np.testing.assert_allclose(found, expected, atol=1e-9)
    else:  # several directions are in no column, and any of them may be last
        np.testing.assert_array_less(0, found)


@pytest.mark.parametrize("seed", range(3))
def test_what_all_components_have_alike_is_no_direction_of_a_layer_norm(seed: int) -> None:
    w_out, w_u = weights(seed, centred=True)
    about_mean = (w_u.double() - w_u.double().mean(1, keepdim=True)).numpy()
    left, values, _ = np.linalg.svd(about_mean)
    assert values[-1] < 1e-5, "that of ones, which is left out"
    expected = np.abs(w_out.double().numpy() @ left[:, -2]) / np.linalg.norm(w_out.double().numpy(), axis=1)
    np.testing.assert_allclose(null_shares(w_out, w_u, centred=True), expected, atol=1e-5)


def test_a_neuron_that_writes_the_null_space_alone_has_all_of_it_there() -> None:
    w_out, w_u = weights(0)
    left = torch.linalg.svd(w_u - w_u.mean(1, keepdim=True)).U
    w_out[3], w_out[4], w_out[5] = 7 * left[:, -1], left[:, 0], 0
    found = null_shares(w_out, w_u, centred=False)
    assert found[3] == pytest.approx(1, abs=1e-6) and found[4] == pytest.approx(0, abs=1e-5) and np.isnan(found[5])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 10**6), min_size=IDS, max_size=IDS))
def test_cosines_are_those_of_effects_with_log_frequency(seed: int, counts: list[int]) -> None:
    w_out, w_u = weights(seed)
    frequency = TokenFrequency(np.array(counts))
    found = frequency_cosines(w_out, w_u, frequency.direction)
    effects = (w_out.double() @ w_u.double()).numpy()
    log_p = np.log(frequency.probability)
    if len(set(counts)) == 1:
        assert np.isnan(found).all()
    else:
        np.testing.assert_allclose(found, [np.corrcoef(effect, log_p)[0, 1] for effect in effects], atol=1e-6)


def test_without_an_effect_there_is_no_cosine() -> None:
    w_out, w_u = weights(0)
    w_out[2] = 0
    frequency = TokenFrequency(np.arange(IDS))
    assert np.isnan(frequency_cosines(w_out, w_u, frequency.direction)).nonzero()[0].tolist() == [2]


COSINES = st.lists(st.one_of(st.floats(-1, 1), st.just(np.nan)), min_size=1, max_size=300).map(np.array)


@given(COSINES)
def test_candidates_are_the_farthest_hundredth_to_either_side(cosines: np.ndarray) -> None:
    found = frequency_candidates(cosines)
    defined = np.abs(cosines[np.isfinite(cosines) & (cosines != 0)])
    assert len(found) >= (len(defined) > 0)
    if len(defined):
        least = np.percentile(defined, 99)
        assert found.tolist() == [i for i, cosine in enumerate(cosines) if cosine != 0 and abs(cosine) >= least]


@given(COSINES, st.integers(0, 5))
def test_controls_are_others_that_write_something(cosines: np.ndarray, seed: int) -> None:
    candidates = frequency_candidates(cosines)
    found = frequency_controls(cosines, candidates, seed)
    assert len(set(found.tolist())) == len(found) and not {*found.tolist()} & {*candidates.tolist()}
    assert np.isfinite(cosines[found]).all()
    others = int(np.isfinite(cosines).sum()) - len(candidates)
    assert len(found) == (min(others, max(100, 20 * len(candidates))) if len(candidates) else 0)
    np.testing.assert_array_equal(found, frequency_controls(cosines, candidates, seed))
