"""What a next-token distribution needs of all its logits, in one pass over the vocabulary.

The logits of token t and variant p are base + scale[t, p] · logits[t] + along[t, p] · directions[chosen[p]]. They are never
written to memory: a block of the vocabulary is made, its exponentials are summed and its larger logits counted while it is
in the first-level cache.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from ingest.statistics.loops import compiled

BLOCK = 512
"""Logits in the cache at once; within a block sums are fp32, across blocks float64."""
ELEMENTS_AT_ONCE = {"cpu": 2**18, "cuda": 2**26}
"""Logits that the path of tensor operations holds at once."""

REORDERED = {"contract", "nsz", "reassoc"}
"""Sums of fp32 may run in parallel lanes; NaN and infinity stay what they are."""
_LOWEST = np.float32(-87)
_LOG2_E, _LN2_HIGH, _LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_ONE = np.float32(1)


@dataclass(frozen=True)
class VocabularySums:
    """Of each distribution, (tokens, variants) float64."""

    log_z: Tensor
    """log Σ exp(logit)."""
    entropy: Tensor
    """Nats."""
    true_logit: Tensor
    """The target's logit."""
    rank: Tensor
    """#{v: logit_v > the target's}."""


@intrinsic
def power_of_two(typing_context: Any, exponent: Any) -> Any:
    """2**exponent as fp32, of an int32 from -126 to 127, by its bits: a call of exp2 would not run in lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        biased = builder.add(arguments[0], ir.Constant(ir.IntType(32), 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(ir.IntType(32), 23)), ir.FloatType())

    return types.float32(types.int32), generate


@compiled("void(f4[::1], f4[::1], f4[::1], f4, f4, f4[::1])")
def _make(base: np.ndarray, logits: np.ndarray, direction: np.ndarray, scale: float, along: float, made: np.ndarray) -> None:
    for v in range(len(base)):
        made[v] = base[v] + scale * logits[v] + along * direction[v]


@compiled("void(f4[::1], f4[::1], f4[::1])")
def _larger(left: np.ndarray, right: np.ndarray, larger: np.ndarray) -> None:
    for v in range(len(right)):
        larger[v] = left[v] if left[v] > right[v] else right[v]


@compiled("f4(f4[::1], f4[::1])")
def _largest(values: np.ndarray, folded: np.ndarray) -> float:
    """The halves' larger values, folded until few are left: a running maximum would be made one by one."""
    width = len(values)
    if width > 8:
        half = (width + 1) // 2
        _larger(values[: width - half], values[half:], folded)
        if width % 2 == 1:
            folded[half - 1] = values[half - 1]
        width = half
        while width > 8:
            half = (width + 1) // 2
            _larger(folded[: width - half], folded[half:width], folded)
            width = half
        values = folded
    largest = values[0]
    for v in range(1, width):
        largest = max(largest, values[v])
    return largest


@compiled("i4(f4[::1], f4)")
def _count_above(values: np.ndarray, threshold: float) -> np.int32:
    above = np.int32(0)
    for v in range(len(values)):
        above += np.int32(values[v] > threshold)
    return above


@compiled("void(f4[::1], f4, f4[::1])")
def _exponentials(values: np.ndarray, largest: float, powers: np.ndarray) -> None:
    """values -= largest; powers = exp(values), by Cephes' polynomial about the nearest multiple of log 2 (2 ulp)."""
    for v in range(len(values)):
        x = values[v] - largest
        x = _LOWEST if x < _LOWEST else x  # a NaN stays one
        values[v] = x
        k = np.rint(x * _LOG2_E)
        r = x - k * _LN2_HIGH - k * _LN2_LOW
        polynomial = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
        powers[v] = (polynomial * (r * r) + r + _ONE) * power_of_two(np.int32(k))  # type: ignore[call-arg]  # the typing context is numba's


@compiled("UniTuple(f4, 2)(f4[::1], f4[::1])", REORDERED)
def _add_up(values: np.ndarray, powers: np.ndarray) -> tuple[np.float32, np.float32]:
    total, weighted = np.float32(0), np.float32(0)
    for v in range(len(values)):
        total += powers[v]
        weighted += powers[v] * values[v]
    return total, weighted


