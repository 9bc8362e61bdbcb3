"""Histograms, quantiles and moments per subset: any split equals the definition on all data at once."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.parts.distributions import describe_subsets, explain_subsets, subset_columns
from ingest.statistics import distributions as core
from ingest.statistics.distributions import HistogramAccumulator, SubsetAccumulator
from ingest.statistics.jackknife import HALF, N_BLOCKS
from ingest.statistics.layers import EARLY, LayerAccumulator, TokenBatch
from tests import references

CPU = torch.device("cpu")
N_ROWS, CONTEXT, N, TOKENS = 64, 16, 6, 7
SPLITS = st.lists(st.integers(0, N_ROWS), max_size=4)


class Data:
    """Rows of activations, with masked positions and subsets."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.pre = torch.randn(N_ROWS, CONTEXT, N, generator=generator) ** 3 * torch.tensor([1e-3, 0.1, 1, 3, 20, 300]) + 0.2
        self.post = torch.nn.functional.gelu(self.pre)
        self.kept = torch.rand(N_ROWS, CONTEXT, generator=generator) > 0.2
        self.kept[:, 0] = False
        self.subsets = torch.randint(0, 3, (N_ROWS,), generator=generator)
        self.blocks = torch.arange(N_ROWS) * 5 % N_BLOCKS
        self.tokens = torch.randint(0, TOKENS, (N_ROWS, CONTEXT), generator=generator)

    @property
    def pivots(self) -> list[torch.Tensor]:
        return [x[self.kept][:20].mean(0) for x in (self.pre, self.post)]

    def by_subset(self, n_subsets: int, cuts: list[int], gated: bool = False) -> SubsetAccumulator:
        made = SubsetAccumulator(n_subsets, TOKENS, *self.pivots, gated)
        self.feed(made, cuts)
        return made

    def feed(self, accumulator: LayerAccumulator, cuts: list[int]) -> None:
        """All rows, in batches, each in two pieces of neurons."""
        for first, last in pairwise([0, *sorted(cuts), N_ROWS]):
            rows = slice(first, last)
            kept = self.kept[rows].flatten().nonzero().squeeze(1)
            nothing = torch.empty(0, dtype=torch.int64)
            tokens = self.tokens[rows]
            current, of_rows = tokens.flatten()[kept], (self.subsets[rows], self.blocks[rows])
            batch = TokenBatch(first, last - first, 0, tokens, kept, current, nothing, *of_rows)
            for neurons in (slice(0, 2), slice(2, N)):
                both = (x[rows, :, neurons].reshape(-1, neurons.stop - neurons.start).clone() for x in (self.pre, self.post))
                accumulator.observe(batch, *both, neurons)
            accumulator.update(batch, torch.empty(0), self.post[rows].flatten(0, 1)[kept] - self.pivots[1])


def brute_counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.stack([np.bincount(np.searchsorted(edges, column, "left"), minlength=len(edges) + 1) for column in values.T])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), cuts=SPLITS, halves=st.booleans())
def test_histograms_of_any_split(seed: int, cuts: list[int], halves: bool) -> None:
    data = Data(seed)
    accumulator = HistogramAccumulator(N, CPU)
    data.feed(accumulator, cuts)
    if halves:
        twice = HistogramAccumulator(N, CPU)
        data.feed(twice, [])
        accumulator.merge({name: values.numpy() for name, values in twice.state().items()})
    times = 2 if halves else 1
    found = {name: values.numpy() for name, values in accumulator.state().items()}
    kept, masked = data.kept, ~data.kept
    for name, values in (("pre", data.pre[kept]), ("post", data.post[kept]), ("pre_masked", data.pre[masked])):
        np.testing.assert_array_equal(found[name], times * brute_counts(values.double().numpy(), core.EDGES))
    np.testing.assert_allclose(found["bos"] / found["n_bos"], data.post[:, 0].double().mean(0).numpy())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 500))
def test_a_quantile_is_off_by_one_bin_at_most(seed: int, n: int) -> None:
    data = Data(seed)
    accumulator = HistogramAccumulator(N, CPU)
    data.feed(accumulator, [])
    found = core.quantiles(accumulator.state()["pre_fine"].numpy())
    edges = core.fine_edges()
    exact = np.quantile(data.pre[data.kept].double().numpy(), core.QUANTILES, axis=0, method="inverted_cdf").T
    low, high = (edges[np.searchsorted(edges, exact, "right") + shift] for shift in (-1, 0))
    finite = np.clip(found, -(2.0**core.HIGHEST), 2.0**core.HIGHEST)
    assert ((finite >= np.maximum(low, -(2.0**core.HIGHEST))) & (finite <= np.minimum(high, 2.0**core.HIGHEST))).all()


