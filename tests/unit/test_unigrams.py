"""Unigram features: classes of equal normal form that are frequent and large enough (SPEC §5.9, DECISIONS)."""

import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.features.unigrams import classes, letter_classes, normal_form, unigram_features
from ingest.features.vocabulary import FeatureTable
from tests.unit.test_vocabulary import gpt2_strings

OF = ["of", " of", "Of", " Of"]


def features(strings: list[str], counts: list[int], n_kept: int, excluded: tuple[int, ...] = ()) -> FeatureTable:
    return unigram_features(strings, np.array(counts, dtype=np.int64), n_kept, excluded_ids=excluded)


def test_gpt2_classes_have_the_sizes_of_the_spec() -> None:
    sizes = Counter(Counter(map(normal_form, gpt2_strings())).values())
    assert sum(sizes.values()) == 32762
    assert {size: sizes[size] for size in range(1, 8)} == {1: 23316, 2: 5356, 3: 1707, 4: 1545, 5: 439, 6: 391, 7: 5}
    assert sizes[298] == 1
    assert sum(n for size, n in sizes.items() if size > 3) == 2383


def test_gpt2_classes_that_can_be_features() -> None:
    found = classes(gpt2_strings(), excluded_ids=[])
    assert {letter: len(found[letter]) for letter in string.ascii_lowercase} == dict.fromkeys(string.ascii_lowercase, 4)
    # Of the 2,383 with four ids, white space and one and two replacement characters are none.
    assert sum(len(ids) > 3 for ids in found.values()) == 2380
    table = features(gpt2_strings(), [1000] * 50257, 50257 * 1000, excluded=(50256, 198))
    # 4 ids of 50,257 hold 8e-5 of these tokens, so only letters are frequent enough.
    assert sorted(table.names) == [f"{letter}_unigram" for letter in string.ascii_lowercase]


def test_a_class_is_true_for_all_its_ids() -> None:
    table = features(["x", *OF, "often"], [0, 5, 5, 5, 5, 5], 1000)
    assert table.names == ["of_unigram"]
    assert table.families == ["unigram"]
    assert table.matrix.tolist() == [[False, True, True, True, True, False]]
    assert "'of'" in table.definitions[0]


@pytest.mark.parametrize(("count", "is_feature"), [(29, False), (30, True)])
def test_a_class_needs_three_of_ten_thousand_tokens(count: int, is_feature: bool) -> None:
    assert bool(features(OF, [count, 0, 0, 0], 100_000).names) == is_feature


def test_a_class_needs_four_ids() -> None:
    assert features(OF[:3], [1000, 1000, 1000], 3000).names == []


@pytest.mark.parametrize(
    ("strings", "count", "is_feature"),
    [
        (["e", " E"], 100, True),
        (["e", " E"], 99, False),
        (["e"], 5000, False),
        (["é", " É"], 5000, False),  # only a to z
        (["ab", " ab"], 5000, False),
    ],
)
def test_a_letter_needs_two_ids_and_a_hundred_tokens(strings: list[str], count: int, is_feature: bool) -> None:
    counts = [count] + [0] * (len(strings) - 1)
    assert bool(features(strings, counts, 10_000_000 if is_feature else 10_000).names) == is_feature


@pytest.mark.parametrize("text", ["", " ", "\t", "\ufffd", "\ufffd\ufffd", " \ufffd", "\ufffd \ufffd", "\u3000"])
def test_white_space_and_broken_characters_are_no_class(text: str) -> None:
    assert features([text] * 4, [1000] * 4, 4000).names == []
    assert features([text + "x"] * 4, [1000] * 4, 4000).names == [normal_form(text + "x") + "_unigram"]


def test_excluded_ids_are_in_no_class() -> None:
    assert features(OF, [1000] * 4, 4000, excluded=(2,)).names == []
    table = features([*OF, " of "], [1000] * 5, 5000, excluded=(2,))
    assert table.matrix.tolist() == [[True, True, False, True, True]]


def test_nul_is_written_out_in_names() -> None:
    table = features(["\0", " \0", "\n\0", "\t\0"], [1000] * 4, 4000)
    assert table.names == [r"\x00_unigram"]
    assert "\0" not in table.definitions[0]


def test_no_feature_at_all_is_an_empty_table() -> None:
    assert features(["one", "two"], [1, 1], 2).matrix.shape == (0, 2)


@settings(max_examples=100, deadline=None)
@given(
    strings=st.lists(st.sampled_from(["a", " A", "A", "b", "on", " on", "On", " ON", "\n", "\ufffd", "an"]), max_size=40),
    data=st.data(),
)
def test_features_equal_the_definition(strings: list[str], data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 120), min_size=len(strings), max_size=len(strings)))
    n_kept = max(1, sum(counts)) * data.draw(st.sampled_from([1, 100, 1000]))
    table = features(strings, counts, n_kept)
    for form in ("a", "b", "on", "an"):
        ids = [i for i, text in enumerate(strings) if text.strip().lower() == form]
        count = sum(counts[i] for i in ids)
        letter = len(form) == 1
        enough = len(ids) >= 2 and count >= 100 if letter else len(ids) >= 4 and count >= 3e-4 * n_kept
        assert (f"{form}_unigram" in table.names) == enough
        if enough:
            assert np.flatnonzero(table.matrix[table.names.index(f"{form}_unigram")]).tolist() == ids


def test_letter_classes_are_the_letter_its_words_and_the_rest() -> None:
    strings = ["a", " A", "an", " Apple", "b", "?", "\n", "a"]
    found = letter_classes(strings, excluded_ids=[6, 7])
    assert np.flatnonzero(found.itself[0]).tolist() == [0, 1]
    assert np.flatnonzero(found.starting[0]).tolist() == [2, 3]
    assert np.flatnonzero(found.rest[0]).tolist() == [4, 5]
    assert np.flatnonzero(found.itself[1]).tolist() == [4]
    assert found.itself.shape == found.starting.shape == found.rest.shape == (26, 8)


def test_letter_classes_divide_the_tokens_that_are_not_excluded() -> None:
    found = letter_classes(gpt2_strings(), excluded_ids=(50256, 198))
    together = found.itself.astype(int) + found.starting + found.rest
    excluded = np.isin(np.arange(50257), [50256, 198])
    assert (together == np.where(excluded, 0, 1)).all()
    assert (found.itself.sum(axis=1) == 4).all()
    assert found.starting[0].sum() == 4085 - 4  # start_w_a of §5.7 without the letter itself
