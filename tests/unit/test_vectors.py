"""Vectors for search: of length 1, and effects in a shared basis keep the inner products of the vocabulary's dimensions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.roles.vectors import effect_bases, effect_vectors, weight_vectors


def model(seed: int, d_model: int, tokens: int, d_mlp: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """As processed weights are: neither side sees a shift of the residual stream, so the unembedding lacks a dimension."""
    generator = torch.Generator().manual_seed(seed)
    w_out, w_u = torch.randn(2, d_mlp, d_model, generator=generator), torch.randn(d_model, tokens, generator=generator)
    return w_out - w_out.mean(2, keepdim=True), w_u - w_u.mean(0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), widths=st.lists(st.integers(2, 12), min_size=1, max_size=4), tokens=st.integers(1, 300))
def test_inner_products_are_those_of_the_effects(seed: int, widths: list[int], tokens: int) -> None:
    models = [model(seed + i, d_model, tokens) for i, d_model in enumerate(widths)]
    effects = torch.cat([w_out.double().flatten(0, 1) @ w_u.double() for w_out, w_u in models])
    bases = effect_bases([w_u for _, w_u in models])
    coordinates = torch.cat([w_out.double().flatten(0, 1) @ basis for (w_out, _), basis in zip(models, bases, strict=True)])
    assert coordinates.shape[1] == min(tokens, sum(widths))
    exact = (effects @ effects.T).numpy()
    np.testing.assert_allclose(coordinates @ coordinates.T, exact, rtol=1e-9, atol=1e-9 * (1 + np.abs(exact).max()))


def test_an_effect_that_is_all_but_nothing_keeps_its_direction() -> None:
    """As those of entropy neurons, along directions that the unembedding all but ignores."""
    w_out, w_u = model(5, 10, 400)
    hidden = w_u.double().T @ torch.linalg.svd(w_u.double()).U[:, 8]
    w_u = (w_u.double() - torch.outer(torch.linalg.svd(w_u.double()).U[:, 8], hidden) * (1 - 1e-6)).float()
    w_out[0, 0] = torch.linalg.svd(w_u.double()).U[:, 8].float()
    (found,) = effect_vectors([(w_out, w_u)])
    effect = w_out.double().flatten(0, 1) @ w_u.double()
    unit = effect / effect.norm(dim=1, keepdim=True)
    assert found.exists.all() and found.norm[0] < 1e-4 * found.norm[1]
    np.testing.assert_allclose(found.norm, effect.norm(dim=1), rtol=1e-9)
    np.testing.assert_allclose(found.vectors.astype(float) @ found.vectors.astype(float).T, unit @ unit.T, atol=2e-3)


def test_vectors_of_several_models_can_be_compared() -> None:
    models = [model(0, 16, 500), model(1, 12, 500)]
    # a neuron of the second model that does what one of the first does, as nearly as it can
    target = models[0][0][0, 3].double() @ models[0][1].double()
    models[1][0][1, 2] = torch.linalg.lstsq(models[1][1].double().T, target, driver="gelsd").solution.float()
    found = list(effect_vectors(models))
    assert [vectors.vectors.shape for vectors in found] == [(14, 28), (14, 28)]
    effects = [w_out.double().flatten(0, 1) @ w_u.double() for w_out, w_u in models]
    units = [effect / effect.norm(dim=1, keepdim=True) for effect in effects]
    own = [vectors.vectors.astype(np.float64) for vectors in found]
    for a in range(2):
        assert found[a].vectors.dtype == np.float16
        np.testing.assert_allclose(np.linalg.norm(own[a], axis=1), 1, atol=1e-3)
        for b in range(2):
            np.testing.assert_allclose(own[a] @ own[b].T, (units[a] @ units[b].T).numpy(), atol=2e-3)
    assert (own[0] @ own[1].T)[3].argmax() == 7 + 2


def test_weights_as_unit_vectors() -> None:
    generator = torch.Generator().manual_seed(2)
    w_in, w_out = torch.randn(3, 20, 6, generator=generator), torch.randn(3, 6, 20, generator=generator)
    w_in[1, :, 2] = 0
    found = weight_vectors(w_in, w_out)
    for kind, rows in (("w_in", w_in.double().transpose(1, 2).flatten(0, 1)), ("w_out", w_out.double().flatten(0, 1))):
        vectors, norms = found[kind], rows.norm(dim=1).numpy()
        assert vectors.vectors.dtype == np.float16 and vectors.vectors.shape == (18, 20)
        np.testing.assert_allclose(vectors.norm, norms)
        np.testing.assert_array_equal(vectors.exists, norms > 0)
        real = vectors.exists
        np.testing.assert_allclose(vectors.vectors[real], rows.numpy()[real] / norms[real, None], atol=5e-4)
        assert np.isnan(vectors.vectors[~real]).all()
    assert (~found["w_in"].exists).nonzero()[0].tolist() == [6 + 2] and found["w_out"].exists.all()


def test_a_neuron_without_an_effect_has_no_vector() -> None:
    w_out, w_u = model(3, 8, 60)
    w_out[0, 1] = 0
    w_u[2] = w_u[5]
    w_out[1, 4] = torch.eye(8)[2] - torch.eye(8)[5]  # what the one adds, the other takes away
    (found,) = effect_vectors([(w_out, w_u)])
    assert (~found.exists).nonzero()[0].tolist() == [1, 7 + 4]
    assert np.isnan(found.vectors[~found.exists]).all() and (found.norm[~found.exists] == 0).all()
    assert np.isfinite(found.vectors[found.exists]).all()


def test_models_of_different_vocabularies_are_refused() -> None:
    with pytest.raises(ValueError, match=r"different vocabularies.*\[60, 61\]"):
        list(effect_vectors([model(0, 4, 60), model(1, 4, 61)]))