@compiled("void(f4[::1], f4[:, ::1], f4[:, ::1], i8[::1], f4[:, ::1], f4[:, ::1], i8[::1], f8[:, :, ::1])")
def _sums(
    base: np.ndarray,
    logits: np.ndarray,
    directions: np.ndarray,
    chosen: np.ndarray,
    scale: np.ndarray,
    along: np.ndarray,
    targets: np.ndarray,
    sums: np.ndarray,
) -> None:
    made, powers = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    largest, total = np.empty(len(chosen), np.float32), np.empty(len(chosen))
    weighted, true = np.empty(len(chosen)), np.empty(len(chosen), np.float32)
    for t in range(len(logits)):
        target = targets[t]
        largest[:] = -np.inf
        total[:] = 0
        weighted[:] = 0
        sums[t, :, 3] = 0
        for p in range(len(chosen)):  # in lanes as below, so that the target is not above itself by a rounding
            here = slice(target, target + 1)
            _make(base[here], logits[t, here], directions[chosen[p], here], scale[t, p], along[t, p], made[:1])
            true[p] = made[0]
        for start in range(0, len(base), BLOCK):
            here = slice(start, min(start + BLOCK, len(base)))
            values, exponentials = made[: here.stop - start], powers[: here.stop - start]
            for p in range(len(chosen)):
                _make(base[here], logits[t, here], directions[chosen[p], here], scale[t, p], along[t, p], values)
                sums[t, p, 3] += _count_above(values, true[p])
                highest = _largest(values, exponentials)
                if highest > largest[p]:
                    if start > 0:
                        lower = np.float64(largest[p]) - np.float64(highest)
                        weighted[p] = np.exp(lower) * (weighted[p] + lower * total[p])
                        total[p] = np.exp(lower) * total[p]
                    largest[p] = highest
                _exponentials(values, largest[p], exponentials)
                more, more_weighted = _add_up(values, exponentials)
                total[p] += more
                weighted[p] += more_weighted
        for p in range(len(chosen)):
            log_total = np.log(total[p])
            sums[t, p, 0] = largest[p] + log_total
            sums[t, p, 1] = log_total - weighted[p] / total[p]
            sums[t, p, 2] = true[p]


def vocabulary_sums(
    base: Float[Tensor, " vocabulary"],
    logits: Float[Tensor, "tokens vocabulary"],
    directions: Float[Tensor, "directions vocabulary"],
    chosen: Int64[Tensor, " variants"],
    scale: Float[Tensor, "tokens variants"],
    along: Float[Tensor, "tokens variants"],
    targets: Int64[Tensor, " tokens"],
) -> VocabularySums:
    """Sums over the vocabulary of the distributions with logits base + scale · logits + along · directions[chosen].

    Args:
        chosen: which direction each variant has; on a CPU equal ones should follow each other.
        targets: the next token's id.
        All floating-point arguments fp32. On a CPU compiled loops take them, elsewhere tensor operations.
    """
    if logits.device.type != "cpu":
        return by_tensors(base, logits, directions, chosen, scale, along, targets)
    sums = torch.empty(*scale.shape, 4, dtype=torch.float64)
    arrays = (x.contiguous().numpy() for x in (base, logits, directions, chosen, scale, along, targets, sums))
    _sums(*arrays)
    return VocabularySums(*sums.unbind(-1))


def by_tensors(
    base: Tensor, logits: Tensor, directions: Tensor, chosen: Tensor, scale: Tensor, along: Tensor, targets: Tensor
) -> VocabularySums:
    """`vocabulary_sums` by tensor operations, some tokens at a time, on any device."""
    tokens, variants = scale.shape
    at_once = max(1, ELEMENTS_AT_ONCE.get(logits.device.type, 2**26) // len(base))
    step, width = max(1, at_once // variants), min(variants, at_once)
    sums = torch.empty(4, tokens, variants, dtype=torch.float64, device=logits.device)
    for start in range(0, tokens, step):
        for first in range(0, variants, width):
            t, p = slice(start, start + step), slice(first, first + width)
            made = base + scale[t, p, None] * logits[t, None] + along[t, p, None] * directions[chosen[p]]
            highest = made.amax(2, keepdim=True)
            made -= highest
            true = made.gather(2, targets[t, None, None].expand(-1, made.shape[1], 1))
            log_total = made.logsumexp(2)
            sums[0, t, p] = highest.squeeze(2).double() + log_total
            sums[2, t, p] = highest.squeeze(2).double() + true.squeeze(2)
            sums[3, t, p] = (made > true).sum(2).double()
            made -= log_total[..., None]
            sums[1, t, p] = -(made.exp() * made).sum(2).double()
    return VocabularySums(*sums)
