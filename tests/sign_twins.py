"""Models that differ in the signs of their gated neurons alone, which no output of theirs shows."""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from tests.factories import load_raw, save_checkpoint


@torch.no_grad()
def sign_twin(folder: Path, copy: Path, seed: int) -> int:
    """Save the model with about half of its neurons negated where they read and where they write.

    Returns:
        How many neurons of all layers are negated.
    """
    generator = torch.Generator().manual_seed(seed)
    model: Any = load_raw(folder)
    flipped = 0
    for block in model.model.layers:
        read, write = block.mlp.up_proj, block.mlp.down_proj
        signs = torch.randint(0, 2, (write.in_features,), generator=generator) * 2.0 - 1
        read.weight *= signs[:, None]
        write.weight *= signs
        if read.bias is not None:
            read.bias *= signs
        flipped += int((signs < 0).sum())
    save_checkpoint(model, PreTrainedTokenizerFast.from_pretrained(folder), copy)
    return flipped


@torch.no_grad()
def plant_candidate(folder: Path, neuron: int) -> None:
    """Have a neuron of the last layer write much, along the direction that moves logits least against each other."""
    model: Any = load_raw(folder)
    reads = model.model.norm.weight[:, None] * model.get_output_embeddings().weight.T
    reads = reads - reads.mean(1, keepdim=True)
    least = torch.linalg.svd(reads / reads.norm(dim=0)).U[:, -1]
    weight = model.model.layers[-1].mlp.down_proj.weight
    weight[:, neuron] = 5 * weight.norm(dim=0).max() * least
    model.save_pretrained(folder)
