"""What a run accumulates, cut into jobs that fit one device.

    Item   one accumulator: moments of a model, products of a layer with itself, a tile of a model pair, or the sums of any
           measure of layers of one model; the errors of some correlations, from a second reading of some blocks; or a share
           of what a measure finds of one model without sums over the corpus
    Job    items that fit the memory budget together, over a range of the corpus's rows; jobs share nothing but results
    Plan   the jobs of a run and which of them wait for which

A job over all rows finishes its sums by itself. A job over some rows leaves its sums behind, and a `combine` job adds them
up. A plan never changes a result, only what it costs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingest.parts.shapes import CorpusShape, ModelShape, Share, Size
from ingest.statistics import pair_errors
from ingest.statistics.correlation import Products
from ingest.statistics.jackknife import N_BLOCKS
from ingest.statistics.pair_products import cost_per_pair
from ingest.statistics.tiles import LayerSpan


@dataclass(frozen=True)
class MomentItem:
    """Moments of pre and post, and the activation frequency, of one model."""

    model: int

    @property
    def models(self) -> tuple[int, ...]:
        return (self.model,)

    @property
    def key(self) -> str:
        return f"moments:{self.model}"

    def bytes_needed(self, shapes: Sequence[ModelShape]) -> int:
        """Bytes of the accumulator while tokens come in."""
        return 9 * 8 * shapes[self.model].n_neurons

    def flop(self, shapes: Sequence[ModelShape]) -> float:
        """Products of matrices per token; sums that are no products count nothing."""
        return 0.0


@dataclass(frozen=True)
class OwnItem:
    """The products of one layer with itself, for the rotated baseline."""

    model: int
    layer: LayerSpan

    @property
    def models(self) -> tuple[int, ...]:
        return (self.model,)

    @property
    def key(self) -> str:
        return own_key(self.model, self.layer.first)

    def bytes_needed(self, shapes: Sequence[ModelShape]) -> int:
        return Products.bytes_needed(self.layer.n_neurons, self.layer.n_neurons)

    def flop(self, shapes: Sequence[ModelShape]) -> float:
        return 2.0 * self.layer.n_neurons**2


@dataclass(frozen=True)
class LayerItem:
    """The sums of a measure, of consecutive layers of one model."""

    measure: str
    """Which one: a key of `ingest.parts.LAYER_MEASURES`."""
    model: int
    layers: LayerSpan
    size: Size

    @property
    def models(self) -> tuple[int, ...]:
        return (self.model,)

    @property
    def key(self) -> str:
        return f"{self.measure}:{self.model}:{self.layers.first}"

    def bytes_needed(self, shapes: Sequence[ModelShape]) -> int:
        return self.size.n_bytes

    def flop(self, shapes: Sequence[ModelShape]) -> float:
        return 0.0


@dataclass(frozen=True)
class TileItem:
    """A tile of a model pair: layers of a × layers of b."""

    a: int
    b: int
    rows: LayerSpan
    columns: LayerSpan

    @property
    def models(self) -> tuple[int, ...]:
        return (self.a, self.b)

    @property
    def key(self) -> str:
        return f"tile:{self.a}:{self.b}:{self.rows.first}:{self.columns.first}"

    @property
    def own_keys(self) -> set[str]:
        """The products of layers with themselves that its baselines need."""
        rows = {own_key(self.a, layer) for layer in self.rows.layers}
        return rows | {own_key(self.b, layer) for layer in self.columns.layers}

    def bytes_needed(self, shapes: Sequence[ModelShape]) -> int:
        return Products.bytes_needed(self.rows.n_neurons, self.columns.n_neurons)

    def flop(self, shapes: Sequence[ModelShape]) -> float:
        return 2.0 * self.rows.n_neurons * self.columns.n_neurons


@dataclass(frozen=True)
class ModelItem:
    """A share of a measure of one model."""

    measure: str
    """Which one: a key of `ingest.parts.MODEL_MEASURES`."""
    model: int
    share: Share
    tokens: int
    """Of the first rows of the corpus that it reads, BOS included."""
    operations: float
    """To what its cost is proportional."""
    n_bytes: int
    """What it may work in."""

    @property
    def models(self) -> tuple[int, ...]:
        return (self.model,)

    @property
    def key(self) -> str:
        return f"{self.measure}:{self.model}:{self.share.number}"

    def bytes_needed(self, shapes: Sequence[ModelShape]) -> int:
        return self.n_bytes

    def flop(self, shapes: Sequence[ModelShape]) -> float:
        return 0.0


@dataclass(frozen=True)
class JackknifeItem:
    """Best partners in b of some neurons of a, whose correlations are made once more without each of some blocks."""

    a: int
    b: int
    first: int
    """Flat index of the first neuron of a."""
    end: int
    partners: int
    """Of each neuron, at most."""
    first_block: int
    end_block: int

    @property
    def models(self) -> tuple[int, ...]:
        return (self.a, self.b)

    @property
    def key(self) -> str:
        return f"jackknife:{self.a}:{self.b}:{self.first}:{self.first_block}"

    @property
    def neurons(self) -> slice:
        """Those of a."""
        return slice(self.first, self.end)

    def bytes_needed(self, shapes: Sequence[ModelShape]) -> int:
        return pair_errors.bytes_needed(self.end - self.first, self.partners, shapes[self.b].d_mlp)

    def flop(self, shapes: Sequence[ModelShape]) -> float:
        n_neurons, other = self.end - self.first, shapes[self.b]
        draws = pair_errors.ROTATED_DRAWS
        rotating = draws * min(n_neurons, other.n_neurons) * other.d_mlp
        return 2.0 * (n_neurons * cost_per_pair(other.n_neurons, self.partners + draws) + rotating)


Item = MomentItem | OwnItem | LayerItem | TileItem | ModelItem | JackknifeItem


def bytes_of(items: Iterable[Item], shapes: Sequence[ModelShape], finish: bool = True) -> int:
    """Bytes of accumulators together and, with `finish`, of what finishing them takes beside them."""
    items = list(items)
    shared: dict[str, int] = {}
    for item in items:
        if isinstance(item, LayerItem) and finish:
            shared[item.measure] = max(shared.get(item.measure, 0), item.size.shared_bytes)
    return sum(item.bytes_needed(shapes) for item in items) + sum(shared.values())


def own_key(model: int, layer: int) -> str:
    """The key of a layer's products with itself."""
    return f"own:{model}:{layer}"


