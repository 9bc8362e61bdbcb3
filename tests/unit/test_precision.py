"""Precisions, flushes, states and halves of the accumulators, against float64 (DECISIONS, Numbers)."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.statistics import correlation as core
from ingest.statistics.layers import TokenBatch
from ingest.statistics.precision import add_product, exact_in, has_bf16, product_precision
from ingest.statistics.token_sums import TokenSumAccumulator
from tests import references

CPU = torch.device("cpu")
BOUND = {"fp32": 1e-5, "bf16": 1e-4}


def heavy_tailed(seed: int, n: int, n_neurons: int) -> torch.Tensor:
    """Activations as a GELU leaves them: mostly near zero, with rare large values, correlated."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(4, n_neurons, generator=torch.Generator().manual_seed(1))
    shared = torch.randn(n, 4, generator=generator)
    return torch.nn.functional.gelu(shared @ mix + torch.randn(n, n_neurons, generator=generator) - 1)


def correlations(products: core.Products, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    products.rest()
    sums = [core.NeuronSums(len(z), z.double().sum(0), (z.double() ** 2).sum(0)) for z in (x, y)]
    return core.correlate(products.total_, *sums).numpy()


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 3000), max_size=4),
    flush=st.sampled_from([1, 100, 65_536]),
    reverse=st.booleans(),
    symmetric=st.booleans(),
    seed=st.integers(0, 3),
)
def test_products_equal_the_definition(cuts: list[int], flush: int, reverse: bool, symmetric: bool, seed: int) -> None:
    x = heavy_tailed(seed, 3000, 37)
    y = x if symmetric else heavy_tailed(seed + 50, 3000, 29)
    edges = [0, *sorted(cuts), 3000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "FLUSH_TOKENS", flush if flush > 1 else 777)
        patch.setattr(core, "ROW_CHUNK_BYTES", 8 * 40 * 3)
        shards = []
        for first, last in pairwise(edges):
            shard = core.Products(x.shape[1], y.shape[1], CPU, symmetric=symmetric)
            shard.update(x[first:last], y[first:last])
            shards.append(shard)
        shards = shards[::-1] if reverse else shards
        for shard in shards[1:]:
            shards[0].merge({name: sums.numpy() for name, sums in shard.state().items()})
        found = correlations(shards[0], x, y)
    np.testing.assert_allclose(found, references.correlation(x.numpy(), y.numpy()), atol=1e-6)


def error(precision: str, activation: Callable[[torch.Tensor], torch.Tensor], rounded_pivots: bool) -> float:
    """Largest error of correlations of 60,000 tokens, some of neurons with themselves; squares as jobs take them."""
    x = activation(heavy_tailed(0, 60_000, 96))
    y = torch.cat([x[:, :32], x[:, 32:64] + 0.1 * activation(heavy_tailed(8, 60_000, 32)), x[:, :32].flip(0)], dim=1)
    exact = references.correlation(x.numpy(), y.numpy())
    assert exact.max() > 0.99
    sums, centred = [], []
    for values in (x, y):
        pivot = values[:4096].mean(0)
        centred.append(values - (exact_in(pivot, precision) if rounded_pivots else pivot))
        own = core.Products(96, 96, CPU, precision, symmetric=True)
        own.update(centred[-1], centred[-1])
        own.rest()
        sums.append(core.NeuronSums(len(x), centred[-1].double().sum(0), own.total_.diagonal().clone()))
    products = core.Products(96, 96, CPU, precision)
    products.update(*centred)
    products.rest()
    return float(np.abs(core.correlate(products.total_, *sums).numpy() - exact).max())


