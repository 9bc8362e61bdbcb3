"""How much larger a head's output from ordinary tokens is than its output from BOS (SPEC §9.2)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ingest.checkpoints.attention_matrices import read_heads
from ingest.roles.attention import (
    AttentionModel,
    Corpus,
    layer_attention,
    row_batches,
    visit_attention,
)


@dataclass(frozen=True)
class BosNormRatio:
    """Mean over kept tokens t of ‖W_O v_t‖, over ‖W_O v_BOS‖; float64, NaN where that is 0 or no token is kept."""

    ratio: Float[Tensor, "layers heads"]
    """The value bias is folded away, as in all processed weights."""
    ratio_with_bias: Float[Tensor, "layers heads"]
    n_tokens: int
    """Kept tokens (M_corr) that entered."""


class _Norms:
    """Norms of W_O v for one model, without and with the value bias."""

    def __init__(self, model: AttentionModel) -> None:
        self.model = model
        weights = model.weights
        self.layers = [layer_attention(model, layer, None) for layer in range(model.n_layers)]
        # ‖v W_O‖ = ‖v Rᵀ‖ with W_Oᵀ = QR, so norms are taken in d_head dimensions and not in d_model
        mixes = [torch.linalg.qr(weights.W_O[i].double().transpose(1, 2)).R.transpose(1, 2) for i in range(model.n_layers)]
        self.values = [
            torch.einsum("hde,hef->dhf", weights.W_V[i].double(), mix).flatten(1).float() for i, mix in enumerate(mixes)
        ]
        self.biases = [
            torch.einsum("he,hef->hf", folded_value_bias(model, i).double(), mix).float() for i, mix in enumerate(mixes)
        ]

    def __call__(self, layer: int, residual: Tensor) -> Float[Tensor, "biases tokens heads"]:
        """Of (tokens, d_model) fp32."""
        normalised = self.layers[layer].norm.without_gain(residual)
        mixed = (normalised @ self.values[layer]).unflatten(1, (self.model.n_heads, self.model.d_head))
        norms = [torch.linalg.vector_norm(v, dim=-1, dtype=torch.float64) for v in (mixed, mixed + self.biases[layer])]
        return torch.stack(norms)


@torch.inference_mode()
def bos_norm_ratio(
    model: AttentionModel,
    corpus: Corpus,
    bos_id: int,
    n_tokens: int,
    batch_tokens: int,
    device: torch.device,
    advance: Callable[[int], None] | None = None,
) -> BosNormRatio:
    """Over the first rows of a corpus.

    Args:
        model: a processed checkpoint, on `device`.
        n_tokens: rows are taken until they hold this many tokens, or there are no more.
        batch_tokens: about how many tokens go through the model at a time.
        advance: told the number of tokens that are done.
    """
    norms = _Norms(model)
    shape = (2, model.n_layers, model.n_heads)
    of_bos = torch.zeros(shape, dtype=torch.float64, device=device)
    sums, n = torch.zeros_like(of_bos), 0

    def enter_bos(layer: int, residual: Tensor) -> None:
        of_bos[:, layer] = norms(layer, residual[0])[:, 0]

    visit_attention(model, torch.tensor([[bos_id]], device=device), enter_bos)
    for _, rows in row_batches(corpus, n_tokens, batch_tokens):
        kept = torch.from_numpy(np.flatnonzero(corpus.kept_mask(rows))).to(device)

        def enter(layer: int, residual: Tensor, kept: Tensor = kept) -> None:
            sums[:, layer] += norms(layer, residual.flatten(0, 1)[kept]).sum(1)

        visit_attention(model, torch.from_numpy(rows).to(device), enter)
        n += len(kept)
        if advance is not None:
            advance(rows.size)
    # 0/0 is NaN; a sum over nothing must be, too
    ratio = sums / n / of_bos if n else torch.full_like(sums, torch.nan)
    ratio = ratio.where(of_bos > 0, torch.nan).cpu()
    return BosNormRatio(ratio[0], ratio[1], n)


def folded_value_bias(model: AttentionModel, layer: int) -> Float[Tensor, "heads d_head"]:
    """b_V + β W_V, the value bias after layer norm's bias β is folded and before it goes to b_O (SPEC §0.2).

    It is what the raw model's own value map gives where its norm gives β, that is where x̂ is 0.
    """
    norm, values = model.modules.attention_norm(layer), read_heads(model.modules, layer, model.d_head)["values"]
    assert norm is not None
    mapped = values.bias + torch.einsum("d,dhe->he", norm.bias, values.weight)
    return mapped.repeat_interleave(model.n_heads // len(mapped), 0)
