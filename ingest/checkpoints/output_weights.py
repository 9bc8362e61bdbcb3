"""What consecutive neurons of a model write, and what the unembedding reads, processed (SPEC §0.2) and as the file has it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class OutputWeights:
    """The weights of some neurons of a processed checkpoint, fp32 on its device."""

    checkpoint: Checkpoint
    neurons: slice
    """Flat indices of whole layers."""
    n_tokens: int
    """Tokens that the tokenizer has; models embed more."""

    @property
    def w_out(self) -> Float[Tensor, "neurons d_model"]:
        return self.checkpoint.weights.W_out.flatten(0, 1)[self.neurons]

    @property
    def w_u(self) -> Float[Tensor, "d_model tokens"]:
        return self.checkpoint.weights.W_U[:, : self.n_tokens]

    @property
    def raw_w_out(self) -> Float[Tensor, "neurons d_model"]:
        d_mlp = self.checkpoint.d_mlp
        layers = range(self.neurons.start // d_mlp, self.neurons.stop // d_mlp)
        return torch.cat([self.checkpoint.raw_w_out(layer) for layer in layers])

    @property
    def raw_w_u(self) -> Float[Tensor, "d_model tokens"]:
        return self.checkpoint.raw_w_u()[:, : self.n_tokens]
