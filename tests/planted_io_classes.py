"""A tiny Llama with two neurons of every reading-and-writing class, and a twin of it with other signs.

The cosines are those of folded weights: what is planted is divided by the gain of the norm that gate and input read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tests.decoders import N_LAYERS, tiny_decoder
from tests.factories import load_raw, save_checkpoint

D_MODEL, D_MLP = 32, 40
COSINES = {
    "strengthening": (0.8, 0.8, 0.8),
    "atypical strengthening": (0.7, 0.7, 0.3),
    "conditional strengthening": (0.8, 0.1, 0.2),
    "atypical conditional strengthening": (0.7, 0.1, 0.6),
    "proportional change": (0.1, 0.8, 0.2),
    "atypical proportional change": (0.1, 0.7, 0.6),
    "orthogonal": (0.1, 0.2, 0.9),
    "weakening": (-0.8, -0.8, 0.8),
    "atypical weakening": (-0.6, 0.6, 0.1),
    "conditional weakening": (-0.8, 0.1, 0.2),
    "atypical conditional weakening": (-0.7, 0.1, 0.6),
}
"""Cosines of input and output, of gate and output, of gate and input."""


@dataclass(frozen=True)
class PlantedClasses:
    """Folders of a model and of its twin, and the class of each planted neuron by layer and index."""

    model: Path
    twin: Path
    planted: dict[tuple[int, int], str]


@torch.no_grad()
def planted_classes(folder: Path, seed: int = 0) -> PlantedClasses:
    """Write both below `folder`; signs of input and output are random in both."""
    tiny_decoder("llama", folder / "classes", seed, hidden_size=D_MODEL, intermediate_size=D_MLP)
    model: Any = load_raw(folder / "classes")
    generator = torch.Generator().manual_seed(seed)
    planted = {}
    for layer in range(N_LAYERS):
        places = torch.randperm(D_MLP, generator=generator).tolist()
        for name, cosines in COSINES.items():
            planted[layer, place := places.pop()] = name
            _plant(model.model.layers[layer], place, _vectors(cosines, generator))
    folders = (folder / "classes", folder / "twin")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folders[0])
    for each in folders:
        _turn(model, generator)
        save_checkpoint(model, tokenizer, each)
    return PlantedClasses(*folders, planted)


def _vectors(cosines: tuple[float, float, float], generator: torch.Generator) -> Tensor:
    """(3, d_model): input, gate and output weights of random lengths, with these cosines."""
    c1, c2, c3 = cosines
    gram = torch.tensor([[1, c3, c1], [c3, 1, c2], [c1, c2, 1]], dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(D_MODEL, 3, generator=generator, dtype=torch.float64))[0].T
    lengths = 0.5 + torch.rand(3, 1, generator=generator, dtype=torch.float64)
    return lengths * (torch.linalg.cholesky(gram) @ basis)


def _plant(block: Any, place: int, vectors: Tensor) -> None:
    reads, gate, writes = vectors
    gain = block.post_attention_layernorm.weight.double()
    block.mlp.up_proj.weight[place] = reads / gain
    block.mlp.gate_proj.weight[place] = gate / gain
    block.mlp.down_proj.weight[:, place] = writes


def _turn(model: Any, generator: torch.Generator) -> None:
    """Multiply input and output of half of the neurons by -1, which changes no output."""
    for block in model.model.layers:
        signs = torch.where(torch.rand(D_MLP, generator=generator) < 0.5, -1.0, 1.0)
        block.mlp.up_proj.weight *= signs[:, None]
        block.mlp.up_proj.bias *= signs
        block.mlp.down_proj.weight *= signs
