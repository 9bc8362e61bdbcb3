"""Pearson correlations of all neuron pairs of two models, both directions and the rotated baseline, in one pass.

    SelfProducts (per layer)  ─┐
                               ├─ CrossProducts.compute(...) → TileCorrelations → merge_tiles → DirectedCorrelations
    CrossProducts (per tile)  ─┘

UN §4.1, SPEC §2. Activations arrive about a pivot shared by all shards. A tile is (layers of a) × (layers of b); its
products are summed in fp32 over at most `FLUSH_TOKENS` tokens (and one batch) and then added to a float64 master. The
baseline needs no second pass: cov(x, Ry) = C_xy Rᵀ and var(Ry)_k = R_k Σ_yy R_kᵀ (§2.2).

Rounding. A sum of B products is off by at most γ · Σ|xy|, and a correlation by about γ, for Σ|xy| <= sqrt(Σx² Σy²):
    fp32   γ = B · 2^-24                 the sum (Higham 2002, §3.1)
    tf32   γ = 2 · 2^-12 + B · 2^-24     the operands, too
    bf16   γ = 2 · 2^-9  + B · 2^-24
In practice errors are random and cancel: the operands' are about 2^-9 · sqrt(Σ x²y²) / sqrt(Σx² Σy²) in bf16, which falls as
1/sqrt(tokens). `ingest.statistics.precision` gives the errors measured.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from ingest.statistics.accumulator import Accumulator
from ingest.statistics.precision import add_product

FLUSH_TOKENS = 65_536
"""Tokens that fp32 sums may span before they move to float64."""

STRIP = 128
"""Rows of a symmetric product at a time: narrow strips waste little below the diagonal, wide ones multiply faster."""

ROW_CHUNK_BYTES = 16 * 2**20
"""Float64 bytes of the rows of a tile that are worked on at a time: flushed, or turned into correlations."""

WORKING_BYTES = 8 * ROW_CHUNK_BYTES
"""What flushes and the end of a tile take beside the accumulators, at most (measured: 113 MiB for 6144 × 6144)."""


def row_chunks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Spans of rows of a float64 matrix that fit `ROW_CHUNK_BYTES`, one row at least."""
    step = max(1, ROW_CHUNK_BYTES // (8 * max(1, n_columns)))
    for start in range(0, n_rows, step):
        yield slice(start, min(n_rows, start + step))


class Products(Accumulator):
    """Sum over tokens of xᵀy: fp32 while hot, float64 at rest. No batch makes a temporary of the size of the sums."""

    total_: Float64[Tensor, "x y"]
    """Unnormalised; complete after `flush`, or after `rest` where `symmetric`."""

    def __init__(self, n_x: int, n_y: int, device: torch.device, precision: str = "fp32", symmetric: bool = False) -> None:
        """Empty sums.

        Args:
            precision: fp32, tf32 or bf16, see `ingest.statistics.precision`.
            symmetric: x and y will be the same; only the half above the diagonal is summed, and mirrored by `rest`.
        """
        self.total_ = torch.zeros(n_x, n_y, dtype=torch.float64, device=device)
        self._hot = torch.zeros(n_x, n_y, dtype=torch.float32, device=device)
        self._hot_tokens = 0
        self._precision = precision
        self._symmetric = symmetric

    @staticmethod
    def bytes_needed(n_x: int, n_y: int) -> int:
        """Bytes of both accumulators; `WORKING_BYTES` come on top once per process."""
        return 12 * n_x * n_y

    def update(self, x: Tensor, y: Tensor) -> None:
        """Add a batch; x (tokens, n_x) and y (tokens, n_y) fp32, both about their pivots."""
        for start in range(0, x.shape[0], FLUSH_TOKENS):
            part = slice(start, start + FLUSH_TOKENS)
            for rows in self._strips():
                columns = slice(rows.start if self._symmetric else 0, None)
                add_product(self._hot[rows, columns], x[part, rows], y[part, columns], self._precision)
            self._hot_tokens += x[part].shape[0]
            if self._hot_tokens >= FLUSH_TOKENS:
                self.flush()

    def _strips(self) -> list[slice]:
        """Rows that are multiplied at once."""
        n = self._hot.shape[0]
        width = STRIP if self._symmetric else n
        return [slice(start, start + width) for start in range(0, n, width)]

    def flush(self) -> None:
        """Move what is hot to the float64 master, some rows at a time."""
        if self._hot_tokens == 0:
            return
        for rows in row_chunks(*self.total_.shape):
            self.total_[rows] += self._hot[rows]
        self._hot.zero_()
        self._hot_tokens = 0

    def rest(self) -> None:
        """Give the fp32 half back and mirror what is symmetric: no more tokens come."""
        self.flush()
        self._hot = self._hot.new_empty(0)
        if self._symmetric:
            for start in range(0, len(self.total_), STRIP):
                rows = slice(start, start + STRIP)
                self.total_[start:, rows] = self.total_[rows, start:].T.clone()
            self._symmetric = False

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        self.flush()
        return {"total": self.total_}


@dataclass(frozen=True)
class NeuronSums:
    """What a correlation needs of one model beside the cross products; all about the pivot, float64."""

    n: int
    """Kept tokens, the same for all pairs."""
    s_x: Float64[Tensor, " neurons"]
    s_xx: Float64[Tensor, " neurons"]

    @property
    def centred(self) -> Float64[Tensor, " neurons"]:
        """Sum of squared deviations from the mean."""
        return (self.s_xx - self.s_x**2 / self.n).clamp_min(0)

    @property
    def degenerate(self) -> Tensor:
        """bool (neurons,): variance too small for a correlation to mean anything (§2.1)."""
        return self.centred <= 1e-12 * self.s_xx.clamp_min(1)

    @property
    def inverse_norm(self) -> Float64[Tensor, " neurons"]:
        """1 / sqrt(centred); NaN where degenerate, so that no later step can take it for a number."""
        nan = torch.full_like(self.s_x, torch.nan)
        return torch.where(self.degenerate, nan, self.centred.clamp_min(1e-300).rsqrt())


@dataclass(frozen=True)
class RotatedLayer:
    """One draw of the rotated baseline for one layer of the other model (§2.2), ready to multiply correlations."""

    layer: int
    mixing: Tensor
    """(d_mlp, rotated) fp32: correlations (x, y) @ mixing = correlations (x, rotated y). Columns of NaN: undefined."""
    centred: Float64[Tensor, " rotated"]
    """Sum of squared deviations of each rotated unit from its mean."""


def rotation(seed: int, judged: str, rotated: str, layer: int, draw: int, d_mlp: int) -> Tensor:
    """Rows of i.i.d. N(0, 1) divided by their norm, (d_mlp, d_mlp) fp32; the same for the same arguments everywhere.

    Args:
        judged, rotated: what seeds draws for the model whose neurons are judged, and for the rotated one.
    """
    key = f"{seed}:{judged}:{rotated}:{layer}:{draw}".encode()
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1)
    matrix = torch.randn(d_mlp, d_mlp, generator=generator)
    return matrix / matrix.norm(dim=1, keepdim=True)


