"""correlations: the neurons of other models that a neuron's activation correlates with most, and what chance would give.

Jobs sum products of activations: of every layer with itself, and of tiles of model pairs. `TileFinish` turns a complete tile
into best partners, against layers that were rotated at random; tiles of a pair are joined when its rows are written. The errors
come from a second reading (`ingest.jobs.second_reading`), in which jobs ask for the best partners here.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import lru_cache

import numpy as np
from torch import Tensor

from catalog.rows import GroupRow
from ingest.parts.arrays import PLACE, TableRows, decode
from ingest.parts.correlation_rows import match_columns, pair_columns, universality_columns
from ingest.parts.ground import Ground
from ingest.parts.measure import Keys, Matches, PairMeasure, Written
from ingest.parts.partners import joined, tile_arrays, tile_of
from ingest.statistics.correlation import (
    DirectedCorrelations,
    NeuronSums,
    RotatedLayer,
    TileCorrelations,
    rotate_layer,
    rotation,
)
from ingest.statistics.groups import neuron_groups
from ingest.statistics.jackknife import N_BLOCKS
from ingest.statistics.pair_errors import ROTATED_DRAWS, DirectedErrors, directed_errors
from ingest.statistics.rotated_units import BestUnits
from ingest.statistics.tiles import CrossTile, LayerSpan
from ingest.statistics.universality import best_matches, mutual_best, universality

ROTATIONS_BYTES = 256 * 2**20
"""Rotated layers kept at hand while tiles are finished."""


class Correlations(PairMeasure):
    """Best partners in every other model, universality over all of them, and groups of mutual best matches."""

    part = "correlations"
    name = "tile"

    def rows_of_pair(self, a: int, b: int, matches: Matches, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        pair = joined(_tiles(ground, a, b), ground.settings.top_k)
        errors = {(one, other): errors_of(ground, one, other) for one, other in ((a, b), (b, a))}
        forward, backward = (
            best_matches(directed, of.without, of.baseline_without, ground.checkpoints[other].d_mlp)
            for directed, of, other in ((pair.forward, errors[a, b], b), (pair.backward, errors[b, a], a))
        )
        matches[a, b], matches[b, a] = forward, backward
        shapes = {(ground.checkpoints[model].n_layers, ground.checkpoints[model].d_mlp) for model in (a, b)}
        diagonal = pair.diagonal if len(shapes) == 1 else None
        for model, other, directed, match, back in (
            (a, b, pair.forward, forward, backward),
            (b, a, pair.backward, backward, forward),
        ):
            mutual = mutual_best(match, back)
            target = (keys.models[model].neuron_ids, keys.models[other].neuron_ids, keys.models[other].model_id)
            for columns in pair_columns(*target, directed, errors[model, other].correlation_se, mutual):
                yield "pairs", columns
            for columns in match_columns(*target, match, diagonal, mutual):
                yield "universality_by_model", columns

    def rows_of_matches(self, matches: Matches, keys: Keys) -> Iterator[TableRows]:
        models = range(len(keys.models))
        for model in models:
            summary = universality([matches[model, other] for other in models if other != model])
            yield "universality", universality_columns(keys.models[model].neuron_ids, summary)

    def groups(self, matches: Matches, keys: Keys) -> list[GroupRow]:
        mutual: dict[tuple[tuple[int, int], tuple[int, int]], float] = {}
        for a, b in ((a, b) for a, b in matches if a < b):
            match = matches[a, b]
            for i in np.flatnonzero(mutual_best(match, matches[b, a])):
                mutual[(a, int(i)), (b, int(match.other[i]))] = float(match.max_corr[i])
        return [
            GroupRow(
                neuron_ids=np.array([keys.models[model].neuron_ids[i] for model, i in group.neurons], dtype=np.int32),
                lowest_corr=group.lowest_corr,
            )
            for group in neuron_groups(mutual)
        ]

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(kept=(n_models - 1) * (top_k + 1), moved=1)


class TileFinish:
    """Turns complete tiles into best partners and baselines."""

    def __init__(self, ground: Ground, own_products: Callable[[int, int], Tensor]) -> None:
        """Args:
        own_products: gives the complete products of a layer with itself, of a model and its layer.
        """
        self._ground = ground
        self._own_products = own_products
        self._squares = lru_cache(maxsize=None)(self._read_squares)
        largest = max(checkpoint.d_mlp for checkpoint in ground.checkpoints)
        self._rotated = lru_cache(maxsize=max(1, ROTATIONS_BYTES // (4 * largest**2)))(self._rotate)

    def __call__(self, a: int, b: int, tile: CrossTile) -> dict[str, np.ndarray | Tensor]:
        """What is kept of a tile of models a and b, which ends."""
        settings = self._ground.settings
        draws = range(settings.baseline_draws)
        correlations = tile.compute(
            self._neuron_sums(a, tile.rows),
            self._neuron_sums(b, tile.columns),
            rotated_a=lambda layer: [self._rotated(b, a, layer, draw) for draw in draws],
            rotated_b=lambda layer: [self._rotated(a, b, layer, draw) for draw in draws],
            k=settings.top_k,
        )
        return tile_arrays(correlations)

    def _neuron_sums(self, model: int, layers: LayerSpan) -> NeuronSums:
        """Sums of all neurons of a model, those of `layers` as they were multiplied.

        Where products round activations, the squares must be of rounded ones, too: most of the error cancels.
        """
        sums = self._ground.moments(model).sums
        if self._ground.settings.precision == "fp32":
            return sums
        s_xx = sums.s_xx.clone()
        for layer in layers.layers:
            s_xx[layer * layers.d_mlp : (layer + 1) * layers.d_mlp] = self._squares(model, layer)
        return NeuronSums(sums.n, sums.s_x, s_xx)

    def _read_squares(self, model: int, layer: int) -> Tensor:
        """(d_mlp,) float64 sums of squares about the pivot, by the products of the layer with itself."""
        return self._own_products(model, layer).diagonal().clone()

    def _rotate(self, judged: int, rotated: int, layer: int, draw: int) -> RotatedLayer:
        of_judged, of_rotated = (self._ground.checkpoints[model].drawn_by for model in (judged, rotated))
        d_mlp = self._ground.checkpoints[rotated].d_mlp
        neurons = slice(layer * d_mlp, (layer + 1) * d_mlp)
        sums = self._neuron_sums(rotated, LayerSpan(layer, layer, d_mlp))
        return rotate_layer(
            layer,
            rotation(self._ground.settings.seed, of_judged, of_rotated, layer, draw, d_mlp),
            self._own_products(rotated, layer),
            NeuronSums(sums.n, sums.s_x[neurons], sums.s_xx[neurons]),
        )


# --- results of tiles, and of the second reading ---


def _tiles(ground: Ground, a: int, b: int) -> list[TileCorrelations]:
    return [tile_of(decode(data)) for data in ground.results(f"{Correlations.name}:{a}:{b}:%")]


def best_partners(ground: Ground, a: int, b: int, neurons: slice) -> DirectedCorrelations:
    """Best partners in b of some neurons of a, and the best rotated units, on the device of the ground."""
    one, other = sorted((a, b))
    place = one * len(ground.checkpoints) + other
    tiles = ground.once("tiles of a pair", place, lambda _: joined(_tiles(ground, one, other), ground.settings.top_k))
    directed = tiles.forward if a < b else tiles.backward
    parts = (getattr(directed, field.name)[neurons] for field in fields(DirectedCorrelations))
    return DirectedCorrelations(*(part.to(ground.device).contiguous() for part in parts))


def best_units(ground: Ground, a: int, b: int, best: DirectedCorrelations) -> BestUnits:
    """The rotated units of b in which baselines of neurons of a have their largest correlations, in the first draws."""
    settings, d_mlp = ground.settings, ground.checkpoints[b].d_mlp
    judged, rotated = (ground.checkpoints[model].drawn_by for model in (a, b))

    def rows(layer: int, draw: int) -> Tensor:
        return rotation(settings.seed, judged, rotated, layer, draw, d_mlp).to(ground.device)

    draws = min(ROTATED_DRAWS, settings.baseline_draws)
    return BestUnits(best, draws, ground.moments(b).sums, d_mlp, rows)


def errors_of(ground: Ground, a: int, b: int) -> DirectedErrors:
    """How sure the correlations of a's neurons with their best partners in b are, from all blocks."""
    n_neurons = ground.checkpoints[a].n_layers * ground.checkpoints[a].d_mlp
    filled = np.zeros(N_BLOCKS, dtype=bool)
    sums: dict[str, np.ndarray] = {}
    for data in ground.results(f"jackknife:{a}:{b}:%"):
        arrays = decode(data)
        neurons, blocks = slice(*arrays.pop(PLACE).tolist()), arrays.pop("filled")
        for name, values in arrays.items():
            whole = sums.setdefault(name, np.zeros((n_neurons, values.shape[1])))
            if name in ("best", "baseline"):
                whole[neurons, blocks] = values[:, blocks]
            else:
                whole[neurons] += values
        filled[blocks] = True
    return directed_errors(**sums, filled=filled)
