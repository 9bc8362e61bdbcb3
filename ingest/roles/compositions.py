"""How strongly neurons compose with attention heads by weights alone (SPEC §4).

With M_QK = W_Q W_Kᵀ (query × key) and M_OV = W_V W_O, and unit vectors ŵ:

    q = ‖ŵ_outᵀ M_QK‖ / ‖M_QK‖    k = ‖M_QK ŵ_out‖ / ‖M_QK‖    v = ‖ŵ_outᵀ M_OV‖ / ‖M_OV‖    o = ‖M_OV ŵ_in‖ / ‖M_OV‖

(Frobenius norms). M is never made: with W_K = Q R, Q of orthonormal columns, ‖ŵᵀ W_Q W_Kᵀ‖ = ‖ŵᵀ W_Q Rᵀ‖ and
‖M_QK‖ = ‖W_Q Rᵀ‖. (RᵀR is the Gram matrix W_KᵀW_K; with it small scores would lose half of their digits.)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ingest.roles.vectors import unit_rows


@dataclass(frozen=True)
class LayerCompositions:
    """Scores of one layer's neurons in [0, 1]; NaN for weights and heads of norm 0. Heads in order of (layer, head)."""

    layer: int
    q: Float32[np.ndarray, "d_mlp later_heads"]
    """The output read as a query by every head of a later layer; likewise the next two."""
    k: Float32[np.ndarray, "d_mlp later_heads"]
    v: Float32[np.ndarray, "d_mlp later_heads"]
    o: Float32[np.ndarray, "d_mlp earlier_heads"]
    """What every head writes whose output this layer reads, read by the neuron."""


def head_compositions(
    w_in: Float[Tensor, "layers d_model d_mlp"],
    w_out: Float[Tensor, "layers d_mlp d_model"],
    w_q: Float[Tensor, "layers heads d_model d_head"],
    w_k: Float[Tensor, "layers heads d_model d_head"],
    w_v: Float[Tensor, "layers heads d_model d_head"],
    w_o: Float[Tensor, "layers heads d_head d_model"],
    parallel: bool,
    advance: Callable[[int], None] = lambda n_neurons: None,
    layers: Sequence[int] | None = None,
) -> Iterator[LayerCompositions]:
    """Scores of each layer ℓ of neurons, in order; q, k and v with heads of layers A > ℓ, o with those of layers A <= ℓ.

    Args:
        parallel: attention and MLP of a layer read the same residual stream, so o ends before ℓ (A < ℓ).
        advance: is given the number of neurons that were done.
        layers: of neurons; None: all.
    """
    written = w_o.transpose(-1, -2)
    queries, keys = _readers(w_q, w_k), _readers(w_k, w_q)
    values, outputs = _readers(w_v, written), _readers(written, w_v)
    for layer in range(len(w_in)) if layers is None else layers:
        reads, _ = unit_rows(w_in[layer].T, torch.float32)
        writes, _ = unit_rows(w_out[layer], torch.float32)
        yield LayerCompositions(
            layer,
            **{name: _lengths(writes, head[layer + 1 :]) for name, head in (("q", queries), ("k", keys), ("v", values))},
            o=_lengths(reads, outputs[: layer if parallel else layer + 1]),
        )
        advance(len(reads))


def _readers(
    near: Float[Tensor, "layers heads d_model d_head"], far: Float[Tensor, "layers heads d_model d_head"]
) -> Float32[Tensor, "layers heads d_model rank"]:
    """near · Rᵀ with far = Q R, of Frobenius norm 1: the length of ŵᵀ times it is a score. NaN for heads of norm 0."""
    triangle = torch.linalg.qr(far.double(), mode="r").R
    product = near.double() @ triangle.transpose(-1, -2)
    return (product / product.norm(dim=(-2, -1), keepdim=True)).float()


def _lengths(units: Float32[Tensor, "d_mlp d_model"], readers: Float32[Tensor, "layers heads d_model rank"]) -> np.ndarray:
    """(d_mlp, layers * heads) lengths of what each head reads of each vector; a layer of heads at a time."""
    n_layers, n_heads, _, rank = readers.shape
    lengths = torch.empty(len(units), n_layers, n_heads, device=units.device)
    for layer, heads in enumerate(readers):
        read = units @ heads.transpose(0, 1).flatten(1)
        lengths[:, layer] = read.unflatten(1, (n_heads, rank)).norm(dim=2)
    return lengths.flatten(1).cpu().numpy()
