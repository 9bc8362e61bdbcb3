"""Coverage by n-grams and what neurons detect: exactly a dictionary's counts, however the tokens were cut."""

import gzip
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import percentileofscore
from transformers import AutoTokenizer

from bench import POCKET, POCKET_CORPUS
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.checkpoints.output_weights import OutputWeights
from ingest.corpus.counts import kept_windows
from ingest.corpus.files import CorpusSource
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.parts.ground import CorpusNgrams
from ingest.parts.ngrams import describe_ngrams, ngram_columns
from ingest.parts.shapes import CorpusShape, ModelShape
from ingest.plan.cut import Work, make_plan
from ingest.plan.items import LayerItem
from ingest.statistics import ngrams
from ingest.statistics.bit_loops import pack_positive
from ingest.statistics.ngrams import ActivityAccumulator, index_ngrams, pack_words, smallest_cover
from tests.factories import mlp_parameters, tiny_gpt2, tiny_neox, tiny_opt, write_jsonl
from tests.unit.counted_ngrams import (
    BOS,
    CPU,
    NEWLINE,
    accumulated,
    assert_is_counted,
    corpus_of,
    made_activity,
    made_rows,
    plain_cover,
)

pytestmark = pytest.mark.usefixtures("two_threads")


@settings(max_examples=40, deadline=None)
@given(
    n_rows=st.integers(1, 60),
    context=st.integers(2, 30),
    n_neurons=st.integers(1, 140),
    most=st.sampled_from([1, 50, 300, 10**6]),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    parts=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_any_split_and_order_equals_the_dictionary_count(
    n_rows: int, context: int, n_neurons: int, most: int, cuts: list[int], parts: int, seed: int
) -> None:
    corpus = corpus_of(made_rows(n_rows, context, 60, seed))
    active = made_activity(corpus, max(2, n_neurons), seed)
    bits = accumulated(corpus, active, most, cuts, parts)
    assert_is_counted(describe_ngrams(bits, CorpusNgrams(corpus)), corpus, active, most)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), large=st.sampled_from([2, 3, 7, 10**4]))
def test_large_and_small_groups_are_counted_alike(seed: int, large: int) -> None:
    corpus = corpus_of(made_rows(30, 30, 60, seed))
    active = made_activity(corpus, 70, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "LARGE", large)
        found = describe_ngrams(accumulated(corpus, active, 10**6, []), CorpusNgrams(corpus))
    assert_is_counted(found, corpus, active, 10**6)
    assert len(found["detected_n"])


def test_coverage_of_real_text_equals_the_dictionary_count(tmp_path: Path) -> None:
    """30,000 tokens of the pocket corpus."""
    with gzip.open(POCKET_CORPUS, "rt") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, 150)]
    tokenizer = AutoTokenizer.from_pretrained(POCKET / "tokenizer")
    source, info = CorpusSource(str(write_jsonl(tmp_path / "text.jsonl", texts))), tokenizer_identity(tokenizer)
    corpus = tokenise(source, info, tokenizer, 128, 33_000, 0, False, tmp_path / "cache")
    active = made_activity(corpus, 70, seed=5)
    found = describe_ngrams(accumulated(corpus, active, 30_000, [50, 100, 200]), CorpusNgrams(corpus))
    assert found["n_tokens"].tolist() == [30_000] and len(found["detected_n"])
    assert_is_counted(found, corpus, active, 30_000)


@pytest.mark.parametrize("counts", [[50, 30, 15, 4, 1], [95, 5], [1], [94, 1, 1, 1, 1, 1, 1]])
def test_the_smallest_cover(counts: list[int]) -> None:
    expected = plain_cover(Counter(dict(enumerate(counts))))
    assert smallest_cover(np.array(counts), np.ones(len(counts), dtype=np.int64)) == expected
    values, times = np.unique(counts, return_counts=True)
    assert smallest_cover(values[::-1], times[::-1]) == expected


def test_the_cover_of_the_oracle_is_three() -> None:
    assert smallest_cover(np.array([50, 30, 15, 4, 1]), np.ones(5, dtype=np.int64)) == 3


def test_nothing_has_no_cover() -> None:
    with pytest.raises(ValueError, match="no activation"):
        smallest_cover(np.array([3, 2]), np.zeros(2, dtype=np.int64))


