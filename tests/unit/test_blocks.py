"""Blocks of documents: who is dealt into which, how many documents the rows hold, and the jackknife over them."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.corpus.blocks import ROWS_PER_BLOCK, deal, text_hash
from ingest.statistics.jackknife import HALF, LEAST_BLOCKS, N_BLOCKS, jackknife, standard_error
from tests.factories import random_texts, write_jsonl

HASHES = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=200)


def dealt(hashes: list[int], n_rows: int = 10_000, subset: str = "prose") -> np.ndarray:
    return deal(subset, np.array(hashes, dtype=np.uint64), n_rows)


@given(HASHES, st.integers(0, 500))
def test_equal_texts_are_together_whatever_the_order(hashes: list[int], n_rows: int) -> None:
    blocks = dict(zip(hashes, dealt(hashes, n_rows).tolist(), strict=True))
    doubled = dealt([*reversed(hashes), *hashes], n_rows).tolist()
    assert doubled == [blocks[each] for each in [*reversed(hashes), *hashes]]
    assert 0 <= min(blocks.values()) and max(blocks.values()) < N_BLOCKS


@given(HASHES, st.integers(0, 500))
def test_two_of_three_documents_are_dealt_evenly_over_no_more_blocks_than_the_rows_fill(hashes: list[int], n_rows: int) -> None:
    distinct, most = sorted(set(hashes)), max(1, min(N_BLOCKS, n_rows // ROWS_PER_BLOCK))
    blocks = dealt(distinct, n_rows)
    assert len(set(blocks.tolist())) <= most
    counts = np.bincount(np.delete(blocks, np.s_[2::3]), minlength=N_BLOCKS)
    n_even = len(distinct) - len(distinct) // 3
    assert np.count_nonzero(counts) == min(most, n_even)
    assert counts.max() - counts[counts > 0].min() <= 1


def test_every_third_goes_where_its_hash_says() -> None:
    hashes = np.sort(np.random.default_rng(0).integers(0, 2**63, 30_000, dtype=np.uint64))
    blocks = dealt(hashes.tolist())
    thirds = np.bincount(blocks[2::3], minlength=N_BLOCKS)
    assert thirds.min() > 200 and thirds.std() > 5, "not even, as a hash does not deal evenly"
    assert blocks[2::3].tolist() == [dealt([1, 2, int(each)])[2] for each in hashes[2::3]]


def test_a_small_subset_lies_in_both_halves_and_not_all_small_subsets_in_the_same_blocks() -> None:
    two = [dealt([1, 2], 2 * ROWS_PER_BLOCK, name) for name in map(str, range(50))]
    assert all((blocks < HALF).sum() == 1 for blocks in two)
    alone = {int(dealt([7], 1, name)[0]) for name in map(str, range(200))}
    assert len(alone) > N_BLOCKS // 2


def test_the_hash_of_a_text_is_the_same_everywhere() -> None:
    assert text_hash("a text") == 0x536408935BE0E950
    assert len({text_hash(text) for text in random_texts(500)}) == 500


def test_documents_with_a_token_in_the_rows_are_counted(tmp_path: Path, make_corpus: Any) -> None:
    texts = random_texts(300)
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": text, "subset": "ab"[i % 2]} for i, text in enumerate(texts)])
    whole, cut = make_corpus(path), make_corpus(path, max_tokens=16 * 20)
    assert 300 - 2 * N_BLOCKS <= whole.meta.n_documents <= 300
    one = make_corpus(path, max_tokens=1)
    assert one.n_rows == 1 and 1 <= one.meta.n_documents <= 3
    assert one.meta.n_documents <= cut.meta.n_documents <= 60
    long = write_jsonl(tmp_path / "long.jsonl", [" ".join(texts)])
    assert make_corpus(long).meta.n_documents == 1


def plain(values: np.ndarray) -> np.ndarray:
    """The delete-one jackknife of a mean, written out."""
    n = len(values)
    without = np.array([np.delete(values, i, axis=0).mean(axis=0) for i in range(n)])
    return np.sqrt((n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0))


@given(st.integers(LEAST_BLOCKS, N_BLOCKS), st.integers(0, 2**32 - 1))
def test_of_a_mean_over_blocks_of_equal_size_it_is_the_usual_standard_error(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(5, 3, (n, 4))
    counts, sums = np.zeros(N_BLOCKS, dtype=int), np.zeros((N_BLOCKS, 4))
    places = np.random.default_rng(seed + 1).permutation(N_BLOCKS)[:n]
    counts[places], sums[places] = 7, 7 * values
    found = jackknife(counts, lambda n_tokens, total: total / n_tokens, sums)
    np.testing.assert_allclose(found, values.std(axis=0, ddof=1) / np.sqrt(n), rtol=1e-9)
    np.testing.assert_allclose(found, plain(values), rtol=1e-9)


def test_fewer_than_ten_blocks_or_an_undefined_estimate_leave_it_undefined() -> None:
    counts, sums = np.ones(N_BLOCKS, dtype=int), np.random.default_rng(0).normal(size=(N_BLOCKS, 3))
    counts[LEAST_BLOCKS - 1 :] = 0
    assert np.isnan(jackknife(counts, lambda n, total: total / n, sums)).all()
    without = np.random.default_rng(1).normal(size=(N_BLOCKS, 2))
    without[3, 1] = np.nan
    found = standard_error(without, np.ones(N_BLOCKS, dtype=bool))
    assert np.isfinite(found[0]) and np.isnan(found[1])


def test_it_holds_where_tokens_of_a_document_are_alike() -> None:
    """Means of dependent tokens: the error over blocks is that over repetitions, and the one of independent tokens is not."""
    random = np.random.default_rng(3)
    means, errors, naive = [], [], []
    for _ in range(300):
        documents = random.normal(size=(320, 1)) + 0.3 * random.normal(size=(320, 20))
        blocks = documents.reshape(N_BLOCKS, -1)
        counts = np.full(N_BLOCKS, blocks.shape[1])
        means.append(documents.mean())
        errors.append(float(jackknife(counts, lambda n, total: total / n, blocks.sum(1))))
        naive.append(documents.std() / np.sqrt(documents.size))
    assert 0.85 < np.mean(errors) / np.std(means) < 1.15
    assert np.mean(naive) / np.std(means) < 0.3