def test_the_loop_and_the_gpu_count_alike_on_edges_and_signs() -> None:
    special = [0.0, -0.0, 2.0**-8, -(2.0**-8), 2.0**8, -(2.0**8), 1e-30, -1e-30, 1e30, -1e30, 1.0625, -1.0625, 15.0, -10.0]
    edges = core.EDGES.astype(np.float32)
    near = np.concatenate([edges, np.nextafter(edges, np.float32(-99)), np.nextafter(edges, np.float32(99))])
    values = torch.tensor([*special, *near.tolist()])[:, None].repeat(1, 2)
    masked = torch.zeros(len(values), dtype=torch.bool)
    found = []
    for add in (core._add_by_loops, core.add_histograms):
        state = HistogramAccumulator(2, CPU).state()
        counts = {name: held for name, held in state.items() if held.dim() == 2}
        add(values, values, masked, counts)
        found.append(counts)
    for name, counts in found[0].items():
        assert torch.equal(counts, found[1][name]), name
    assert found[0]["pre"].sum() == found[0]["pre_fine"].sum() == 2 * len(values)


@pytest.mark.parametrize(
    ("x", "k"), [(-11, 0), (-10, 0), (-9.95, 1), (-0.05, 102), (0, 102), (1e-4, 103), (15, 255), (15.01, 256)]
)
def test_published_bins_of_the_oracle(x: float, k: int) -> None:
    assert core.published_bins(torch.tensor([x], dtype=torch.float64)).item() == k


def test_fine_bins_lie_between_their_edges() -> None:
    values = torch.randn(4000, generator=torch.Generator().manual_seed(0)) ** 5
    bins, edges = core.fine_bins(values).numpy(), core.fine_edges()
    x = values.double().numpy()
    assert (edges[bins] <= x).all() and (x <= edges[bins + 1]).all()
    inside = np.abs(x) > 2.0**core.LOWEST
    inside &= np.abs(x) < 2.0**core.HIGHEST
    assert ((edges[bins + 1] - edges[bins])[inside] <= np.abs(x[inside]) / 16 * (1 + 1e-9)).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), cuts=SPLITS, gated=st.booleans())
def test_moments_per_subset_of_any_split(seed: int, cuts: list[int], gated: bool) -> None:
    data = Data(seed)
    accumulator, pivots = data.by_subset(4, cuts, gated), data.pivots
    place = torch.arange(CONTEXT).expand(N_ROWS, CONTEXT)
    wanted = [data.kept & (data.subsets == group)[:, None] for group in range(4)] + [data.kept & (place >= EARLY)]
    for found, chosen in zip([*map(accumulator.subset, range(4)), accumulator.late()], wanted, strict=True):
        assert (found is None) == (not chosen.any())
        if found is None:
            continue
        np.testing.assert_allclose(found.sparsity, (data.pre[chosen] > 0).double().mean(0).numpy())
        rectified = data.pre if gated else data.post
        np.testing.assert_allclose(found.rectified, rectified[chosen].clamp_min(0).double().mean(0).numpy())
        for own, values, pivot in ((found.pre, data.pre, pivots[0]), (found.post, data.post, pivots[1])):
            exact = references.moments((values[chosen] - pivot).numpy())
            deviation = exact["var"] ** 0.5
            assert own.n == int(chosen.sum())
            np.testing.assert_allclose(own.mean - pivot.double(), exact["mean"], atol=1e-5 * deviation.max())
            np.testing.assert_allclose(own.var, exact["var"], rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), cuts=SPLITS, n_subsets=st.sampled_from([2, 3]))
