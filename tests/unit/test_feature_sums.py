"""Sums by feature and the variance reductions that follow, against their definitions on all positions at once."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.corpus.batches import token_batches
from ingest.corpus.meta import CorpusMeta
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.syntax.cache import SyntaxCorpus
from ingest.corpus.syntax.features import N_FEATURES
from ingest.parts.explained import explain_features, explanation_columns, of_sets
from ingest.parts.syntax import SyntaxSums
from ingest.statistics import feature_loops, features
from ingest.statistics.features import FeatureAccumulator
from ingest.statistics.jackknife import HALF, N_BLOCKS
from ingest.statistics.layers import FeatureBatch, TokenBatch
from tests import references

N, CONTEXT, FEATURES, NEURONS = 1200, 4, 4, 7


class Data:
    """Positions with features and activations, some of them not annotated; neurons 0 and 1 are constant where it counts."""

    def __init__(self, seed: int, gated: bool = False) -> None:
        self.gated = gated
        generator = np.random.default_rng(seed)
        self.annotated = generator.random(N) < 0.7
        self.features = generator.random((N, 2 * FEATURES)) < [0.5, 0.3, 0.02, 0.99, 0.5, 0.3, 0.2, 0.4]
        effect = self.features @ generator.normal(size=(2 * FEATURES, NEURONS))
        self.post = (effect + generator.normal(size=(N, NEURONS)) + 3).astype(np.float32)
        self.post[:, 0] = 0.7
        self.post[self.annotated, 1] = 0.0
        self.pivot = self.post[:50].mean(0)
        self.pre = generator.normal(size=(N, NEURONS)).astype(np.float32) + self.features[:, :1]
        self.blocks = np.repeat(np.arange(N // CONTEXT) * 5 % N_BLOCKS, CONTEXT)
        self.blocks[self.blocks == 3] = 4

    def accumulate(self, first: int, end: int) -> FeatureAccumulator:
        made = self.empty()
        self.add(made, first, end)
        return made

    def empty(self) -> FeatureAccumulator:
        return FeatureAccumulator("syntax", 2 * FEATURES, torch.from_numpy(self.pivot), FEATURES, self.gated)

    def add(self, made: FeatureAccumulator, first: int, end: int) -> None:
        places = np.flatnonzero(self.annotated[first:end])
        features = self.features[first:end][places]
        known = FeatureBatch(torch.from_numpy(features), torch.from_numpy(places))
        none, n = torch.zeros(0, dtype=torch.int64), end - first
        tokens, kept, blocks = torch.zeros(n, 1, dtype=torch.int64), torch.arange(n), torch.from_numpy(self.blocks[first:end])
        batch = TokenBatch(0, n, 0, tokens, kept, none, none, none, blocks, {"syntax": known})
        centred = torch.from_numpy(self.post[first:end] - self.pivot)
        made.update(batch, torch.from_numpy(self.pre[first:end]), centred)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 5), cuts=st.lists(st.integers(0, N), max_size=6), order=st.randoms(), gated=st.booleans())
def test_any_batches_and_any_order_of_merging_give_the_definition(seed, cuts, order, gated):
    data = Data(seed, gated)
    parts = [data.accumulate(first, end) for first, end in pairwise(sorted([0, N, *cuts]))]
    order.shuffle(parts)
    merged = data.empty()
    for part in parts:
        merged.merge({name: sums.numpy() for name, sums in part.state().items()})
    one = data.empty()
    for first, end in pairwise(sorted([0, N, *cuts])):
        data.add(one, first, end)
    for made in (merged, one):
        found = explain_features(made, least_support=10)
        assert_by_definition(data, found, least_support=10)


def assert_by_definition(data: Data, found: dict[str, np.ndarray], least_support: int) -> None:
    post, features = data.post[data.annotated].astype(np.float64), data.features[data.annotated]
    pre, early = data.pre[data.annotated], data.blocks[data.annotated] < HALF
    rows = {}
    for i, neuron in enumerate(found["neuron_index"]):
        rows[neuron, found["shift"][i] * FEATURES + found["feature_index"][i]] = {name: found[name][i] for name in found}
    for neuron in range(NEURONS):
        x, scores = post[:, neuron], {}
        for column in range(2 * FEATURES):
            inside = features[:, column]
            n_in, n_out = inside.sum(), (~inside).sum()
            if x[early].var() < 1e-12 or min(inside[early].sum(), (~inside)[early].sum()) < least_support:
                assert (neuron, column) not in rows
                continue
            within = (n_in * x[inside].var() + n_out * x[~inside].var()) / len(x)
            scores[column] = references.variance_reduction(x[early], inside[early])
            if (row := rows.get((neuron, column))) is not None:
                assert row["chosen_variance_reduction"] == pytest.approx(scores[column], abs=1e-5)
                held_out = references.variance_reduction(x[~early], inside[~early])
                assert row["held_out_variance_reduction"] == pytest.approx(held_out, abs=1e-5)
                assert row["variance_reduction"] == pytest.approx(1 - within / x.var(), abs=1e-5)
                directed = pre[:, neuron] if data.gated else x
                assert_direction(row, pre[:, neuron], directed, inside, data.blocks[data.annotated])
                assert (row["n_in"], row["n_out"]) == (n_in, n_out)
                assert row["mean_in"] == pytest.approx(x[inside].mean(), rel=1e-5, abs=1e-5)
                assert row["mean_out"] == pytest.approx(x[~inside].mean(), rel=1e-5, abs=1e-5)
                difference = x[inside].mean() - x[~inside].mean()
                assert row["cohen_d"] == pytest.approx(difference / np.sqrt(within), rel=1e-4)
        ranked = sorted(scores, key=lambda column: -scores[column])
        kept = {column for place, column in enumerate(ranked) if place < 5}
        kept |= {next(column for column in ranked if (column < FEATURES) == current) for current in (True, False) if ranked}
        assert {column for own, column in rows if own == neuron} == kept
        assert [rows[neuron, column]["rank"] for column in ranked[:5]] == list(range(1, 1 + len(ranked[:5])))


def assert_direction(row: dict[str, float], pre: np.ndarray, x: np.ndarray, inside: np.ndarray, blocks: np.ndarray) -> None:
    """Of features of the current token: frequency, and mean of max(x, 0), with their jackknife over blocks."""
    kinds = {"frequency": (pre > 0).astype(np.float64), "rectified": np.maximum(x.astype(np.float64), 0)}
    for (kind, values), (side, of_side) in product(kinds.items(), (("in", inside), ("out", ~inside))):
        name = f"{kind}_{side}"
        if row["shift"] == 1:
            assert np.isnan(row[name]) and np.isnan(row[f"{name}_se"])
            continue
        assert row[name] == pytest.approx(values[of_side].mean(), rel=1e-5, abs=1e-6)
        filled = np.unique(blocks)
        without = [values[of_side & (blocks != block)] for block in filled]
        expected = np.nan if min(map(len, without)) == 0 else np.sqrt((len(filled) - 1) * np.var([x.mean() for x in without]))
        assert row[f"{name}_se"] == pytest.approx(expected, rel=1e-3, abs=1e-6, nan_ok=True)


def test_neurons_that_do_not_vary_and_features_without_support_have_no_rows():
    data = Data(1)
    found = explain_features(data.accumulate(0, N))
    assert set(found["neuron_index"]) == set(range(2, NEURONS))
    assert (np.minimum(found["n_in"], found["n_out"]) >= 100).all() and 3 not in found["feature_index"][found["shift"] == 0]
    ((table, columns),) = explanation_columns(found, np.arange(50, 50 + NEURONS, dtype=np.int32))
    assert table == "explanations" and set(columns["neuron_id"]) == set(range(52, 50 + NEURONS))
    assert set(columns["shift"]) == {"current", "previous"}


def test_nothing_annotated_explains_nothing():
    found = explain_features(FeatureAccumulator("syntax", 2 * FEATURES, torch.zeros(NEURONS), FEATURES))
    assert all(len(values) == 0 for values in found.values())


def test_of_sets_of_tokens_nothing_is_left_when_the_token_is_known():
    data = Data(2)
    made = data.accumulate(0, N)
    found = explain_features(made, of_sets(made))
    current = found["shift"] == 0
    assert current.any() and (found["overlap"][current] == 0).all() and np.isnan(found["overlap"][~current]).all()
    assert np.isnan(found["partial_effect"]).all() and np.isnan(found["partial_variance_reduction"]).all()


def test_without_any_feature_nothing_is_explained():
    data = Data(2)
    made = FeatureAccumulator("topics", 0, torch.from_numpy(data.pivot))
    found = explain_features(made, of_sets(made))
    assert all(len(values) == 0 for values in found.values())


def test_syntax_is_summed_by_token_where_it_is_annotated():
    generator = torch.Generator().manual_seed(0)
    post, ids = torch.randn(40, 3, generator=generator), torch.randint(0, 5, (40,), generator=generator)
    features, places = torch.rand(20, 2 * N_FEATURES, generator=generator) < 0.3, torch.arange(0, 40, 2)
    none = torch.zeros(0, dtype=torch.int64)
    known = {"syntax": FeatureBatch(features, places)}
    tokens, blocks = torch.zeros(40, 1, dtype=torch.int64), torch.zeros(40, dtype=torch.int64)
    batch = TokenBatch(0, 40, 0, tokens, torch.arange(40), ids, none, none, blocks, known)
    made = SyntaxSums("syntax", 5, torch.zeros(3))
    made.update(batch, post, post)
    for token in range(5):
        here = ids[places] == token
        torch.testing.assert_close(made.of_tokens.sums_[token], post[places][here].double().sum(0))
        assert made.of_tokens.counts_[token].tolist() == [*features[here, :N_FEATURES].sum(0).tolist(), int(here.sum())]


def test_a_batch_without_syntax_is_refused():
    none, nothing = torch.zeros(0, dtype=torch.int64), torch.zeros(0, NEURONS)
    with pytest.raises(ValueError, match="without syntax"):
        FeatureAccumulator("syntax", 2 * FEATURES, torch.zeros(NEURONS)).update(
            TokenBatch(0, 1, 0, *[none] * 6), nothing, nothing
        )


def test_sums_are_the_same_on_any_device():
    generator = torch.Generator().manual_seed(1)
    members, blocks = torch.rand(300, 9, generator=generator) < 0.2, torch.randint(0, 4, (300,), generator=generator)
    values, pre = torch.randn(2, 300, 5, generator=generator)
    pivot = torch.randn(5, generator=generator)
    made = []
    for way in (feature_loops, features):
        sums, squares = torch.zeros(4, 10, 5, dtype=torch.float64), torch.zeros(4, 5, dtype=torch.float64)
        way.add_members(values, members, blocks, sums, squares)
        active, rectified = torch.zeros(4, 10, 5, dtype=torch.int32), torch.zeros(4, 10, 5, dtype=torch.float64)
        way.add_directed(pre, values, pivot, members, blocks, active, rectified)
        made.append((sums, squares, active, rectified))
    for by_loop, by_product in zip(*made, strict=True):
        torch.testing.assert_close(by_loop, by_product, rtol=1e-12, atol=1e-12)
    sums, squares, active, rectified = made[0]
    inside, here = members[:, 3] & (blocks == 2), blocks == 2
    torch.testing.assert_close(sums[2, 3], values[inside].double().sum(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(sums[2, -1], values[here].double().sum(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(squares[2], (values[here].double() ** 2).sum(0), rtol=1e-12, atol=0)
    assert torch.equal(active[2, 3], (pre[inside] > 0).sum(0).int()) and torch.equal(
        active[2, -1], (pre[here] > 0).sum(0).int()
    )
    expected = (values[inside].double() + pivot.double()).clamp_min(0).sum(0)
    torch.testing.assert_close(rectified[2, 3], expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 100), rows_at_once=st.integers(1, 9))
def test_the_previous_token_is_that_of_the_same_row(seed, rows_at_once):
    generator = np.random.default_rng(seed)
    n_rows, context = 8, 5
    features = generator.random((n_rows, context, N_FEATURES)) < 0.3
    features[:, 0] = False
    annotated = generator.random(n_rows) < 0.6
    tokens = generator.integers(0, 4, (n_rows, context))
    kept = tokens > 0
    meta = CorpusMeta("c", "c", None, None, context, n_rows, [], "0" * 64)
    corpus = TokenCorpus(meta, tokens.astype(np.int32), *[np.zeros(n_rows, dtype=np.int16)] * 2, masked_ids=(0,))
    syntax = SyntaxCorpus(np.packbits(features, axis=2), (), annotated, "")
    seen = []
    for batch in token_batches(corpus, rows_at_once * context, torch.device("cpu"), features={"syntax": syntax}):
        known = batch.features["syntax"]
        assert known.places is not None and len(known.places) == len(known.features)
        flat = batch.first_row * context + batch.kept[known.places]
        seen += list(zip(flat.tolist(), known.features.numpy(), strict=True))
    expected = [(r * context + p) for r in range(n_rows) for p in range(context) if kept[r, p] and annotated[r]]
    assert [place for place, _ in seen] == expected
    for place, found in seen:
        r, p = divmod(place, context)
        np.testing.assert_array_equal(found[:N_FEATURES], features[r, p])
        before = features[r, p - 1] if p else np.zeros(N_FEATURES, dtype=bool)
        np.testing.assert_array_equal(found[N_FEATURES:], before)
