"""The CUDA path gives what the CPU path gives; skipped where there is no CUDA device."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ingest.statistics.correlation import Products
from ingest.statistics.examples import ExampleAccumulator
from ingest.statistics.layers import TokenBatch
from ingest.statistics.moments import MomentAccumulator
from ingest.statistics.ngrams import ActivityAccumulator
from ingest.statistics.token_sums import TokenSumAccumulator
from tests.acceptance.ingests import assert_same, contract, run_ingest, small_corpus, tiny_family

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

TOLERANCE = {"fp32": 1e-5, "tf32": 1e-4, "bf16": 1e-4}


@pytest.mark.parametrize("precision", TOLERANCE)
def test_products_agree_with_float64(precision: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(50_000, n, generator=generator) for n in (96, 64))
    products = Products(96, 64, torch.device("cuda"), precision)
    for part_x, part_y in zip(x.split(4096), y.split(4096), strict=True):
        products.update(part_x.cuda(), part_y.cuda())
    products.flush()
    exact = x.double().T @ y.double()
    scale = torch.outer(x.double().norm(dim=0), y.double().norm(dim=0))
    assert ((products.total_.cpu() - exact).abs() / scale).max() < TOLERANCE[precision]


def test_moments_and_token_sums_agree_with_the_cpu() -> None:
    x = torch.randn(5000, 70)
    ids = torch.randint(0, 30, (5000,))
    found = []
    for device in ("cpu", "cuda"):
        moments = MomentAccumulator(torch.zeros(70, device=device))
        sums = TokenSumAccumulator(30, torch.zeros(70, device=device))
        for part, current in zip(x.split(999), ids.split(999), strict=True):
            moments.update(part.to(device))
            own, moved = current.to(device), part.to(device)
            sums.update(TokenBatch(0, 1, 0, own[None], own, own, own, own, own), moved, moved)
        found.append((moments.power_sums_.cpu().numpy(), sums.sums_.cpu().numpy()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-3)


def test_examples_are_those_of_the_cpu() -> None:
    """To the bit: of equal activations, with ties and repeated contexts."""
    tokens = torch.randint(0, 4, (60, 50), generator=torch.Generator().manual_seed(1))
    post = torch.randn(60, 50, 40, generator=torch.Generator().manual_seed(2)).round(decimals=2)
    found = []
    for device in ("cpu", "cuda"):
        made = ExampleAccumulator(50, 40, 7, torch.device(device))
        for first in range(0, 60, 20):
            own = tokens[first : first + 20].to(device)
            kept = (own != 0).flatten().nonzero().squeeze(1)
            batch = TokenBatch(first, 20, 0, own, kept, kept, kept, kept, kept)
            values = post[first : first + 20].flatten(0, 1).to(device)
            made.observe(batch, values, values, slice(0, 40))
        found.append(made.compute())
    for one, other in zip(*(vars(examples).values() for examples in found), strict=True):
        np.testing.assert_array_equal(one, other)


def test_bits_are_those_of_the_cpu() -> None:
    pre = torch.randn(5000, 70)
    nothing, found = torch.empty(0, dtype=torch.int64), []
    for device in ("cpu", "cuda"):
        bits = ActivityAccumulator(4500, 70, torch.device(device))
        for first, part in zip(range(0, 5000, 999), pre.split(999), strict=True):
            bits.update(TokenBatch(0, 1, first, *[nothing] * 6), part.to(device), part.to(device))
        found.append(bits.state()["bits"].cpu())
    assert torch.equal(*found)


def test_a_run_on_cuda_is_the_run_on_the_cpu(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path, "abc"), small_corpus(tmp_path)
    first = run_ingest(database_url, models, corpus, device="cpu")
    second = run_ingest(database_url, models, corpus, device="cuda:0", again=True, jobs=3)
    assert_same(contract(database_url, second.run_id), contract(database_url, first.run_id))


def test_a_device_that_is_not_there(database_url: str, tmp_path: Path) -> None:
    from catalog.errors import InputError

    models, corpus = tiny_family(tmp_path, "ab"), small_corpus(tmp_path)
    with pytest.raises(InputError, match="this machine has"):
        run_ingest(database_url, models, corpus, device=f"cuda:{torch.cuda.device_count()}")
