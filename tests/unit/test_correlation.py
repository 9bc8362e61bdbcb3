"""Correlations: tiles, batches, ties, degenerate neurons, and the baseline from covariances (SPEC §2, §17)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.statistics import correlation as core
from ingest.statistics.tiles import CrossTile, LayerSpan
from tests import references

CPU = torch.device("cpu")


def sums_of(x: torch.Tensor) -> core.NeuronSums:
    x = x.double()
    return core.NeuronSums(len(x), x.sum(0), (x**2).sum(0))


def activations(seed: int, n: int, n_neurons: int, offset: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, 3, generator=generator)
    mix = torch.randn(3, n_neurons, generator=torch.Generator().manual_seed(seed + 100))
    return torch.relu(shared @ mix + torch.randn(n, n_neurons, generator=generator)) + offset


def run_tile(
    x: torch.Tensor, y: torch.Tensor, rows: LayerSpan, columns: LayerSpan, batches: int, k: int = 5, draws: int = 1
) -> core.TileCorrelations:
    """Accumulate one tile about a pivot and compute it; rotations seeded by layer and draw."""
    x, y = x - x[:50].mean(0), y - y[:50].mean(0)
    tile = CrossTile(rows, columns, CPU)
    for part_x, part_y in zip(x.tensor_split(batches), y.tensor_split(batches), strict=True):
        tile.update(part_x, part_y)

    def rotated(values: torch.Tensor, d_mlp: int, name: str) -> object:
        def layer_draws(layer: int) -> list[core.RotatedLayer]:
            own = values[:, layer * d_mlp : (layer + 1) * d_mlp]
            products = own.double().T @ own.double()
            return [
                core.rotate_layer(layer, core.rotation(0, "own", name, layer, draw, d_mlp), products, sums_of(own))
                for draw in range(draws)
            ]

        return layer_draws

    return tile.compute(sums_of(x), sums_of(y), rotated(x, rows.d_mlp, "x"), rotated(y, columns.d_mlp, "y"), k)


def test_oracle_of_four_numbers() -> None:
    x, y = torch.tensor([[1.0], [2], [3], [4]]), torch.tensor([[2.0], [1], [4], [3]])
    for offset in (0, 1e4):
        result = run_tile(x + offset, y, LayerSpan(0, 0, 1), LayerSpan(0, 0, 1), 1)
        assert result.forward.top_values.item() == pytest.approx(0.6, abs=1e-6)


@settings(max_examples=12, deadline=None)
@given(batches=st.integers(1, 7), seed=st.integers(0, 5), offset=st.sampled_from([0.0, 30.0]))
def test_tile_equals_the_definition(batches: int, seed: int, offset: float) -> None:
    x, y = activations(seed, 700, 24, offset), activations(seed + 7, 700, 36, offset)
    full = references.correlation((x - x[:50].mean(0)).numpy(), (y - y[:50].mean(0)).numpy())
    result = run_tile(x, y, LayerSpan(0, 1, 12), LayerSpan(0, 1, 18), batches, k=36)
    found = np.full_like(full, np.nan)
    np.put_along_axis(found, result.forward.top_index.numpy(), result.forward.top_values.numpy(), axis=1)
    np.testing.assert_allclose(found, full, atol=1e-6)
    assert result.backward.top_values.shape == (36, 24)
    np.testing.assert_allclose(result.backward.top_values[:, 0], full.max(0), atol=1e-6)
    np.testing.assert_allclose(result.diagonal[:, 1], np.diag(full), atol=1e-6)


def test_baseline_from_covariances_equals_rotating_activations() -> None:
    x, y = activations(1, 900, 10), activations(2, 900, 16)
    x[:, 3] = 4.0
    y[:, 5] = 2.0
    result = run_tile(x, y, LayerSpan(0, 0, 10), LayerSpan(0, 1, 8), 3, draws=2)
    centred = (y - y[:50].mean(0)).numpy()
    for draw in range(2):
        rotations = [core.rotation(0, "own", "y", layer, draw, 8).numpy() for layer in (0, 1)]
        alive = [i for i in range(10) if i != 3]
        direct = references.rotated_baseline(x.numpy()[:, alive], [centred[:, :8], centred[:, 8:]], rotations)
        np.testing.assert_allclose(result.forward.baseline[alive, draw], direct, atol=1e-5)
        assert result.forward.baseline[3, draw].isnan()
        assert result.forward.baseline_unit[3, draw] == -1 and result.forward.baseline_centred[3, draw].isnan()
        units = np.concatenate([centred[:, 8 * i : 8 * i + 8] @ rotations[i].T for i in (0, 1)], axis=1)[
            :, result.forward.baseline_unit[alive, draw]
        ]
        chosen = np.diag(references.correlation(x.numpy()[:, alive], units))
        np.testing.assert_allclose(chosen, direct, atol=1e-5)
        spread = ((units - units.mean(0)) ** 2).sum(0)
        np.testing.assert_allclose(result.forward.baseline_centred[alive, draw], spread, rtol=1e-5)


def test_rotations_have_unit_rows_and_their_own_seed() -> None:
    first = core.rotation(0, "a", "b", 0, 0, 64)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(64), atol=1e-6, rtol=0)
    torch.testing.assert_close(first, core.rotation(0, "a", "b", 0, 0, 64), atol=0, rtol=0)
    for other in [(1, "a", "b", 0, 0), (0, "b", "a", 0, 0), (0, "a", "b", 1, 0), (0, "a", "b", 0, 1)]:
        assert not torch.equal(first, core.rotation(*other, 64))


def test_degenerate_neurons_have_no_partner_and_are_nobodys_partner() -> None:
    x, y = activations(3, 300, 6), activations(4, 300, 6)
    x[:, 2] = 1.0
    y[:, 4] = -5.0
    result = run_tile(x, y, LayerSpan(0, 0, 6), LayerSpan(0, 0, 6), 2, k=6)
    assert (result.forward.top_index[2] == -1).all() and result.forward.top_values[2].isnan().all()
    assert not (result.forward.top_index == 4).any()
    assert result.forward.top_values[0].isnan().sum() == 1


def test_equal_values_go_to_the_lowest_index_even_at_the_edge() -> None:
    values = torch.tensor([[0.5, 0.9, 0.5, 0.5, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]], dtype=torch.float64)
    top, index = core.top_partners(values, 2, offset=10)
    assert index.tolist() == [[11, 10], [10, 11]]
    assert top.tolist() == [[0.9, 0.5], [0.2, 0.2]]


def test_model_with_itself() -> None:
    x = activations(5, 400, 20)
    result = run_tile(x, x, LayerSpan(0, 0, 20), LayerSpan(0, 0, 20), 3)
    torch.testing.assert_close(result.diagonal[:, 1], torch.ones(20, dtype=torch.float64), atol=1e-6, rtol=0)
    assert result.forward.top_index[:, 0].tolist() == list(range(20))


@settings(max_examples=10, deadline=None)
@given(cut_rows=st.integers(1, 3), cut_columns=st.integers(1, 3), seed=st.integers(0, 3))
def test_tiles_merge_to_the_whole(cut_rows: int, cut_columns: int, seed: int) -> None:
    x, y = activations(seed, 500, 24), activations(seed + 9, 500, 24)
    whole = run_tile(x, y, LayerSpan(0, 3, 6), LayerSpan(0, 3, 6), 2)
    for rows in (LayerSpan(0, cut_rows - 1, 6), LayerSpan(cut_rows, 3, 6)):
        parts = [
            run_tile(x, y, rows, columns, 5).forward
            for columns in (LayerSpan(0, cut_columns - 1, 6), LayerSpan(cut_columns, 3, 6))
        ]
        merged = core.merge_tiles(parts, 5)
        torch.testing.assert_close(merged.top_values, whole.forward.top_values[rows.neurons], atol=1e-6, rtol=0)
        assert torch.equal(merged.top_index, whole.forward.top_index[rows.neurons])
        torch.testing.assert_close(merged.baseline, whole.forward.baseline[rows.neurons], atol=1e-5, rtol=0)
        assert torch.equal(merged.baseline_unit, whole.forward.baseline_unit[rows.neurons])
        assert torch.equal(merged.baseline_centred, whole.forward.baseline_centred[rows.neurons])


def test_products_flush_and_merge_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "FLUSH_TOKENS", 64)
    x, y = activations(1, 1000, 5), activations(2, 1000, 7)
    halves = [core.Products(5, 7, CPU), core.Products(5, 7, CPU)]
    halves[0].update(x[:333], y[:333])
    halves[1].update(x[333:], y[333:])
    halves[0].merge({name: sums.numpy() for name, sums in halves[1].state().items()})
    np.testing.assert_allclose(halves[0].total_, x.double().T @ y.double(), rtol=1e-6)