def rotate_layer(layer: int, rotation_matrix: Tensor, products: Tensor, sums: NeuronSums) -> RotatedLayer:
    """Turn a rotation into a mixing of correlations.

    Args:
        rotation_matrix: (rotated, d_mlp) fp32.
        products: (d_mlp, d_mlp) float64, the layer's own products yᵀy about the pivot.
        sums: of the layer's neurons.
    """
    covariance = products - torch.outer(sums.s_x, sums.s_x) / sums.n
    scale = torch.where(sums.degenerate, torch.zeros_like(sums.s_x), sums.centred.sqrt())
    covariance = covariance.masked_fill(sums.degenerate[:, None] | sums.degenerate[None, :], 0)
    rotated = rotation_matrix.to(products)
    variance = ((rotated @ covariance) * rotated).sum(1)
    inverse = torch.where(variance > 0, variance.clamp_min(1e-300).rsqrt(), torch.full_like(variance, torch.nan))
    return RotatedLayer(layer, (rotated * scale * inverse[:, None]).T.float().contiguous(), variance)


@dataclass(frozen=True)
class DirectedCorrelations:
    """For every neuron of one model: its best partners in another model, and its baseline there."""

    top_values: Tensor
    """(neurons, k) float64, descending; NaN past the end."""
    top_index: Tensor
    """(neurons, k) int64 flat index of the partner, -1 past the end; equal values in ascending order of index."""
    baseline: Tensor
    """(neurons, draws) float32: largest correlation with any rotated unit; NaN where undefined."""
    baseline_unit: Tensor
    """(neurons, draws) int64 flat index of that unit, -1 where undefined."""
    baseline_centred: Tensor
    """(neurons, draws) float64: its sum of squared deviations from its mean, NaN where undefined."""


@dataclass(frozen=True)
class TileCorrelations:
    """What is kept of one tile once its correlations are known."""

    rows: slice
    """Flat indices in a."""
    columns: slice
    """Flat indices in b."""
    forward: DirectedCorrelations
    """Of the neurons `rows` of a; partners are flat indices in b."""
    backward: DirectedCorrelations
    """Of the neurons `columns` of b; partners are flat indices in a."""
    diagonal: Tensor
    """(neurons on the diagonal of the tile, 2) float64: flat index, correlation."""


