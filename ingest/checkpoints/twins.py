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

from ingest.checkpoints.behaviour import ModelIdentity
from ingest.checkpoints.checkpoint import Checkpoint
from ingest.checkpoints.folding import fold, put_blocks_into
from ingest.checkpoints.processing import caps_logits

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
    sha256 = _sha256([RECIPE, original.identity.sha256, number])
    drawn_by = _sha256([RECIPE, original.drawn_by, number])
    read = _permuted_reads(original, drawn_by)
    values = {field.name: getattr(original, field.name) for field in fields(original) if field.init}
    twin = Checkpoint(
        **values
        | {
            "name": twin_name(original.name, number),
            "seed": None,
            "tensors": [],
            "place": None,
            "identity": ModelIdentity(sha256, original.identity.behaviour),
            "drawn_by": drawn_by,
            "model": _reading(original, read),
            "weight_processing": f"{original.weight_processing}; {RECIPE}, twin {number}",
        }
    )
    twin.weights = replace(original.weights, **read)
    return twin


def _sha256(recipe: list[object]) -> str:
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()


def _permuted_reads(original: Checkpoint, sha256: str) -> dict[str, Tensor]:
    """Input weights, and those of gates in the same order, so that a neuron's gate and input stay to each other as they are."""
    weights = {"W_in": original.weights.W_in, "W_gate": original.weights.W_gate}
    return {name: permuted(held, sha256) for name, held in weights.items() if held is not None}


def permuted(w_in: Float[Tensor, "layers d_model d_mlp"], key: str) -> Float[Tensor, "layers d_model d_mlp"]:
    """Each column in an order of its own, which follows from the key."""
    columns = w_in.cpu().numpy()
    generator = np.random.default_rng(np.frombuffer(hashlib.sha256(key.encode()).digest(), dtype=np.uint32))
    return torch.from_numpy(np.stack([generator.permuted(layer, axis=0) for layer in columns])).to(w_in)


@torch.no_grad()
def _reading(original: Checkpoint, read: dict[str, Tensor]) -> nn.Module:
    """The raw model with these input weights, which read the residual as it is after normalisation."""
    folded = fold(original.modules, original.d_head, caps_logits(original.config))
    blocks = [
        replace(
            block,
            input=block.input._replace(weight=read["W_in"][layer]),
            gate=None if block.gate is None else block.gate._replace(weight=read["W_gate"][layer]),
        )
        for layer, block in enumerate(folded.blocks)
    ]
    model = deepcopy(original.model)
    put_blocks_into(model, original.architecture, replace(folded, blocks=blocks))
    return model
