"""How a neuron's activations are distributed: histograms, quantiles, its value on BOS, and moments per subset.

SPEC §3.1 (the 257 bins of the published histograms), §6.7 (BOS). Quantiles come from a log-linear histogram of fp32 values,
which adds up over batches: 16 equal bins within each power of two from 2^-8 to 2^8, of both signs; one bin holds what is
nearer to 0, and two what is farther out. A quantile is off by one bin at most, a sixteenth of its value.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ingest.statistics import loops, moments
from ingest.statistics.given_token import TokenClassSums
from ingest.statistics.jackknife import N_BLOCKS
from ingest.statistics.layers import LayerAccumulator, TokenBatch
from ingest.statistics.moments import Moments, central_moments

EDGES = np.linspace(-10, 15, 256, dtype=np.float64)
"""Edges of the published histograms: bin 0 is x <= -10, bin k is (edge k-1, edge k], bin 256 is x > 15."""

LOWEST, HIGHEST, PARTS = -8, 8, 16
"""The log-linear histogram: exponents of its first and last edge, bins per power of two."""
SIDE = (HIGHEST - LOWEST) * PARTS + 1
"""Bins of one sign, the outermost included."""
N_FINE = 2 * SIDE + 1
LOWEST_BITS = (LOWEST + 127) << 4
"""Exponent and first four bits of the fraction of 2^LOWEST in fp32."""

QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


def fine_bins(values: Tensor) -> Tensor:
    """The log-linear bin of each value: int64 in [0, N_FINE), rising with the value."""
    magnitude = values.abs().float()
    step = (magnitude.contiguous().view(torch.int32) >> 19) - LOWEST_BITS
    side = step.clamp(-1, SIDE - 1) + 1
    return torch.where(values < 0, SIDE - side, SIDE + side).long()


def fine_edges() -> Float64[np.ndarray, " edges"]:
    """The N_FINE + 1 edges of these bins; infinite at both ends."""
    powers = np.exp2(np.arange(LOWEST, HIGHEST))[:, None] * (1 + np.arange(PARTS) / PARTS)
    side = np.append(powers.ravel(), [2.0**HIGHEST, np.inf])
    return np.concatenate([-side[::-1], side])


def quantiles(counts: Int64[np.ndarray, "neurons bins"]) -> Float64[np.ndarray, "neurons quantiles"]:
    """`QUANTILES` of each neuron: the middle of the first bin that reaches the share; the finite edge of an outermost bin.

    NaN where nothing was counted.
    """
    edges = fine_edges()
    low, high = edges[:-1], edges[1:]
    middle = np.where(np.isinf(low), high, np.where(np.isinf(high), low, (low + high) / 2))
    cumulative = counts.cumsum(1)
    n = cumulative[:, -1:]
    quantiles = np.full((len(counts), len(QUANTILES)), np.nan)
    for i, share in enumerate(QUANTILES):
        first = (cumulative >= np.ceil(share * n)).argmax(1)
        quantiles[:, i] = np.where(n[:, 0] > 0, middle[first], np.nan)
    return quantiles


def published_bins(values: Tensor) -> Tensor:
    """The bin of the published histograms of each value: int64 in [0, 257)."""
    edges = torch.from_numpy(EDGES).to(values.device)
    return torch.searchsorted(edges, values.double().contiguous(), right=False)


class HistogramAccumulator(LayerAccumulator):
    """Counts of pre and post of consecutive layers of one model, and post at the first position, where it is that of BOS."""

    def __init__(self, n_neurons: int, device: torch.device) -> None:
        def counts(bins: int) -> Tensor:
            return torch.zeros(n_neurons, bins, dtype=torch.int64, device=device)

        n_bins = len(EDGES) + 1
        self._state = {
            "pre": counts(n_bins),
            "post": counts(n_bins),
            "pre_masked": counts(n_bins),
            "pre_fine": counts(N_FINE),
            "post_fine": counts(N_FINE),
            "bos": torch.zeros(n_neurons, dtype=torch.float64, device=device),
            "n_bos": torch.zeros(1, dtype=torch.int64),
        }

    @staticmethod
    def bytes_needed(n_neurons: int) -> int:
        """Bytes of the resident counts."""
        return n_neurons * 8 * (3 * (len(EDGES) + 1) + 2 * N_FINE + 1)

    def observe(
        self, batch: TokenBatch, pre: Tensor, post: Tensor, neurons: slice, read: Tensor | None = None
    ) -> None:
        """Count one layer of a batch; positions outside M_corr are counted apart."""
        counts = {name: counts[neurons] for name, counts in self._state.items() if counts.dim() == 2}
        add = _add_by_loops if pre.device.type == "cpu" else add_histograms
        add(pre, post, batch.masked, counts)
        self._state["bos"][neurons] += post[:: batch.tokens.shape[1]].double().sum(0)

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Count the rows of a batch."""
        self._state["n_bos"] += batch.n_rows

    def state(self) -> dict[str, Tensor]:
        """The live counts, which may be added to."""
        return self._state


