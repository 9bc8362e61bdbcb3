"""Activation by position: any split equals the float64 definition, the oracles of SPEC §17, and every pattern type."""

import json
from itertools import pairwise
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.parts.positions import describe_positions
from ingest.statistics import loops, positions
from ingest.statistics.jackknife import LEAST_BLOCKS, N_BLOCKS
from ingest.statistics.layers import TokenBatch
from ingest.statistics.position_patterns import Run, find_pattern, find_runs, shortest_run
from ingest.statistics.positions import PositionAccumulator, PositionCurves, information_errors, mutual_information
from tests import references

CPU = torch.device("cpu")


def curve(*spans: tuple[int, float]) -> np.ndarray:
    """Frequencies, as (number of positions, value)."""
    return np.concatenate([np.full(n, value) for n, value in spans])


def batch_of(blocks: torch.Tensor) -> TokenBatch:
    nothing = torch.empty(0, dtype=torch.int64)
    return TokenBatch(0, len(blocks), 0, *[nothing] * 5, blocks)


@settings(max_examples=25, deadline=None)
@given(
    n_rows=st.integers(1, 40),
    context=st.integers(2, 19),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    seed=st.integers(0, 99),
    merge=st.booleans(),
)
def test_any_split_and_order_equals_the_definition(n_rows: int, context: int, cuts: list[int], seed: int, merge: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    pre = torch.randn(n_rows, context, 5, generator=generator).round(decimals=1)
    post = torch.nn.functional.gelu(pre) + 30
    blocks = torch.randint(0, N_BLOCKS, (n_rows,), generator=generator)
    edges = [0, *sorted(min(cut, n_rows) for cut in cuts), n_rows]
    found = accumulated(pre, post, blocks, [slice(*edge) for edge in pairwise(edges)][::-1], merge)
    exact = post.double().numpy()
    assert found.n_rows == n_rows
    np.testing.assert_allclose(found.frequency, (pre > 0).double().mean(0).numpy(), rtol=1e-12)
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std, exact.std(0), atol=1e-6)
    active = (pre > 0).numpy()
    for error, first in zip(information_errors(found), (1, 0), strict=True):
        expected = references.jackknife(
            blocks.numpy(), lambda rows, first=first: references.mutual_information(active[rows, first:])
        )
        np.testing.assert_allclose(error, expected, rtol=1e-7, atol=1e-9)


def accumulated(pre: torch.Tensor, post: torch.Tensor, blocks: torch.Tensor, parts: list[slice], merge: bool) -> PositionCurves:
    """(rows, positions, neurons) fed part by part, each in two pieces of neurons, into one accumulator or into one each."""
    whole = PositionAccumulator(*pre.shape[1:], CPU)
    for part in parts:
        accumulator = PositionAccumulator(*pre.shape[1:], CPU) if merge else whole
        batch = batch_of(blocks[part])
        for neurons in (slice(0, 2), slice(2, 5)):
            flat = [x[part, :, neurons].reshape(-1, neurons.stop - neurons.start) for x in (pre, post)]
            accumulator.observe(batch, *flat, neurons)
        accumulator.update(batch, pre, post)
        if merge:
            whole.merge({name: sums.numpy() for name, sums in accumulator.state().items()})
    return whole.compute()


@pytest.mark.parametrize("n_blocks", [LEAST_BLOCKS - 1, LEAST_BLOCKS])
def test_the_error_of_the_information_needs_ten_blocks(n_blocks: int) -> None:
    pre = torch.randn(1000, 6, 5, generator=torch.Generator().manual_seed(2))
    pre[:, :, 4] = -1
    blocks = torch.arange(1000) % n_blocks
    described = describe_positions(accumulated(pre, pre, blocks, [slice(0, 1000)], merge=False))
    for name in ("mutual_information_se", "mutual_information_bos_se"):
        if n_blocks < LEAST_BLOCKS:
            assert np.isnan(described[name]).all()
        else:
            assert (described[name][:4] > 0).all() and described[name][4] == 0
    fewer = describe_positions(accumulated(pre, pre, blocks, [slice(0, 999)], merge=False))
    assert np.isnan(fewer["mutual_information_se"]).all()


