"""The sign of gated neurons, chosen so that it means something.

post = act(gate·x)·(in·x) and what a neuron writes is post·out: -in with -out is the same neuron. The sign is that of gate·in,
with the gains of the norm that both read folded in, so that a neuron whose gate opens where its input is positive is positive.
Signs change no other bit of a weight, so that the model computes what it did before, bit by bit.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.checkpoints.folding import reading
from ingest.checkpoints.modules import Linear, Modules


def apply_sign_rule(modules: Modules) -> None:
    """Multiply input and output weights of neurons, which have gates, by the sign of gate·in; 0 counts as positive."""
    architecture = modules.architecture
    for layer in range(len(modules.blocks)):
        signs = signs_of(modules, layer)
        (weight, bias), output = modules.linear(layer, architecture.input), modules.linear(layer, architecture.output)
        modules.replace(layer, architecture.input, Linear(weight * signs, bias * signs))
        modules.replace(layer, architecture.output, Linear(output.weight * signs[:, None], output.bias))


def signs_of(modules: Modules, layer: int) -> Float[Tensor, " d_mlp"]:
    """1 or -1 of each gated neuron of a layer."""
    architecture, norm = modules.architecture, modules.mlp_norm(layer)
    assert architecture.gate is not None
    gate, read = (reading(modules.linear(layer, name), norm).weight for name in (architecture.gate, architecture.input))
    cosine = torch.linalg.vecdot(gate, read, dim=0)
    return torch.where(cosine < 0, -1.0, 1.0).to(modules.unembedding.weight)
