"""Random models of which a neuron is a candidate for an entropy neuron, which hardly any is by itself."""

from pathlib import Path

import torch

from ingest.checkpoints.modules import Modules
from tests import factories

CANDIDATE = 6
"""Place of the candidate in the last layer."""


@torch.no_grad()
def make_candidate(path: Path) -> None:
    """Have a neuron of the last layer write much, along the direction that moves logits least against each other."""
    model = factories.load_raw(path)
    modules = Modules(model, model.config.model_type)
    reads = modules.final_norm.gain[:, None] * modules.unembedding.weight
    if modules.architecture.centred:
        reads = reads - reads.mean(0)
    reads = reads / reads.norm(dim=0)
    reads = reads - reads.mean(1, keepdim=True)
    # the very least is what all components have alike, where the final norm does not see it
    least = torch.linalg.svd(reads).U[:, -2 if modules.architecture.centred else -1]
    w_out = modules.linear(len(modules.blocks) - 1, modules.architecture.output).weight
    w_out[CANDIDATE] = 5 * w_out.norm(dim=1).max() * least
    model.save_pretrained(path)
