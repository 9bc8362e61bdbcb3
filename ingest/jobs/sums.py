"""The accumulators of one job, and their state as named arrays: for checkpoints, and for jobs that add sums up."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ingest.checkpoints.modules import MlpPass
from ingest.corpus.batches import Pivots
from ingest.jobs.threads import Threads
from ingest.parts import LAYER_MEASURES
from ingest.parts.moments import ModelMoments
from ingest.parts.shapes import LayerPivots
from ingest.plan.items import Item, LayerItem, MomentItem, OwnItem, Plan, TileItem
from ingest.statistics.accumulator import Accumulator
from ingest.statistics.correlation import Products
from ingest.statistics.layers import LayerAccumulator, TokenBatch
from ingest.statistics.tiles import CrossTile


class JobSums:
    """Everything a job accumulates, by the keys of its items."""

    def __init__(
        self,
        items: tuple[Item, ...],
        plan: Plan,
        pivots: dict[int, Pivots],
        device: torch.device,
        precision: str,
        seed: int = 0,
    ) -> None:
        """Args:
        seed: of what is sampled.
        """
        self.moments: dict[int, ModelMoments] = {}
        self.own: dict[OwnItem, Products] = {}
        self.layers: dict[LayerItem, LayerAccumulator] = {}
        self.tiles: dict[TileItem, CrossTile] = {}
        self._threads = Threads(device)
        for item in items:
            match item:
                case MomentItem(model):
                    self.moments[model] = ModelMoments(pivots[model])
                case OwnItem(_, layer):
                    self.own[item] = Products(layer.n_neurons, layer.n_neurons, device, precision=precision, symmetric=True)
                case LayerItem(measure, model, layers):
                    shape = plan.shapes[model].of_neurons(layers.n_neurons, plan.corpus, seed)
                    of_layers = LayerPivots(pivots[model].pre[layers.neurons], pivots[model].post[layers.neurons])
                    self.layers[item] = LAYER_MEASURES[measure].start(shape, of_layers)
                case TileItem(_, _, rows, columns):
                    self.tiles[item] = CrossTile(rows, columns, device, precision=precision)

    def observe(self, batch: TokenBatch, model: int, layer: int, shown: MlpPass) -> None:
        """Add what needs every position, as a forward pass reaches a layer."""
        tasks = []
        for item, accumulator in self.layers.items():
            if item.model == model and layer in item.layers.layers:
                start = item.layers.starts()[layer]
                neurons = slice(start, start + item.layers.d_mlp)
                tasks.append(partial(accumulator.observe, batch, shown.pre, shown.post, neurons, shown.read))
        self._threads.together(tasks)

    def update(self, batch: TokenBatch, pre: dict[int, Tensor], post: dict[int, Tensor]) -> None:
        """Add a batch: per model (kept, neurons) fp32, pre as it is, post about its pivot."""
        tasks: list[Callable[[], None]] = []
        for item, accumulator in self.layers.items():
            neurons = item.layers.neurons
            tasks.append(partial(accumulator.update, batch, pre[item.model][:, neurons], post[item.model][:, neurons]))
        self._threads.together(tasks)
        # pre is centred in place, after everything else has seen it
        self._threads.together([partial(moments.update, pre[model], post[model]) for model, moments in self.moments.items()])
        for own_item, products in self.own.items():
            layer = post[own_item.model][:, own_item.layer.neurons]
            products.update(layer, layer)
        for tile_item, tile in self.tiles.items():
            tile.update(post[tile_item.a], post[tile_item.b])

    def state(self) -> dict[str, Tensor]:
        """Every sum but the moments under `key/name`: the live tensors, not copies."""
        return _named(self._accumulators())

    def _accumulators(self) -> dict[str, Accumulator]:
        """All but the moments, by the key of their item."""
        products: dict[str, Accumulator] = {item.key: products for item, products in self.own.items()}
        products |= {item.key: tile.products for item, tile in self.tiles.items()}
        return products | {item.key: accumulator for item, accumulator in self.layers.items()}

    def _moments(self) -> dict[str, Accumulator]:
        return {f"moments:{model}": moments for model, moments in self.moments.items()}

    def moment_state(self) -> dict[str, Tensor]:
        """The same of the moments."""
        return _named(self._moments())

    def add(self, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
        """Add arrays of `state` and `moment_state` of other rows, one after the other.

        Those of one accumulator may be anywhere among the others, but come all before it has the same of further rows.
        """
        accumulators = {**self._accumulators(), **self._moments()}
        names = {key: accumulator.state().keys() for key, accumulator in accumulators.items()}
        states: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
        for path, sums in arrays:
            key, _, name = path.partition("/")
            states[key][name] = sums
            if states[key].keys() == names[key]:
                accumulators[key].merge(states.pop(key))


def _named(accumulators: Mapping[str, Accumulator]) -> dict[str, Tensor]:
    """The state of all."""
    return {f"{key}/{name}": sums for key, accumulator in accumulators.items() for name, sums in accumulator.state().items()}
