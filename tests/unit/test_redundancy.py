"""Similar neurons: blocks of any size give what sorting the whole matrix of cosines gives (SPEC §4, §10)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.roles.redundancy import SimilarNeurons, similar_neurons, similar_rows

pytestmark = pytest.mark.usefixtures("two_threads")


def assert_by_definition(found: SimilarNeurons, vectors: np.ndarray, k: int) -> None:
    n = len(vectors)
    norms = np.linalg.norm(vectors, axis=1)
    real = norms > 0
    cosine = np.where(
        real[:, None] & real, vectors @ vectors.T / np.where(real[:, None] & real, np.outer(norms, norms), 1), np.nan
    )
    np.fill_diagonal(cosine, np.nan)
    for partners, cosines, sign in (
        (found.nearest, found.nearest_cosine, 1),
        (found.opposite, found.opposite_cosine, -1),
    ):
        assert partners.shape == cosines.shape == (n, k)
        assert partners.dtype == np.int64 and cosines.dtype == np.float32
        best = np.sort(np.where(np.isnan(cosine), np.inf, -sign * cosine), axis=1)[:, :k]
        best = np.pad(best, ((0, 0), (0, k - best.shape[1])), constant_values=np.inf)
        expected = np.where(np.isinf(best), np.nan, -sign * best)
        np.testing.assert_allclose(cosines, expected, atol=1e-6)
        np.testing.assert_array_equal(partners < 0, np.isnan(expected))
        taken = partners >= 0
        rows = np.broadcast_to(np.arange(n)[:, None], taken.shape)
        np.testing.assert_allclose(cosine[rows[taken], partners[taken]], cosines[taken], atol=1e-6)
        assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in partners)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), n=st.integers(1, 70), k=st.integers(1, 9), side=st.integers(1, 80))
def test_any_blocks_give_the_definition(seed: int, n: int, k: int, side: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(n, 12, generator=generator) * torch.randint(0, 4, (n, 1), generator=generator)
    done: list[int] = []
    assert_by_definition(similar_rows(vectors, k, done.append, side), vectors.double().numpy(), k)
    assert sum(done) == n


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), side=st.integers(1, 60))
def test_equal_cosines_stand_by_lowest_index(seed: int, side: int) -> None:
    """Along the axes, so that cosines are exactly -1, 0 and 1, many of them equal."""
    generator = np.random.default_rng(seed)
    axes = np.eye(3)[generator.integers(0, 3, 50)] * generator.choice([-2.0, 1.0, 4.0], 50)[:, None]
    found = similar_rows(torch.from_numpy(axes).float(), 6, side=side)
    cosine = np.sign(axes) @ np.sign(axes).T
    np.fill_diagonal(cosine, np.nan)
    for partners, cosines, score in (
        (found.nearest, found.nearest_cosine, -cosine),
        (found.opposite, found.opposite_cosine, cosine),
    ):
        expected = np.argsort(score, axis=1, kind="stable")[:, :6]  # NaN comes last
        np.testing.assert_array_equal(partners, expected)
        np.testing.assert_array_equal(cosines, np.take_along_axis(cosine, expected, axis=1))
    for partners, mutual in ((found.nearest, found.nearest_mutual), (found.opposite, found.opposite_mutual)):
        assert mutual.tolist() == [partners[partners[i, 0], 0] == i for i in range(50)]


def test_over_all_layers_by_input_and_by_output() -> None:
    generator = torch.Generator().manual_seed(0)
    w_in, w_out = torch.randn(3, 40, 11, generator=generator), torch.randn(3, 11, 40, generator=generator)
    w_in[2, :, 4] = 3 * w_in[0, :, 7]
    w_out[1, 2] = -0.5 * w_out[2, 9]
    w_out[0, 0] = 0
    done: list[int] = []
    found = similar_neurons(w_in, w_out, 5, done.append, side=16)
    assert sum(done) == 2 * 33
    assert_by_definition(found["w_in"], w_in.double().transpose(1, 2).flatten(0, 1).numpy(), 5)
    assert_by_definition(found["w_out"], w_out.double().flatten(0, 1).numpy(), 5)
    copy, original = 2 * 11 + 4, 7
    assert found["w_in"].nearest[[copy, original], 0].tolist() == [original, copy]
    assert found["w_in"].nearest_mutual[[copy, original]].all()
    one, other = 11 + 2, 2 * 11 + 9
    assert found["w_out"].opposite[[one, other], 0].tolist() == [other, one]
    assert found["w_out"].opposite_mutual[[one, other]].all()
    np.testing.assert_allclose(found["w_out"].opposite_cosine[[one, other], 0], -1, atol=1e-6)
    assert (found["w_out"].nearest[0] == -1).all() and not found["w_out"].nearest_mutual[0]
    assert 0 not in found["w_out"].nearest[1:] and 0 not in found["w_out"].opposite[1:]


def test_cosines_stay_within_one() -> None:
    vectors = torch.randn(1, 30, generator=torch.Generator().manual_seed(4)).repeat(40, 1) * torch.arange(1, 41)[:, None]
    found = similar_rows(vectors, 3, side=8)
    assert (found.nearest_cosine <= 1).all() and (found.nearest_cosine > 1 - 1e-6).all()
