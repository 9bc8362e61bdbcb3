"""How sure correlations are: the jackknife over blocks, against its plain definition, whatever the batches and jobs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.statistics import pair_products
from ingest.statistics.correlation import DirectedCorrelations, NeuronSums, rotation
from ingest.statistics.jackknife import LEAST_BLOCKS, N_BLOCKS, standard_error
from ingest.statistics.pair_errors import DirectedErrors, PairErrors, added, block_sums, directed_errors
from ingest.statistics.rotated_units import BestUnits
from ingest.statistics.universality import BestMatches, universality
from tests import references


def together(tasks):
    for task in tasks:
        task()


def activations(seed: int, n_tokens: int, n_x: int, n_y: int) -> tuple[np.ndarray, np.ndarray]:
    """(tokens, neurons) fp32 each, correlated with each other; the last of x never moves."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=(n_tokens, 4))
    x, y = (np.maximum(shared @ random.normal(size=(4, n)) + random.normal(size=(n_tokens, n)), 0) for n in (n_x, n_y))
    x[:, -1] = 0.25
    return x.astype(np.float32), y.astype(np.float32)


def sums_of(x: np.ndarray) -> NeuronSums:
    values = torch.from_numpy(x).double()
    return NeuronSums(len(x), values.sum(0), (values**2).sum(0))


