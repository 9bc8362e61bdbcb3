"""A model's attention in processed weights (SPEC §0.2): what enters it, its queries, keys, values and patterns.

The raw model runs, and hooks on the norms before attention see its residuals. Where these are layer norms, a processed
residual is the raw one minus its mean over d_model; they take that mean away in any case, and so do the centred W_Q, W_K and
W_V. Norms have no gain and no bias of their own here, for those are folded into the weights.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ingest.checkpoints.modules import Modules, Norm


class AttentionWeights(Protocol):
    """Processed matrices, fp32, with leading dimensions (layers, heads) or (layers,); b_V is folded away."""

    @property
    def W_Q(self) -> Tensor: ...
    @property
    def b_Q(self) -> Tensor: ...
    @property
    def W_K(self) -> Tensor: ...
    @property
    def b_K(self) -> Tensor: ...
    @property
    def W_V(self) -> Tensor: ...
    @property
    def W_O(self) -> Tensor: ...
    @property
    def W_out(self) -> Tensor: ...


class AttentionModel(Protocol):
    """A checkpoint after `process`."""

    architecture: str
    n_layers: int
    n_heads: int
    d_model: int
    d_mlp: int
    d_head: int
    model: nn.Module

    @property
    def modules(self) -> Modules: ...
    @property
    def parallel_attention(self) -> bool: ...
    @property
    def weights(self) -> AttentionWeights: ...

    def visit_activations(self, tokens: Tensor, visit: Callable[[int, Tensor, Tensor], None]) -> None: ...


class Corpus(Protocol):
    """Rows of tokens that begin with BOS."""

    @property
    def tokens(self) -> np.ndarray: ...
    @property
    def n_rows(self) -> int: ...
    def kept_mask(self, rows: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Rotation:
    """Rotary position embedding of the first dimensions of queries and keys; cos and sin are (positions, dimensions)."""

    cos: Tensor
    sin: Tensor

    def __call__(self, vectors: Float[Tensor, "... positions d_head"]) -> Float[Tensor, "... positions d_head"]:
        """Turn each vector to its position."""
        return self._turned(vectors, self.sin)

    def back(self, vectors: Float[Tensor, "... positions d_head"]) -> Float[Tensor, "... positions d_head"]:
        """The transpose: turn(q) · k = q · back(k)."""
        return self._turned(vectors, -self.sin)

    def since(self, position: int) -> "Rotation":
        """Of the positions from `position` on."""
        return Rotation(self.cos[position:], self.sin[position:])

    @property
    def dimensions(self) -> int:
        return self.cos.shape[-1]

    def _turned(self, vectors: Tensor, sin: Tensor) -> Tensor:
        turning, staying = vectors[..., : self.dimensions], vectors[..., self.dimensions :]
        first, second = turning.chunk(2, dim=-1)
        turned = turning * self.cos + torch.cat([-second, first], dim=-1) * sin
        return torch.cat([turned, staying], dim=-1)


def rotation(model: AttentionModel, context: int) -> Rotation | None:
    """For positions 0 to context - 1, fp32, by the model's own module; None where positions are learned embeddings."""
    kind, device = model.modules.architecture.rotary, model.weights.W_Q.device
    if kind is None:
        return None
    base: Any = model.model.base_model
    if kind == "pairs":
        # weights are processed so that halves turn, and the first block has the sines and cosines of one of both
        sin, cos = base.h[0].attn.embed_positions[:context].to(device).chunk(2, dim=-1)
        return Rotation(torch.cat([cos, cos], -1), torch.cat([sin, sin], -1))
    cos, sin = base.rotary_emb(torch.zeros(1, device=device), torch.arange(context, device=device)[None])
    return Rotation(cos[0], sin[0])


def score_scale(model: AttentionModel, layer: int) -> float:
    """What multiplies q · k before the softmax: 1/√d_h, over layer + 1 where the config says so (SPEC §0.1).

    GPT-Neo's is 1, and so may be GPT-2's by its configuration.
    """
    config = model.model.config
    scale = model.d_head**-0.5
    if model.architecture == "gpt_neo" or not getattr(config, "scale_attn_weights", True):
        scale = 1.0
    return scale / (layer + 1) if getattr(config, "scale_attn_by_inverse_layer_idx", False) else scale


