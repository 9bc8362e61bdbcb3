"""The accumulators of one job, and their state as named arrays: for checkpoints, and for jobs that add sums up."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ingest.activations import Pivots
from ingest.plan import Item, MomentItem, OwnItem, Plan, SpanItem, TileItem, TokenItem
from ingest.results import decode
from ingest.spans import KINDS, SpanPivots, SpanShape
from ingest.statistics.correlation import NeuronSums, Products
from ingest.statistics.moments import FrequencyAccumulator, MomentAccumulator
from ingest.statistics.span import SpanAccumulator, TokenBatch
from ingest.statistics.tiles import CrossTile
from ingest.statistics.token_sums import TokenSumAccumulator


class ModelMoments:
    """Moments of pre and post and the activation frequency of one model, about its pivots."""

    def __init__(self, pivots: Pivots) -> None:
        self.pre = MomentAccumulator(pivots.pre)
        self.post = MomentAccumulator(pivots.post)
        self.frequency = FrequencyAccumulator(len(pivots.pre), pivots.pre.device)

    def update(self, pre: Tensor, post: Tensor) -> None:
        """Add (tokens, neurons) fp32 of pre, which is centred in place, and of post about its pivot."""
        self.frequency.update(pre)
        pre -= self.pre.pivot
        self.pre.update(pre)
        self.post.update(post)

    @property
    def sums(self) -> NeuronSums:
        """What correlations need."""
        return NeuronSums(self.post.n, self.post.power_sums_[0], self.post.power_sums_[1])

    def state(self) -> dict[str, Tensor]:
        """All sums; `add` takes them."""
        n = torch.tensor([self.pre.n, self.post.n, self.frequency.n])
        return {"pre": self.pre.power_sums_, "post": self.post.power_sums_, "count": self.frequency.count, "n": n}

    def add(self, state: Mapping[str, np.ndarray]) -> None:
        """Add the sums of other rows about the same pivots."""
        for name, sums in (("pre", self.pre.power_sums_), ("post", self.post.power_sums_), ("count", self.frequency.count)):
            sums += torch.from_numpy(state[name]).to(sums.device)
        pre, post, frequency = state["n"].tolist()
        self.pre.n += pre
        self.post.n += post
        self.frequency.n += frequency


def merged_moments(pivots: Pivots, parts: Iterable[bytes]) -> ModelMoments:
    """The moments of a model over all rows, from the results of the jobs that took them."""
    merged = ModelMoments(pivots)
    for data in parts:
        merged.add(decode(data))
    return merged


def _without_gradients(task: Callable[[], None]) -> None:
    """Inference mode is a thread's own."""
    with torch.inference_mode():
        task()


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
        self.tokens: dict[TokenItem, TokenSumAccumulator] = {}
        self.spans: dict[SpanItem, SpanAccumulator] = {}
        self.tiles: dict[TileItem, CrossTile] = {}
        # loops of the CPU are of one thread each, and so are the accumulators of a layer: they share nothing
        n_threads = torch.get_num_threads() if device.type == "cpu" else 1
        self._threads = ThreadPoolExecutor(n_threads) if n_threads > 1 else None
        for item in items:
            match item:
                case MomentItem(model):
                    self.moments[model] = ModelMoments(pivots[model])
                case OwnItem(_, layer):
                    self.own[item] = Products(layer.n_neurons, layer.n_neurons, device, precision=precision, symmetric=True)
                case TokenItem(model, layers):
                    self.tokens[item] = TokenSumAccumulator(plan.shapes[model].d_vocab, layers.n_neurons, device)
                case SpanItem(kind, _, layers):
                    shape = SpanShape(layers.n_neurons, plan.shapes[item.model].d_vocab, plan.corpus, seed)
                    own = pivots[item.model]
                    self.spans[item] = KINDS[kind].make(shape, SpanPivots(own.pre[layers.neurons], own.post[layers.neurons]))
                case TileItem(_, _, rows, columns):
                    self.tiles[item] = CrossTile(rows, columns, device, precision=precision)

    def observe(self, batch: TokenBatch, model: int, layer: int, pre: Tensor, post: Tensor) -> None:
        """Add what needs every position, as a forward pass reaches a layer.

        Args:
            pre, post: (rows * context, d_mlp) fp32, post as it is.
        """
        tasks = []
        for item, accumulator in self.spans.items():
            if item.model == model and layer in item.layers.layers:
                start = item.layers.starts()[layer]
                tasks.append(partial(accumulator.observe, batch, pre, post, slice(start, start + item.layers.d_mlp)))
        self._together(tasks)

    def update(self, batch: TokenBatch, pre: dict[int, Tensor], post: dict[int, Tensor]) -> None:
        """Add a batch: per model (kept, neurons) fp32, pre as it is, post about its pivot."""
        tasks: list[Callable[[], None]] = []
        for span_item, span in self.spans.items():
            neurons = span_item.layers.neurons
            tasks.append(partial(span.update, batch, pre[span_item.model][:, neurons], post[span_item.model][:, neurons]))
        self._together(tasks)
        # pre is centred in place, after everything else has seen it
        self._together([partial(moments.update, pre[model], post[model]) for model, moments in self.moments.items()])
        for own_item, products in self.own.items():
            layer = post[own_item.model][:, own_item.layer.neurons]
            products.update(layer, layer)
        tasks = []
        for token_item, accumulator in self.tokens.items():
            own = post[token_item.model][:, token_item.layers.neurons]
            tasks.append(partial(accumulator.update, own, batch.current, batch.previous))
        self._together(tasks)
        for tile_item, tile in self.tiles.items():
            tile.update(post[tile_item.a], post[tile_item.b])

    def _together(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Do what touches different sums, as many at a time as there are threads; each sum is added to in order."""
        if self._threads is None or len(tasks) < 2:
            for task in tasks:
                task()
        else:
            list(self._threads.map(_without_gradients, tasks))

    def state(self) -> dict[str, Tensor]:
        """Every sum but the moments under `key/name`: the live tensors, not copies."""
        parts = {item.key: products for item, products in self.own.items()}
        parts |= {item.key: tile.products for item, tile in self.tiles.items()}
        named = {f"{key}/{name}": sums for key, products in parts.items() for name, sums in products.state().items()}
        named |= {f"{item.key}/{name}": sums for item, held in self.tokens.items() for name, sums in held.state().items()}
        return named | {f"{item.key}/{name}": sums for item, held in self.spans.items() for name, sums in held.state().items()}

    def moment_state(self) -> dict[str, Tensor]:
        """The same of the moments."""
        return {
            f"moments:{model}/{name}": sums for model, moments in self.moments.items() for name, sums in moments.state().items()
        }

    def add(self, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
        """Add arrays of `state` and `moment_state` of other rows, one after the other.

        Those of one accumulator may be anywhere among the others, but come all before it has the same of further rows.
        """
        live = self.state()
        spans = {item.key: span for item, span in self.spans.items()}
        moments: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
        whole: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
        for name, sums in arrays:
            key, _, part = name.partition("/")
            if key.startswith("moments:"):
                moments[key][part] = sums
            elif key in spans:
                whole[key][part] = sums
                if whole[key].keys() == spans[key].state().keys():
                    spans[key].merge(whole.pop(key))
            else:
                live[name] += torch.from_numpy(sums).to(live[name].device)
        for key, state in moments.items():
            self.moments[int(key.partition(":")[2])].add(state)
