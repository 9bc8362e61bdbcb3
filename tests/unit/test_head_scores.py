"""Scores of neurons on heads: the plain formula on raw weights, what it means for scores, and which are kept (SPEC §9.1)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ingest.checkpoints.checkpoint import Checkpoint
from ingest.roles.head_scores import HeadScores, head_scores, random_baseline
from ingest.roles.head_selection import SelectedScores, choose_pairs, select_scores
from ingest.roles.heads import Pair
from tests.raw_attention import BOS, D_HEAD, D_MLP, D_MODEL, MODELS, N_HEADS, N_LAYERS, RawModel, processed

CONTEXT = 13
DESTINATIONS = torch.arange(7, CONTEXT)
"""p ≥ T/2."""
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=list(MODELS))
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, RawModel]:
    make, config = MODELS[request.param]
    folder: Path = make(tmp_path_factory.mktemp("heads") / "model", n_layers=N_LAYERS, **config)
    return processed(folder), RawModel(folder)


@torch.no_grad()
def change_of_scores(raw: RawModel, head_layer: int, at: int) -> Tensor:
    """(neurons, heads): by how much ŵ_out, added to the residual of destination `at`, changes the score of BOS before the
    softmax, times the scale of a layer norm that is frozen (oracle 20), without the model's divisor of scores."""
    norm = raw.norm(head_layer)
    key = raw.project(head_layer, norm(raw.residuals(torch.tensor([[BOS]]))[head_layer]))[1][0, 0]
    key = torch.stack([raw.turned(key[head][None], torch.tensor([0]))[0] for head in range(N_HEADS)])
    x = torch.randn(D_MODEL, dtype=torch.float64, generator=torch.Generator().manual_seed(at))
    scale = (raw.seen_by_norms(x).square().mean() + raw.epsilon).sqrt()

    def scores(residual: Tensor) -> Tensor:
        normed = raw.seen_by_norms(residual) / scale * norm.weight + getattr(norm, "bias", 0)
        queries = raw.project(head_layer, normed)[0]
        turned = [
            torch.stack([raw.turned(q[None], torch.tensor([at]))[0] for q in queries[:, head]]) for head in range(N_HEADS)
        ]
        return torch.stack([queries @ key[head] for head, queries in enumerate(turned)], dim=1) * D_HEAD**-0.5

    w_out = raw.w_out[:head_layer].flatten(0, 1)
    unit = raw.seen_by_norms(w_out)
    unit = unit / unit.norm(dim=1, keepdim=True)
    return (scores(x + unit) - scores(x[None])) * scale


def test_scores_are_the_change_of_the_score_of_bos(models: tuple[Checkpoint, RawModel]) -> None:
    checkpoint, raw = models
    found = head_scores(checkpoint, BOS, CONTEXT)
    assert found.of_layer(0).shape == (0, N_HEADS)
    for layer in range(1, N_LAYERS):
        at = [change_of_scores(raw, layer, int(p)) for p in (DESTINATIONS if raw.turns else [3, 9])]
        expected = torch.stack(at)
        own = found.of_layer(layer)
        assert own.dtype == torch.float64 and own.shape == (layer * D_MLP, N_HEADS) and own.abs().mean() > 0.02
        torch.testing.assert_close(own, expected.mean(0), atol=1e-5, rtol=1e-5)
        neurons = torch.arange(layer * D_MLP)
        for head in range(N_HEADS):
            sd = found.deviations(neurons, layer, head)
            if raw.turns:
                torch.testing.assert_close(sd, expected[..., head].std(0, correction=0), atol=1e-5, rtol=1e-5)
                assert sd.mean() > 0.01
            else:
                torch.testing.assert_close(expected[0], expected[1], atol=1e-9, rtol=0)
                assert sd.isnan().all()
        assert found.divisor[layer] == pytest.approx(D_HEAD**-0.5 / raw.scale(layer))


