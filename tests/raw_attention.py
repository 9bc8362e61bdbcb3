"""Attention of Hugging Face models by the textbook, from raw weights in float64; tests compare ours, of processed weights."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as turn_pairs

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.corpus.meta import CorpusMeta
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.roles.heads import Pair
from tests.decoders import apply_sign_rule, tiny_decoder
from tests.factories import load_raw, tiny_gpt2, tiny_neox, tiny_opt

N_LAYERS, N_HEADS, D_MODEL, D_MLP, D_HEAD = 3, 2, 16, 24, 8
ROPE = {"rope_type": "default", "rope_theta": 50.0, "partial_rotary_factor": 0.5}
def small_decoder(architecture: str, folder: Path, n_layers: int, **config: Any) -> Path:
    """Of as many layers, and with two heads."""
    names = {"gpt_neo": ("num_layers", "num_heads"), "gptj": ("n_layer", "n_head")}
    layers, heads = names.get(architecture, ("num_hidden_layers", "num_attention_heads"))
    return tiny_decoder(architecture, folder, **{layers: n_layers, heads: N_HEADS, **config})


MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (tiny_gpt2, {}),
    "gpt2-inverse-layer": (tiny_gpt2, {"scale_attn_by_inverse_layer_idx": True}),
    "neox": (tiny_neox, {}),
    "neox-serial": (tiny_neox, {"use_parallel_residual": False, "rope_parameters": ROPE}),
    "opt": (tiny_opt, {}),
    **{
        name: (partial(small_decoder, name), config)
        for name, config in {
            "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 32},
            "gptj": {"rotary_dim": 4},
            "phi": {},
            "llama": {"num_key_value_heads": 1},
        }.items()
    },
}
BOS = 0
"""Id of END_OF_TEXT in tests.factories' tokenizers; 1 to 3 are ordinary tokens."""

_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
PATHS: dict[str, tuple[str, str, str, tuple[str, ...], str, str]] = {
    "gpt2": ("h", "ln_1", "attn", ("c_attn",), "c_proj", "mlp.c_proj"),
    "gpt_neox": ("layers", "input_layernorm", "attention", ("query_key_value",), "dense", "mlp.dense_4h_to_h"),
    "opt": ("decoder.layers", "self_attn_layer_norm", "self_attn", _PROJECTIONS, "out_proj", "fc2"),
    "gpt_neo": ("h", "ln_1", "attn.attention", _PROJECTIONS, "out_proj", "mlp.c_proj"),
    "gptj": ("h", "ln_1", "attn", _PROJECTIONS, "out_proj", "mlp.fc_out"),
    "phi": ("layers", "input_layernorm", "self_attn", _PROJECTIONS, "dense", "mlp.fc2"),
    "llama": ("layers", "input_layernorm", "self_attn", _PROJECTIONS, "o_proj", "mlp.down_proj"),
}
"""Blocks, and of a block: norm before attention, attention, in which projections and output; output of the MLP."""


