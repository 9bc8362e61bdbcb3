"""From checkpoints and tokens to results, without a database: the passes of a plan, one after the other.

1. pivots of every model from the first 4,096 kept tokens;
2. per pass: every batch goes once through the models of the pass; the centred activations feed its accumulators;
3. at the end of a pass its sums per token become explanations and its tiles become best partners, and are freed.

Moments are taken in the first pass, which therefore sees every model.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from ingest.activations import Pivots, TokenBatch, kept_activations, pivots, token_batches
from ingest.checkpoint import Checkpoint
from ingest.corpus import TokenCorpus
from ingest.plan import CrossItem, Item, ModelShape, SelfItem, TokenItem, plan_passes
from ingest.progress import Progress
from ingest.statistics.correlation import (
    DirectedCorrelations,
    NeuronSums,
    Products,
    RotatedLayer,
    TileCorrelations,
    merge_tiles,
    rotate_layer,
    rotation,
)
from ingest.statistics.moments import FrequencyAccumulator, MomentAccumulator, Moments
from ingest.statistics.tiles import CrossTile
from ingest.statistics.token_sums import TokenSumAccumulator

ROTATIONS_KEPT = 64
"""Rotated layers kept at hand while tiles are computed."""


@dataclass(frozen=True)
class Work:
    """What to compute of the models at hand; indices into the list of checkpoints."""

    pairs: list[tuple[int, int]]
    activation_models: list[int]
    token_models: list[int]

    @property
    def models(self) -> list[int]:
        paired = {model for pair in self.pairs for model in pair}
        return sorted(paired | set(self.activation_models) | set(self.token_models))


@dataclass(frozen=True)
class CoreSettings:
    """The settings that the passes need."""

    batch_tokens: int
    memory_bytes: int
    seed: int
    baseline_draws: int
    top_k: int
    device: torch.device


@dataclass(frozen=True)
class ActivationResult:
    """Activation statistics of one model, per neuron in flat order."""

    pre: Moments
    post: Moments
    sparsity: Tensor
    """(neurons,) float64: fraction of tokens with pre > 0."""


@dataclass(frozen=True)
class PairResult:
    """Both directions of one pair of models."""

    forward: DirectedCorrelations
    """Neurons of a, partners in b."""
    backward: DirectedCorrelations
    """Neurons of b, partners in a."""
    diagonal: Tensor | None
    """(neurons,) float64 correlation of equal indices; None where the shapes differ."""


@dataclass(frozen=True)
class LayerTokenSums:
    """Sums per token id of one span of layers, handed on as soon as its pass ends."""

    model: int
    neurons: slice
    """Flat indices."""
    sums: Tensor
    """(2, d_vocab, neurons) float64 about the pivot: by current and by previous token."""
    pivot: Tensor
    """(neurons,) fp32."""
    moments: Moments
    """Of post, for exactly these neurons."""


TokenSumsConsumer = Callable[[LayerTokenSums], None]


@dataclass
class _ModelState:
    """The running sums of one model that every pass may need."""

    checkpoint: Checkpoint
    pivots: Pivots
    pre: MomentAccumulator = field(init=False)
    post: MomentAccumulator = field(init=False)
    frequency: FrequencyAccumulator = field(init=False)

    def __post_init__(self) -> None:
        self.pre = MomentAccumulator(self.pivots.pre)
        self.post = MomentAccumulator(self.pivots.post)
        self.frequency = FrequencyAccumulator(len(self.pivots.pre), self.pivots.pre.device)

    def activations(self, batch: TokenBatch, first_pass: bool) -> Tensor:
        """(kept, neurons) fp32 post about the pivot; the first pass also adds the moments."""
        pre, post = kept_activations(self.checkpoint, batch)
        post -= self.pivots.post
        if first_pass:
            self.frequency.update(pre)
            pre -= self.pivots.pre
            self.pre.update(pre)
            self.post.update(post)
        return post

    @property
    def sums(self) -> NeuronSums:
        return NeuronSums(self.post.n, self.post.power_sums_[0], self.post.power_sums_[1])


class Computation:
    """Runs the passes of one run; see the module docstring."""

    def __init__(
        self,
        checkpoints: list[Checkpoint],
        corpus: TokenCorpus,
        work: Work,
        settings: CoreSettings,
        on_token_sums: TokenSumsConsumer,
    ) -> None:
        self.checkpoints = checkpoints
        self.corpus = corpus
        self.work = work
        self.settings = settings
        self.on_token_sums = on_token_sums
        self.shapes = [ModelShape(c.n_layers, c.d_mlp, c.d_vocab) for c in checkpoints]
        self.passes = plan_passes(self.shapes, work.pairs, work.token_models, settings.memory_bytes)
        self._states: dict[int, _ModelState] = {}
        self._own_products: dict[tuple[int, int], Products] = {}
        self._tiles: dict[tuple[int, int], list[TileCorrelations]] = defaultdict(list)
        self._rotated = lru_cache(maxsize=ROTATIONS_KEPT)(self._rotate)

    @torch.inference_mode()
    def run(self, progress: Progress) -> tuple[dict[int, ActivationResult], dict[tuple[int, int], PairResult]]:
        """Everything that `work` asks for: by model, and by pair."""
        progress.phase("accumulate", self.corpus.n_tokens * len(self.passes), "tokens")
        for model in self.work.models:
            self._states[model] = _ModelState(
                self.checkpoints[model],
                pivots(self.checkpoints[model], self.corpus, self.settings.batch_tokens, self.settings.device),
            )
        for number, items in enumerate(self.passes):
            self._run_pass(items, number == 0, progress)
        activation = {model: self._activation_result(model) for model in self.work.activation_models}
        return activation, {pair: self._pair_result(pair) for pair in self.work.pairs}

    def _run_pass(self, items: list[Item], first: bool, progress: Progress) -> None:
        device = self.settings.device
        tiles = {item: CrossTile(item.rows, item.columns, device) for item in items if isinstance(item, CrossItem)}
        sums = {
            item: TokenSumAccumulator(self.shapes[item.model].d_vocab, item.layers.n_neurons, device)
            for item in items
            if isinstance(item, TokenItem)
        }
        own = {item: self._new_own_products(item) for item in items if isinstance(item, SelfItem)}
        needed = self.work.models if first else sorted({model for item in items for model in item.models})
        for batch in token_batches(self.corpus, self.settings.batch_tokens, device):
            post = {model: self._states[model].activations(batch, first) for model in needed}
            for item, products in own.items():
                layer = post[item.model][:, item.layer.neurons]
                products.update(layer, layer)
            for token_item, accumulator in sums.items():
                accumulator.update(post[token_item.model][:, token_item.layers.neurons], batch.current, batch.previous)
            for tile_item, tile in tiles.items():
                tile.update(post[tile_item.a], post[tile_item.b])
            progress.advance(batch.tokens.numel())
        for products in own.values():
            products.rest()
        for token_item, accumulator in sums.items():
            self._hand_on(token_item, accumulator)
        sums.clear()
        for tile_item in list(tiles):
            self._finish_tile(tile_item, tiles.pop(tile_item))

    def _new_own_products(self, item: SelfItem) -> Products:
        n = item.layer.n_neurons
        products = Products(n, n, self.settings.device)
        self._own_products[item.model, item.layer.first] = products
        return products

    def _hand_on(self, item: TokenItem, accumulator: TokenSumAccumulator) -> None:
        state, neurons = self._states[item.model], item.layers.neurons
        self.on_token_sums(
            LayerTokenSums(
                model=item.model,
                neurons=neurons,
                sums=accumulator.sums_,
                pivot=state.pivots.post[neurons],
                moments=state.post.compute()[neurons],
            )
        )

    def _finish_tile(self, item: CrossItem, tile: CrossTile) -> None:
        a, b = item.a, item.b
        self._tiles[a, b].append(
            tile.compute(
                self._states[a].sums,
                self._states[b].sums,
                rotated_a=lambda layer: [self._rotated(b, a, layer, d) for d in range(self.settings.baseline_draws)],
                rotated_b=lambda layer: [self._rotated(a, b, layer, d) for d in range(self.settings.baseline_draws)],
                k=self.settings.top_k,
            )
        )

    def _rotate(self, own: int, other: int, layer: int, draw: int) -> RotatedLayer:
        shas = [checkpoint.weights_sha256 for checkpoint in self.checkpoints]
        d_mlp = self.shapes[other].d_mlp
        neurons = slice(layer * d_mlp, (layer + 1) * d_mlp)
        sums = self._states[other].sums
        return rotate_layer(
            layer,
            rotation(self.settings.seed, shas[own], shas[other], layer, draw, d_mlp),
            self._own_products[other, layer].total_,
            NeuronSums(sums.n, sums.s_x[neurons], sums.s_xx[neurons]),
        )

    def _activation_result(self, model: int) -> ActivationResult:
        state = self._states[model]
        return ActivationResult(state.pre.compute(), state.post.compute(), state.frequency.compute())

    def _pair_result(self, pair: tuple[int, int]) -> PairResult:
        """Join the tiles of a pair; tiles with equal rows (columns) hold different partners of the same neurons."""
        tiles = self._tiles.pop(pair)
        a, b = (self.shapes[model] for model in pair)
        diagonal = None
        if (a.n_layers, a.d_mlp) == (b.n_layers, b.d_mlp):
            entries = torch.cat([tile.diagonal for tile in tiles])
            diagonal = entries[entries[:, 0].argsort(), 1]
        return PairResult(
            forward=_join(self.settings.top_k, [(tile.rows, tile.forward) for tile in tiles]),
            backward=_join(self.settings.top_k, [(tile.columns, tile.backward) for tile in tiles]),
            diagonal=diagonal,
        )


def _join(k: int, parts: list[tuple[slice, DirectedCorrelations]]) -> DirectedCorrelations:
    """Concatenate spans of neurons, after merging what different tiles know of the same span."""
    spans: dict[int, list[DirectedCorrelations]] = defaultdict(list)
    for neurons, part in parts:
        spans[neurons.start].append(part)
    merged = [merge_tiles(spans[start], k) for start in sorted(spans)]
    names = ("top_values", "top_index", "baseline", "baseline_layer")
    return DirectedCorrelations(*(torch.cat([getattr(part, name) for part in merged]) for name in names))
