"""Attention of Hugging Face models by the textbook, from raw weights in float64; tests compare ours, of processed weights."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb

from ingest.checkpoints.architectures import NONLINEARITY
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.corpus.meta import CorpusMeta
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.roles.heads import Pair
from tests.factories import load_raw, mlp_parameters, tiny_gpt2, tiny_neox, tiny_opt

ROPE = {"rope_type": "default", "rope_theta": 50.0, "partial_rotary_factor": 0.5}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (tiny_gpt2, {}),
    "gpt2-inverse-layer": (tiny_gpt2, {"scale_attn_by_inverse_layer_idx": True}),
    "neox": (tiny_neox, {}),
    "neox-serial": (tiny_neox, {"use_parallel_residual": False, "rope_parameters": ROPE}),
    "opt": (tiny_opt, {}),
}
N_LAYERS, N_HEADS, D_MODEL, D_MLP, D_HEAD = 3, 2, 16, 24, 8
BOS = 0
"""Id of END_OF_TEXT in tests.factories' tokenizers; 1 to 3 are ordinary tokens."""


class RawModel:
    """A model of tests.factories, and its attention layer by layer, all in float64."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = load_raw(folder).double()
        self.kind = self.model.config.model_type
        base = self.model.base_model
        self.blocks = {"gpt2": lambda: base.h, "gpt_neox": lambda: base.layers, "opt": lambda: base.decoder.layers}[self.kind]()
        self.w_out = torch.stack([w_out.detach() for _, _, w_out in mlp_parameters(self.model)])
        """(layers, d_mlp, d_model), as the file has it."""

    def norm(self, layer: int) -> Any:
        """The layer norm before attention."""
        return getattr(
            self.blocks[layer], {"gpt2": "ln_1", "gpt_neox": "input_layernorm"}.get(self.kind, "self_attn_layer_norm")
        )

    def project(self, layer: int, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, biases included, (..., heads, d_head) each, of (..., d_model) behind the layer norm."""
        block, heads = self.blocks[layer], (N_HEADS, D_HEAD)
        if self.kind == "gpt2":
            return tuple(part.unflatten(-1, heads) for part in block.attn.c_attn(normed).split(D_MODEL, dim=-1))
        if self.kind == "gpt_neox":
            return block.attention.query_key_value(normed).unflatten(-1, (N_HEADS, 3 * D_HEAD)).chunk(3, dim=-1)
        own = block.self_attn
        return tuple(part(normed).unflatten(-1, heads) for part in (own.q_proj, own.k_proj, own.v_proj))

    def turned(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """(positions, d_head) turned by transformers' own function, where the model is rotary."""
        if self.kind != "gpt_neox":
            return vectors
        cos, sin = self.model.base_model.rotary_emb(vectors, positions[None])
        return apply_rotary_pos_emb(vectors[None, None], vectors[None, None], cos, sin)[0][0, 0]

    def w_o(self, layer: int) -> Tensor:
        """(heads, d_head, d_model), each row minus its mean: what a head writes, in the processed residual."""
        block = self.blocks[layer]
        if self.kind == "gpt2":
            weight = block.attn.c_proj.weight
        else:
            weight = (block.attention.dense if self.kind == "gpt_neox" else block.self_attn.out_proj).weight.T
        weight = weight.detach().unflatten(0, (N_HEADS, D_HEAD))
        return weight - weight.mean(-1, keepdim=True)

    def value_bias(self, layer: int) -> Tensor:
        """(heads, d_head): b_V + β W_V, by the difference between what values are and what they are linear in."""
        norm = self.norm(layer)
        nothing = self.project(layer, torch.zeros(D_MODEL, dtype=torch.float64))[2]
        of_bias = self.project(layer, norm.bias.detach())[2] - nothing
        return (nothing + of_bias).detach()

    def scale(self, layer: int) -> float:
        """What transformers multiplies scores with."""
        block = self.blocks[layer]
        return {"gpt2": lambda: block.attn, "gpt_neox": lambda: block.attention, "opt": lambda: block.self_attn}[
            self.kind
        ]().scaling

    @torch.no_grad()
    def residuals(self, tokens: Tensor) -> list[Tensor]:
        """What enters each layer, (rows, context, d_model)."""
        return list(self.model(tokens, output_hidden_states=True, use_cache=False).hidden_states[:N_LAYERS])

    def residuals_and_posts(self, tokens: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What enters each layer, and post of each layer, (rows, context, d_mlp)."""
        posts: list[Tensor] = []
        handles = [
            block.get_submodule(NONLINEARITY[self.kind]).register_forward_hook(
                lambda module, inputs, output: posts.append(output.reshape(*tokens.shape, D_MLP))
            )
            for block in self.blocks
        ]
        residuals = self.residuals(tokens)
        for handle in handles:
            handle.remove()
        return residuals, posts

    @torch.no_grad()
    def ablated(self, pair: Pair, residual: Tensor, p: int, removed: float) -> np.ndarray:
        """Attention to BOS, ‖z‖ and ‖W_O z‖ at one destination, with `removed` of the neuron out of its query alone.

        Args:
            residual: what enters the head's layer, (context, d_model).
            p: position of the destination.
        """
        layer, positions = pair.head_layer, torch.arange(p + 1)
        _, keys, values = (part[:, pair.head] for part in self.project(layer, self.norm(layer)(residual[: p + 1])))
        own = residual[p] - removed * self.w_out[pair.layer, pair.index]
        query = self.project(layer, self.norm(layer)(own))[0][pair.head]
        scores = self.turned(query[None], positions[-1:]) @ self.turned(keys, positions).T * self.scale(layer)
        pattern = scores[0].softmax(0)
        z = pattern @ (values - self.value_bias(layer)[pair.head])
        return np.array([pattern[0].item(), z.norm().item(), (z @ self.w_o(layer)[pair.head]).norm().item()])

    @torch.no_grad()
    def eager_patterns(self, tokens: Tensor) -> list[Tensor]:
        """transformers' own attention, (rows, heads, context, context) of each layer."""
        self.model.set_attn_implementation("eager")
        return list(self.model(tokens, output_attentions=True, use_cache=False).attentions)


def processed(folder: Path) -> Checkpoint:
    """A checkpoint with processed weights."""
    checkpoint = open_checkpoint(parse_model_argument(str(folder)), torch.device("cpu"))
    checkpoint.process(tokenizer_identity(checkpoint.tokenizer).n_tokens)
    return checkpoint


def random_corpus(tokens: np.ndarray, masked: tuple[int, ...] = (BOS, 5)) -> TokenCorpus:
    """A corpus of these rows, in memory; `masked` is what M_corr leaves out."""
    meta = CorpusMeta("random", "", None, None, tokens.shape[1], len(tokens), [], "")
    return TokenCorpus(meta, tokens.astype(np.int32), *[np.zeros(len(tokens), dtype=np.int16)] * 2, masked)


def random_tokens(n_rows: int, context: int, seed: int = 0) -> np.ndarray:
    """(rows, context) int64; BOS begins each, and stands within some."""
    tokens = np.random.default_rng(seed).integers(1, 300, (n_rows, context))
    tokens[:, 0] = BOS
    tokens[::3, -2] = BOS
    tokens[::2, context // 3] = 5
    return tokens
