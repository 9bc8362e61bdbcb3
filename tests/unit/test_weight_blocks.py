"""Moments and lists of effects on tokens: whatever the blocks, they equal the definition on the whole matrix (SPEC §4)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis, skew

from ingest.statistics.effects import BlockSize, EffectSums, TokenClasses, effect_sums
from ingest.statistics.weights import LogitEffects, WeightStatistics, weight_statistics

pytestmark = pytest.mark.usefixtures("two_threads")

LAYERS, D_MODEL, D_MLP = 2, 8, 35
"""More neurons than the loops take at a time."""
COLUMNS = ("vocab_mean", "vocab_var", "vocab_skew", "vocab_kurt", "logit_var", "logit_skew", "logit_kurt")


class Weights:
    """Random ones; neuron 0 writes nothing, neuron 1 moves every token alike; the last token's column is 0."""

    def __init__(self, seed: int, tokens: int = 90, shift: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.w_in = torch.randn(LAYERS, D_MODEL, D_MLP, generator=generator)
        self.b_in = torch.randn(LAYERS, D_MLP, generator=generator)
        self.w_out = torch.randn(LAYERS, D_MLP, D_MODEL, generator=generator)
        self.w_u = torch.randn(D_MODEL, tokens, generator=generator) ** 3 + shift
        self.w_out[0, 0] = 0
        self.w_out[0, 1] = torch.eye(D_MODEL)[0]
        self.w_u[0] = 0.25
        self.w_u[:, -1] = 0

    def statistics(self, **options) -> tuple[WeightStatistics, LogitEffects]:
        return weight_statistics(self.w_in, self.b_in, self.w_out, self.w_u, **options)

    @property
    def writes(self) -> np.ndarray:
        return self.w_out.double().flatten(0, 1).numpy()

    @property
    def effect(self) -> np.ndarray:
        return self.writes @ self.w_u.double().numpy()


def by_definition(weights: Weights) -> dict[str, np.ndarray]:
    """Moments of scipy over all tokens at once."""
    columns = weights.w_u.double().numpy()[:, :-1]
    writes = np.where(np.linalg.norm(weights.writes, axis=1) > 0, np.linalg.norm(weights.writes, axis=1), np.nan)
    cosine = (weights.writes / writes[:, None]) @ (columns / np.linalg.norm(columns, axis=0))
    effect = weights.effect
    effect[0] = np.nan  # its skewness has no meaning
    return {
        "vocab_mean": cosine.mean(1),
        "vocab_var": cosine.var(1),
        "vocab_skew": skew(cosine, axis=1),
        "vocab_kurt": kurtosis(cosine, axis=1, fisher=False),
        "logit_var": np.where(np.isnan(effect[:, 0]), 0, effect.var(1)),
        "logit_skew": skew(effect, axis=1),
        "logit_kurt": kurtosis(effect, axis=1, fisher=False),
    }


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 99),
    tokens=st.integers(5, 120),
    neurons_at_once=st.integers(6, 80),
    tokens_at_once=st.integers(1, 130),
    shift=st.sampled_from([0.0, 30.0]),
)
def test_any_blocks_give_the_moments_of_all_tokens(
    seed: int, tokens: int, neurons_at_once: int, tokens_at_once: int, shift: float
) -> None:
    weights = Weights(seed, tokens, shift)
    found, lists = weights.statistics(size=BlockSize(neurons_at_once, tokens_at_once))
    for name, expected in by_definition(weights).items():
        np.testing.assert_allclose(
            getattr(found, name), expected, rtol=1e-6, atol=1e-6 * np.nanmax(np.abs(expected)), err_msg=name
        )
    assert found.vocab_n == tokens - 1
    assert_lists(lists, weights.effect)


def assert_lists(lists: LogitEffects, effect: np.ndarray) -> None:
    k = min(30, effect.shape[1])
    for tokens, values, signed in (
        (lists.promoted, lists.promoted_effect, effect),
        (lists.suppressed, lists.suppressed_effect, -effect),
    ):
        assert tokens.shape == values.shape == (len(effect), k)
        best = -np.sort(-signed, axis=1)[:, :k]
        np.testing.assert_allclose(values.abs().numpy(), np.abs(best), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(np.take_along_axis(signed, tokens.numpy(), axis=1), best, rtol=1e-12, atol=1e-12)
        assert all(len(set(row)) == k for row in tokens.tolist())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), tokens_at_once=st.integers(1, 100))
