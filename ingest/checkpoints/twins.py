"""Twins of a model, by which it is told what chance labels: each neuron reads a direction of its own norm at random.

Attention, biases, output weights and the unembedding are the model's. A neuron's input weights, folded and centred, are
permuted over the residual stream, so that their norm, their mean and every single weight stay, and what they read is chance.
"""

import hashlib
import json
from copy import deepcopy
from dataclasses import fields, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ingest.checkpoints.architectures import INPUT, MLP_NORM, blocks
from ingest.checkpoints.behaviour import ModelIdentity
from ingest.checkpoints.checkpoint import Checkpoint

RECIPE = "input weights permuted per neuron, 2"
"""Raised whenever twins of the same numbers become others."""


def twin_name(name: str, number: int) -> str:
    """What a twin of a model is called."""
    return f"{name}~{number}"


def twin_of(original: Checkpoint, number: int) -> Checkpoint:
    """One of the twins of a processed model, processed itself; the same in all runs.

    Args:
        number: from 1, tells its twins apart.
    """
    recipe = [RECIPE, original.identity.sha256, number]
    sha256 = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
    read = permuted(original.weights.W_in, sha256)
    values = {field.name: getattr(original, field.name) for field in fields(original) if field.init}
    twin = Checkpoint(
        **values
        | {
            "name": twin_name(original.name, number),
            "seed": None,
            "tensors": [],
            "place": None,
            "identity": ModelIdentity(sha256, original.identity.behaviour),
            "model": _reading(original, read),
            "weight_processing": f"{original.weight_processing}; {RECIPE}, twin {number}",
        }
    )
    twin.weights = replace(original.weights, W_in=read)
    return twin


def permuted(w_in: Float[Tensor, "layers d_model d_mlp"], key: str) -> Float[Tensor, "layers d_model d_mlp"]:
    """Each column in an order of its own, which follows from the key."""
    columns = w_in.cpu().numpy()
    generator = np.random.default_rng(np.frombuffer(hashlib.sha256(key.encode()).digest(), dtype=np.uint32))
    return torch.from_numpy(np.stack([generator.permuted(layer, axis=0) for layer in columns])).to(w_in)


@torch.no_grad()
def _reading(original: Checkpoint, w_in: Tensor) -> nn.Module:
    """The raw model with these input weights, which read the residual as it is after normalisation."""
    model, architecture = deepcopy(original.model), original.architecture
    for layer, block in enumerate(blocks(model, architecture)):
        norm, module = block.get_submodule(MLP_NORM[architecture]), block.get_submodule(INPUT[architecture])
        assert isinstance(norm, nn.LayerNorm) and isinstance(module.weight, Tensor) and isinstance(module.bias, Tensor)
        norm.weight.fill_(1.0)
        norm.bias.fill_(0.0)
        module.weight.copy_(w_in[layer] if isinstance(module, Conv1D) else w_in[layer].T)
        module.bias.copy_(original.weights.b_in[layer])
    return model
