"""By how much a change of logits changes log Z = log Σ exp(logit), in one pass over the vocabulary.

With p the probabilities before, d the change and m = Σ p·d, which a product of matrices gives,

    log Z' - log Z = m + log(1 + Σ p·(exp(d - m) - 1))

The sum is not negative (Jensen) and of second order in d, so that nothing cancels, however small or large the change; it is
the divergence of the changed distribution from the one before. The change of token t and variant p is
nominal[t, p] · a[t] + along[t, p] · directions[chosen[p]] + held[t, p] · v: it is never written to memory.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ingest.roles.vocabulary_sums import BLOCK, ELEMENTS_AT_ONCE, REORDERED, power_of_two
from ingest.statistics.loops import compiled

FARTHEST = 80.0
"""Nats beyond which the exponential of a change less its mean may be no fp32 number."""
_FARTHEST = np.float32(87)
_LOG2_E, _LN2_HIGH, _LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_ONE = np.float32(1)


class Before(NamedTuple):
    """Distributions before the change, and what changes go along."""

    p: Float[Tensor, "tokens vocabulary"]
    """Probabilities, fp32."""
    a: Float[Tensor, "tokens vocabulary"]
    """fp32, one vector for each token."""
    directions: Float[Tensor, "directions vocabulary"]
    """fp32."""
    v: Float[Tensor, " vocabulary"]
    """fp32, one vector for all."""
    chosen: Int64[Tensor, " variants"]
    """Which direction each variant has."""


class Change(NamedTuple):
    """How far along each, (tokens, variants) float64."""

    nominal: Tensor
    along: Tensor
    held: Tensor


@compiled("f4(f4[::1], f4[::1], f4[::1], f4[::1], f4, f4, f4, f4)", REORDERED)
def _excess(
    p: np.ndarray, a: np.ndarray, direction: np.ndarray, v: np.ndarray, nominal: float, along: float, held: float, mean: float
) -> np.float32:
    """Σ p·(exp(change - mean) - 1), by Cephes' polynomial about the nearest multiple of log 2: exact about 0."""
    total = np.float32(0)
    for i in range(len(p)):
        x = nominal * a[i] + along * direction[i] + held * v[i] - mean
        x = -_FARTHEST if x < -_FARTHEST else x  # a NaN stays one
        x = _FARTHEST if x > _FARTHEST else x
        k = np.rint(x * _LOG2_E)
        r = x - k * _LN2_HIGH - k * _LN2_LOW
        polynomial = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
        power: np.float32 = power_of_two(np.int32(k))  # type: ignore[call-arg]  # the typing context is numba's
        total += p[i] * (power * (polynomial * (r * r) + r) + (power - _ONE))
    return total


@compiled("void(f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[::1], i8[::1], f4[:, :, ::1], f8[:, ::1])")
def _excesses(
    p: np.ndarray,
    a: np.ndarray,
    directions: np.ndarray,
    v: np.ndarray,
    chosen: np.ndarray,
    coefficients: np.ndarray,
    sums: np.ndarray,
) -> None:
    for t in range(len(p)):
        sums[t] = 0
        for start in range(0, len(v), BLOCK):
            here = slice(start, min(start + BLOCK, len(v)))
            for k in range(len(chosen)):
                nominal, along, held, mean = coefficients[t, k]
                sums[t, k] += _excess(p[t, here], a[t, here], directions[chosen[k], here], v[here], nominal, along, held, mean)


def excesses(
    before: Before, change: Change, mean: Float64[Tensor, "tokens variants"]
) -> Float64[Tensor, "tokens variants"]:
    """Σ p·(exp(d - m) - 1) of each change, by compiled loops on a CPU, elsewhere by tensor operations.

    Args:
        mean: m.
    Where d - m exceeds `FARTHEST` somewhere, it is another number; see `beyond`.
    """
    if before.p.device.type != "cpu":
        return by_tensors(before, change, mean)
    coefficients = torch.stack([*change, mean], dim=-1).float()
    sums = torch.empty(mean.shape, dtype=torch.float64)
    p, a, directions, v, chosen, how_far, found = (x.contiguous().numpy() for x in (*before, coefficients, sums))
    step = max(1, -(-len(p) // torch.get_num_threads()))
    parts = [slice(start, start + step) for start in range(0, len(p), step)]
    with ThreadPoolExecutor(max(1, len(parts))) as pool:
        list(pool.map(lambda t: _excesses(p[t], a[t], directions, v, chosen, how_far[t], found[t]), parts))
    return sums


def beyond(before: Before, change: Change, mean: Float64[Tensor, "tokens variants"]) -> Int64[Tensor, "far 2"]:
    """Tokens and variants whose d - m may exceed `FARTHEST`, by the largest of each vector."""
    a, directions, v = (values.abs().amax(-1).double() for values in (before.a, before.directions, before.v))
    most = change.nominal.abs() * a[:, None] + change.along.abs() * directions[before.chosen] + change.held.abs() * v
    return (most + mean.abs() > FARTHEST).nonzero()


def by_tensors(before: Before, change: Change, mean: Tensor) -> Float64[Tensor, "tokens variants"]:
    """`excesses` by tensor operations, some tokens and variants at a time, on any device."""
    p, a, directions, v, chosen = before
    at_once = max(1, ELEMENTS_AT_ONCE.get(p.device.type, 2**26) // len(v))
    width = min(len(chosen), at_once)
    step = max(1, at_once // max(1, width))
    sums = torch.empty(mean.shape, dtype=torch.float64, device=p.device)
    for start in range(0, len(p), step):
        for first in range(0, len(chosen), max(1, width)):
            t, k = slice(start, start + step), slice(first, first + width)
            nominal, along, held, less = (values[t, k, None].float() for values in (*change, mean))
            x = nominal * a[t, None] + along * directions[chosen[k]] + held * v - less
            sums[t, k] = (p[t, None] * x.clamp_(-float(_FARTHEST), float(_FARTHEST)).expm1_()).sum(2, dtype=torch.float64)
    return sums
