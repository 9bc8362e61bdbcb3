"""The compiled loops and what stands for them on a GPU, against float64, on tensors and on columns of wider tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.statistics import loops, moments, token_sums

VARIANTS = {"cpu": (loops.add_powers, loops.add_rows), "gpu": (moments.add_powers, token_sums.add_rows)}

shapes = st.tuples(st.integers(0, 2100), st.integers(1, 40), st.integers(0, 7), st.integers(0, 7))


def columns(shape: tuple[int, int, int, int], seed: int) -> torch.Tensor:
    """Some adjacent columns of a wider tensor, heavy-tailed."""
    n, width, before, after = shape
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(n, before + width + after, generator=generator) ** 3)[:, before : before + width]


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=30, deadline=None)
@given(shape=shapes, seed=st.integers(0, 99))
def test_powers(variant: str, shape: tuple[int, int, int, int], seed: int) -> None:
    x = columns(shape, seed)
    sums = torch.full((4, x.shape[1]), 7.0, dtype=torch.float64)
    VARIANTS[variant][0](x, sums)
    exact = np.stack([(x.double().numpy() ** k).sum(0) for k in range(1, 5)])
    scale = np.stack([(np.abs(x.double().numpy()) ** k).sum(0) for k in range(1, 5)])
    assert (np.abs(sums.numpy() - 7 - exact) <= 1e-6 * scale + 1e-12).all()


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=30, deadline=None)
@given(shape=shapes, seed=st.integers(0, 99), n_ids=st.integers(1, 9))
def test_rows(variant: str, shape: tuple[int, int, int, int], seed: int, n_ids: int) -> None:
    x = columns(shape, seed)
    ids = torch.randint(-1, n_ids, (len(x),), generator=torch.Generator().manual_seed(seed))
    sums = torch.full((n_ids, x.shape[1]), -3.0, dtype=torch.float64)
    VARIANTS[variant][1](x, ids, sums)
    exact = np.stack([x.double().numpy()[ids.numpy() == token].sum(0) for token in range(n_ids)])
    np.testing.assert_allclose(sums.numpy() + 3, exact, rtol=1e-12, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(shape=shapes, seed=st.integers(0, 99))
def test_positive(shape: tuple[int, int, int, int], seed: int) -> None:
    x = columns(shape, seed).round(decimals=0)  # zeros of both signs among them
    count = torch.full((x.shape[1],), 5)
    loops.add_positive(x, count)
    assert count.tolist() == ((x > 0).sum(0) + 5).tolist()


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_not_finite_stays_so(variant: str) -> None:
    x = torch.zeros(600, 3)
    x[300, 0], x[500, 1] = torch.nan, torch.inf
    powers = torch.zeros(4, 3, dtype=torch.float64)
    VARIANTS[variant][0](x, powers)
    assert powers[:, 0].isnan().all() and powers[:, 1].isinf().all() and (powers[:, 2] == 0).all()
    rows = torch.zeros(1, 3, dtype=torch.float64)
    VARIANTS[variant][1](x, torch.zeros(600, dtype=torch.int64), rows)
    assert rows[0, 0].isnan() and rows[0, 1].isinf() and rows[0, 2] == 0


@pytest.mark.parametrize("error", [RuntimeError("no locator available"), OSError("no space left")])
def test_compiles_where_nothing_can_be_kept(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bool] = []
    njit = loops.njit

    def refuses_to_keep(signature: str, cache: bool = False, **options: Any) -> Callable[..., Any]:
        tried.append(cache)
        if cache:
            raise error
        return njit(signature, **options)  # type: ignore[no-any-return]

    def double(x: np.ndarray) -> None:
        for i in range(len(x)):
            x[i] *= 2

    monkeypatch.setattr(loops, "njit", refuses_to_keep)
    x = np.arange(5, dtype=np.float32)
    loops.compiled("void(f4[::1])")(double)(x)
    assert tried == [True, False]
    assert x.tolist() == [0, 2, 4, 6, 8]