@pytest.mark.parametrize("n_neurons", [1, 63, 64, 65, 200])
def test_a_gpu_packs_what_the_loop_packs(n_neurons: int) -> None:
    values = torch.randn(50, n_neurons, generator=torch.Generator().manual_seed(n_neurons)).round(decimals=0)
    found = []
    for pack in (pack_positive, pack_words):
        bits = torch.zeros(-(-n_neurons // 64), 70, dtype=torch.int64)
        pack(values, bits, 11)
        found.append(bits)
    assert torch.equal(*found)
    neuron = np.arange(n_neurons)
    words = found[0].numpy().view(np.uint64)[neuron // 64, 11:61]
    unpacked = words >> (neuron % 64).astype(np.uint64)[:, None] & np.uint64(1)
    assert np.array_equal(unpacked.T.astype(bool), values.numpy() > 0)


def test_an_ngram_ends_in_a_kept_token_and_has_no_bos() -> None:
    corpus = corpus_of(np.array([[BOS, 5, 6, NEWLINE, 7], [BOS, 5, BOS, 8, 9]]))
    assert kept_windows(corpus, 99).T.tolist() == [[-1, -1, 5], [-1, 5, 6], [6, 1, 7], [-1, -1, 5], [-1, -1, 8], [-1, 8, 9]]
    assert index_ngrams(kept_windows(corpus, 2), 2).ids(np.arange(1)).tolist() == [[5, 6]]


def test_an_id_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 21 bits"):
        index_ngrams(np.array([[0], [0], [2**21]], dtype=np.int32), 1)


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_neox, tiny_opt])
def test_effects_on_triggers_are_those_of_the_weights(make: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = open_checkpoint(parse_model_argument(str(make(tmp_path / "model"))), CPU)
    n_tokens = tokenizer_identity(checkpoint.tokenizer).n_tokens
    checkpoint.process(n_tokens)
    d_mlp = checkpoint.d_mlp
    weights = OutputWeights(checkpoint, slice(d_mlp, 2 * d_mlp), n_tokens)
    neurons, ngrams_of, tokens = np.array([2, 2, 2, 7]), np.array([1, 1, 3, 1]), np.array([[5, -1], [9, -1], [4, 6], [5, -1]])
    found = {
        "n_tokens": np.array([1000]),
        "activations": np.full((3, d_mlp), 40),
        "cover": np.where(np.arange(d_mlp) == 1, 0, 3) * np.ones((3, 1), dtype=np.int64),
        "detected_neuron": neurons,
        "detected_n": ngrams_of.astype(np.int16),
        "detected_rank": np.array([1, 2, 1, 1]),
        "detected_ids": np.column_stack([tokens, np.where(ngrams_of == 3, 8, -1)]),
        "detected_count": np.full(4, 20),
        "detected_activations": np.full(4, 19),
    }
    ids = 100 + np.arange(d_mlp, dtype=np.int32)
    (_, statistics), (_, detected) = ngram_columns(found, ids, weights)
    assert np.ma.getmaskarray(statistics["cover_2"]).tolist() == [neuron == 1 for neuron in range(d_mlp)]
    assert detected["neuron_id"].tolist() == [102, 102, 102, 107]
    assert detected["token_ids"].tolist() == [[5], [9], [4, 6, 8], [5]]
    raw_out = mlp_parameters(checkpoint.model)[1][2]
    raw_u = checkpoint.model.get_output_embeddings().weight.T  # type: ignore[operator]
    pairs = (checkpoint.weights.W_out[1], checkpoint.weights.W_U), (raw_out, raw_u)
    effects, raw = ((w_out.detach().double() @ w_u.detach().double())[:, :n_tokens].numpy() for w_out, w_u in pairs)
    triggers = np.array([5, 9, 8, 5])
    np.testing.assert_allclose(detected["effect"], effects[neurons, triggers], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(detected["effect_raw"], raw[neurons, triggers], rtol=1e-4, atol=1e-6)
    ranks = [percentileofscore(effects[i], effects[i, v], kind="rank") for i, v in zip(neurons, triggers, strict=True)]
    np.testing.assert_allclose(detected["percentile"], ranks, rtol=1e-5)
    (_, statistics_alone), (_, without) = ngram_columns(found, ids, None)
    assert {*detected} - {*without} == {"effect", "effect_raw", "percentile"} and {*statistics_alone} == {*statistics}


def test_a_model_without_detectors_has_no_rows_of_them(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(parse_model_argument(str(tiny_gpt2(tmp_path / "model"))), CPU)
    weights = OutputWeights(checkpoint, slice(0, checkpoint.d_mlp), checkpoint.d_vocab)
    corpus = corpus_of(made_rows(40, 20, 60, seed=1))
    nothing = np.zeros((corpus.count_kept(40), 3), dtype=bool)
    found = describe_ngrams(accumulated(corpus, nothing, 99, []), CorpusNgrams(corpus))
    ((table, columns),) = ngram_columns(found, np.arange(3, dtype=np.int32), weights)
    assert table == "ngram_statistics" and np.ma.getmaskarray(columns["cover_1"]).all()


@pytest.mark.parametrize(("vocabulary", "n_layers"), [(50_000, 3), (2, 1)])
def test_memory_at_the_finish_stays_below_the_plan_s(vocabulary: int, n_layers: int) -> None:
    """Where n-grams dominate, be they all distinct or all the same: bits, and what is traced beside them."""
    n_rows, context, d_mlp = 400, 256, 64
    rows = np.random.default_rng(0).integers(2, 2 + vocabulary, (n_rows, context))
    rows[:, 0] = BOS
    corpus = corpus_of(rows)
    shape = CorpusShape(n_rows, context, ngram_tokens=10**6)
    plan = make_plan(Work((), {"ngrams": (0,)}), [ModelShape(n_layers, 16, d_mlp, 60_000)], shape, 10**9)
    (job,) = [job for job in plan.jobs if job.kind == "accumulate"]
    spans = [item for item in job.items if isinstance(item, LayerItem)]
    layers = [ActivityAccumulator(n_rows * (context - 1), d_mlp, CPU) for _ in spans]
    for layer in layers:
        layer.bits_.random_(0, 2**62)
    bits = sum(layer.bits_.nbytes for layer in layers)
    assert bits == sum(item.size.n_bytes for item in spans)
    describe_ngrams(layers[0], CorpusNgrams(corpus_of(rows[:2])))  # what is imported and compiled is not the corpus's
    tracemalloc.start()
    try:
        shared = CorpusNgrams(corpus)
        for layer in layers:
            describe_ngrams(layer, shared)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 * plan.bytes_needed(job) < bits + peak <= plan.bytes_needed(job)