def _add_by_loops(pre: Tensor, post: Tensor, masked: Tensor, counts: dict[str, Tensor]) -> None:
    loops.add_histogram(pre, ~masked, EDGES, counts["pre"], counts["pre_fine"], LOWEST_BITS)
    loops.add_histogram(post, ~masked, EDGES, counts["post"], counts["post_fine"], LOWEST_BITS)
    loops.add_histogram(pre, masked, EDGES, counts["pre_masked"])


def add_histograms(pre: Tensor, post: Tensor, masked: Tensor, counts: dict[str, Tensor]) -> None:
    """Count a batch in few operations.

    Args:
        pre, post: (tokens, neurons) fp32.
        masked: (tokens,) bool: what only `pre_masked` counts.
        counts: (neurons, bins) int64 by name.
    """
    pre, outside, post = pre[~masked], pre[masked], post[~masked]
    for name, bins in (
        ("pre", published_bins(pre)),
        ("post", published_bins(post)),
        ("pre_masked", published_bins(outside)),
        ("pre_fine", fine_bins(pre)),
        ("post_fine", fine_bins(post)),
    ):
        counts[name].scatter_add_(1, bins.T, torch.ones_like(bins.T))


@dataclass(frozen=True)
class SubsetMoments:
    """Moments of one subset of the corpus, or of a part of it."""

    pre: Moments
    post: Moments
    sparsity: Float64[np.ndarray, " neurons"]
    """Fraction of tokens with pre > 0."""
    rectified: Float64[np.ndarray, " neurons"]
    """Mean of max(post, 0); of gated neurons, of max(pre, 0)."""


class Cells(NamedTuple):
    """Sums by subset and block."""

    n: Int64[np.ndarray, "subsets blocks"]
    active: Int64[np.ndarray, "subsets blocks neurons"]
    """Tokens with pre > 0."""
    rectified: Float64[np.ndarray, "subsets blocks neurons"]
    """Of max(post, 0); of gated neurons, of max(pre, 0)."""
    pre: Float64[np.ndarray, "subsets blocks 4 neurons"]
    """Of the first four powers about the pivot."""
    post: Float64[np.ndarray, "subsets blocks 4 neurons"]


