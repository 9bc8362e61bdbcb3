"""Per-neuron columns that need weights alone (SPEC §4), from processed weights (§0.2), in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ingest.statistics.effects import BLOCK_SIZE, LIST_LENGTH, BlockSize, EffectSums, TokenClasses, effect_sums, moments_of


@dataclass(frozen=True)
class WeightStatistics:
    """One float64 value per neuron, flat order; undefined is NaN."""

    w_in_norm: Tensor
    w_out_norm: Tensor
    input_bias: Tensor
    """b_in after folding the layer norm."""
    in_out_sim: Tensor
    """cos(w_in, w_out)."""
    l2_penalty: Tensor
    """w_in_norm**2 + w_out_norm**2."""
    vocab_mean: Tensor
    """Moments over real token ids of cos(W_U[:, v], w_out)."""
    vocab_var: Tensor
    vocab_skew: Tensor
    vocab_kurt: Tensor
    logit_var: Tensor
    """Moments over real token ids of w_out · W_U[:, v]."""
    logit_skew: Tensor
    logit_kurt: Tensor
    vocab_n: int
    """Token ids that entered the vocabulary moments (columns of W_U of norm 0 are skipped)."""


OF_VOCABULARY = ("vocab_mean", "vocab_var", "vocab_skew", "vocab_kurt", "logit_var", "logit_skew", "logit_kurt")
"""Columns that need effects on the logits."""


@dataclass(frozen=True)
class LogitEffects:
    """The tokens that a neuron's output promotes and suppresses most, by w_out · W_U[:, v]."""

    promoted: Tensor
    """(neurons, k) int64, strongest first; equal effects by lowest id."""
    promoted_effect: Tensor
    """(neurons, k) float64, logits per unit of activation."""
    suppressed: Tensor
    suppressed_effect: Tensor


def weight_statistics(
    w_in: Float[Tensor, "layers d_model d_mlp"],
    b_in: Float[Tensor, "layers d_mlp"],
    w_out: Float[Tensor, "layers d_mlp d_model"],
    w_u: Float[Tensor, "d_model d_vocab"],
    k: int = LIST_LENGTH,
    classes: TokenClasses | None = None,
    each: Callable[[EffectSums], None] | None = None,
    size: BlockSize = BLOCK_SIZE,
) -> tuple[WeightStatistics, LogitEffects]:
    """All columns of §4 of one model and the top and bottom k tokens of each neuron, from one pass over the effects.

    Args:
        w_u: real token ids only.
        classes, each: sums over these classes of tokens are taken in the same pass; `each` is given the sums of some
            neurons at a time, in order, and may report progress by them.
    """
    own = own_columns(w_in, b_in, w_out)
    columns: list[dict[str, np.ndarray]] = []
    lists: list[tuple[np.ndarray, np.ndarray]] = []
    n_unit = 0
    for sums in effect_sums(w_out, w_u, k, classes, size):
        columns.append(_vocabulary_columns(sums, own["w_out_norm"][sums.neurons].numpy()))
        lists.append((sums.tokens, sums.effects))
        n_unit = sums.n_unit
        if each is not None:
            each(sums)
    statistics = WeightStatistics(
        **own,
        **{name: torch.from_numpy(np.concatenate([part[name] for part in columns])) for name in columns[0]},
        vocab_n=n_unit,
    )
    tokens, effects = (torch.from_numpy(np.concatenate(parts, axis=1)) for parts in zip(*lists, strict=True))
    return statistics, LogitEffects(tokens[0], effects[0], tokens[1], effects[1])


def own_columns(
    w_in: Float[Tensor, "layers d_model d_mlp"],
    b_in: Float[Tensor, "layers d_mlp"],
    w_out: Float[Tensor, "layers d_mlp d_model"],
) -> dict[str, Tensor]:
    """Columns of §4 that need no unembedding."""
    reads, writes = w_in.double().transpose(1, 2).flatten(0, 1), w_out.double().flatten(0, 1)
    in_norm, out_norm = reads.norm(dim=1).cpu(), writes.norm(dim=1).cpu()
    return {
        "w_in_norm": in_norm,
        "w_out_norm": out_norm,
        "input_bias": b_in.double().flatten().cpu(),
        "in_out_sim": _divide((reads * writes).sum(1).cpu(), in_norm * out_norm),
        "l2_penalty": in_norm**2 + out_norm**2,
    }


def without_effects(
    w_in: Float[Tensor, "layers d_model d_mlp"],
    b_in: Float[Tensor, "layers d_mlp"],
    w_out: Float[Tensor, "layers d_mlp d_model"],
) -> WeightStatistics:
    """The columns of a model whose neurons have no effect on logits by themselves."""
    own = own_columns(w_in, b_in, w_out)
    undefined = torch.full_like(own["w_in_norm"], torch.nan)
    return WeightStatistics(**own, **dict.fromkeys(OF_VOCABULARY, undefined), vocab_n=0)


def _vocabulary_columns(sums: EffectSums, out_norm: np.ndarray) -> dict[str, np.ndarray]:
    """Moments of the cosine and of the effect; those of the cosine are NaN where either side has no direction."""
    length = np.where((out_norm > 0) & (sums.n_unit > 0), out_norm, np.nan)
    powers = sums.unit_powers / length ** np.arange(1, 5)[:, None]
    cosine = (
        moments_of(sums.n_unit, powers, sums.unit_pivot / length) if sums.n_unit else moments_of(1, powers * np.nan, length)
    )
    logit = moments_of(sums.n, sums.powers, sums.pivot)
    return {
        "vocab_mean": cosine.mean,
        "vocab_var": cosine.var,
        "vocab_skew": cosine.skew,
        "vocab_kurt": cosine.kurt,
        "logit_var": logit.var,
        "logit_skew": logit.skew,
        "logit_kurt": logit.kurt,
    }


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """NaN where the denominator is 0."""
    safe = torch.where(denominator > 0, denominator, torch.ones_like(denominator))
    return torch.where(denominator > 0, numerator / safe, torch.full_like(numerator, torch.nan))