@dataclass(frozen=True)
class LayerAttention:
    """Attention of one layer on rows of one length. Vectors are (rows, positions, d_head) fp32, of one head at a time."""

    W_Q: Float[Tensor, "heads d_model d_head"]
    b_Q: Float[Tensor, "heads d_head"]
    W_K: Float[Tensor, "heads d_model d_head"]
    b_K: Float[Tensor, "heads d_head"]
    W_V: Float[Tensor, "heads d_model d_head"]
    norm: Norm
    """Of what enters, whose gain and bias are in the weights."""
    scale: float
    """See `score_scale`."""
    rotation: Rotation | None

    def scale_of(self, squares: Tensor) -> Tensor:
        """The norm's divisor.

        Args:
            squares: sums of squares over d_model of residuals as the norm sees them, float64.
        """
        return (squares / self.W_Q.shape[1] + self.norm.epsilon).sqrt()

    def queries(self, reads: Tensor, divisor: Tensor, head: int, first: int = 0) -> Tensor:
        """At positions from `first` on.

        Args:
            reads: (rows, positions, d_head), residuals as the norm sees them, times W_Q of the head.
            divisor: (rows, positions) of the norm.
        """
        plain = reads / divisor[..., None].to(reads.dtype) + self.b_Q[head]
        return plain if self.rotation is None else self.rotation.since(first)(plain)

    def keys(self, normalised: Tensor, head: int) -> Tensor:
        """From (rows, positions, d_model) behind the norm."""
        plain = normalised @ self.W_K[head] + self.b_K[head]
        return plain if self.rotation is None else self.rotation(plain)

    def values(self, normalised: Tensor, head: int) -> Tensor:
        """From (rows, positions, d_model) behind the norm, without the value bias, which is folded away."""
        return normalised @ self.W_V[head]

    def pattern(self, queries: Tensor, keys: Tensor, causal: Bool[Tensor, "destinations sources"]) -> Tensor:
        """(rows, destinations, sources); each row of it sums to one."""
        scores = queries @ keys.transpose(1, 2) * self.scale
        return scores.masked_fill_(~causal, -torch.inf).softmax(-1)


def layer_attention(model: AttentionModel, layer: int, turn: Rotation | None) -> LayerAttention:
    """Attention of a layer; `turn` comes from `rotation` for the length of the rows."""
    weights, norm = model.weights, model.modules.attention_norm(layer)
    assert norm is not None, "attention is not defined where nothing normalises what it reads"
    return LayerAttention(
        W_Q=weights.W_Q[layer],
        b_Q=weights.b_Q[layer],
        W_K=weights.W_K[layer],
        b_K=weights.b_K[layer],
        W_V=weights.W_V[layer],
        norm=norm,
        scale=score_scale(model, layer),
        rotation=turn,
    )


def causal_mask(context: int, first: int, device: torch.device) -> Bool[Tensor, "destinations sources"]:
    """Which sources destinations from `first` to context - 1 see."""
    return torch.ones(context - first, context, dtype=torch.bool, device=device).tril(first)


def squared_norm(vectors: Tensor) -> Tensor:
    """Sums of squares over the last dimension, float64."""
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float64).square()


def visit_attention(
    model: AttentionModel,
    tokens: Tensor,
    enter: Callable[[int, Tensor], None],
    leave: Callable[[int, Tensor, Tensor], None] | None = None,
) -> None:
    """Run the model, and show what enters the attention of each layer and the activations of each MLP, as they come.

    Args:
        tokens: (rows, context) int64, BOS included.
        enter: takes a layer and its residual, (rows, context, d_model) fp32, which it must not keep.
        leave: takes a layer, pre and post, (rows * context, d_mlp) fp32 each, which it must not keep.
    """

    def hook(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, inputs: enter(layer, inputs[0])

    readers = model.modules.attention_readers
    handles = [module.register_forward_pre_hook(hook(layer)) for layer, module in enumerate(readers)]
    try:
        model.visit_activations(tokens, leave or (lambda layer, pre, post: None))
    finally:
        for handle in handles:
            handle.remove()


def row_batches(corpus: Corpus, n_tokens: int, batch_tokens: int) -> Iterator[tuple[int, np.ndarray]]:
    """The first rows of a corpus that hold `n_tokens` tokens, in order, at least one at a time.

    Yields:
        The number of the first of these rows, and (rows, context) int64.
    """
    context = corpus.tokens.shape[1]
    end, step = rows_needed(corpus, n_tokens), max(1, batch_tokens // context)
    for start in range(0, end, step):
        yield start, np.asarray(corpus.tokens[start : min(start + step, end)], dtype=np.int64)


def rows_needed(corpus: Corpus, n_tokens: int) -> int:
    """How many rows hold `n_tokens` tokens, BOS included; all, if they hold fewer."""
    return min(corpus.n_rows, -(-n_tokens // corpus.tokens.shape[1]))
