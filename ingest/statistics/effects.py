"""Effects of neurons on logits, e_i[v] = w_out(i) · W_U[:, v], met once in blocks and never kept (SPEC §4, §7).

    effect_sums(w_out, w_u, classes)  --some neurons at a time-->  EffectSums  -->  moments, lists of tokens, explanations

Products and sums are float64. Powers are summed about the mean, which is known beforehand (w_out · mean of the columns), so
central moments follow from the sums without loss, whatever the sizes of the blocks.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ingest.statistics import weight_loops
from ingest.statistics.weight_loops import STRIP

LIST_LENGTH = 30
LEAST_VARIANCE = 1e-30
LEAST_RELATIVE_VARIANCE = 1e-24
"""Over the squared mean: what is left of a constant after rounding."""


@dataclass(frozen=True)
class BlockSize:
    """Neurons and tokens whose effects are met at once: 8 MiB."""

    neurons: int = 512
    tokens: int = 2048


BLOCK_SIZE = BlockSize()


@dataclass(frozen=True)
class TokenClasses:
    """Classes of tokens, each token's together."""

    starts: Int[np.ndarray, " tokens_and_one"]
    """int64; the classes of token v are classes[starts[v]:starts[v + 1]]."""
    classes: Int[np.ndarray, " members"]
    n_classes: int

    @staticmethod
    def of(matrix: Bool[np.ndarray, "classes tokens"]) -> "TokenClasses":
        tokens, classes = np.nonzero(matrix.T)
        counts = np.bincount(tokens, minlength=matrix.shape[1])
        return TokenClasses(np.append(0, counts.cumsum()).astype(np.int64), classes.astype(np.int64), len(matrix))


@dataclass(frozen=True)
class EffectSums:
    """Sums over tokens for consecutive neurons, float64."""

    neurons: slice
    """Flat indices."""
    n: int
    """Tokens."""
    pivot: Float[np.ndarray, " neurons"]
    """Mean effect, up to rounding."""
    powers: Float[np.ndarray, "4 neurons"]
    """Of (e - pivot)**k."""
    n_unit: int
    """Tokens whose column of the unembedding is not 0."""
    unit_pivot: Float[np.ndarray, " neurons"]
    unit_powers: Float[np.ndarray, "4 neurons"]
    """The same for w_out · W_U[:, v] / ‖W_U[:, v]‖ over those tokens."""
    class_powers: Float[np.ndarray, "classes 4 neurons"]
    """Of (e - pivot)**k over the tokens of each class."""
    tokens: Int[np.ndarray, "2 neurons k"]
    """Ids of the tokens with the largest and with the smallest effects, strongest first; equal effects by lowest id."""
    effects: Float[np.ndarray, "2 neurons k"]


@dataclass(frozen=True)
class SumMoments:
    """Population moments from sums; float64, any shape."""

    mean: np.ndarray
    var: np.ndarray
    skew: np.ndarray
    """NaN where nothing varies, as the kurtosis, which is 3 for a Gaussian."""
    kurt: np.ndarray


def moments_of(n: int, powers: np.ndarray, pivot: np.ndarray) -> SumMoments:
    """Moments of n > 0 values from the sums (4, ...) of their powers about a pivot (...)."""
    m1, m2, m3, m4 = powers / n
    mean = pivot + m1
    var = np.maximum(m2 - m1**2, 0)
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    varies = (var > LEAST_VARIANCE) & (var > LEAST_RELATIVE_VARIANCE * mean**2)
    safe = np.where(varies, var, np.nan)
    return SumMoments(mean, var, third / safe**1.5, fourth / safe**2)


def effect_sums(
    w_out: Float[Tensor, "layers d_mlp d_model"],
    w_u: Float[Tensor, "d_model tokens"],
    k: int = LIST_LENGTH,
    classes: TokenClasses | None = None,
    size: BlockSize = BLOCK_SIZE,
) -> Iterator[EffectSums]:
    """Meet all effects of a model once; products on the weights' device, sums on the CPU by torch's number of threads.

    Args:
        w_u: real token ids only.
        k: length of the lists of tokens, at most as many as there are.
        classes: of tokens, of which sums are wanted.
    """
    unembedding = _Unembedding(w_u.double().T.contiguous())
    classes = classes or TokenClasses.of(np.zeros((0, w_u.shape[1]), dtype=bool))
    writes = w_out.flatten(0, 1)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for start in range(0, len(writes), size.neurons):
            block = _Block(writes[start : start + size.neurons], unembedding, min(k, w_u.shape[1]), classes.n_classes)
            for first in range(0, w_u.shape[1], size.tokens):
                block.add(first, min(w_u.shape[1], first + size.tokens), classes, pool)
            yield block.sums(start)


