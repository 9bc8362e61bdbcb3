"""Puts together what the jobs of a run found: per model and per pair of models."""

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from ingest.plan import Plan
from ingest.planner import Work
from ingest.results import PLACE, Arrays, Explained, decode, decode_explained, decode_pivots, decode_tile
from ingest.spans import KINDS
from ingest.statistics.correlation import DirectedCorrelations, TileCorrelations, merge_tiles
from ingest.statistics.moments import Moments
from ingest.store import RunStore
from ingest.sums import merged_moments


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
class Results:
    """Everything that the jobs of a run found."""

    activations: dict[int, ActivationResult]
    pairs: dict[tuple[int, int], PairResult]
    explained: list[Explained]
    """In order of model and neuron."""
    spans: list[tuple[str, int, slice, Arrays]]
    """Other statistics: kind, model, neurons, and what was found."""


def collect(store: RunStore, plan: Plan, work: Work, top_k: int) -> Results:
    """Read the results of all jobs, which are done."""
    explained = [decode_explained(data) for data in store.results("tokens:%")]
    return Results(
        activations={model: _activations(store, model) for model in work.by_part.get("activations", ())},
        pairs={pair: _pair(store, plan, pair, top_k) for pair in work.pairs},
        explained=sorted(explained, key=lambda part: (part.model, part.start)),
        spans=[_span(kind, decode(data)) for kind in KINDS for data in store.results(f"{kind}:%")],
    )


def _span(kind: str, arrays: Arrays) -> tuple[str, int, slice, Arrays]:
    model, start, stop = arrays.pop(PLACE).tolist()
    return kind, model, slice(start, stop), arrays


def _activations(store: RunStore, model: int) -> ActivationResult:
    pivots = decode_pivots(store.results(f"pivots:{model}")[0], torch.device("cpu"))
    moments = merged_moments(pivots, store.results(f"moments:{model}"))
    return ActivationResult(moments.pre.compute(), moments.post.compute(), moments.frequency.compute())


def _pair(store: RunStore, plan: Plan, pair: tuple[int, int], top_k: int) -> PairResult:
    """Join the tiles of a pair; tiles with equal rows (columns) hold different partners of the same neurons."""
    a, b = (plan.shapes[model] for model in pair)
    tiles: list[TileCorrelations] = [decode_tile(data) for data in store.results(f"tile:{pair[0]}:{pair[1]}:%")]
    diagonal = None
    if (a.n_layers, a.d_mlp) == (b.n_layers, b.d_mlp):
        entries = torch.cat([tile.diagonal for tile in tiles])
        diagonal = entries[entries[:, 0].argsort(), 1]
    return PairResult(
        forward=_join(top_k, [(tile.rows, tile.columns, tile.forward) for tile in tiles]),
        backward=_join(top_k, [(tile.columns, tile.rows, tile.backward) for tile in tiles]),
        diagonal=diagonal,
    )


def _join(k: int, parts: list[tuple[slice, slice, DirectedCorrelations]]) -> DirectedCorrelations:
    """Concatenate spans of neurons, after merging what different tiles know of the same span, in order of partners."""
    spans: dict[int, list[tuple[int, DirectedCorrelations]]] = defaultdict(list)
    for neurons, partners, part in parts:
        spans[neurons.start].append((partners.start, part))
    merged = [merge_tiles([part for _, part in sorted(spans[start], key=lambda entry: entry[0])], k) for start in sorted(spans)]
    names = ("top_values", "top_index", "baseline", "baseline_layer")
    return DirectedCorrelations(*(torch.cat([getattr(part, name) for part in merged]) for name in names))
