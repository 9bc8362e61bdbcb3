"""Activations by the next token: any split and order of merging gives the definition on all positions at once."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.features.vocabulary import FeatureTable
from ingest.parts.next_tokens import describe_next_tokens, next_token_columns
from ingest.statistics import loops
from ingest.statistics.layers import TokenBatch
from ingest.statistics.next_tokens import NextTokenAccumulator, add_following

N_ROWS, CONTEXT, NEURONS, IDS = 40, 9, 6, 12
MASKED = (0, 3)
CLASSES = FeatureTable(
    names=[f"class_{i}" for i in range(8)],
    families=["type"] * 8,
    definitions=[""] * 8,
    # the second is the first again, the third its rest, the last two have too few members or none
    matrix=np.array(
        [[i % 3 == 0 for i in range(IDS)]] * 2
        + [[i % 3 != 0 for i in range(IDS)]]
        + [[i in chosen for i in range(IDS)] for chosen in ({1, 2}, {4, 5, 6}, {2, 7, 8, 9}, {11}, set())]
    ),
)


class Data:
    """Rows of tokens and pre-activations that depend on the next token; neuron 0 is constant, neuron 1 on nothing else."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.tokens = generator.integers(0, IDS - 1, (N_ROWS, CONTEXT))
        self.tokens[:, 0] = 0
        following = np.append(self.tokens[:, 1:], np.full((N_ROWS, 1), -1), axis=1)
        self.kept = ~np.isin(self.tokens, MASKED)
        self.following = following
        effect = generator.normal(size=(IDS + 1, NEURONS))
        pre = effect[following] + generator.normal(size=(N_ROWS, CONTEXT, NEURONS)) + 5
        pre[..., 0] = 0.7
        pre[..., 1] = following % 3 == 0
        self.pre = pre.astype(np.float32)
        self.pivot = torch.from_numpy(self.pre.reshape(-1, NEURONS)[:20].mean(0))

    def add(self, accumulator: NextTokenAccumulator, first: int, end: int) -> None:
        tokens, kept = torch.from_numpy(self.tokens[first:end]), torch.from_numpy(self.kept[first:end])
        nothing = torch.empty(0, dtype=torch.int64)
        places = kept.flatten().nonzero().squeeze(1)
        batch = TokenBatch(first, end - first, 0, tokens, places, nothing, nothing, nothing, nothing)
        # activations come as columns of a wider buffer
        wide = torch.from_numpy(np.repeat(self.pre[first:end].reshape(-1, NEURONS), 2, axis=1))
        accumulator.update(batch, wide[places, NEURONS // 2 : NEURONS // 2 + NEURONS], nothing)

    def columns(self) -> np.ndarray:
        """(kept with a next token, neurons) of what `add` gives."""
        wide = np.repeat(self.pre, 2, axis=2)[..., NEURONS // 2 : NEURONS // 2 + NEURONS]
        return wide[self.counted].astype(np.float64)

    @property
    def counted(self) -> np.ndarray:
        return self.kept & (self.following >= 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, N_ROWS), max_size=4), order=st.randoms())
def test_any_split_and_order_give_the_definition(seed: int, cuts: list[int], order) -> None:
    data = Data(seed)
    parts = []
    for first, end in pairwise(sorted([0, N_ROWS, *cuts])):
        parts.append(NextTokenAccumulator(IDS, data.pivot))
        data.add(parts[-1], first, end)
    order.shuffle(parts)
    merged = NextTokenAccumulator(IDS, data.pivot)
    for part in parts:
        merged.merge({name: held.numpy() for name, held in part.state().items()})
    assert_by_definition(data, describe_next_tokens(merged, CLASSES, least_support=20))


def assert_by_definition(data: Data, found: dict[str, np.ndarray]) -> None:
    x, following = data.columns(), data.following[data.counted]
    rows = {
        (neuron, feature): {name: found[name][i] for name in found}
        for i, (neuron, feature) in enumerate(zip(found["neuron_index"], found["feature_index"], strict=True))
    }
    for neuron in range(NEURONS):
        effects = {}
        for feature, members in enumerate(CLASSES.matrix):
            inside = members[following]
            own, rest = x[inside, neuron], x[~inside, neuron]
            if min(len(own), len(rest)) < 20 or x[:, neuron].var() < 1e-10:
                assert (neuron, feature) not in rows
                continue
            within = (len(own) * own.var() + len(rest) * rest.var()) / len(x)
            if within < 1e-10:
                assert (neuron, feature) not in rows
                continue
            effects[feature] = (own.mean() - rest.mean()) / np.sqrt(within)
            if (row := rows.get((neuron, feature))) is not None:
                assert (row["n_in"], row["n_out"]) == (len(own), len(rest))
                assert (row["mean_in"], row["mean_out"]) == pytest.approx((own.mean(), rest.mean()), rel=1e-5, abs=1e-6)
                assert (row["freq_in"], row["freq_out"]) == pytest.approx(((own > 0).mean(), (rest > 0).mean()), abs=1e-12)
                assert row["cohen_d"] == pytest.approx(effects[feature], rel=1e-5, abs=1e-6)
        best = sorted(effects, key=lambda feature: (-round(abs(effects[feature]), 9), feature))[:5]
        assert [feature for own, feature in sorted(rows, key=lambda key: rows[key]["rank"]) if own == neuron] == best
        assert sorted(rows[neuron, feature]["rank"] for feature in best) == list(range(1, len(best) + 1))


def test_rows_of_the_catalog() -> None:
    data = Data(0)
    accumulator = NextTokenAccumulator(IDS, data.pivot)
    data.add(accumulator, 0, N_ROWS)
    found = describe_next_tokens(accumulator, CLASSES, least_support=20)
    ((table, columns),) = next_token_columns(found, np.arange(100, 100 + NEURONS, dtype=np.int32))
    assert table == "next_token_statistics" and len({len(values) for values in columns.values()}) == 1
    assert set(columns["neuron_id"]) <= set(range(100, 100 + NEURONS)) and columns["rank"].min() == 1


def test_no_token_before_another_has_no_rows() -> None:
    found = describe_next_tokens(NextTokenAccumulator(IDS, torch.zeros(NEURONS)), CLASSES)
    assert {len(values) for values in found.values()} == {0}


def test_ids_that_the_tokenizer_does_not_have_are_no_class() -> None:
    data = Data(1)
    padded, plain = (NextTokenAccumulator(n, data.pivot) for n in (IDS + 5, IDS))
    for accumulator in (padded, plain):
        data.add(accumulator, 0, N_ROWS)
    one, other = (describe_next_tokens(accumulator, CLASSES, least_support=20) for accumulator in (padded, plain))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])


def test_sums_are_the_same_on_any_device() -> None:
    data = Data(2)
    pre = torch.from_numpy(data.pre.reshape(-1, NEURONS))
    ids = torch.from_numpy(data.following.flatten())
    found = []
    for add in (loops.add_following, add_following):
        held = NextTokenAccumulator(IDS, data.pivot)
        add(pre, ids, data.pivot, held.sums_, held.active_, held.squares_)
        found.append(held)
    torch.testing.assert_close(found[0].sums_, found[1].sums_, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[0].squares_, found[1].squares_, rtol=1e-12, atol=1e-12)
    assert torch.equal(found[0].active_, found[1].active_)
