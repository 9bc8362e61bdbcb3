"""The best letter of a neuron, and its top tokens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.features.explanations import top_tokens
from ingest.features.unigrams import letter_classes
from tests import references
from tests.unit.raw_sums import STRINGS, all_reductions, explained, random_raw, table


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(20, 300), least_support=st.sampled_from([1, 20]))
def test_the_best_letter_and_its_classes(seed: int, n: int, least_support: int) -> None:
    raw = random_raw(seed, n, n_tokens=len(STRINGS))
    names = ["x_unigram", "is_of", "b_unigram", "a_unigram", "of_unigram"]
    members = [("x",), (" of",), ("b", " b"), ("a", " a", "A"), (" of",)]
    features = table(np.array([[s in member for s in STRINGS] for member in members]), names)
    found = explained(raw, features, letter_classes(STRINGS, excluded_ids=[]), least_support=least_support).letters
    scores = all_reductions(raw.choosing, features, least_support)[[3, 2, 0]]
    assert found["neuron_index"].tolist() == [i for i in range(4) if not np.isnan(scores[:, i]).all()]
    for i, neuron in enumerate(found["neuron_index"]):
        letter, feature = found["letter"][i], int(found["feature_index"][i])
        assert names[feature] == f"{letter}_unigram"
        assert found["chosen_variance_reduction"][i] == pytest.approx(np.nanmax(scores[:, neuron]), abs=1e-9)
        member = raw.member(features, feature, 0)
        expected = references.variance_reduction(raw.post[:, neuron], member)
        assert found["variance_reduction"][i] == pytest.approx(expected, abs=1e-9)
        held_out = all_reductions(raw.held_out, features, least_support // 2)[feature, neuron]
        assert found["held_out_variance_reduction"][i] == pytest.approx(held_out, abs=1e-9, nan_ok=True)
        own = {"a": ["a", " a", "A"], "b": ["b", " b"], "x": ["x"]}[letter]
        starting = {"a": ["an", " at"], "b": ["bed"], "x": []}[letter]
        groups = (own, starting, [s for s in STRINGS if s not in own + starting])
        for group, mean in zip(groups, (found[f"mean_{name}"][i] for name in "abc"), strict=True):
            values = raw.post[np.isin(raw.current, [STRINGS.index(s) for s in group]), neuron]
            assert mean == pytest.approx(values.mean() if len(values) else np.nan, abs=1e-9, nan_ok=True)


def test_a_letter_that_is_no_feature_is_not_the_best() -> None:
    raw = random_raw(3, 300, n_tokens=len(STRINGS), n_neurons=1)
    raw.post[:, 0] = np.isin(raw.current, [0, 1, 2])
    features = table(np.array([[s.strip() == "b" for s in STRINGS]]), ["b_unigram"])
    found = explained(raw, features, letter_classes(STRINGS, excluded_ids=[]))
    assert found.letters["letter"].tolist() == ["b"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 200), min_count=st.integers(0, 12), k=st.integers(1, 12))
def test_top_tokens_equal_the_definition(seed: int, n: int, min_count: int, k: int) -> None:
    raw = random_raw(seed, n, n_tokens=15)
    pivot = np.random.default_rng(seed).normal(size=4)
    counts, sums = raw.sums(0, 15, pivot)
    found = top_tokens(counts, sums, pivot=pivot, min_count=min_count, k=k)
    for neuron in range(4):
        means = {
            token: raw.post[raw.current == token, neuron].mean() for token in range(15) if counts[token] >= max(1, min_count)
        }
        expected = sorted(means, key=lambda token, means=means: -means[token])[:k]
        of = found.neuron_index == neuron
        assert found.token_id[of].tolist() == expected
        assert found.rank[of].tolist() == list(range(1, len(expected) + 1))
        np.testing.assert_allclose(found.mean[of], [means[token] for token in expected], atol=1e-9)
        assert found.n[of].tolist() == counts[expected].tolist()


def test_top_tokens_of_equal_mean_are_in_order_of_id() -> None:
    counts = np.array([100, 80, 74, 200, 75])
    sums = np.outer(counts, [1.0]) * np.array([1, 2, 9, 1, 2])[:, None]
    found = top_tokens(counts, sums, pivot=np.array([0.5]), min_count=75, k=3)
    assert found.token_id.tolist() == [1, 4, 0]
    assert found.mean.tolist() == [2.5, 2.5, 1.5]
    assert found.n.tolist() == [80, 75, 100]


def test_no_token_is_frequent_enough() -> None:
    found = top_tokens(np.array([74, 3]), np.ones((2, 4)), pivot=np.zeros(4), min_count=75)
    assert len(found.rank) == len(found.token_id) == len(found.mean) == 0
