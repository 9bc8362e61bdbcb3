"""Heads, and pairs of a neuron and a later head that its output can reach (SPEC §9)."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Pair:
    """Neuron `index` of layer `layer`, and head `head` of attention layer `head_layer`."""

    layer: int
    index: int
    head_layer: int
    head: int


def check_head(n_layers: int, n_heads: int, layer: int, head: int) -> None:
    """Raises:
    ValueError: the model has no such head.
    """
    if not 0 <= layer < n_layers:
        raise ValueError(f"there is no attention layer {layer}; the model has layers 0 to {n_layers - 1}.")
    if not 0 <= head < n_heads:
        raise ValueError(f"there is no head {head}; each layer has heads 0 to {n_heads - 1}.")


def check_pair(n_layers: int, d_mlp: int, n_heads: int, pair: Pair, parallel: bool = False) -> None:
    """Whether the neuron's output reaches the head.

    Args:
        parallel: attention and MLP of a layer read the same residual.
    Raises:
        ValueError: no such neuron, no such head, or a head that is not in a later layer.
    """
    check_head(n_layers, n_heads, pair.head_layer, pair.head)
    if not (0 <= pair.layer < n_layers and 0 <= pair.index < d_mlp):
        raise ValueError(
            f"there is no neuron {pair.layer}.{pair.index}; layers are 0 to {n_layers - 1} and neurons 0 to {d_mlp - 1}."
        )
    if pair.head_layer > pair.layer:
        return
    if pair.layer == n_layers - 1:
        raise ValueError(f"neuron {pair.layer}.{pair.index} is in the last layer, after which no attention comes.")
    order = "beside its MLP" if parallel else "before its MLP"
    later = f"layers {pair.layer + 1} to {n_layers - 1}" if pair.layer < n_layers - 2 else f"layer {n_layers - 1}"
    raise ValueError(
        f"neuron {pair.layer}.{pair.index} does not act on heads of layer {pair.head_layer}, because a layer's attention comes "
        f"{order}; give a head of {later}."
    )
