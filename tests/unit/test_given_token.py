"""What a class explains given the token equals the regression on tokens and the class, for any batches and order of merging."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.statistics import feature_loops, given_token
from ingest.statistics.accumulator import Accumulator
from ingest.statistics.given_token import TokenClassSums

N, TOKENS, CLASSES, NEURONS = 500, 8, 5, 4
PURE, NONE = 2, 3
"""A class that is a set of tokens, and one of no position."""


class Data:
    """Positions with tokens, classes and activations about the pivot; class 0 matters for neuron 1, its tokens for neuron 2."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.ids = generator.integers(0, TOKENS - 1, N)
        shares = generator.random((TOKENS, CLASSES))
        self.members = generator.random((N, CLASSES)) < shares[self.ids]
        self.members[:, PURE], self.members[:, NONE] = np.isin(self.ids, [1, 4]), False
        self.post = generator.normal(size=(N, NEURONS)) + generator.normal(size=(TOKENS, NEURONS))[self.ids]
        self.post[:, 1] += 2 * self.members[:, 0]
        self.post[:, 2] = shares[self.ids, 0] + 0.1 * generator.normal(size=N)
        self.post[:, 3] = shares[self.ids, 1]
        self.post = self.post.astype(np.float32)

    def add(self, sums: TokenClassSums, first: int, end: int) -> None:
        here = slice(first, end)
        sums.add(*(torch.from_numpy(values[here]) for values in (self.post, self.ids, self.members)))

    @property
    def class_sums(self) -> np.ndarray:
        return self.members.T.astype(np.float64) @ self.post.astype(np.float64)


class Held(Accumulator):
    def __init__(self, sums: TokenClassSums) -> None:
        self.sums = sums

    def state(self) -> dict[str, torch.Tensor]:
        return self.sums.state()


def empty() -> TokenClassSums:
    return TokenClassSums(TOKENS, CLASSES, NEURONS, torch.device("cpu"))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(0, N), max_size=6), order=st.randoms())
def test_any_batches_and_any_order_of_merging_give_the_regression(seed, cuts, order):
    data, parts = Data(seed), []
    for first, end in pairwise(sorted([0, N, *cuts])):
        parts.append(empty())
        data.add(parts[-1], first, end)
    order.shuffle(parts)
    merged = empty()
    for part in parts:
        Held(merged).merge({name: values.numpy() for name, values in part.state().items()})
    found = merged.partial(data.class_sums)
    dummies = np.eye(TOKENS)[data.ids][:, np.unique(data.ids)]
    for c in range(CLASSES):
        if c in (PURE, NONE):
            assert np.isnan(found.effect[c]).all() and np.isnan(found.reduction[c]).all()
            assert found.overlap[c] == (0 if c == PURE else pytest.approx(np.nan, nan_ok=True))
            continue
        inside = data.members[:, c].astype(np.float64)
        share = dummies @ (dummies.T @ inside / dummies.sum(0))
        assert found.overlap[c] == pytest.approx((share * (1 - share)).sum() / inside.sum())
        for neuron in range(NEURONS):
            x = data.post[:, neuron].astype(np.float64)
            within = x - dummies @ (dummies.T @ x / dummies.sum(0))
            if neuron == 3:  # the token says all
                assert np.isnan(found.effect[c, neuron]) and np.isnan(found.reduction[c, neuron])
                continue
            beta = np.linalg.lstsq(np.column_stack([dummies, inside]), x, rcond=None)[0][-1]
            rest = (
                x - np.column_stack([dummies, inside]) @ np.linalg.lstsq(np.column_stack([dummies, inside]), x, rcond=None)[0]
            )
            assert found.effect[c, neuron] == pytest.approx(beta / within.std(), rel=1e-6, abs=1e-9)
            assert found.reduction[c, neuron] == pytest.approx(1 - rest.var() / within.var(), rel=1e-6, abs=1e-9)


def test_what_the_token_explains_is_not_the_classs():
    """Neuron 2 follows tokens that are frequent in class 0, which alone explains much of it; neuron 1 follows the class."""
    data, sums = Data(3), empty()
    data.add(sums, 0, N)
    found = sums.partial(data.class_sums)
    means = [data.post[data.members[:, 0], n].mean() - data.post[~data.members[:, 0], n].mean() for n in (1, 2)]
    assert means[0] > 1 and means[1] > data.post[:, 2].std() / 2
    assert found.effect[0, 1] > 1 and abs(found.effect[0, 2]) < 0.3 and found.reduction[0, 2] < 0.02 < found.reduction[0, 1]


def test_sums_are_the_same_on_any_device():
    data = Data(1)
    values, ids = torch.from_numpy(data.post), torch.from_numpy(data.ids)
    made = []
    for add in (feature_loops.add_squared_rows, given_token.add_squared_rows):
        made.append([torch.zeros(shape, dtype=torch.float64) for shape in ((TOKENS, NEURONS), NEURONS, NEURONS)])
        add(values, ids, *made[-1])
    for by_loop, by_tensor in zip(*made, strict=True):
        torch.testing.assert_close(by_loop, by_tensor, rtol=1e-12, atol=1e-12)
