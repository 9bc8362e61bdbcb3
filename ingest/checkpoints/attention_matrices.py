"""Queries, keys and values of a block, head by head, however its architecture keeps them, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.checkpoints.modules import Linear, Modules

Kind = str
"""queries, keys or values."""
KINDS: tuple[Kind, ...] = ("queries", "keys", "values")


@dataclass(frozen=True)
class Heads:
    """One of the three maps; keys and values may have fewer heads than queries, each of which serves several of them."""

    weight: Float[Tensor, "d_model heads d_head"]
    bias: Float[Tensor, "heads d_head"]

    def repeated(self, n_heads: int) -> "Heads":
        """One for each head of queries."""
        each = n_heads // self.bias.shape[0]
        return Heads(self.weight.repeat_interleave(each, 1), self.bias.repeat_interleave(each, 0))


def read_heads(modules: Modules, layer: int, d_head: int) -> dict[Kind, Heads]:
    """The three maps of a block as the file has them."""
    architecture = modules.architecture
    if architecture.fused is None:
        return {kind: _split(modules.linear(layer, getattr(architecture, kind)), d_head) for kind in KINDS}
    together = modules.linear(layer, architecture.queries)
    if architecture.fused == "thirds":
        thirds = zip(together.weight.chunk(3, 1), together.bias.chunk(3), strict=True)
        return {kind: _split(Linear(*third), d_head) for kind, third in zip(KINDS, thirds, strict=True)}
    # the three of a head stand together
    split = _split(together, 3 * d_head)
    parts = zip(split.weight.chunk(3, 2), split.bias.chunk(3, 1), strict=True)
    return {kind: Heads(*part) for kind, part in zip(KINDS, parts, strict=True)}


def write_heads(modules: Modules, layer: int, heads: dict[Kind, Heads]) -> None:
    """Put three maps where `read_heads` found them."""
    architecture = modules.architecture
    if architecture.fused is None:
        for kind in KINDS:
            modules.replace(layer, getattr(architecture, kind), _joined([heads[kind]]))
        return
    ordered = [heads[kind] for kind in KINDS]
    if architecture.fused == "by head":
        ordered = [Heads(torch.cat([h.weight for h in ordered], 2), torch.cat([h.bias for h in ordered], 1))]
    modules.replace(layer, architecture.queries, _joined(ordered))


def turning_halves(heads: Heads, rotary_dimensions: int) -> Heads:
    """The same map with the dimensions that turn as pairs in the order in which halves turn: scores are sums over them."""
    d_head = heads.bias.shape[1]
    order = [*range(0, rotary_dimensions, 2), *range(1, rotary_dimensions, 2), *range(rotary_dimensions, d_head)]
    return Heads(heads.weight[..., order], heads.bias[..., order])


def _split(matrix: Linear, d_head: int) -> Heads:
    return Heads(matrix.weight.unflatten(1, (-1, d_head)), matrix.bias.unflatten(0, (-1, d_head)))


def _joined(heads: Sequence[Heads]) -> Linear:
    return Linear(torch.cat([h.weight.flatten(1) for h in heads], 1), torch.cat([h.bias.flatten() for h in heads]))
