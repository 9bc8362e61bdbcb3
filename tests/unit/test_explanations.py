"""Explanations from sums per token id equal the plain definition on raw activations (SPEC §6.1, §17 oracle 2)."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.features.held_out import HELD_OUT_SUPPORT
from ingest.features.unigrams import letter_classes
from ingest.statistics.jackknife import HALF, N_BLOCKS
from tests import references
from tests.unit.raw_sums import SHIFTS, STRINGS, Raw, all_reductions, explained, random_raw, rows_of, table


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 300),
    n_features=st.integers(1, 12),
    least_support=st.sampled_from([0, 1, 10, 100]),
)
def test_every_row_equals_the_definition(seed: int, n: int, n_features: int, least_support: int) -> None:
    raw = random_raw(seed, n, n_tokens=9)
    features = table(np.random.default_rng(seed).random((n_features, 9)) < 0.4)
    found = explained(raw, features, least_support=least_support).rows
    for i in range(len(found["rank"])):
        neuron, feature, shift = (int(found[name][i]) for name in ("neuron_index", "feature_index", "shift"))
        values, member = raw.post[:, neuron], raw.member(features, feature, shift)
        reduction = references.variance_reduction(values, member)
        within = (member.sum() * values[member].var() + (~member).sum() * values[~member].var()) / n
        assert (found["n_in"][i], found["n_out"][i]) == (member.sum(), (~member).sum())
        assert found["mean_in"][i] == pytest.approx(values[member].mean(), abs=1e-9)
        assert found["mean_out"][i] == pytest.approx(values[~member].mean(), abs=1e-9)
        assert found["variance_reduction"][i] == pytest.approx(reduction, abs=1e-9)
        if 1 - reduction > 1e-9:
            d = (values[member].mean() - values[~member].mean()) / np.sqrt(within)
            assert found["cohen_d"][i] == pytest.approx(d, rel=1e-6)
        for half, name, least in (
            (raw.choosing, "chosen_variance_reduction", least_support),
            (raw.held_out, "held_out_variance_reduction", int(least_support * HELD_OUT_SUPPORT)),
        ):
            inside, x = half.member(features, feature, shift), half.post[:, neuron]
            defined = min(inside.sum(), (~inside).sum()) >= max(1, least) and x.var() > 1e-12
            expected = references.variance_reduction(x, inside) if defined else np.nan
            assert found[name][i] == pytest.approx(expected, abs=1e-9, nan_ok=True)
        assert_errors(found, i, values, member, raw.of_block)


def assert_errors(found: dict[str, np.ndarray], i: int, values: np.ndarray, member: np.ndarray, blocks: np.ndarray) -> None:
    """Standard errors are those of the definition: everything made again without each block."""

    def reduction(x: np.ndarray, inside: np.ndarray) -> float:
        return references.variance_reduction(x, inside) if inside.any() and not inside.all() and x.var() > 1e-9 else np.nan

    late = blocks >= HALF
    held_out = jackknifed(values[late], member[late], blocks[late], reduction)
    if np.isnan(found["held_out_variance_reduction"][i]):
        held_out = np.nan
    for name, expected in (
        ("variance_reduction_se", jackknifed(values, member, blocks, reduction)),
        ("held_out_variance_reduction_se", held_out),
        ("mean_in_se", jackknifed(values, member, blocks, lambda x, inside: x[inside].mean() if inside.any() else np.nan)),
        ("mean_out_se", jackknifed(values, ~member, blocks, lambda x, inside: x[inside].mean() if inside.any() else np.nan)),
    ):
        assert found[name][i] == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True), name


def jackknifed(x: np.ndarray, inside: np.ndarray, blocks: np.ndarray, estimate: Callable[..., float]) -> float:
    filled = [block for block in range(N_BLOCKS) if (blocks == block).any()]
    if len(filled) < 10:
        return np.nan
    without = np.array([estimate(x[blocks != block], inside[blocks != block]) for block in filled])
    return float(np.sqrt((len(filled) - 1) * without.var()))


def test_a_feature_of_one_half_is_chosen_there_and_worth_nothing_in_the_other() -> None:
    """What holds in the documents that choose alone: best by these, and its held-out score says that it does not hold."""
    raw = random_raw(11, 4000, n_tokens=9, n_neurons=2)
    features = table(np.random.default_rng(11).random((6, 9)) < 0.5)
    noise = np.random.default_rng(12).normal(size=(2, 4000))
    early = raw.of_block < HALF
    member = raw.member(features, 2, 0)
    raw.post[:, 0] = np.where(early, 3.0 * member, 0.0) + noise[0]
    raw.post[:, 1] = np.where(early, 0.0, 3.0 * member) + noise[1]
    found = explained(raw, features).rows
    first = [np.flatnonzero((found["neuron_index"] == neuron) & (found["rank"] == 1))[0] for neuron in (0, 1)]
    assert found["feature_index"][first[0]] == 2
    assert found["chosen_variance_reduction"][first[0]] > 0.5 > 0.01 > found["held_out_variance_reduction"][first[0]]
    assert found["chosen_variance_reduction"][first[1]] < 0.02


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 300),
    n_features=st.integers(1, 12),
    least_support=st.sampled_from([1, 20]),
)
def test_kept_rows_are_the_top_five_and_the_best_of_each_shift(seed: int, n: int, n_features: int, least_support: int) -> None:
    raw = random_raw(seed, n, n_tokens=9)
    features = table(np.random.default_rng(seed).random((n_features, 9)) < 0.4)
    found = explained(raw, features, least_support=least_support)
    for neuron, scores in enumerate(all_reductions(raw.choosing, features, least_support).T):
        rows = rows_of(found, neuron)
        defined = np.flatnonzero(~np.isnan(scores))
        best = [np.nanmax(half) for half in (scores[:n_features], scores[n_features:]) if not np.isnan(half).all()]
        ranks = [rank for rank, _ in rows.values()]
        assert sorted(ranks)[:5] == list(range(1, 1 + min(5, len(defined))))
        for half in best:
            assert any(value == pytest.approx(half, abs=1e-9) for _, value in rows.values())
        assert len(ranks) <= 5 + len(best)
        for (shift, feature), (rank, value) in rows.items():
            assert value == pytest.approx(scores[shift * n_features + feature], abs=1e-9)
            others = scores[defined]
            assert (others > value + 1e-9).sum() < rank <= (others > value - 1e-9).sum()


def test_oracle_of_six_tokens() -> None:
    values = np.array([0.0, 0, 1, 3, 0, 2])[:, None]
    raw = Raw(np.arange(6), np.full(6, -1), values)
    found = explained(raw, table(np.array([[0, 0, 1, 1, 0, 0]])))
    assert found.rows["variance_reduction"].tolist() == pytest.approx([0.375])
    assert (found.rows["n_in"][0], found.rows["n_out"][0], found.rows["shift"][0], found.rows["rank"][0]) == (2, 4, 0, 1)
    assert (found.rows["mean_in"][0], found.rows["mean_out"][0]) == pytest.approx((2, 0.5))
    assert found.rows["cohen_d"][0] == pytest.approx(1.5 / np.sqrt(0.625 * 4 / 3))


def test_previous_token_without_one_counts_outside() -> None:
    # Two rows of three: tokens 0 1 0 and 1 0 0; positions after token 0 fire.
    raw = Raw(np.array([0, 1, 0, 1, 0, 0]), np.array([-1, 0, 1, -1, 1, 0]), np.array([0.0, 1, 0, 0, 0, 1])[:, None])
    found = explained(raw, table(np.array([[1, 0]])))
    rows = rows_of(found, 0)
    assert rows[1, 0] == (1, pytest.approx(1.0))
    previous = found.rows["shift"] == 1
    assert (found.rows["n_in"][previous][0], found.rows["n_out"][previous][0]) == (2, 4)


def test_a_planted_neuron_has_reduction_one() -> None:
    raw = random_raw(1, 500, n_tokens=9, n_neurons=3)
    features = table(np.random.default_rng(3).random((8, 9)) < 0.5)
    raw.post[:, 1] = raw.member(features, 2, 0)
    raw.post[:, 2] = raw.member(features, 5, 1)
    found = explained(raw, features)
    for neuron, shift, feature in ((1, 0, 2), (2, 1, 5)):
        first = (found.rows["neuron_index"] == neuron) & (found.rows["rank"] == 1)
        assert (found.rows["shift"][first][0], found.rows["feature_index"][first][0]) == (shift, feature)
        assert found.rows["variance_reduction"][first][0] == pytest.approx(1)
        assert (found.rows["mean_in"][first][0], found.rows["mean_out"][first][0]) == pytest.approx((1, 0), abs=1e-12)
        assert np.isnan(found.rows["cohen_d"][first][0])


@pytest.mark.parametrize("chunk", [1, 3, 7, 64])
def test_any_chunk_gives_the_same(chunk: int) -> None:
    raw = random_raw(5, 800, n_tokens=len(STRINGS), n_neurons=11)
    raw.post[:, 4] = 2.5
    matrix = np.random.default_rng(5).random((20, len(STRINGS))) < 0.3
    letters = letter_classes(STRINGS, excluded_ids=[])
    names = [f"feature_{i}" for i in range(60)] + ["a_unigram", "b_unigram"]
    features = table(np.concatenate([matrix, matrix[::-1], ~matrix, letters.itself[:2]]), names)
    whole = explained(raw, features, letters)
    parts = explained(raw, features, letters, chunk=chunk)
    for one, other in zip(whole, parts, strict=True):
        for name in one.keys() - {"letter"}:
            expected, actual = one[name], other[name]
            np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=0 if expected.dtype == int else 1e-12)
    assert whole.letters["letter"].tolist() == parts.letters["letter"].tolist()
    assert set(parts.letters["neuron_index"]) == set(range(11)) - {4}


@pytest.mark.parametrize("chunk", [2, 3, 512])
def test_ties_go_to_the_earlier_column(chunk: int) -> None:
    # In products of a few columns, BLAS does not round equal rows alike.
    # Equal columns and, where every position has a token, complements divide the positions alike.
    rng = np.random.default_rng(7)
    raw = random_raw(7, 3000, n_tokens=211, n_neurons=60, without_previous=3001)
    raw.previous[0] = 0
    distinct = rng.random((41, 211)) < 0.5
    order = rng.permutation(123)
    features = table(np.concatenate([distinct, distinct, ~distinct])[order])
    source = order % 41
    found = explained(raw, features, chunk=chunk)
    for neuron in range(60):
        rows = rows_of(found, neuron)
        top = sorted((rank, shift, feature) for (shift, feature), (rank, _) in rows.items())
        first_three, fourth = top[:3], top[3]
        assert len({(shift, source[feature]) for _, shift, feature in first_three}) == 1
        features_in_order = [feature for _, _, feature in first_three]
        assert features_in_order == sorted(features_in_order)
        assert (fourth[1], source[fourth[2]]) != (first_three[0][1], source[first_three[0][2]])
        assert len({rows[shift, feature][1] for _, shift, feature in first_three}) == 1


def test_complements_keep_their_own_sides() -> None:
    raw = random_raw(8, 400, n_tokens=9)
    matrix = np.random.default_rng(8).random((1, 9)) < 0.5
    found = explained(raw, table(np.concatenate([matrix, ~matrix])))
    for shift in SHIFTS:
        for feature in range(2):
            of = (found.rows["shift"] == shift) & (found.rows["feature_index"] == feature) & (found.rows["neuron_index"] == 0)
            member = raw.member(table(np.concatenate([matrix, ~matrix])), feature, shift)
            assert found.rows["n_in"][of][0] == member.sum()
            assert found.rows["mean_in"][of][0] == pytest.approx(raw.post[member, 0].mean(), abs=1e-9)


def test_the_current_token_comes_before_the_previous_one() -> None:
    raw = random_raw(9, 300, n_tokens=9)
    same = Raw(raw.current, raw.current, raw.post, raw.blocks)
    found = explained(same, table(np.random.default_rng(9).random((2, 9)) < 0.5))
    for neuron in range(4):
        in_order = sorted((rank, shift) for (shift, _), (rank, _) in rows_of(found, neuron).items())
        assert [shift for _, shift in in_order] == [0, 1, 0, 1]


@pytest.mark.parametrize(("n_in", "n_out"), [(99, 400), (400, 99), (100, 100), (0, 300), (300, 0)])
def test_both_classes_need_support(n_in: int, n_out: int) -> None:
    current = np.repeat([0, 1], [n_in, n_out])
    raw = Raw(current, np.full(len(current), -1), np.random.default_rng(0).normal(size=(len(current), 1)))
    found = explained(raw, table(np.array([[1, 0]])), least_support=100)
    assert len(found.rows["rank"]) == (1 if min(n_in, n_out) >= 100 else 0)


def test_neurons_that_do_not_vary_have_no_rows() -> None:
    raw = random_raw(2, 200, n_tokens=len(STRINGS), n_neurons=3)
    raw.post[:, 1] = 3.0
    names = ["a_unigram", "b_unigram"]
    features = table(np.array([[s.strip().lower() == name[0] for s in STRINGS] for name in names]), names)
    found = explained(raw, features, letter_classes(STRINGS, excluded_ids=[]))
    assert set(found.rows["neuron_index"]) == {0, 2}
    assert set(found.letters["neuron_index"]) == {0, 2}
    only = explained(Raw(raw.current, raw.previous, raw.post[:, 1:2], raw.blocks), features, letter_classes(STRINGS, []))
    assert len(only.rows["rank"]) == len(only.letters["letter"]) == 0


def test_no_neurons_give_no_rows() -> None:
    raw = Raw(np.arange(4), np.full(4, -1), np.zeros((4, 0)))
    found = explained(raw, table(np.eye(4)))
    assert len(found.rows["rank"]) == len(found.letters["neuron_index"]) == 0


def test_a_large_mean_costs_no_digits() -> None:
    raw = random_raw(4, 2000, n_tokens=9)
    features = table(np.random.default_rng(4).random((6, 9)) < 0.4)
    small = explained(raw, features)
    far = Raw(raw.current, raw.previous, raw.post + 1e6, raw.blocks)
    large = explained(far, features, pivot=raw.post.mean(axis=0) + 1e6 + 0.125)
    np.testing.assert_allclose(large.rows["variance_reduction"], small.rows["variance_reduction"], atol=1e-8)
    np.testing.assert_array_equal(large.rows["rank"], small.rows["rank"])
    np.testing.assert_allclose(large.rows["mean_out"], small.rows["mean_out"] + 1e6, rtol=1e-14)


def test_the_mean_outside_a_nearly_full_class_is_of_its_own_tokens() -> None:
    # The mean of all tokens comes from other sums, good to about 1e-7: too coarse to find 2 tokens of 200,000 by.
    n = 200_000
    current = np.ones(n, dtype=int)
    current[:2] = 0
    post = np.random.default_rng(6).normal(size=(n, 1))
    found = explained(Raw(current, current, post), table(np.array([[0, 1]])), pivot=np.zeros(1))
    assert found.rows["mean_out"][0] == pytest.approx(post[:2].mean(), abs=1e-9)