@dataclass(frozen=True)
class _Unembedding:
    rows: Float[Tensor, "tokens d_model"]
    """float64."""

    @cached_property
    def scales(self) -> Tensor:
        """One over the length of each row; 0 where that is 0."""
        lengths = self.rows.norm(dim=1)
        return torch.where(lengths > 0, lengths.clamp_min(1e-300).reciprocal(), 0.0)

    @cached_property
    def n_unit(self) -> int:
        return int((self.scales > 0).sum())

    @cached_property
    def means(self) -> Float[Tensor, "2 d_model"]:
        """Mean row, and mean row of length 1."""
        return torch.stack([self.rows.mean(0), self.scales @ self.rows / max(1, self.n_unit)])


class _Block:
    """What is summed of some neurons, in strips; the last strip is filled up with neurons that write nothing."""

    def __init__(self, writes: Tensor, unembedding: _Unembedding, k: int, n_classes: int) -> None:
        self.n_neurons = len(writes)
        self.unembedding = unembedding
        n_strips = -(-self.n_neurons // STRIP)
        padded = torch.zeros(n_strips * STRIP, writes.shape[1], dtype=torch.float64, device=writes.device)
        padded[: self.n_neurons] = writes
        self.writes = padded.T
        pivots = (unembedding.means @ self.writes).cpu().numpy()
        self.pivots = np.ascontiguousarray(pivots.reshape(2, n_strips, STRIP).swapaxes(0, 1))
        self.totals = np.zeros((n_strips, 2, 4 * STRIP))
        self.class_sums = np.zeros((n_strips, n_classes, 4 * STRIP))
        self.values = np.full((n_strips, 2, STRIP, k), -np.inf)
        self.ids = np.full(self.values.shape, -1, dtype=np.int64)
        self.last = np.full((n_strips, 2, STRIP), -np.inf)

    def add(self, first: int, end: int, classes: TokenClasses, pool: ThreadPoolExecutor) -> None:
        """Meet the tokens from `first` to `end`."""
        effects = (self.unembedding.rows[first:end] @ self.writes).cpu().numpy()
        scales = self.unembedding.scales[first:end].cpu().numpy()
        starts = classes.starts[first : end + 1]

        def one(strip: int) -> None:
            weight_loops.add_effects(
                effects.reshape(-1)[strip * STRIP :],
                effects.shape[1],
                first,
                scales,
                starts,
                classes.classes,
                self.pivots[strip],
                self.totals[strip],
                self.class_sums[strip],
                self.last[strip],
                self.values[strip],
                self.ids[strip],
            )

        for _ in pool.map(one, range(len(self.pivots))):
            pass

    def sums(self, start: int) -> EffectSums:
        """Everything in order of neurons."""
        pivots, powers = self._in_order(self.pivots), self._in_order(self.totals)
        lists = [self._lists(held) for held in (self.values, self.ids)]
        return EffectSums(
            neurons=slice(start, start + self.n_neurons),
            n=len(self.unembedding.rows),
            pivot=pivots[0, 0],
            powers=powers[0],
            n_unit=self.unembedding.n_unit,
            unit_pivot=pivots[1, 0],
            unit_powers=powers[1],
            class_powers=self._in_order(self.class_sums),
            effects=lists[0] * np.array([1.0, -1.0])[:, None, None] + 0.0,  # no negative zero
            tokens=lists[1],
        )

    def _in_order(self, held: np.ndarray) -> np.ndarray:
        """(strips, rows, powers * STRIP) as (rows, powers, neurons)."""
        strips, rows, width = held.shape
        split = held.reshape(strips, rows, width // STRIP, STRIP)
        return split.transpose(1, 2, 0, 3).reshape(rows, width // STRIP, strips * STRIP)[..., : self.n_neurons]

    def _lists(self, held: np.ndarray) -> np.ndarray:
        """(strips, 2, STRIP, k) as (2, neurons, k)."""
        return held.swapaxes(0, 1).reshape(2, -1, held.shape[-1])[:, : self.n_neurons]
