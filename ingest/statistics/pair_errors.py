"""How sure the correlations with the best partners are: each once more without each block of documents (`jackknife`).

The corpus is read a second time, block by block, when the partners are known. Of a block the products of the pairs are summed;
what is known of all blocks less these sums gives the correlations without it. Only sums of these are kept, and, for the best
partner, each: universality needs what all other models say without one and the same block. So memory follows the pairs.

Baselines depend on the documents as correlations do, for the most part alike: where some documents make a neuron's best
correlation high, they make that with rotated units high as well. So the rotated units that are best in the first draws are
read again, too; of the excess the error is smaller than that of the best correlation. (Of halves of the pocket corpus, in
neurons above 0.5, the differences of best correlations and of baselines had variances of 6.4 and 4.2 and a covariance of 2.7,
all e-4, and draws alone account for 2.1.)
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from ingest.statistics.correlation import NeuronSums, row_chunks
from ingest.statistics.jackknife import LEAST_BLOCKS, N_BLOCKS, error_of_sums, error_over_blocks
from ingest.statistics.pair_products import Together, add_pair_products

BYTES_PER_PAIR = 56
"""What is held of a pair: its partner, its correlation, and the sums of all blocks, of one, and of estimates without one."""


ROTATED_DRAWS = 2
"""Draws whose rotated units are read again: the first ones."""


def bytes_needed(n_neurons: int, k: int, d_mlp: int) -> int:
    """Bytes of the sums of some neurons with k partners each and with rotated units, and of what makes these units.

    Args:
        d_mlp: of the model that has the partners.
    """
    return n_neurons * ((k + ROTATED_DRAWS) * BYTES_PER_PAIR + 2 * 8 * N_BLOCKS + ROTATED_DRAWS * 4 * d_mlp)


class PairErrors:
    """Correlations of some neurons of one model with their best partners in another, without each block.

    Partners are neurons, or units of rotated layers; of the latter it is the mean over draws that is wanted.
    """

    first_: Float64[Tensor, "neurons k"]
    """Sum over blocks of what the correlation is without the block, less what it is."""
    second_: Float64[Tensor, "neurons k"]
    """Sum of the squares of that."""
    best_: Float64[Tensor, "neurons blocks"]
    """That itself, of the best partner, or the mean over all; NaN of blocks that have no tokens or were not read."""

    def __init__(self, x: NeuronSums, y: NeuronSums, partners: Tensor, correlations: Tensor, mean: bool = False) -> None:
        """Nothing read yet.

        Args:
            x, y: sums over all tokens, of these neurons and of all neurons of the other model, about their pivots.
            partners: (neurons, k) int64 indices of y, -1 where there is none.
            correlations: (neurons, k) float64, over all tokens.
            mean: keep the mean over the partners, not the best.
        """
        self._mean = mean
        self._x, self._y = x, y
        self._partners, self._correlations = partners, correlations
        self._products = torch.empty_like(correlations)
        for rows in row_chunks(*correlations.shape):
            at = partners[rows].clamp_min(0)
            scale = x.centred[rows, None].sqrt() * y.centred.sqrt()[at]
            self._products[rows] = correlations[rows] * scale + x.s_x[rows, None] * y.s_x[at] / x.n
        self._of_block = torch.zeros_like(correlations)
        self.first_, self.second_ = torch.zeros_like(correlations), torch.zeros_like(correlations)
        self.best_ = correlations.new_full((len(correlations), N_BLOCKS), torch.nan)

    def update(self, x: Tensor, y: Tensor, together: Together, pieces: int) -> None:
        """Add tokens of the block at hand: (neurons, tokens) and (all neurons of the other model, tokens) fp32."""
        add_pair_products(x, y, self._partners, self._of_block, together, pieces)

    def end_block(self, block: int, x: NeuronSums, y: NeuronSums) -> None:
        """The block is read.

        Args:
            x, y: its sums, as those over all tokens.
        """
        rest_x, rest_y = _less(self._x, x), _less(self._y, y)
        inverse_x, inverse_y = rest_x.inverse_norm, rest_y.inverse_norm
        for rows in row_chunks(*self._correlations.shape):
            at = self._partners[rows].clamp_min(0)
            without = self._products[rows] - self._of_block[rows]
            without -= rest_x.s_x[rows, None] * rest_y.s_x[at] / rest_x.n
            without.mul_(inverse_x[rows, None]).mul_(inverse_y[at]).clamp_(-1, 1)
            without -= self._correlations[rows]
            self.first_[rows] += without
            self.second_[rows] += without**2
            self.best_[rows, block] = without.mean(1) if self._mean else without[:, 0]
        self.drop_block()

    def drop_block(self) -> None:
        """Forget what was read of the block at hand."""
        self._of_block.zero_()

    def state(self) -> dict[str, Tensor]:
        """The live sums of the blocks that are read."""
        return {"first": self.first_, "second": self.second_, "best": self.best_}


def _less(all_blocks: NeuronSums, block: NeuronSums) -> NeuronSums:
    return NeuronSums(all_blocks.n - block.n, all_blocks.s_x - block.s_x, all_blocks.s_xx - block.s_xx)


def block_sums(values: Tensor) -> NeuronSums:
    """Of (neurons, tokens) fp32 about the pivot."""
    n_neurons = len(values)
    s_x, s_xx = (torch.empty(n_neurons, dtype=torch.float64, device=values.device) for _ in range(2))
    for rows in row_chunks(*values.shape):
        part = values[rows].double()
        s_x[rows], s_xx[rows] = part.sum(1), (part * part).sum(1)
    return NeuronSums(values.shape[1], s_x, s_xx)


def added(one: NeuronSums | None, other: NeuronSums) -> NeuronSums:
    """Of the tokens of both; None: of none."""
    return other if one is None else NeuronSums(one.n + other.n, one.s_x + other.s_x, one.s_xx + other.s_xx)


@dataclass(frozen=True)
class DirectedErrors:
    """How sure one direction of a pair of models is; NaN where undefined (`ingest.statistics.jackknife`)."""

    correlation_se: np.ndarray
    """(neurons, k) float64, of the correlations with the best partners."""
    without: np.ndarray
    """(neurons, blocks with tokens) float64: what the best correlation is without each block, less what it is; no columns
    where the blocks are too few."""
    baseline_without: np.ndarray
    """The same of the baseline, mean over the draws that were read again."""


def directed_errors(
    first: np.ndarray, second: np.ndarray, best: np.ndarray, baseline: np.ndarray, filled: np.ndarray
) -> DirectedErrors:
    """From complete sums over blocks.

    Args:
        filled: (blocks,) bool: those that have tokens.
    """
    n_blocks = int(filled.sum())
    errors = error_of_sums(first, second, n_blocks)
    columns = filled & (n_blocks >= LEAST_BLOCKS)
    without, baseline_without = best[:, columns], baseline[:, columns]
    # to the bit what universality says of the best partner, of which all estimates are kept
    errors[:, 0] = error_over_blocks(without)
    return DirectedErrors(errors, without, baseline_without)