def _last_layer(item: Item, model: int, shapes: Sequence[ModelShape]) -> int:
    match item:
        case LayerItem():
            return item.layers.last
        case OwnItem():
            return item.layer.last
        case TileItem():
            return max(span.last for of, span in ((item.a, item.rows), (item.b, item.columns)) if of == model)
        case _:
            return shapes[model].n_layers - 1


@dataclass(frozen=True)
class Job:
    """One piece of work; see the module docstring."""

    number: int
    kind: str
    """pivots, accumulate, combine, jackknife or measure."""
    items: tuple[Item, ...]
    first_row: int
    end_row: int
    """Rows of the corpus; a combine job has those of its parts, a jackknife job none, for its items name blocks."""
    after: tuple[int, ...]
    """Jobs whose results it reads."""

    @property
    def models(self) -> list[int]:
        return sorted({model for item in self.items for model in item.models})

    @property
    def n_rows(self) -> int:
        return self.end_row - self.first_row

    @property
    def blocks(self) -> tuple[int, int]:
        """The first block that a jackknife job reads, and the one after the last."""
        (blocks,) = {(item.first_block, item.end_block) for item in self.items if isinstance(item, JackknifeItem)}
        return blocks


@dataclass(frozen=True)
class Plan:
    """The jobs of a run."""

    jobs: tuple[Job, ...]
    shapes: tuple[ModelShape, ...]
    corpus: CorpusShape

    def whole(self, job: Job) -> bool:
        """Whether the job sees all rows, so that its sums are complete."""
        return job.n_rows == self.corpus.n_rows

    def tokens(self, job: Job) -> int:
        """Tokens that go through the models, BOS included; of a jackknife job as if blocks were equally large."""
        if job.kind == "measure":
            return sum(item.tokens for item in job.items if isinstance(item, ModelItem))
        if job.kind == "jackknife":
            first, end = job.blocks
            edges = [self.corpus.n_rows * block // N_BLOCKS for block in (first, end)]
            return (edges[1] - edges[0]) * self.corpus.context
        return job.n_rows * self.corpus.context if job.kind == "accumulate" else 0

    def bytes_needed(self, job: Job) -> int:
        """Bytes of the job's accumulators, and of what finishing them takes."""
        return bytes_of(job.items, self.shapes, finish=self.whole(job))

    def product_flop(self, job: Job) -> float:
        """Operations of the matrix products of activations, and those that measures of models count."""
        if job.kind == "measure":
            return sum(item.operations for item in job.items if isinstance(item, ModelItem))
        return self.tokens(job) * sum(item.flop(self.shapes) for item in job.items)

    def last_layer(self, job: Job, model: int) -> int:
        """The last layer of a model whose activations the job sums: forward passes end there."""
        return max(_last_layer(item, model, self.shapes) for item in job.items if model in item.models)

    def forward_flop(self, job: Job) -> float:
        """Operations of the forward passes; measures of models count theirs among the others."""
        if job.kind == "measure":
            return 0.0
        shares = {model: (self.last_layer(job, model) + 1) / self.shapes[model].n_layers for model in job.models}
        flop = sum(self.shapes[model].forward_flop(self.corpus.context) * share for model, share in shares.items())
        return self.tokens(job) * flop

    def file_bytes(self, job: Job) -> int:
        """Bytes of the sums that the job leaves for others."""
        items = job.items if job.kind == "accumulate" else ()
        read = any(job.number in other.after for other in self.jobs)
        left = [item for item in items if not self.whole(job) or (read and isinstance(item, OwnItem))]
        # At rest a sum of products is float64 alone, eight of its twelve bytes.
        return sum(item.bytes_needed(self.shapes) * 2 // 3 for item in left if not isinstance(item, MomentItem))