def test_equal_effects_stand_by_lowest_id(seed: int, tokens_at_once: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    w_out = torch.randint(-2, 3, (1, 70, 3), generator=generator).float()
    w_u = torch.randint(-2, 3, (3, 90), generator=generator).float()
    effect = (w_out[0] @ w_u).numpy()
    sums = list(effect_sums(w_out, w_u, 7, size=BlockSize(tokens=tokens_at_once)))
    assert [part.neurons for part in sums] == [slice(0, 70)]
    for direction, signed in ((0, effect), (1, -effect)):
        expected = np.argsort(-signed, axis=1, kind="stable")[:, :7]
        np.testing.assert_array_equal(sums[0].tokens[direction], expected)
        np.testing.assert_array_equal(sums[0].effects[direction], np.take_along_axis(effect, expected, axis=1))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 99), neurons_at_once=st.integers(6, 80), tokens_at_once=st.integers(1, 100))
def test_sums_over_classes(seed: int, neurons_at_once: int, tokens_at_once: int) -> None:
    weights = Weights(seed)
    matrix = np.random.default_rng(seed).random((6, 90)) < 0.4
    matrix[2] = False
    size = BlockSize(neurons_at_once, tokens_at_once)
    parts = list(effect_sums(weights.w_out, weights.w_u, classes=TokenClasses.of(matrix), size=size))
    pivot, found = (np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in ("pivot", "class_powers"))
    np.testing.assert_allclose(pivot, weights.effect.mean(1), atol=1e-10)
    for power in range(1, 5):
        expected = matrix.astype(float) @ ((weights.effect - pivot[:, None]) ** power).T
        np.testing.assert_allclose(found[:, power - 1], expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_norms_and_similarity() -> None:
    weights = Weights(3)
    found, _ = weights.statistics()
    reads = weights.w_in.double().transpose(1, 2).flatten(0, 1).numpy()
    own = np.linalg.norm(reads, axis=1)
    other = np.linalg.norm(weights.writes, axis=1)
    np.testing.assert_allclose(found.w_in_norm, own)
    np.testing.assert_allclose(found.w_out_norm, other)
    np.testing.assert_allclose(found.l2_penalty, own**2 + other**2)
    np.testing.assert_allclose(found.in_out_sim[1:], ((reads * weights.writes).sum(1)[1:] / own[1:] / other[1:]))
    np.testing.assert_array_equal(found.input_bias, weights.b_in.double().flatten())
    assert found.in_out_sim[0].isnan()


def test_what_is_undefined_is_nan() -> None:
    weights = Weights(4)
    weights.w_u = weights.w_u[:, :-1]
    found, lists = weights.statistics()
    assert all(getattr(found, name)[0].isnan() for name in COLUMNS if name != "logit_var") and found.logit_var[0] == 0
    # the second neuron moves every token by as much
    assert found.logit_var[1] < 1e-20 and found.logit_skew[1].isnan() and found.logit_kurt[1].isnan()
    assert found.vocab_kurt[1].isfinite()
    assert lists.promoted[0].tolist() == list(range(30))


def test_an_unembedding_of_nothing_has_no_cosines() -> None:
    weights = Weights(5)
    weights.w_u.zero_()
    found, _ = weights.statistics()
    assert found.vocab_n == 0 and all(getattr(found, name).isnan().all() for name in COLUMNS if name.startswith("vocab"))


def test_sums_are_handed_on_in_order() -> None:
    seen: list[EffectSums] = []
    weights = Weights(6)
    weights.statistics(classes=TokenClasses.of(np.ones((1, 90), dtype=bool)), each=seen.append, size=BlockSize(16, 64))
    assert [part.neurons.start for part in seen] == list(range(0, LAYERS * D_MLP, 16))
    assert seen[-1].neurons.stop == LAYERS * D_MLP
    assert all(part.class_powers[0] == pytest.approx(part.powers, rel=1e-9, abs=1e-9) for part in seen)
