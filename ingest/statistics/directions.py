"""How what a neuron reads is directed to what it writes (docs/formulas.md), from processed weights, in float64."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

SEED = 0
"""Of the pairs that are mismatched: a constant, since what weights alone say of a model depends on nothing else."""


@dataclass(frozen=True)
class Directions:
    """One value per neuron, flat order, float64 but for indices; undefined is NaN."""

    w_gate_norm: Tensor
    gate_bias: Tensor
    """b_gate after folding the norm."""
    gate_out_sim: Tensor
    """cos(w_gate, w_out)."""
    gate_in_sim: Tensor
    """cos(w_gate, w_in)."""
    mismatched_index: Tensor
    """int64: place of another neuron of the layer, whose output weights those below have; -1 of one that is alone."""
    mismatched_in_out_sim: Tensor
    mismatched_gate_out_sim: Tensor


def directions(
    w_in: Float[Tensor, "layers d_model d_mlp"],
    w_out: Float[Tensor, "layers d_mlp d_model"],
    w_gate: Float[Tensor, "layers d_model d_mlp"] | None,
    b_gate: Float[Tensor, "layers d_mlp"] | None,
    neurons: slice,
) -> Directions:
    """Norms and cosines of some neurons.

    Args:
        w_gate, b_gate: None where neurons have no gate.
        neurons: by flat index; `stop` may be beyond the last.
    """
    layers, d_mlp, _ = w_out.shape
    others = torch.from_numpy(mismatched(layers, d_mlp).ravel()[neurons])
    layer = torch.arange(layers).repeat_interleave(d_mlp)[neurons]
    writes = w_out.flatten(0, 1)
    own = writes[neurons].double()
    of_others = writes[layer * d_mlp + others.clamp_min(0)].double()
    of_others[others < 0] = torch.nan
    reads = _reading(w_in, neurons)
    undefined = torch.full((len(others),), torch.nan, dtype=torch.float64)
    gates = None if w_gate is None else _reading(w_gate, neurons)
    return Directions(
        w_gate_norm=undefined if gates is None else gates.norm(dim=1).cpu(),
        gate_bias=undefined if b_gate is None else b_gate.flatten()[neurons].double().cpu(),
        gate_out_sim=undefined if gates is None else _cosine(gates, own),
        gate_in_sim=undefined if gates is None else _cosine(gates, reads),
        mismatched_index=others,
        mismatched_in_out_sim=_cosine(reads, of_others),
        mismatched_gate_out_sim=undefined if gates is None else _cosine(gates, of_others),
    )


def mismatched(layers: int, d_mlp: int) -> np.ndarray:
    """(layers, d_mlp) int64: for each neuron another one of its layer, each once; -1 where there is no other."""
    generator = np.random.default_rng(SEED)
    others = np.full((layers, d_mlp), -1)
    for layer in others if d_mlp > 1 else ():
        order = generator.permutation(d_mlp)
        layer[order] = np.roll(order, 1)
    return others


def _reading(weight: Tensor, neurons: slice) -> Tensor:
    return weight.transpose(1, 2).flatten(0, 1)[neurons].double()


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """Row by row; NaN where either has no direction."""
    lengths = one.norm(dim=1) * other.norm(dim=1)
    return torch.where(lengths > 0, torch.linalg.vecdot(one, other) / lengths, torch.nan).cpu()
