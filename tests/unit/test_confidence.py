"""Mean ablation of last-layer neurons in closed form is what hooks on the raw model give in float64."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.roles import confidence
from ingest.roles.confidence import SUMMED, ConfidenceSums, Reading, ablate_to_means, along_others, mean_posts
from ingest.roles.prediction_metrics import next_token_mask
from ingest.roles.token_frequency import TokenFrequency, count_ids
from tests.decoders import D_MLP, tiny_decoder
from tests.unit.confidence_reference import Reference

ARCHITECTURES = ("gpt2", "gpt_neox", "llama", "qwen2", "mistral")
CPU = torch.device("cpu")
SPECIAL = (0, 5)
ROWS, CONTEXT, ALL = 12, 16, 10**6
BLOCKS = np.arange(ROWS) * 3 % 32


@dataclass(frozen=True)
class Rows:
    """Random tokens."""

    tokens: np.ndarray
    block_ids: np.ndarray


class Opened:
    """A small random model, rows of tokens, and the reference."""

    def __init__(self, architecture: str, folder: Path) -> None:
        path = tiny_decoder(architecture, folder / architecture, seed=3)
        self.checkpoint: Checkpoint = open_checkpoint(parse_model_argument(str(path)), CPU)
        n_ids = tokenizer_identity(self.checkpoint.tokenizer).n_tokens
        assert n_ids < self.checkpoint.d_vocab, "ids that pad the vocabulary"
        tokens = np.random.default_rng(1).zipf(1.3, (ROWS, CONTEXT)) % n_ids
        tokens[:, 0] = SPECIAL[0]
        self.corpus = Rows(tokens, BLOCKS)
        self.frequency = count_ids(tokens, SPECIAL, n_ids)
        self.kept = next_token_mask(tokens, SPECIAL)
        self.reference = Reference(path, architecture, tokens, self.kept, self.frequency.counts)

    def reading(self, batch_tokens: int = ALL, n_tokens: int = ALL) -> Reading:
        return Reading(self.corpus, SPECIAL, n_tokens, batch_tokens, CPU)

    def means(self) -> np.ndarray:
        return mean_posts(self.checkpoint, self.reading())[0]

    def sums(self, most: int = ALL, neurons: slice = slice(None), **how: int) -> ConfidenceSums:
        return ablate_to_means(self.checkpoint, self.means(), self.frequency, self.reading(**how), most, neurons)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(request.param, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened("llama", tmp_path_factory.mktemp("models"))


def expected(opened: Opened, neuron: int) -> np.ndarray:
    """(summed, tokens), by definition."""
    reference = opened.reference
    before, divergence = reference.loss(reference.nominal), reference.divergence(reference.nominal)
    total, direct, held = (
        reference.loss(reference.log_p(neuron, **how)) - before for how in ({}, {"frozen": True}, {"held": True})
    )
    change = reference.divergence(reference.log_p(neuron)) - divergence
    return np.stack([np.abs(total), np.abs(direct), np.abs(held), total, change])


def test_effects_are_those_of_the_hooked_forward_pass(opened: Opened) -> None:
    sums, n = opened.sums(), int(opened.kept.sum())
    reference = opened.reference
    blocks = np.repeat(BLOCKS, opened.kept.sum(1))
    np.testing.assert_array_equal(sums.n, np.bincount(blocks, minlength=32))
    np.testing.assert_allclose(sums.loss.sum() / n, reference.loss(reference.nominal).mean(), rtol=1e-5)
    np.testing.assert_allclose(sums.divergence.sum() / n, reference.divergence(reference.nominal).mean(), rtol=1e-5)
    for neuron in range(D_MLP):
        by_token = expected(opened, neuron)
        assert by_token[0].mean() > 1e-3, "it does something"
        for place, name in enumerate(SUMMED):
            by_block = np.bincount(blocks, by_token[place], minlength=32)
            np.testing.assert_allclose(sums.changes[place, neuron] / n, by_block / n, atol=1e-5, err_msg=name)
            if name in ("total", "direct", "held"):
                found = sums.changes[place, neuron].sum() / n
                np.testing.assert_allclose(found, by_token[place].mean(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_mean_is_over_positions_that_count(opened: Opened) -> None:
    found, n = mean_posts(opened.checkpoint, opened.reading(batch_tokens=5 * CONTEXT))
    assert n == opened.kept.sum()
    # gated neurons have the sign that the rule gives them
    np.testing.assert_allclose(np.abs(found), np.abs(opened.reference.post.mean(0)), atol=1e-6)


@settings(max_examples=12, deadline=None)
@given(batch_tokens=st.integers(1, 2 * ROWS * CONTEXT), n_rows=st.integers(1, ROWS), most=st.integers(1, 300))
def test_any_batches_give_the_same(llama: Opened, batch_tokens: int, n_rows: int, most: int) -> None:
    n_tokens = n_rows * CONTEXT
    whole = llama.sums(most, n_tokens=n_tokens)
    found = llama.sums(most, n_tokens=n_tokens, batch_tokens=batch_tokens)
    np.testing.assert_array_equal(found.n, whole.n)
    assert 0 < found.n.sum() <= most and not found.n[BLOCKS[n_rows:]].any()
    for name in ("loss", "divergence", "changes"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("edges", [(0, 8, 16, 24), (0, 16, 24)])
def test_shares_of_neurons_are_those_of_the_whole_to_the_bit(
    llama: Opened, edges: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confidence, "NEURONS_AT_ONCE", 8)
    whole = llama.sums(batch_tokens=5 * CONTEXT)
    shares = [llama.sums(neurons=slice(*edge), batch_tokens=5 * CONTEXT) for edge in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate([share.changes for share in shares], axis=1), whole.changes)
    assert all(np.array_equal(share.loss, whole.loss) and np.array_equal(share.n, whole.n) for share in shares)


def test_a_change_along_another_neuron_is_as_long_as_its_own(opened: Opened) -> None:
    neurons, others = [3, 8], [1, 3, 20]
    found, n = along_others(opened.checkpoint, opened.means(), opened.frequency, opened.reading(), ALL, neurons, others)
    assert n == opened.kept.sum()
    reference, norm = opened.reference, opened.checkpoint.modules.final_norm
    w_out = norm.centre(opened.checkpoint.raw_w_out(opened.checkpoint.n_layers - 1).double())
    sign = np.sign((opened.means() * reference.post.mean(0))[neurons])
    before = reference.loss(reference.nominal)
    for row, neuron in enumerate(neurons):
        for place, other in enumerate(others):
            along = sign[row] * w_out[other] * w_out[neuron].norm() / w_out[other].norm()
            effects = [
                np.abs(reference.loss(reference.log_p(neuron, held=held, along=along)) - before).mean()
                for held in (False, True)
            ]
            np.testing.assert_allclose(found[row, place], effects[0] - effects[1], atol=1e-5)
    own = opened.sums().changes[:, neurons[0]].sum(1) / n
    np.testing.assert_allclose(found[0, 1], own[0] - own[2], atol=1e-6)


def test_a_large_change_neither_overflows_nor_cancels(tmp_path: Path) -> None:
    opened = Opened("llama", tmp_path)
    for model in (opened.checkpoint.model, opened.reference.model):
        with torch.no_grad():
            model.model.layers[-1].mlp.down_proj.weight[:, 4] *= 300
            model.get_output_embeddings().weight *= 10
    opened.reference.look()
    found = opened.sums().changes[:, 4].sum(1) / opened.kept.sum()
    wanted = expected(opened, 4).mean(1)
    assert wanted[0] > 3
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_without_a_position_that_counts_nothing_is_summed(llama: Opened) -> None:
    corpus = Rows(np.zeros((3, CONTEXT), dtype=np.int64), BLOCKS[:3])
    reading = Reading(corpus, SPECIAL, ALL, ALL, CPU)
    means, n = mean_posts(llama.checkpoint, reading)
    assert n == 0 and np.isnan(means).all()
    sums = ablate_to_means(llama.checkpoint, means, llama.frequency, reading, ALL)
    assert not sums.n.any() and not sums.changes.any()


def test_positions_are_taken_evenly() -> None:
    tokens = np.full((4, 11), 7)
    tokens[:, 0] = 0
    reading = Reading(Rows(tokens, BLOCKS[:4]), SPECIAL, ALL, ALL, CPU)
    # nine of each row count
    assert [int(reading.scored(most).sum()) for most in (100, 36, 35, 18, 5, 1)] == [36, 36, 18, 18, 5, 1]
    assert reading.scored(18)[0].tolist() == [False, *[True, False] * 4, True, False]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(2, 12))
def test_what_is_counted_is_what_is_no_special_token(tokens: list[int], n_ids: int) -> None:
    inside = np.array([[token % n_ids for token in tokens]])
    frequency = count_ids(inside, SPECIAL, n_ids)
    expected = [0 if i in SPECIAL else int((inside == i).sum()) for i in range(n_ids)]
    assert frequency.counts.tolist() == expected
    assert frequency.probability.sum() == pytest.approx(1) and (frequency.probability > 0).all()
    log_p = np.log(frequency.probability)
    spread = np.linalg.norm(log_p - log_p.mean())
    if spread > 1e-9:
        np.testing.assert_allclose(frequency.direction, (log_p - log_p.mean()) / spread, atol=1e-12)
    else:
        assert not frequency.direction.any()


def test_where_all_tokens_are_as_frequent_there_is_no_direction() -> None:
    assert TokenFrequency(np.full(5, 3)).direction.tolist() == [0.0] * 5