class RawModel:
    """A model of tests.factories, and its attention layer by layer, all in float64."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = load_raw(folder).double()
        self.kind = self.model.config.model_type
        blocks, self.norm_name, self.attention, projections, output, self.post = PATHS[self.kind]
        self.projections, self.output = [f"{self.attention}.{name}" for name in projections], f"{self.attention}.{output}"
        self.blocks = self.model.base_model.get_submodule(blocks)
        if self.kind == "llama":
            apply_sign_rule(self.model)
        self.w_out = torch.stack([self._matrix(block, self.post) for block in self.blocks])
        """(layers, d_mlp, d_model), as the file has it, but for the sign of gated neurons."""

    @property
    def order(self) -> list[int]:
        """Where the dimensions of a head are in processed weights, in which halves turn together."""
        return [0, 2, 1, 3, *range(4, D_HEAD)] if self.kind == "gptj" else list(range(D_HEAD))

    @property
    def epsilon(self) -> float:
        """Of norms."""
        config = self.model.config
        names = ("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps")
        return next((getattr(config, name) for name in names if hasattr(config, name)), 1e-5)

    def seen_by_norms(self, residual: Tensor) -> Tensor:
        """Without its mean, where norms take that away."""
        return residual if self.kind == "llama" else residual - residual.mean(-1, keepdim=True)

    def _matrix(self, block: Any, name: str) -> Tensor:
        weight = block.get_submodule(name).weight.detach()
        return weight if self.kind == "gpt2" else weight.T

    @property
    def turns(self) -> bool:
        """Whether positions turn queries and keys."""
        return self.kind in ("gpt_neox", "gptj", "phi", "llama")

    @property
    def is_parallel(self) -> bool:
        """Whether attention and MLP of a layer read the same residual."""
        return self.kind in ("gptj", "phi") or getattr(self.model.config, "use_parallel_residual", False)

    def norm(self, layer: int) -> Any:
        """The norm before attention."""
        return self.blocks[layer].get_submodule(self.norm_name)

    def project(self, layer: int, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, biases included, (..., heads, d_head) each, of (..., d_model) behind the norm."""
        parts = [self.blocks[layer].get_submodule(name)(normed) for name in self.projections]
        if self.kind == "gpt2":
            parts = list(parts[0].split(D_MODEL, dim=-1))
        if self.kind == "gpt_neox":
            return parts[0].unflatten(-1, (N_HEADS, 3 * D_HEAD)).chunk(3, dim=-1)
        split = [part.unflatten(-1, (-1, D_HEAD)) for part in parts]
        queries, keys, values = (part.repeat_interleave(N_HEADS // part.shape[-2], -2) for part in split)
        return queries, keys, values

    def turned(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """(positions, d_head) turned by transformers' own function, where the model is rotary."""
        if not self.turns:
            return vectors
        if self.kind == "gptj":
            size = self.model.config.rotary_dim
            sin, cos = self.blocks[0].attn.embed_positions[positions].double()[None].chunk(2, dim=-1)
            turned = turn_pairs(vectors[None, :, None, :size], sin, cos)[0, :, 0]
            return torch.cat([turned, vectors[:, size:]], -1)
        cos, sin = self.model.base_model.rotary_emb(vectors, positions[None])
        return apply_rotary_pos_emb(vectors[None, None], vectors[None, None], cos, sin)[0][0, 0]

    def w_o(self, layer: int) -> Tensor:
        """(heads, d_head, d_model), each row as the processed residual has it: minus its mean, if norms take that away."""
        weight = self._matrix(self.blocks[layer], self.output).unflatten(0, (N_HEADS, D_HEAD))
        return self.seen_by_norms(weight)

    def value_bias(self, layer: int) -> Tensor:
        """(heads, d_head): b_V + β W_V, by the difference between what values are and what they are linear in."""
        bias = getattr(self.norm(layer), "bias", None)
        nothing = self.project(layer, torch.zeros(D_MODEL, dtype=torch.float64))[2].detach()
        return nothing if bias is None else self.project(layer, bias.detach())[2].detach()

    def scale(self, layer: int) -> float:
        """What transformers multiplies scores with."""
        attention = self.blocks[layer].get_submodule(self.attention)
        if self.kind == "gptj":
            return 1 / attention.scale_attn
        return 1.0 if self.kind == "gpt_neo" else attention.scaling

    @torch.no_grad()
    def residuals(self, tokens: Tensor) -> list[Tensor]:
        """What enters each layer, (rows, context, d_model)."""
        return list(self.model(tokens, output_hidden_states=True, use_cache=False).hidden_states[:N_LAYERS])

    def residuals_and_posts(self, tokens: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What enters each layer, and post of each layer, (rows, context, d_mlp)."""
        posts: list[Tensor] = []
        handles = [
            block.get_submodule(self.post).register_forward_pre_hook(
                lambda module, inputs: posts.append(inputs[0].reshape(*tokens.shape, D_MLP).clone())
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