def test_what_subsets_explain_is_the_definition(seed: int, cuts: list[int], n_subsets: int) -> None:
    data = Data(seed)
    data.post[..., 4] = 3.0  # this neuron never changes
    data.subsets %= n_subsets
    accumulator = data.by_subset(4, cuts)
    found, kept = explain_subsets(accumulator, accumulator.cells(), least_support=30)
    whole = data.post[data.kept].double().numpy()
    group, block, tokens = (
        values.expand(N_ROWS, CONTEXT)[data.kept].numpy()
        for values in (data.subsets[:, None], data.blocks[:, None], data.tokens)
    )
    early, everywhere = block < HALF, np.ones(len(block), dtype=bool)
    expected = by_definition(whole, group, everywhere, n_subsets)
    np.testing.assert_allclose(found["variance_reduction"], expected, atol=1e-5)
    without = [by_definition(whole, group, block != each, n_subsets, 1) for each in np.unique(block)]
    error = np.sqrt((len(without) - 1) * np.var(without, axis=0))
    np.testing.assert_allclose(
        found["variance_reduction_se"], np.where(np.isnan(expected), np.nan, error), atol=1e-4, rtol=1e-3
    )
    assert_given_the_token(whole, tokens, group, kept)
    held_out = by_definition(whole, group, ~early, n_subsets, 15)
    expected = by_definition(whole, group, early, n_subsets)
    n_groups = len(np.unique(group))
    for neuron in range(N):
        own = kept["neuron_index"] == neuron
        subsets = kept["feature_index"][own]
        scores = dict(zip(subsets.tolist(), kept["chosen_variance_reduction"][own].tolist(), strict=True))
        np.testing.assert_allclose(kept["held_out_variance_reduction"][own], held_out[subsets, neuron], atol=1e-5)
        means = [whole[group == i, neuron].mean() if (group == i).any() else -np.inf for i in range(4)]
        known = [i for i in range(4) if not np.isnan(expected[i, neuron])]
        if n_groups == 2:  # each other's rest: the one in which the neuron is more active says it
            rectified = {i: np.maximum(whole[group == i, neuron], 0).mean() for i in np.unique(group)}
            known = [i for i in known if rectified[i] == max(rectified.values())]
        assert sorted(scores) == known
        for i, score in scores.items():
            assert score == pytest.approx(expected[i, neuron], abs=1e-5)
        assert (kept["shift"][own] == 0).all()
        assert kept["mean_in"][own] == pytest.approx([means[i] for i in kept["feature_index"][own]], rel=1e-4, abs=1e-4)


def by_definition(
    post: np.ndarray, group: np.ndarray, wanted: np.ndarray, n_subsets: int, least_support: int = 30
) -> np.ndarray:
    """(4, N) variance reductions of the subsets, over the positions that are wanted."""
    expected = np.full((4, N), np.nan)
    for i in range(n_subsets):
        inside = group[wanted] == i
        if min(inside.sum(), (~inside).sum()) >= least_support:
            for neuron in set(range(N)) - {4}:
                expected[i, neuron] = references.variance_reduction(post[wanted, neuron], inside)
    return expected


def assert_given_the_token(post: np.ndarray, tokens: np.ndarray, group: np.ndarray, kept: dict[str, np.ndarray]) -> None:
    """Partial effects are those of the regression on token and subset."""
    dummies = np.eye(TOKENS)[tokens]
    dummies = dummies[:, dummies.any(0)]
    for row, neuron in enumerate(kept["neuron_index"]):
        inside = (group == kept["feature_index"][row]).astype(np.float64)
        x = post[:, neuron]
        within = x - dummies @ (dummies.T @ x / dummies.sum(0))
        beta = np.linalg.lstsq(np.column_stack([dummies, inside]), x, rcond=None)[0][-1]
        assert kept["partial_effect"][row] == pytest.approx(beta / within.std(), rel=1e-3, abs=1e-4)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 50), cuts=SPLITS)
def test_errors_of_subsets_are_those_of_the_definition(seed: int, cuts: list[int]) -> None:
    data = Data(seed)
    found = describe_subsets(data.by_subset(3, cuts))
    block = data.blocks[:, None].expand(N_ROWS, CONTEXT)
    for subset in range(3):
        here = data.kept & (data.subsets == subset)[:, None]
        estimates: dict[str, list[np.ndarray]] = {}
        for each in block[here].unique():
            pre, post = (x[here & (block != each)].double().numpy() for x in (data.pre, data.post))
            centred = pre - pre.mean(0)
            for name, values in (
                ("sparsity", (pre > 0).mean(0)), ("rectified", np.maximum(post, 0).mean(0)), ("mean", pre.mean(0)),
                ("post_mean", post.mean(0)), ("kurt", (centred**4).mean(0) / (centred**2).mean(0) ** 2),
            ):  # fmt: skip
                estimates.setdefault(name, []).append(values)
        for name, without in estimates.items():
            n = len(without)
            expected = np.sqrt((n - 1) * np.var(without, axis=0)) if n >= 10 else np.full(N, np.nan)
            np.testing.assert_allclose(found[f"{name}_se"][subset], expected, rtol=1e-3, atol=1e-4 * np.abs(without).max())


def test_without_subsets_nothing_is_explained_by_them() -> None:
    data = Data(3)
    data.subsets[:] = 0
    found = describe_subsets(data.by_subset(1, []))
    assert np.isnan(found["variance_reduction"]).all()
    assert [table for table, _ in subset_columns(found, np.arange(N, dtype=np.int32), [])] == ["late_statistics"]
