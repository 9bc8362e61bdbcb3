"""Moments: any split, any merge order, equal the float64 definition (SPEC §3.1, §17 oracle 6)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.statistics.moments import FrequencyAccumulator, MomentAccumulator
from tests import references


def accumulate(x: torch.Tensor, pivot: torch.Tensor, cuts: list[int]) -> MomentAccumulator:
    accumulator = MomentAccumulator(pivot)
    for part in torch.tensor_split(x - pivot, sorted(cuts)):
        accumulator.update(part)
    return accumulator


def test_oracle_of_eight_numbers() -> None:
    x = torch.tensor([-3.0, -1, 0, 0, 0, 1, 1, 2])[:, None]
    result = accumulate(x, torch.zeros(1), [3]).compute()
    assert result.mean.item() == pytest.approx(0)
    assert result.var.item() == pytest.approx(2)
    assert result.skew.item() == pytest.approx(-0.795495, abs=1e-6)
    assert result.kurt.item() == pytest.approx(3.125)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(2, 900),
    cuts=st.lists(st.integers(1, 800), max_size=4),
    offset=st.sampled_from([0.0, 10.0, -300.0]),
    seed=st.integers(0, 10),
)
def test_any_split_equals_the_definition(n: int, cuts: list[int], offset: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=generator) ** 3 + offset
    pivot = x[: max(1, n // 3)].mean(0)
    result = accumulate(x, pivot, [cut % n for cut in cuts]).compute()
    # the pivot is subtracted in fp32, so the reference sees the same rounded differences
    expected = references.moments((x - pivot).numpy())
    np.testing.assert_allclose(result.mean - pivot.double(), expected["mean"], atol=1e-5 * expected["var"].max() ** 0.5)
    for name in ("var", "skew", "kurt"):
        np.testing.assert_allclose(getattr(result, name), expected[name], rtol=1e-5, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(4)))
def test_merge_in_any_order_equals_one_pass(order: list[int]) -> None:
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    pivot = x[:50].mean(0)
    parts = [accumulate(part, pivot, []) for part in x.split(100)]
    merged = MomentAccumulator(pivot)
    for i in order:
        merged.merge({name: sums.numpy() for name, sums in parts[i].state().items()})
    assert merged.n == len(x)
    whole = accumulate(x, pivot, []).compute()
    for name in ("mean", "var", "skew", "kurt"):
        torch.testing.assert_close(getattr(merged.compute(), name), getattr(whole, name), rtol=1e-6, atol=1e-7)


def test_nothing_seen_is_an_error() -> None:
    with pytest.raises(ValueError, match="no tokens"):
        MomentAccumulator(torch.zeros(2)).compute()


def test_constant_neuron_is_degenerate_not_zero() -> None:
    x = torch.stack([torch.ones(50), torch.arange(50.0)], dim=1)
    result = accumulate(x, x.mean(0), [20]).compute()
    assert result.degenerate.tolist() == [True, False]
    assert result.var[0] == 0
    assert result.skew[0].isnan() and result.kurt[0].isnan()
    assert result.kurt[1].isfinite()


def test_frequency_counts_strictly_positive() -> None:
    counter = FrequencyAccumulator(3, torch.device("cpu"))
    counter.update(torch.tensor([[0.0, 1e-9, -1.0]]))
    counter.update(torch.tensor([[2.0, 1.0, 0.0], [3.0, 1.0, -0.05]]))
    np.testing.assert_allclose(counter.compute(), [2 / 3, 1, 0])
    other = FrequencyAccumulator(3, torch.device("cpu"))
    other.update(torch.tensor([[1.0, -1.0, -1.0]]))
    counter.merge({name: sums.numpy() for name, sums in other.state().items()})
    np.testing.assert_allclose(counter.compute(), [3 / 4, 3 / 4, 0])
