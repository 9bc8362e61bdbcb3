"""How much each neuron's output raises the attention of later heads to BOS, by weights alone (UN §5.3, SPEC §9.1).

h(i;A,h) = ŵ_out(i)ᵀ W_Q[A,h] k_BOS[A,h] / √d_h for A > ℓ(i), with ŵ_out of norm 1. k_BOS, bias included, is the same in every
prompt, because BOS always comes first. h > 0: activation turns the head to BOS, which deactivates it. Non-causal pairs are
left out everywhere (B35).

Rotary models turn queries to the destination p, so h depends on p, and (R_p q)·k = q·(R_pᵀk): its mean over destinations is
the formula with the mean of the R_pᵀk, and its variance is a quadratic form of their covariance.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.roles.attention import (
    AttentionModel,
    layer_attention,
    rotation,
    score_scale,
    squared_norm,
    visit_attention,
)


@dataclass(frozen=True)
class HeadScores:
    """h of every causal pair of a model, computed when asked for; everything is float64."""

    W_out: Float[Tensor, "layers d_mlp d_model"]
    """fp32."""
    W_Q: Float[Tensor, "layers heads d_model d_head"]
    """fp32."""
    reads: Float[Tensor, "layers heads d_model"]
    """W_Q k_BOS / √d_h; rotary: with the mean of k_BOS turned back from each destination."""
    spread: list[Float[Tensor, "heads components d_head"]] | None
    """Of each layer; Σ over components of (q · spread)² is the variance of h over destinations. None unless rotary."""
    divisor: list[float]
    """Of each layer: h over this is the change of the model's own score, `h_scaled` (SPEC §0.1)."""

    @property
    def n_layers(self) -> int:
        return self.W_out.shape[0]

    @property
    def d_mlp(self) -> int:
        return self.W_out.shape[1]

    @property
    def n_heads(self) -> int:
        return self.reads.shape[1]

    def of_layer(self, head_layer: int) -> Float[Tensor, "neurons heads"]:
        """h of all neurons of earlier layers, in flat order, on the heads of a layer; NaN where w_out is zero."""
        reads = self.reads[head_layer].T
        if head_layer == 0:
            return reads.new_empty(0, self.n_heads)
        return torch.cat([_unit(self.W_out[layer].double()) @ reads for layer in range(head_layer)])

    def deviations(self, neurons: Int[Tensor, " n"], head_layer: int, head: int) -> Float[Tensor, " n"]:
        """Standard deviation of h over destinations p ≥ T/2 (population); NaN unless the model is rotary.

        Args:
            neurons: flat indices.
        """
        if self.spread is None:
            return torch.full(neurons.shape, torch.nan, dtype=torch.float64, device=neurons.device)
        queries = _unit(self.W_out.flatten(0, 1)[neurons].double()) @ self.W_Q[head_layer, head].double()
        return (queries @ self.spread[head_layer][head].T).norm(dim=1)


@dataclass(frozen=True)
class RandomBaseline:
    """h of random directions, one per neuron, on every head of later layers; NaN in layer 0, which no neuron precedes."""

    largest: Float[Tensor, "layers heads"]
    """The largest |h| of each head, float64."""
    sd: Float[Tensor, "layers heads"]

    @property
    def largest_of_model(self) -> float:
        """Over all heads; NaN for a model of one layer."""
        return float(self.largest[1:].max()) if len(self.largest) > 1 else float("nan")


@torch.inference_mode()
def head_scores(model: AttentionModel, bos_id: int, context: int) -> HeadScores:
    """Prepare the scores of a model.

    Args:
        model: a processed checkpoint.
        context: length T of rows; matters to rotary models alone.
    Raises:
        ValueError: a rotary model and a context of one token, which has no destination p ≥ T/2.
    """
    turn = rotation(model, context)
    keys = bos_keys(model, bos_id)
    spread: list[Tensor] | None = None
    if turn is not None:
        if context < 2:
            raise ValueError(f"a row of {context} token has no destination in its second half; give a context of 2 or more.")
        late = turn.since((context + 1) // 2)
        turned = [late.back(layer[:, None].expand(-1, len(late.cos), -1)) for layer in keys]
        keys = torch.stack([layer.mean(1) for layer in turned])
        spread = [_components(layer[..., : late.dimensions], model.d_head) for layer in turned]
    root = model.d_head**0.5
    reads = torch.stack([torch.einsum("hde,he->hd", model.weights.W_Q[i].double(), keys[i]) for i in range(len(keys))])
    return HeadScores(
        W_out=model.weights.W_out,
        W_Q=model.weights.W_Q,
        reads=reads / root,
        spread=spread,
        divisor=[1 / (root * score_scale(model, layer)) for layer in range(model.n_layers)],
    )


@torch.inference_mode()
def bos_keys(model: AttentionModel, bos_id: int) -> Float[Tensor, "layers heads d_head"]:
    """Keys, bias included, of [BOS] alone, which is BOS at the beginning of any row; float64."""
    weights = model.weights
    turn = rotation(model, 1)
    keys: list[Tensor] = []

    def enter(layer: int, residual: Tensor) -> None:
        attention = layer_attention(model, layer, turn)
        stream = attention.norm.centre(residual[0, 0].double())
        normalised = stream / attention.scale_of(squared_norm(stream))
        plain = torch.einsum("d,hde->he", normalised, weights.W_K[layer].double()) + weights.b_K[layer].double()
        keys.append(plain if turn is None else turn(plain))

    visit_attention(model, torch.tensor([[bos_id]], device=weights.W_Q.device), enter)
    return torch.stack(keys)


def random_baseline(scores: HeadScores, seed: int) -> RandomBaseline:
    """h of Gaussian directions of norm 1, the same for a seed on any device (SPEC §9.1)."""
    generator = torch.Generator().manual_seed(seed)
    largest = torch.full_like(scores.reads[..., 0], -torch.inf)
    sums, squares = torch.zeros_like(largest), torch.zeros_like(largest)
    for layer in range(scores.n_layers - 1):
        rows = torch.randn(scores.d_mlp, scores.reads.shape[2], generator=generator).to(scores.reads)
        h = _unit(rows) @ scores.reads[layer + 1 :].flatten(0, 1).T
        h = h.unflatten(1, (-1, scores.n_heads))
        largest[layer + 1 :] = torch.maximum(largest[layer + 1 :], h.abs().amax(0))
        sums[layer + 1 :] += h.sum(0)
        squares[layer + 1 :] += h.square().sum(0)
    n = (torch.arange(scores.n_layers, device=largest.device) * scores.d_mlp).to(largest)[:, None]
    largest[0] = torch.nan
    return RandomBaseline(largest, (squares / n - (sums / n) ** 2).clamp_min(0).sqrt())


def _components(turned: Float[Tensor, "heads positions rotary"], d_head: int) -> Float[Tensor, "heads components d_head"]:
    """F with FᵀF the covariance over positions, over d_head, padded to d_head dimensions: those that do not turn vary by 0."""
    off = turned - turned.mean(1, keepdim=True)
    _, sizes, directions = torch.linalg.svd(off / turned.shape[1] ** 0.5, full_matrices=False)
    spread = sizes[..., None] * directions / d_head**0.5
    return torch.nn.functional.pad(spread, (0, d_head - spread.shape[-1]))


def _unit(rows: Tensor) -> Tensor:
    """Rows of norm 1; NaN where the norm is 0."""
    norms = rows.norm(dim=1, keepdim=True)
    return rows / norms.where(norms > 0, torch.nan)
