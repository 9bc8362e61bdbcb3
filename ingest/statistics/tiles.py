"""A tile of a model pair: accumulates products, then keeps only the best partners of each of its neurons."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ingest.statistics.correlation import (
    DirectedCorrelations,
    NeuronSums,
    Products,
    RotatedLayer,
    TileCorrelations,
    baseline_maximum,
    correlate,
    row_chunks,
    top_partners,
)

Rotations = Callable[[int], list[RotatedLayer]]
"""The rotated versions of a layer, one per draw."""


@dataclass(frozen=True)
class LayerSpan:
    """Consecutive layers of one model, as a range of flat neuron indices."""

    first: int
    last: int
    """Inclusive."""
    d_mlp: int

    @property
    def neurons(self) -> slice:
        return slice(self.first * self.d_mlp, (self.last + 1) * self.d_mlp)

    @property
    def n_neurons(self) -> int:
        return (self.last - self.first + 1) * self.d_mlp

    @property
    def layers(self) -> range:
        return range(self.first, self.last + 1)

    def starts(self) -> dict[int, int]:
        """First index of each layer within the span."""
        return {layer: (layer - self.first) * self.d_mlp for layer in self.layers}


class CrossTile:
    """Products of (layers of a) × (layers of b) and, at the end, their correlations in both directions."""

    def __init__(self, rows: LayerSpan, columns: LayerSpan, device: torch.device, precision: str = "fp32") -> None:
        self.rows = rows
        self.columns = columns
        self.products = Products(rows.n_neurons, columns.n_neurons, device, precision)

    def update(self, x: Tensor, y: Tensor) -> None:
        """Add a batch of all neurons of a and b: (tokens, N_a) and (tokens, N_b) fp32 about their pivots."""
        self.products.update(x[:, self.rows.neurons], y[:, self.columns.neurons])

    def compute(self, x: NeuronSums, y: NeuronSums, rotated_a: Rotations, rotated_b: Rotations, k: int) -> TileCorrelations:
        """Correlations of the tile, reduced to its best partners; ends the accumulation.

        Args:
            x, y: sums of all neurons of a and of b.
            rotated_a, rotated_b: baselines: layers of a rotated (for neurons of b), and of b (for neurons of a).
        """
        self.products.rest()
        x_part, y_part = _part(x, self.rows.neurons), _part(y, self.columns.neurons)
        correlation = correlate(self.products.total_, x_part, y_part)
        return TileCorrelations(
            rows=self.rows.neurons,
            columns=self.columns.neurons,
            forward=_directed(correlation, self.columns, rotated_b, k),
            backward=_directed(correlation.T, self.rows, rotated_a, k),
            diagonal=_diagonal(correlation, self.rows.neurons.start, self.columns.neurons.start),
        )


def _part(sums: NeuronSums, neurons: slice) -> NeuronSums:
    return NeuronSums(sums.n, sums.s_x[neurons], sums.s_xx[neurons])


def _directed(correlation: Tensor, partners: LayerSpan, rotated: Rotations, k: int) -> DirectedCorrelations:
    """Best partners and baselines of every row, a chunk of rows at a time to bound temporaries."""
    per_layer = [rotated(layer) for layer in partners.layers]
    draws = [list(draw) for draw in zip(*per_layer, strict=True)]
    parts = []
    for chunk in row_chunks(*correlation.shape):
        rows = correlation[chunk].contiguous()  # columns of a tile lie far apart: gathered once
        values, index = top_partners(rows, k, partners.neurons.start)
        parts.append([part.cpu() for part in (values, index, *baseline_maximum(rows, draws, partners.starts()))])
    return DirectedCorrelations(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _diagonal(correlation: Tensor, row_start: int, column_start: int) -> Tensor:
    """Pairs with equal flat index that lie in the tile, as (index, correlation)."""
    first = max(row_start, column_start)
    last = min(row_start + correlation.shape[0], column_start + correlation.shape[1])
    index = torch.arange(first, max(first, last), device=correlation.device)
    return torch.stack([index.double(), correlation[index - row_start, index - column_start]], dim=1).cpu()
