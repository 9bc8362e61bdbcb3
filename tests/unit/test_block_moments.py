"""Standard errors of moments and frequency: any split and merge order equals the jackknife of the float64 definitions."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.statistics import block_loops, block_moments
from ingest.statistics.block_moments import MOMENTS, STATISTICS, BlockMoments
from ingest.statistics.jackknife import LEAST_BLOCKS, N_BLOCKS
from ingest.statistics.layers import TokenBatch
from tests import references

N_ROWS, CONTEXT, N = 60, 12, 5


class Data:
    """Rows of activations of neurons alike and unlike, with masked positions and blocks; the last neuron is never active."""

    def __init__(self, seed: int, n_blocks: int = N_BLOCKS) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.pre = torch.randn(N_ROWS, CONTEXT, N, generator=generator) ** 3 * torch.tensor([1e-3, 0.1, 1, 20, 1]) + 0.2
        self.pre[:, :, -1] = -1 - self.pre[:, :, -1].abs()
        self.post = torch.nn.functional.gelu(self.pre) + torch.tensor([0, 0, 0, 30, 0])
        self.kept = torch.rand(N_ROWS, CONTEXT, generator=generator) > 0.2
        self.kept[:, 0] = False
        self.blocks = torch.randint(0, n_blocks, (N_ROWS,), generator=generator)
        self.pivots = [x[self.kept][:100].mean(0) for x in (self.pre, self.post)]

    def sums(self) -> BlockMoments:
        return BlockMoments(*self.pivots)

    def feed(self, accumulator: BlockMoments, first: int, last: int) -> None:
        rows, nothing = slice(first, last), torch.empty(0, dtype=torch.int64)
        kept = self.kept[rows].flatten().nonzero().squeeze(1)
        tokens = torch.zeros(last - first, CONTEXT, dtype=torch.int64)
        subsets = torch.zeros(last - first, dtype=torch.int64)
        batch = TokenBatch(first, last - first, 0, tokens, kept, nothing, nothing, subsets, self.blocks[rows])
        # neurons beside those of the layer, as in the activations of a model
        pre, post = (torch.cat([x[rows][self.kept[rows]]] * 2, dim=1) for x in (self.pre, self.post))
        post[:, N:] -= self.pivots[1]
        before = pre.clone()
        accumulator.update(batch, pre[:, N:], post[:, N:])
        assert torch.equal(pre, before), "others read it after"

    def expected(self) -> dict[str, np.ndarray]:
        """By the definitions, on everything at once."""
        blocks = self.blocks[:, None].expand(N_ROWS, CONTEXT)[self.kept].numpy()
        pre, post = (x[self.kept].double().numpy() for x in (self.pre, self.post))

        def estimate(tokens: np.ndarray) -> np.ndarray:
            both = [references.moments(x[tokens])[name] for x in (pre, post) for name in MOMENTS]
            return np.stack([*both, (pre[tokens] > 0).mean(0)])

        found = dict(zip(STATISTICS, references.jackknife(blocks, estimate), strict=True))
        found["sparsity"][(pre > 0).all(0) | (pre <= 0).all(0)] = np.nan
        return found


def check(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys() == set(STATISTICS)
    for name, errors in expected.items():
        np.testing.assert_allclose(found[name], errors, rtol=2e-4, atol=1e-9, err_msg=name)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, N_ROWS), max_size=4),
    order=st.randoms(use_true_random=False),
    n_blocks=st.integers(1, N_BLOCKS),
)
def test_any_split_and_merge_order_equals_the_definition(seed: int, cuts: list[int], order, n_blocks: int) -> None:
    data = Data(seed, n_blocks)
    one, merged, parts = data.sums(), data.sums(), []
    for first, last in pairwise([0, *sorted(cuts), N_ROWS]):
        data.feed(one, first, last)
        parts.append(data.sums())
        data.feed(parts[-1], first, last)
    order.shuffle(parts)
    for part in parts:
        merged.merge({name: sums.numpy() for name, sums in part.state().items()})
    expected = data.expected()
    check(one.standard_errors(), expected)
    check(merged.standard_errors(), expected)
    assert np.isnan(expected["mean"]).all() == (len(data.blocks.unique()) < LEAST_BLOCKS)


def test_a_gpu_adds_what_the_loop_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Data(3)
    found = [data.sums(), data.sums()]
    data.feed(found[0], 0, N_ROWS)
    for name in ("add_powers", "add_positive"):
        monkeypatch.setattr(block_loops, name, getattr(block_moments, name))
    data.feed(found[1], 0, N_ROWS)
    for one, other in zip(found[0].state().values(), found[1].state().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_neuron_that_does_not_vary_has_no_error_of_its_shape() -> None:
    data = Data(1)
    data.pre[:, :, 0] = 0.25
    data.post[:, :, 0] = 0.25
    data.pivots = [x[data.kept][:100].mean(0) for x in (data.pre, data.post)]
    sums = data.sums()
    data.feed(sums, 0, N_ROWS)
    found = sums.standard_errors()
    assert found["mean"][0] == found["var"][0] == 0 and np.isnan([found["skew"][0], found["post_kurt"][0]]).all()
    assert np.isnan(found["sparsity"][0]), "it is always active"
    assert np.isfinite([found[name][1] for name in STATISTICS]).all()


def test_no_tokens_at_all_leave_everything_undefined() -> None:
    assert all(np.isnan(errors).all() for errors in Data(0).sums().standard_errors().values())