@pytest.mark.parametrize("activation", [torch.clone, torch.relu])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_error_of_a_precision_is_within_its_bound(precision: str, activation: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert error(precision, activation, rounded_pivots=True) < BOUND[precision]


@pytest.mark.skipif(not has_bf16(CPU), reason="this CPU has no bf16 instructions")
def test_a_pivot_that_bf16_rounds_is_an_error_in_every_token() -> None:
    assert error("bf16", torch.relu, rounded_pivots=False) > 2 * error("bf16", torch.relu, rounded_pivots=True)


@pytest.mark.skipif(not has_bf16(CPU), reason="this CPU has no bf16 instructions")
def test_bf16_rounds_inputs_only() -> None:
    x, y = heavy_tailed(1, 4096, 64), heavy_tailed(2, 4096, 64)
    total = torch.zeros(64, 64)
    add_product(total, x, y, "bf16")
    rounded = x.bfloat16().double().T @ y.bfloat16().double()
    scale = x.double().norm(dim=0)[:, None] * y.double().norm(dim=0)
    assert ((total - rounded).abs() / scale).max() < 1e-6
    assert not torch.equal(total, x.T @ y)


def test_flags_are_put_back() -> None:
    flags = torch.backends.mkldnn.matmul
    before = flags.fp32_precision
    with pytest.raises(ZeroDivisionError), product_precision("bf16", CPU):
        assert flags.fp32_precision == "bf16"
        raise ZeroDivisionError
    assert flags.fp32_precision == before
    x = heavy_tailed(3, 500, 64)
    exact = x.T @ x
    core.Products(64, 64, CPU, "bf16").update(x, x)
    assert torch.equal(x.T @ x, exact)


@pytest.mark.parametrize("n", [1, 5, 64, 131])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_symmetric_products_equal_the_full_ones(n: int, precision: str) -> None:
    x = heavy_tailed(4, 900, n)
    half, full = core.Products(n, n, CPU, precision, symmetric=True), core.Products(n, n, CPU, precision)
    for part in x.split(400):
        half.update(part, part)
        full.update(part, part)
    half.rest()
    full.rest()
    assert torch.equal(half.total_, half.total_.T)
    scale = x.double().norm(dim=0).square().max().item()
    torch.testing.assert_close(half.total_, full.total_, atol=1e-2 * scale if precision == "bf16" else 1e-6 * scale, rtol=0)


@pytest.mark.parametrize("symmetric", [False, True])
def test_states_of_shards_add_up(symmetric: bool) -> None:
    x = heavy_tailed(5, 1000, 20)
    whole, first, second = (core.Products(20, 20, CPU, symmetric=symmetric) for _ in range(3))
    whole.update(x[:600], x[:600])
    whole.flush()
    whole.update(x[600:], x[600:])
    first.update(x[:600], x[:600])
    second.update(x[600:], x[600:])
    for name, sums in second.state().items():
        assert sums.dtype == torch.float64
        first.state()[name] += sums
    for products in (whole, first):
        products.rest()
    assert torch.equal(whole.total_, first.total_)
    torch.testing.assert_close(whole.total_, x.double().T @ x.double(), rtol=1e-6, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 900), max_size=3), seed=st.integers(0, 3))
def test_token_sums_equal_the_definition_(cuts: list[int], seed: int) -> None:
    x = heavy_tailed(seed, 900, 9)
    generator = torch.Generator().manual_seed(seed)
    current = torch.randint(0, 150, (900,), generator=generator)
    previous = torch.cat([torch.tensor([-1]), current[:-1]])
    accumulator = TokenSumAccumulator(150, torch.zeros(9))
    edges = [0, *sorted(cuts), 900]
    for first, last in pairwise(edges):
        part, kept = slice(first, last), torch.arange(last - first)
        zero = torch.zeros(1, dtype=torch.int64)
        batch = TokenBatch(0, 1, 0, current[None, part], kept, current[part], previous[part], zero, zero)
        accumulator.update(batch, x[part], x[part])
    exact = np.stack([x.double().numpy()[current.numpy() == token].sum(0) for token in range(150)])
    np.testing.assert_allclose(accumulator.sums_, exact, rtol=1e-6, atol=1e-5)


def test_bytes_are_the_truth() -> None:
    products = core.Products(300, 200, CPU)
    x = heavy_tailed(6, 50, 300)
    products.update(x, x[:, :200])
    assert products.total_.nbytes + products._hot.nbytes == core.Products.bytes_needed(300, 200)
    products.rest()
    assert products.total_.nbytes + products._hot.nbytes == 8 * 300 * 200
