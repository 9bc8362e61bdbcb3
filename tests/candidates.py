"""Random models of which a neuron is a candidate for an entropy neuron, which hardly any is by itself."""

from pathlib import Path

import torch

from tests import factories

CANDIDATE = 6
"""Place of the candidate in the last layer."""


@torch.no_grad()
def make_candidate(path: Path) -> None:
    """Have a neuron of the last layer write much, along the direction that moves logits least against each other."""
    model = factories.load_raw(path)
    reads = model.transformer.ln_f.weight[:, None] * model.get_output_embeddings().weight.T
    reads = reads - reads.mean(0)
    reads = reads / reads.norm(dim=0)
    reads = reads - reads.mean(1, keepdim=True)
    # the very least is what all components have alike, which the final layer norm does not see
    least = torch.linalg.svd(reads).U[:, -2]
    *_, (_, _, w_out) = factories.mlp_parameters(model)
    w_out[CANDIDATE] = 5 * w_out.norm(dim=1).max() * least
    model.save_pretrained(path)