@settings(max_examples=15, deadline=None)
@given(context=st.integers(2, 30), seed=st.integers(0, 99), depends=st.booleans())
def test_without_bos_every_position_is_what_the_others_are_behind_it(context: int, seed: int, depends: bool) -> None:
    """Whatever stood at the position of BOS changes nothing but what is told of it."""
    generator = torch.Generator().manual_seed(seed)
    pre = torch.randn(1000, 1 + context, 5, generator=generator)
    if depends:
        pre[:, 1 + context // 2 :, :2] += 9
    blocks = torch.arange(1000) % N_BLOCKS
    behind = describe_positions(accumulated(pre, pre, blocks, [slice(0, 1000)], merge=False))
    alone = describe_positions(accumulated(pre[:, 1:], pre[:, 1:], blocks, [slice(0, 1000)], merge=False), with_bos=False)
    for name in {*behind} - {"mutual_information_bos", "mutual_information_bos_se", "runs", "curve"}:
        np.testing.assert_array_equal(alone[name], behind[name], err_msg=name)
    assert np.isnan(alone["mutual_information_bos"]).all() and np.isnan(alone["mutual_information_bos_se"]).all()
    np.testing.assert_array_equal(alone["curve"], behind["curve"][:, 1:])
    earlier = [[[first - 1, last - 1, state] for first, last, state in json.loads(runs)] for runs in behind["runs"]]
    assert [json.loads(runs) for runs in alone["runs"]] == earlier


def test_a_gpu_adds_what_the_loop_adds() -> None:
    pre = torch.randn(6 * 7, 4, generator=torch.Generator().manual_seed(3))
    found = []
    for add in (loops.add_positions, positions.add_positions):
        active, sums = torch.zeros(3, 7, 9, dtype=torch.int32), torch.zeros(2, 7, 9, dtype=torch.float64)
        add(pre, pre * 2, torch.tensor([2, 0, 2, 2, 0, 2]), active[:, :, 3:7], sums[:, :, 3:7])
        found.append((active, sums))
    assert torch.equal(found[0][0], found[1][0]) and found[0][0].sum() == (pre > 0).sum()
    torch.testing.assert_close(found[0][1], found[1][1])


def test_nothing_seen_is_an_error() -> None:
    with pytest.raises(ValueError, match="no rows"):
        PositionAccumulator(8, 2, CPU).compute()


@pytest.mark.parametrize(
    ("frequency", "nats"),
    [
        ([1, 1, 0, 0], 0.693147),
        ([0.9, 0.9, 0.1, 0.1], 0.368064),
        ([0.6, 0.6, 0.4, 0.4], 0.0201355),
        ([0.3, 0.3, 0.3, 0.3], 0.0),
        ([0, 0, 0, 0], 0.0),
        ([1, 1, 1, 1], 0.0),
        ([1, 0, 0, 0], 0.562335),
    ],
)
def test_mutual_information_of_the_oracles(frequency: list[float], nats: float) -> None:
    assert mutual_information(np.array(frequency, dtype=float)[:, None])[0] == pytest.approx(nats, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(frequency=st.lists(st.floats(0, 1), min_size=1, max_size=30), others=st.integers(1, 3))
def test_mutual_information_is_that_of_the_joint_distribution(frequency: list[float], others: int) -> None:
    f = np.array(frequency)
    joint = np.stack([f, 1 - f]) / len(f)
    active = joint.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = joint * np.log(joint / (active / len(f)))
    found = mutual_information(np.repeat(f[:, None], others, axis=1))
    np.testing.assert_allclose(found, np.where(joint > 0, terms, 0).sum(), atol=1e-9)
    assert (found <= log(2) + 1e-12).all()


LOW, HIGH, MIDDLE = 0.0, 1.0, 0.4


@pytest.mark.parametrize(
    ("frequency", "pattern", "strength", "alternations"),
    [
        (curve((40, HIGH), (40, LOW), (40, HIGH)), "oscillatory", "strong", 2),
        (curve((40, HIGH), (9, MIDDLE), (40, LOW), (9, MIDDLE), (40, HIGH)), "oscillatory", "strong", 2),
        (curve((20, HIGH), (60, MIDDLE), (20, LOW), (20, HIGH)), "oscillatory", "weak", 2),
        (curve((60, HIGH), (60, LOW)), "both_extremes", "strong", 1),
        (curve((60, 0.93), (60, 0.05)), "both_extremes", "weak", 1),
        (curve((40, LOW), (80, MIDDLE)), "one_extreme", "strong", 0),
        (curve((80, MIDDLE), (40, HIGH)), "one_extreme", "strong", 0),
        (curve((15, LOW), (105, MIDDLE)), "one_extreme", "weak", 0),
        (curve((9, LOW), (111, MIDDLE)), "other", "weak", 0),
        (curve((7, LOW), (113, MIDDLE)), "other", "weak", 0),
        (0.5 + 0.3 * np.sin(np.linspace(0, 6, 120)), "other", "strong", 0),
        (curve((120, MIDDLE)), "other", "weak", 0),
    ],
)
def test_patterns(frequency: np.ndarray, pattern: str, strength: str, alternations: int) -> None:
    found = find_pattern(frequency)
    assert (found.pattern, found.strength, found.alternations) == (pattern, strength, alternations)


def test_runs_are_intervals_of_positions_and_short_ones_do_not_count() -> None:
    frequency = curve((10, HIGH), (3, LOW), (10, HIGH), (8, LOW))
    runs = find_runs(frequency, 0.005, first_position=1)
    assert runs == (Run(1, 10, True), Run(14, 23, True), Run(24, 31, False))
    assert find_pattern(frequency).coverage == pytest.approx(28 / 31)
    assert shortest_run(31) == 8 and shortest_run(2047) == 21


def test_noise_within_the_tolerance_leaves_a_run_whole() -> None:
    noisy = curve((60, HIGH), (60, LOW)) + np.resize([0.004, -0.004], 120)
    found = find_pattern(np.clip(noisy, 0, 1))
    assert found.pattern == "both_extremes" and found.tolerance == 0.005
    assert found.runs == (Run(1, 60, True), Run(61, 120, False))