@torch.no_grad()
def test_scores_are_the_formula_in_processed_weights(models: tuple[Checkpoint, RawModel]) -> None:
    checkpoint, raw = models
    found, weights = head_scores(checkpoint, BOS, CONTEXT), checkpoint.weights
    bos = raw.residuals(torch.tensor([[BOS]]))
    for layer in range(1, N_LAYERS):
        x = raw.seen_by_norms(bos[layer][0, 0])
        x = x / (x.square().mean() + raw.epsilon).sqrt()
        w_out = weights.W_out[:layer].double().flatten(0, 1)
        unit = w_out / w_out.norm(dim=1)[:, None]
        for head in range(N_HEADS):
            key = x @ weights.W_K[layer, head].double() + weights.b_K[layer, head].double()
            query = unit @ weights.W_Q[layer, head].double()
            # the same at every destination, unless the model is rotary
            query, key = query[:, raw.order], key[raw.order]
            h = torch.stack([raw.turned(query, p.expand(len(query))) @ key / D_HEAD**0.5 for p in DESTINATIONS])
            torch.testing.assert_close(found.of_layer(layer)[:, head], h.mean(0), atol=1e-6, rtol=1e-5)


def test_selection_of_a_model(models: tuple[Checkpoint, RawModel]) -> None:
    checkpoint, raw = models
    scores = head_scores(checkpoint, BOS, CONTEXT)
    assert_selected(scores, select_scores(scores, per_head=5), per_head=5)
    found = select_scores(scores)
    assert np.isfinite(found.h_sd).all() == (raw.turns)
    for i in (0, len(found.h) // 2, len(found.h) - 1):
        layer, head = int(found.head_layer[i]), int(found.head[i])
        sd = scores.deviations(torch.from_numpy(found.neuron_index[i : i + 1]), layer, head)
        assert found.h_sd[i] == pytest.approx(sd.item(), nan_ok=True)


def assert_selected(scores: HeadScores, found: SelectedScores, per_head: int) -> None:
    """By the definition, on all pairs at once."""
    pairs = {
        (neuron, layer, head): float(h)
        for layer in range(1, scores.n_layers)
        for (neuron, head), h in np.ndenumerate(scores.of_layer(layer).numpy())
        if not np.isnan(h)
    }
    expected: dict[tuple[int, int, int], list] = {}
    for layer, head in {key[1:] for key in pairs}:
        own = sorted((-abs(h), key[0]) for key, h in pairs.items() if key[1:] == (layer, head))
        for rank, (_, neuron) in enumerate(own[:per_head], 1):
            expected.setdefault((neuron, layer, head), [0, False, False])[0] = rank
    for neuron in {key[0] for key in pairs}:
        own_pairs = [(h, key) for key, h in pairs.items() if key[0] == neuron]
        expected.setdefault(min(own_pairs, key=lambda pair: (-pair[0], pair[1]))[1], [0, False, False])[1] = True
        expected.setdefault(min(own_pairs)[1], [0, False, False])[2] = True
    keys = list(zip(found.neuron_index.tolist(), found.head_layer.tolist(), found.head.tolist(), strict=True))
    assert keys == sorted(expected)
    columns = zip(found.head_rank.tolist(), found.largest.tolist(), found.smallest.tolist(), strict=True)
    assert [list(row) for row in columns] == [expected[key] for key in keys]
    assert found.h.tolist() == [pairs[key] for key in keys]
    np.testing.assert_allclose(found.h_scaled, [pairs[key] / scores.divisor[key[1]] for key in keys], rtol=1e-12)


def made_scores(n_layers: int, d_mlp: int, n_heads: int, seed: int, whole: bool = False) -> HeadScores:
    """Scores of random weights; `whole` makes them few small multiples, so that many are equal. One w_out is zero."""
    generator = torch.Generator().manual_seed(seed)
    w_out = torch.randn(n_layers, d_mlp, 4, generator=generator)
    reads = torch.randn(n_layers, n_heads, 4, generator=generator, dtype=torch.float64)
    if whole:
        w_out = torch.eye(4)[torch.randint(4, (n_layers, d_mlp), generator=generator)]
        reads = reads.round()
    w_out[0, -1] = 0
    return HeadScores(w_out, torch.empty(n_layers, n_heads, 4, 2), reads, None, [1.0 + layer for layer in range(n_layers)])


@settings(max_examples=40, deadline=None)
@given(
    n_layers=st.integers(1, 4),
    d_mlp=st.integers(1, 7),
    n_heads=st.integers(1, 3),
    seed=st.integers(0, 999),
    whole=st.booleans(),
    per_head=st.integers(1, 8),
)
def test_selection_is_its_definition(n_layers: int, d_mlp: int, n_heads: int, seed: int, whole: bool, per_head: int) -> None:
    scores = made_scores(n_layers, d_mlp, n_heads, seed, whole)
    found = select_scores(scores, per_head)
    assert_selected(scores, found, per_head)
    assert d_mlp - 1 not in found.neuron_index  # its w_out is zero, so h is undefined


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    whole=st.booleans(),
    n_each=st.integers(0, 6),
    threshold=st.floats(0.5, 4),
    most=st.integers(0, 30),
)
def test_pairs_that_are_ablated(seed: int, whole: bool, n_each: int, threshold: float, most: int) -> None:
    scores = select_scores(made_scores(3, 7, 2, seed, whole), 2)
    pairs = choose_pairs(scores, 7, n_each, threshold, most)
    assert len(set(pairs)) == len(pairs) <= most
    keys = zip(scores.neuron_index.tolist(), scores.head_layer.tolist(), scores.head.tolist(), strict=True)
    h = {Pair(neuron // 7, neuron % 7, layer, head): value for (neuron, layer, head), value in zip(keys, scores.h, strict=True)}
    everything = choose_pairs(scores, 7, n_each, threshold, len(h))
    assert pairs == everything[:most]
    for sign in (1, -1):
        best = sorted(sign * h[pair] for pair in everything)[::-1][:n_each]
        assert best == sorted((sign * scores.h).tolist())[::-1][:n_each]
        for neuron in range(14):
            own = {pair: sign * value for pair, value in h.items() if pair.layer * 7 + pair.index == neuron}
            if own and max(own.values()) >= threshold:
                assert any(own.get(pair) == max(own.values()) for pair in everything)
    assert all(abs(h[pair]) >= threshold for pair in everything[2 * n_each :])
    assert choose_pairs(scores, 7, n_each, float("nan"), len(h)) == choose_pairs(scores, 7, n_each, float("inf"), len(h))


def test_baseline_is_the_formula_for_random_directions(models: tuple[Checkpoint, RawModel]) -> None:
    scores = head_scores(models[0], BOS, CONTEXT)
    found = random_baseline(scores, seed=3)
    assert torch.equal(found.largest[1:], random_baseline(scores, seed=3).largest[1:])
    assert not torch.equal(found.largest[1:], random_baseline(scores, seed=4).largest[1:])
    generator = torch.Generator().manual_seed(3)
    directions = torch.stack([torch.randn(D_MLP, D_MODEL, generator=generator) for _ in range(N_LAYERS - 1)]).double()
    unit = directions / directions.norm(dim=2, keepdim=True)
    for layer in range(1, N_LAYERS):
        h = unit[:layer].flatten(0, 1) @ scores.reads[layer].T
        torch.testing.assert_close(found.largest[layer], h.abs().max(0).values)
        torch.testing.assert_close(found.sd[layer], h.std(0, correction=0))
    assert found.largest_of_model == found.largest[1:].max() and found.largest[0].isnan().all() and found.sd[0].isnan().all()


def test_a_direction_of_norm_one_has_the_sd_that_its_dimensions_give() -> None:
    scores = made_scores(2, 20_000, 2, 0)
    found = random_baseline(scores, seed=0)
    torch.testing.assert_close(found.sd[1], scores.reads[1].norm(dim=1) / 4**0.5, rtol=0.03, atol=0)
    assert (found.largest[1] <= scores.reads[1].norm(dim=1)).all()


def test_a_model_of_one_layer_has_no_pairs(tmp_path: Path) -> None:
    make, config = MODELS["neox"]
    scores = head_scores(processed(make(tmp_path / "model", n_layers=1, **config)), BOS, CONTEXT)
    found = select_scores(scores)
    assert {len(column) for column in vars(found).values()} == {0}
    assert choose_pairs(found, D_MLP, 20, 6.0, 100) == []
    baseline = random_baseline(scores, 0)
    assert np.isnan(baseline.largest_of_model) and baseline.largest.isnan().all()


def test_a_context_without_destinations_is_refused(tmp_path: Path) -> None:
    make, config = MODELS["neox"]
    checkpoint = processed(make(tmp_path / "model", n_layers=2, **config))
    with pytest.raises(ValueError, match="no destination"):
        head_scores(checkpoint, BOS, 1)
    assert (head_scores(checkpoint, BOS, 2).deviations(torch.arange(D_MLP), 1, 0) == 0).all()