class SubsetAccumulator(LayerAccumulator):
    """Sums of pre and post, and activity, per subset and block, and of the early positions of all rows; of post by token."""

    def __init__(self, n_subsets: int, n_ids: int, pivot_pre: Tensor, pivot_post: Tensor, gated: bool = False) -> None:
        """Args:
        pivot_pre, pivot_post: (neurons,) fp32.
        gated: the neurons have gates.
        """
        n, device = len(pivot_pre), pivot_pre.device
        self.pivots = {"pre": pivot_pre, "post": pivot_post}
        self.n_subsets = n_subsets
        self.rectifies = "pre" if gated else "post"
        groups = n_subsets * N_BLOCKS + 1  # the last one is the early positions
        self.n_ = torch.zeros(groups, dtype=torch.int64)
        self.active_ = torch.zeros(groups, n, dtype=torch.int64, device=device)
        self.rectified_ = torch.zeros(groups, n, dtype=torch.float64, device=device)
        self.powers_ = {name: torch.zeros(groups, 4, n, dtype=torch.float64, device=device) for name in self.pivots}
        self.of_tokens = TokenClassSums(n_ids, n_subsets, n, device)

    @staticmethod
    def bytes_needed(n_subsets: int, n_ids: int, n_neurons: int) -> int:
        """Bytes of the resident sums."""
        groups = n_subsets * N_BLOCKS + 1
        return groups * n_neurons * 8 * 10 + TokenClassSums.bytes_needed(n_ids, n_subsets, n_neurons)

    def observe(
        self, batch: TokenBatch, pre: Tensor, post: Tensor, neurons: slice, read: Tensor | None = None
    ) -> None:
        """Add one layer of a batch, row by row: a row belongs to one subset and one block."""
        parts = self._parts(batch)
        present = sorted({group for group, _ in parts})
        if not present:
            return
        kept = {"pre": pre[batch.kept], "post": post[batch.kept]}
        here = [(present.index(group), tokens) for group, tokens in parts]
        groups = torch.tensor(present, device=pre.device)
        self._add_activity(kept, here, groups, neurons)
        add_powers = loops.add_powers if pre.device.type == "cpu" else moments.add_powers
        for name, values in kept.items():
            values -= self.pivots[name][neurons]
            sums = torch.zeros(len(present), 4, values.shape[1], dtype=torch.float64, device=values.device)
            for group, tokens in here:
                add_powers(values[tokens], sums[group])
            self.powers_[name][:, :, neurons].index_add_(0, groups, sums)

    def _add_activity(self, kept: dict[str, Tensor], parts: list[tuple[int, slice]], groups: Tensor, neurons: slice) -> None:
        on_cpu = groups.device.type == "cpu"
        add_positive = loops.add_positive if on_cpu else moments.add_positive
        add_rectified = loops.add_rectified if on_cpu else moments.add_rectified
        shape = len(groups), kept["pre"].shape[1]
        counts = torch.zeros(shape, dtype=torch.int64, device=groups.device)
        sums = torch.zeros(shape, dtype=torch.float64, device=groups.device)
        for group, tokens in parts:
            add_positive(kept["pre"][tokens], counts[group])
            add_rectified(kept[self.rectifies][tokens], sums[group])
        self.active_[:, neurons].index_add_(0, groups, counts)
        self.rectified_[:, neurons].index_add_(0, groups, sums)

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Count the tokens of a batch, and add them by their ids."""
        for group, tokens in self._parts(batch):
            self.n_[group] += tokens.stop - tokens.start
        subsets = batch.subsets[batch.kept // batch.tokens.shape[1]]
        members = subsets[:, None] == torch.arange(self.n_subsets, device=subsets.device)
        self.of_tokens.add(post, batch.current_rows, members)

    def _parts(self, batch: TokenBatch) -> list[tuple[int, slice]]:
        """The group and the range of kept tokens of every row, and of the early positions of every row."""
        early, blocks = len(self.n_) - 1, batch.blocks.tolist()
        rows = [
            (subset * N_BLOCKS + block, slice(first, end))
            for block, (subset, first, _, end) in zip(blocks, batch.row_ranges, strict=True)
        ]
        rows += [(early, slice(first, late)) for _, first, late, _ in batch.row_ranges]
        return [(group, tokens) for group, tokens in rows if tokens.stop > tokens.start]

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        own = {"n": self.n_, "active": self.active_, "rectified": self.rectified_, **self.powers_}
        return own | self.of_tokens.state()

    def cells(self) -> Cells:
        """The sums of all subsets by block."""
        held = (self.n_, self.active_, self.rectified_, self.powers_["pre"], self.powers_["post"])
        return Cells(*(sums[:-1].unflatten(0, (self.n_subsets, N_BLOCKS)).cpu().numpy() for sums in held))

    def subset(self, group: int) -> SubsetMoments | None:
        """What is known of one subset; None if it has no kept token."""
        cells = slice(group * N_BLOCKS, (group + 1) * N_BLOCKS)
        powers = {name: sums[cells].sum(0) for name, sums in self.powers_.items()}
        return self._moments(self.n_[cells].sum(), powers, self.active_[cells].sum(0), self.rectified_[cells].sum(0))

    def late(self) -> SubsetMoments | None:
        """All positions but the early ones."""
        powers = {name: sums[:-1].sum(0) - sums[-1] for name, sums in self.powers_.items()}
        active, rectified = (sums[:-1].sum(0) - sums[-1] for sums in (self.active_, self.rectified_))
        return self._moments(self.n_[:-1].sum() - self.n_[-1], powers, active, rectified)

    def _moments(self, n_tokens: Tensor, powers: dict[str, Tensor], active: Tensor, rectified: Tensor) -> SubsetMoments | None:
        n = int(n_tokens)
        if n == 0:
            return None
        by_activation = {name: central_moments(n, sums, self.pivots[name]) for name, sums in powers.items()}
        shares = ((sums.double() / n).cpu().numpy() for sums in (active, rectified))
        return SubsetMoments(by_activation["pre"], by_activation["post"], *shares)