def best(x: np.ndarray, y: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Partners of each neuron of x and their correlations; -1 and NaN where there is none."""
    full = references.correlation(x, y)
    order = np.argsort(-np.nan_to_num(full, nan=-2), axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(full, order, 1)
    return np.where(np.isnan(values), -1, order), values


def read(
    x: np.ndarray, y: np.ndarray, blocks: np.ndarray, k: int, batch: int, parts: list[range]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of jobs over ranges of blocks, added up as they are when rows are written."""
    partners, values = best(x, y, k)
    first, second, found = np.zeros(values.shape), np.zeros(values.shape), np.zeros((len(values), N_BLOCKS))
    for part in parts:
        errors = PairErrors(sums_of(x), sums_of(y), torch.from_numpy(partners), torch.from_numpy(values))
        for block in part:
            tokens = np.flatnonzero(blocks == block)
            of_x = of_y = None
            for start in range(0, len(tokens), batch):
                chosen = tokens[start : start + batch]
                piece_x, piece_y = (torch.from_numpy(v[chosen]).T.contiguous() for v in (x, y))
                errors.update(piece_x, piece_y, together, 2)
                of_x, of_y = added(of_x, block_sums(piece_x)), added(of_y, block_sums(piece_y))
            if of_x is not None:
                errors.end_block(block, of_x, of_y)
                found[:, block] = errors.best_[:, block]
        first, second = first + errors.first_.numpy(), second + errors.second_.numpy()
    return first, second, found


def errors_of(first: np.ndarray, second: np.ndarray, found: np.ndarray, filled: np.ndarray) -> DirectedErrors:
    """Where no unit was rotated."""
    return directed_errors(first, second, found, np.zeros_like(found), filled)


def reference(x: np.ndarray, y: np.ndarray, blocks: np.ndarray, partners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlations without each of the blocks that have tokens, and their standard error, by definition."""
    filled = np.unique(blocks)
    left_out = [references.correlation(x[blocks != b], y[blocks != b]) for b in filled]
    without = np.stack([np.take_along_axis(full, np.maximum(partners, 0), 1) for full in left_out])
    return without, standard_error(without, np.ones(len(filled), dtype=bool))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_blocks=st.integers(LEAST_BLOCKS, N_BLOCKS),
    k=st.integers(1, 7),
    batch=st.integers(1, 900),
    edge=st.integers(0, N_BLOCKS),
    ratio=st.sampled_from([0, 10**6]),
)
def test_errors_equal_the_definition(seed: int, n_blocks: int, k: int, batch: int, edge: int, ratio: int) -> None:
    """However tokens come in batches and blocks in jobs, by a matrix product or by chosen pairs."""
    x, y = activations(seed, 600, 6, 9)
    blocks = np.random.default_rng(seed).permutation(N_BLOCKS)[:n_blocks][np.arange(600) % n_blocks]
    partners, _ = best(x, y, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_products, "CPU_RATIO", ratio)
        first, second, found = read(x, y, blocks, k, batch, [range(edge), range(edge, N_BLOCKS)])
    errors = errors_of(first, second, found, np.isin(np.arange(N_BLOCKS), blocks))
    without, expected = reference(x, y, blocks, partners)
    np.testing.assert_allclose(errors.correlation_se, expected, rtol=1e-4, atol=1e-7)
    assert np.isnan(errors.correlation_se[-1]).all() and not np.isnan(errors.correlation_se[:-1]).any()
    order = np.argsort(np.unique(blocks))
    deviations = (without[order, :, 0] - best(x, y, k)[1][:, 0]).T
    np.testing.assert_allclose(errors.without, deviations, atol=1e-6)


def test_too_few_blocks_have_no_error() -> None:
    x, y = activations(3, 400, 4, 5)
    blocks = np.arange(400) % (LEAST_BLOCKS - 1)
    errors = errors_of(*read(x, y, blocks, 2, 100, [range(N_BLOCKS)]), np.arange(N_BLOCKS) < LEAST_BLOCKS - 1)
    assert np.isnan(errors.correlation_se).all() and errors.without.shape == (4, 0)


def test_a_neuron_that_one_block_alone_moves_has_no_error() -> None:
    """Without that block its correlation is undefined."""
    x, y = activations(4, 640, 4, 5)
    blocks = np.arange(640) % N_BLOCKS
    x[blocks != 7, 1] = 0.5
    errors = errors_of(*read(x, y, blocks, 3, 1000, [range(N_BLOCKS)]), np.ones(N_BLOCKS, dtype=bool))
    assert np.isnan(errors.correlation_se).all(1).tolist() == [False, True, False, True]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 900), draws=st.integers(1, 3))
def test_baselines_without_blocks_equal_rotating_activations(seed: int, batch: int, draws: int) -> None:
    """Each draw with the unit that is best over all tokens; constant neurons belong to no unit, and have none."""
    x, y = activations(seed, 600, 6, 10)
    y[:, 3] = 1.5
    blocks, d_mlp = np.random.default_rng(seed).integers(0, 14, 600), 5
    rotations = {(layer, draw): rotation(seed, "x", "y", layer, draw, d_mlp) for layer in (0, 1) for draw in range(draws)}
    moving = y * (np.arange(10) != 3)
    rotated = [
        np.concatenate([moving[:, 5 * i : 5 * i + 5] @ rotations[i, draw].numpy().T for i in (0, 1)], 1)
        for draw in range(draws)
    ]
    full = [references.correlation(x, values.astype(np.float64)) for values in rotated]
    units = np.stack([np.where(np.isnan(of).all(1), -1, np.nan_to_num(of, nan=-2).argmax(1)) for of in full], 1)
    held = [np.maximum(units[:, draw], 0) for draw in range(draws)]
    best_correlations = np.stack([of[np.arange(6), at] for of, at in zip(full, held, strict=True)], 1)
    centred = np.stack([((v - v.mean(0, dtype=float)) ** 2).sum(0)[at] for v, at in zip(rotated, held, strict=True)], 1)
    best_of = DirectedCorrelations(
        torch.zeros(6, 1), torch.zeros(6, 1), torch.from_numpy(best_correlations).float(), torch.from_numpy(units),
        torch.from_numpy(np.where(units < 0, np.nan, centred)),
    )  # fmt: skip
    made = BestUnits(best_of, draws, sums_of(y), d_mlp, lambda layer, draw: rotations[layer, draw])
    errors = PairErrors(sums_of(x), made.sums, made.index, made.correlations, mean=True)
    for block in range(14):
        tokens = np.flatnonzero(blocks == block)
        of_x = of_units = None
        for start in range(0, len(tokens), batch):
            piece_x, piece_y = (torch.from_numpy(v[tokens[start : start + batch]]).T.contiguous() for v in (x, y))
            piece = made.activations(piece_y)
            errors.update(piece_x, piece, together, 2)
            of_x, of_units = added(of_x, block_sums(piece_x)), added(of_units, block_sums(piece))
        errors.end_block(block, of_x, of_units)
        kept = blocks != block
        left = [references.correlation(x[kept], values[kept]) for values in rotated]
        without = [of[np.arange(6), at] for of, at in zip(left, held, strict=True)]
        expected = np.mean(without, axis=0) - best_correlations.mean(1)
        np.testing.assert_allclose(errors.best_[:-1, block], expected[:-1], atol=2e-6)
        assert errors.best_[-1, block].isnan()


def matches_of(
    x: np.ndarray, others: list[np.ndarray], blocks: np.ndarray, draws: np.ndarray, baselines: np.ndarray
) -> list[BestMatches]:
    """Of other models, given what their baselines are without each block."""
    made = []
    for y, of_draws, baseline in zip(others, draws, baselines, strict=True):
        partners, values = best(x, y, 1)
        errors = errors_of(*read(x, y, blocks, 1, 256, [range(N_BLOCKS)]), np.isin(np.arange(N_BLOCKS), blocks))
        sd = of_draws.std(1)
        se = sd / np.sqrt(of_draws.shape[1] - 1)
        layer = np.zeros(len(sd), dtype=int)
        made.append(BestMatches(values[:, 0], partners[:, 0], of_draws.mean(1), sd, se, layer, errors.without, baseline))
    return made


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), n_models=st.integers(1, 3))
def test_the_error_of_the_excess_is_jointly_over_models_and_over_draws(seed: int, n_models: int) -> None:
    x, _ = activations(seed, 500, 5, 1)
    random = np.random.default_rng(seed + 1)
    others = [np.maximum(x[:, :4] + random.normal(size=(500, 4)), 0).astype(np.float32) for _ in range(n_models)]
    blocks = np.arange(500) % 20
    draws = random.uniform(0.1, 0.2, size=(n_models, 5, 8))
    baselines = random.normal(0, 0.01, size=(n_models, 5, 20))
    result = universality(matches_of(x, others, blocks, draws, baselines))
    without = [
        np.mean([references.correlation(x[blocks != b], y[blocks != b])[i, best(x, y, 1)[0][i, 0]] for y in others])
        for i in range(4)
        for b in range(20)
    ]
    every, of_corr = np.ones(20, dtype=bool), np.array(without).reshape(4, 20).T
    of_excess = standard_error(of_corr - baselines.mean(0)[:4].T, every)
    of_draws = np.sqrt((draws.var(axis=2, ddof=1) / 8).sum(0)) / n_models
    np.testing.assert_allclose(result.mean_corr_se[:4], standard_error(of_corr, every), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(result.excess_se[:4], np.hypot(of_excess, of_draws[:4]), rtol=1e-4, atol=1e-7)
    assert np.isnan(result.excess_se[4]) and np.isnan(result.excess_corr[4])


def test_the_interval_holds_where_tokens_depend_on_each_other() -> None:
    """Documents share what they are about: 95 % of intervals hold the true correlation; those of independent tokens do not."""
    random = np.random.default_rng(5)
    n_documents, length, weight = 320, 25, 0.6
    held = held_as_if_independent = tried = 0
    # x and y follow the topic of their document and noise: the correlation over endless documents is known
    truth = weight**2 / (weight**2 + 1)
    for _ in range(40):
        topic = np.repeat(random.normal(size=(n_documents, 6)), length, axis=0) * weight
        x, y = ((topic + random.normal(size=topic.shape)).astype(np.float32) for _ in range(2))
        blocks = np.repeat(np.arange(n_documents) % N_BLOCKS, length)
        partners = np.arange(6)[:, None]
        values = np.diag(references.correlation(x, y))[:, None].copy()
        errors = PairErrors(sums_of(x), sums_of(y), torch.from_numpy(partners), torch.from_numpy(values))
        for block in range(N_BLOCKS):
            piece_x, piece_y = (torch.from_numpy(v[blocks == block]).T.contiguous() for v in (x, y))
            errors.update(piece_x, piece_y, together, 1)
            errors.end_block(block, block_sums(piece_x), block_sums(piece_y))
        state = [errors.first_.numpy(), errors.second_.numpy(), errors.best_.numpy()]
        se = errors_of(*state, np.ones(N_BLOCKS, dtype=bool)).correlation_se
        off = np.abs(values - truth)
        held += int((off <= 1.96 * se).sum())
        held_as_if_independent += int((off <= 1.96 * (1 - values**2) / np.sqrt(len(x))).sum())
        tried += values.size
    assert 0.91 <= held / tried <= 0.98
    assert held_as_if_independent / tried < 0.8
