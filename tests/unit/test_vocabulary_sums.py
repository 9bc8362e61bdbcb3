"""Sums over a vocabulary in blocks, and by tensor operations, are the definition on all logits at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ingest.roles import vocabulary_sums as module
from ingest.roles.vocabulary_sums import BLOCK, VocabularySums, by_tensors, vocabulary_sums

TOKENS, DIRECTIONS, VARIANTS = 5, 3, 7


def some_arguments(n_ids: int, seed: int, spread: float) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    base, logits, directions = (torch.randn(*shape, n_ids, generator=generator) for shape in ((), (TOKENS,), (DIRECTIONS,)))
    chosen = torch.randint(DIRECTIONS, (VARIANTS,), generator=generator)
    scale = torch.rand(TOKENS, VARIANTS, generator=generator) + 0.5
    along = spread * torch.randn(TOKENS, VARIANTS, generator=generator)
    return base, 3 * logits, directions, chosen, scale, along, torch.randint(n_ids, (TOKENS,), generator=generator)


def assert_by_definition(found: VocabularySums, arguments: tuple[Tensor, ...], spread: float) -> None:
    base, logits, directions, chosen, scale, along, targets = (x.numpy() for x in arguments)
    base, logits, directions, scale, along = (x.astype(np.float64) for x in (base, logits, directions, scale, along))
    z = base + scale[:, :, None] * logits[:, None] + along[:, :, None] * directions[chosen]
    highest = z.max(2, keepdims=True)
    log_z = highest + np.log(np.exp(z - highest).sum(2, keepdims=True))
    true = np.take_along_axis(z, targets[:, None, None], 2)
    tolerance = 1e-5 * max(1, spread)  # of fp32 logits of this size
    np.testing.assert_allclose(found.log_z, log_z[:, :, 0], atol=tolerance)
    np.testing.assert_allclose(found.true_logit, true[:, :, 0], atol=tolerance)
    np.testing.assert_allclose(found.entropy, -(np.exp(z - log_z) * (z - log_z)).sum(2), atol=tolerance)
    assert ((z > true + tolerance).sum(2) <= found.rank.numpy()).all()
    assert (found.rank.numpy() <= (z > true - tolerance).sum(2) - 1).all()


@settings(max_examples=40, deadline=None)
@given(n_ids=st.integers(1, 2 * BLOCK + 40), seed=st.integers(0, 99), spread=st.sampled_from([0.0, 1.0, 30.0, 1000.0]))
def test_any_vocabulary_gives_the_definition(n_ids: int, seed: int, spread: float) -> None:
    arguments = some_arguments(n_ids, seed, spread)
    assert_by_definition(vocabulary_sums(*arguments), arguments, spread)  # type: ignore[arg-type]
    assert_by_definition(by_tensors(*arguments), arguments, spread)  # type: ignore[arg-type]


@pytest.mark.parametrize("at_once", [1, 3 * 100, 2**20])
def test_tensors_may_be_cut(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = some_arguments(100, 1, 1.0)
    monkeypatch.setattr(module, "ELEMENTS_AT_ONCE", {"cpu": at_once})
    assert_by_definition(by_tensors(*arguments), arguments, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("highest_last", [True, False])
def test_logits_that_grow_from_block_to_block(highest_last: bool) -> None:
    base, _, directions, chosen, scale, along, targets = some_arguments(3 * BLOCK, 2, 1.0)
    ramp = torch.linspace(-300, 300, 3 * BLOCK).expand(TOKENS, -1)
    arguments = (base, ramp if highest_last else ramp.flip(1), directions, chosen, scale, along, targets)
    assert_by_definition(vocabulary_sums(*arguments), arguments, 300)


def test_equal_logits_share_the_best_rank_and_all_of_the_entropy() -> None:
    n_ids = BLOCK + 3
    arguments = some_arguments(n_ids, 3, 1.0)
    same = (torch.full((n_ids,), -90.0), *(torch.zeros_like(x) for x in arguments[1:3]), *arguments[3:])
    for found in (vocabulary_sums(*same), by_tensors(*same)):
        assert (found.rank == 0).all()
        np.testing.assert_allclose(found.entropy, np.log(n_ids), rtol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_undefined(bad: float) -> None:
    base, logits, *rest = some_arguments(BLOCK + 10, 4, 1.0)
    logits[1, 7] = bad
    for sums in (vocabulary_sums, by_tensors):
        found = sums(base, logits, *rest)
        assert found.entropy[1].isnan().all() and found.entropy[0].isfinite().all()
