"""Per-neuron columns that need weights alone (SPEC §4), from processed weights (§0.2), in float64."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK_BYTES = 256 * 2**20
"""Size of the (neurons, tokens) float64 temporaries."""


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
) -> WeightStatistics:
    """All columns of §4 of one model. `w_u`: real token ids only."""
    reads = w_in.double().transpose(1, 2).flatten(0, 1)
    writes = w_out.double().flatten(0, 1)
    in_norm, out_norm = reads.norm(dim=1), writes.norm(dim=1)
    unembed = w_u.double()
    lengths = unembed.norm(dim=0)
    unit = unembed[:, lengths > 0] / lengths[lengths > 0]
    unit_writes = _divide(writes, out_norm[:, None])
    cosine = torch.cat([_moments(unit_writes[rows] @ unit) for rows in _chunks(len(writes), unit.shape[1])])
    logit = torch.cat([_moments(writes[rows] @ unembed) for rows in _chunks(len(writes), unembed.shape[1])])
    return WeightStatistics(
        w_in_norm=in_norm,
        w_out_norm=out_norm,
        input_bias=b_in.double().flatten(),
        in_out_sim=_divide((reads * writes).sum(1), in_norm * out_norm),
        l2_penalty=in_norm**2 + out_norm**2,
        vocab_mean=cosine[:, 0],
        vocab_var=cosine[:, 1],
        vocab_skew=cosine[:, 2],
        vocab_kurt=cosine[:, 3],
        logit_var=logit[:, 1],
        logit_skew=logit[:, 2],
        logit_kurt=logit[:, 3],
        vocab_n=unit.shape[1],
    )


def logit_effects(w_out: Tensor, w_u: Tensor, k: int = 30) -> LogitEffects:
    """Top and bottom k tokens of each neuron. Shapes as in `weight_statistics`."""
    writes, unembed = w_out.double().flatten(0, 1), w_u.double()
    k = min(k, unembed.shape[1])
    columns: list[tuple[Tensor, ...]] = []
    for rows in _chunks(len(writes), unembed.shape[1]):
        effect = writes[rows] @ unembed
        top = effect.sort(dim=1, descending=True, stable=True)
        bottom = effect.sort(dim=1, stable=True)
        columns.append((top.indices[:, :k], top.values[:, :k], bottom.indices[:, :k], bottom.values[:, :k]))
    return LogitEffects(*(torch.cat(column).cpu() for column in zip(*columns, strict=True)))


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """NaN where the denominator is 0."""
    safe = torch.where(denominator > 0, denominator, torch.ones_like(denominator))
    return torch.where(denominator > 0, numerator / safe, torch.full_like(numerator, torch.nan))


def _chunks(n_rows: int, n_columns: int) -> Iterator[slice]:
    step = max(1, CHUNK_BYTES // (8 * max(1, n_columns)))
    for start in range(0, n_rows, step):
        yield slice(start, min(n_rows, start + step))


def _moments(values: Tensor) -> Tensor:
    """Population mean, variance, skewness, kurtosis of each row; NaN where the variance is 0."""
    mean = values.mean(1)
    centred = values - mean[:, None]
    var = (centred**2).mean(1)
    undefined = ~(var > 1e-30)
    z = centred / torch.where(undefined, torch.ones_like(var), var).sqrt()[:, None]
    nan = torch.full_like(var, torch.nan)
    skew = torch.where(undefined, nan, (z**3).mean(1))
    kurt = torch.where(undefined, nan, (z**4).mean(1))
    var = torch.where(values.isnan().any(1), nan, var)
    return torch.stack([mean, var, skew, kurt], dim=1)