def top_partners(correlation: Tensor, k: int, offset: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, equal values by lowest index.

    Args:
        correlation: (rows, columns) float64, NaN where undefined.
        offset: flat index of the first column.
    """
    k = min(k, correlation.shape[1])
    filled = correlation.nan_to_num(nan=-torch.inf)
    values, index = filled.topk(min(k + 1, filled.shape[1]), dim=1)
    # topk keeps any of several equal values at its edge; those rows are sorted in full
    tied = (values[:, k - 1] == values[:, -1]) & torch.isfinite(values[:, -1])
    values, index = values[:, :k], index[:, :k]
    if filled.shape[1] > k and tied.any():
        ordered = filled[tied].sort(dim=1, descending=True, stable=True)
        values[tied], index[tied] = ordered.values[:, :k], ordered.indices[:, :k]
    return _ordered(values, index + offset, k)


def _ordered(values: Tensor, index: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Sort by value descending, then index ascending, keep k; -inf becomes (NaN, -1)."""
    by_index = index.argsort(dim=1)
    values, index = values.gather(1, by_index), index.gather(1, by_index)
    by_value = values.argsort(dim=1, descending=True, stable=True)[:, :k]
    values, index = values.gather(1, by_value), index.gather(1, by_value)
    undefined = values == -torch.inf
    return values.masked_fill(undefined, torch.nan), index.masked_fill(undefined, -1)


def baseline_maximum(correlation: Tensor, draws: list[list[RotatedLayer]], starts: dict[int, int]) -> tuple[Tensor, ...]:
    """Largest correlation of each row with the rotated units, per draw.

    Args:
        correlation: (rows, columns) float64; NaN columns (degenerate) add nothing, NaN rows stay undefined.
        draws: per draw, the rotated layers that lie in the tile.
        starts: first column of each layer within the tile.
    Returns:
        values (rows, draws) float32, flat indices of the units (rows, draws) int64, and their sums of squared deviations from
        their means (rows, draws) float64.
    """
    source = correlation.float()
    defined = ~source.isnan().all(1)
    source.nan_to_num_(nan=0.0)
    values = torch.full((len(source), len(draws)), -torch.inf, device=source.device)
    units = torch.full((len(source), len(draws)), -1, dtype=torch.int64, device=source.device)
    centred = torch.full((len(source), len(draws)), torch.nan, dtype=torch.float64, device=source.device)
    for draw, rotated_layers in enumerate(draws):
        for rotated in rotated_layers:
            start = starts[rotated.layer]
            block = source[:, start : start + len(rotated.mixing)] @ rotated.mixing
            best, unit = block.nan_to_num_(nan=-torch.inf).max(1)
            better = best > values[:, draw]
            values[:, draw] = torch.where(better, best, values[:, draw])
            units[:, draw] = torch.where(better, unit + rotated.layer * block.shape[1], units[:, draw])
            centred[:, draw] = torch.where(better, rotated.centred[unit], centred[:, draw])
    hidden = ~defined[:, None] | (values == -torch.inf)
    values.clamp_(max=1).masked_fill_(hidden, torch.nan)
    return values, units.masked_fill_(hidden, -1), centred.masked_fill_(hidden, torch.nan)


def correlate(products: Tensor, x: NeuronSums, y: NeuronSums) -> Tensor:
    """Pearson correlations in float64, clamped to [-1, 1]; NaN where a neuron is degenerate (§2.1).

    Args:
        products: (n_x, n_y) float64 xᵀy about the pivots; overwritten.
    """
    x_inverse, y_inverse = x.inverse_norm[:, None], y.inverse_norm
    for rows in row_chunks(*products.shape):
        part = products[rows].addr_(x.s_x[rows], y.s_x, alpha=-1.0 / x.n)
        part.mul_(x_inverse[rows]).mul_(y_inverse).clamp_(-1, 1)
    return products


def merge_tiles(parts: list[DirectedCorrelations], k: int) -> DirectedCorrelations:
    """Join what several tiles know of the same neurons (their partners lie in different columns)."""
    values = torch.cat([part.top_values for part in parts], dim=1).nan_to_num(nan=-torch.inf)
    index = torch.cat([part.top_index for part in parts], dim=1)
    top_values, top_index = _ordered(values, index, min(k, values.shape[1]))
    best, unit, centred = parts[0].baseline, parts[0].baseline_unit, parts[0].baseline_centred
    for part in parts[1:]:
        better = (part.baseline > best) | (best.isnan() & ~part.baseline.isnan())
        best = torch.where(better, part.baseline, best)
        unit = torch.where(better, part.baseline_unit, unit)
        centred = torch.where(better, part.baseline_centred, centred)
    return DirectedCorrelations(top_values, top_index, best, unit, centred)
