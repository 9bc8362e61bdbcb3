"""Which sums are accumulated together: passes over the tokens whose accumulators fit the memory budget.

Products of a layer with itself and sums per token come first, tiles of model pairs after them, so that the sums a
tile's correlations need are complete when the tile is. A plan never changes a result, only what it costs: every pass
runs the forward passes of its models once more.
"""

from dataclasses import dataclass

from catalog.errors import InputError
from ingest.statistics.correlation import Products
from ingest.statistics.tiles import LayerSpan
from ingest.statistics.token_sums import TokenSumAccumulator


@dataclass(frozen=True)
class ModelShape:
    """What a plan has to know of a model."""

    n_layers: int
    d_mlp: int
    d_vocab: int


@dataclass(frozen=True)
class SelfItem:
    """The products of one layer with itself, for the rotated baseline."""

    model: int
    layer: LayerSpan

    @property
    def models(self) -> tuple[int, ...]:
        return (self.model,)

    def bytes_needed(self, shapes: list[ModelShape]) -> int:
        """What it takes beyond `resting_bytes` while its pass runs."""
        return 4 * self.layer.n_neurons**2

    @property
    def resting_bytes(self) -> int:
        """What stays until the last tile is computed."""
        return 8 * self.layer.n_neurons**2


@dataclass(frozen=True)
class TokenItem:
    """Sums per token id of consecutive layers of one model."""

    model: int
    layers: LayerSpan

    @property
    def models(self) -> tuple[int, ...]:
        return (self.model,)

    def bytes_needed(self, shapes: list[ModelShape]) -> int:
        return TokenSumAccumulator.bytes_needed(shapes[self.model].d_vocab, self.layers.n_neurons)


@dataclass(frozen=True)
class CrossItem:
    """A tile of a model pair."""

    a: int
    b: int
    rows: LayerSpan
    columns: LayerSpan

    @property
    def models(self) -> tuple[int, ...]:
        return (self.a, self.b)

    def bytes_needed(self, shapes: list[ModelShape]) -> int:
        return Products.bytes_needed(self.rows.n_neurons, self.columns.n_neurons)


Item = SelfItem | TokenItem | CrossItem


def plan_passes(
    shapes: list[ModelShape], pairs: list[tuple[int, int]], token_models: list[int], budget: int
) -> list[list[Item]]:
    """Everything to accumulate, in passes whose accumulators fit `budget` bytes.

    Args:
        pairs: (a, b) of models to correlate.
        token_models: models whose sums per token are wanted.
    Raises:
        InputError: the budget is too small for the smallest pieces; the sentence says the least that works.
    """
    own = [
        SelfItem(model, LayerSpan(layer, layer, shapes[model].d_mlp))
        for model in sorted({model for pair in pairs for model in pair})
        for layer in range(shapes[model].n_layers)
    ]
    tokens = [
        TokenItem(model, LayerSpan(layer, layer, shapes[model].d_mlp))
        for model in token_models
        for layer in range(shapes[model].n_layers)
    ]
    resting = sum(item.resting_bytes for item in own)
    items: list[Item] = [*own, *tokens]
    for a, b in pairs:
        items += _tiles(a, b, shapes, budget - resting)
    least = resting + max((item.bytes_needed(shapes) for item in items), default=0)
    if least > budget:
        raise InputError(
            f"--memory {budget / 2**30:.3g} GiB is too small for the sums of one layer; give at least "
            f"--memory {least / 2**30 + 0.001:.3f}."
        )
    return _pack(items, shapes, budget - resting)


def _tiles(a: int, b: int, shapes: list[ModelShape], budget: int) -> list[Item]:
    """The tiles of a pair: the longer side is halved until two tiles fit the budget."""
    n_rows, n_columns = shapes[a].n_layers, shapes[b].n_layers
    d_a, d_b = shapes[a].d_mlp, shapes[b].d_mlp
    high, wide = n_rows, n_columns
    while Products.bytes_needed(high * d_a, wide * d_b) > budget // 2 and (high > 1 or wide > 1):
        if wide == 1 or (high > 1 and high * d_a >= wide * d_b):
            high = (high + 1) // 2
        else:
            wide = (wide + 1) // 2
    return [
        CrossItem(
            a,
            b,
            LayerSpan(row, min(row + high, n_rows) - 1, d_a),
            LayerSpan(column, min(column + wide, n_columns) - 1, d_b),
        )
        for row in range(0, n_rows, high)
        for column in range(0, n_columns, wide)
    ]


def _pack(items: list[Item], shapes: list[ModelShape], budget: int) -> list[list[Item]]:
    """Fill passes in order, so that a tile never comes in an earlier pass than the products of its layers."""
    passes: list[list[Item]] = [[]]
    free = budget
    for item in items:
        size = item.bytes_needed(shapes)
        if size > free:
            passes.append([])
            free = budget
        passes[-1].append(item)
        free -= size
    return passes
