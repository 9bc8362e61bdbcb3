"""Sums by token id have rows for the ids that occur alone: what is found is what rows for all ids give."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from catalog.documents import DocumentCounts
from ingest.corpus.batches import token_batches
from ingest.corpus.meta import CorpusMeta
from ingest.corpus.rows import TokenCorpus, first_rows
from ingest.features.vocabulary import FeatureTable
from ingest.parts.next_tokens import describe_next_tokens
from ingest.parts.shapes import CorpusShape, LayerShape
from ingest.statistics.distributions import SubsetAccumulator
from ingest.statistics.next_tokens import NextTokenAccumulator
from ingest.statistics.token_sums import TokenSumAccumulator

IDS, NEURONS, ROWS, CONTEXT = 1000, 5, 6, 16
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus() -> TokenCorpus:
    random = np.random.default_rng(0)
    tokens = random.choice(random.choice(IDS, 20, replace=False), (ROWS, CONTEXT)).astype(np.int32)
    tokens[:, 0] = 3
    meta = CorpusMeta("c", "c", None, None, CONTEXT, ROWS, ["one", "two"], "", DocumentCounts())
    return TokenCorpus(meta, tokens, np.arange(ROWS, dtype=np.int16) % 2, np.arange(ROWS, dtype=np.int16), (3,))


def summed(corpus: TokenCorpus, accumulator: Any, batch_tokens: int, everywhere: bool) -> Any:
    """The accumulator after the corpus; `everywhere` gives each id its own row."""
    random = torch.Generator().manual_seed(1)
    whole = torch.randn(2, ROWS * CONTEXT, NEURONS, generator=random)
    for batch in token_batches(corpus, batch_tokens, CPU):
        shown = replace(batch, ids=None) if everywhere else batch
        kept = batch.kept + batch.first_row * CONTEXT
        pre, post = whole[0, kept].clone(), whole[1, kept].clone()
        accumulator.update(shown, pre, post)
    return accumulator


def test_ids_are_those_of_all_rows_in_order(corpus: TokenCorpus) -> None:
    assert corpus.ids.tolist() == sorted(set(corpus.tokens.flatten().tolist()))
    few = first_rows(corpus, 1)
    assert few.ids.tolist() == sorted(set(corpus.tokens[0].tolist())) and len(few.ids) < len(corpus.ids)


def test_a_plan_makes_room_for_the_ids_that_occur() -> None:
    assert LayerShape(3, IDS, CorpusShape(1, 8)).n_ids == IDS
    assert LayerShape(3, IDS, CorpusShape(1, 8, n_ids=21)).n_ids == 21
    assert LayerShape(3, 10, CorpusShape(1, 8, n_ids=21)).n_ids == 10


@pytest.mark.parametrize("batch_tokens", [16, 40, 1000])
def test_sums_by_id_are_the_same_rows(corpus: TokenCorpus, batch_tokens: int) -> None:
    pivot = torch.full((NEURONS,), 0.25)
    makes: list[Any] = [
        lambda n: TokenSumAccumulator(n, pivot),
        lambda n: NextTokenAccumulator(n, pivot),
        lambda n: SubsetAccumulator(2, n, pivot, pivot),
    ]
    seen = 0
    for make in makes:
        few = summed(corpus, make(len(corpus.ids)), batch_tokens, everywhere=False).state()
        every = summed(corpus, make(IDS), batch_tokens, everywhere=True).state()
        for name, values in few.items():
            by_id = every[name]
            is_by_id = len(by_id) == IDS
            seen += is_by_id
            assert torch.equal(values, by_id[torch.from_numpy(corpus.ids)] if is_by_id else by_id), name
            assert values.double().abs().sum() == pytest.approx(by_id.double().abs().sum().item())
    assert seen == 6


def test_what_is_found_before_tokens_is_the_same(corpus: TokenCorpus) -> None:
    pivot = torch.zeros(NEURONS)
    table = FeatureTable(["a", "b"], ["x", "x"], ["", ""], np.random.default_rng(2).random((2, IDS)) < 0.4)
    few = summed(corpus, NextTokenAccumulator(len(corpus.ids), pivot), 32, everywhere=False)
    every = summed(corpus, NextTokenAccumulator(IDS, pivot), 32, everywhere=True)
    found = describe_next_tokens(few, table.of(corpus.ids), least_support=2)
    expected = describe_next_tokens(every, table, least_support=2)
    assert len(expected["rank"]) == 2 * NEURONS
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, err_msg=name)
