"""Where each neuron is most active, and a sample of places of every strength (SPEC §3.4; DECISIONS, Numbers).

Top: of all places in M_corr by falling post, ties by lowest place, those whose context (the token and the ten before it)
has not come before; the first 50. What is kept are the best places of the 50 best contexts seen, so any order of rows
ends in the same list: a context leaves it for 50 better ones, which later places only improve. Gated neurons, whose post is
negative as strongly as positive, have the same list of what is lowest.

Samples: a positive post falls into one of 64 bins, two per power of two; of each, the three places with the least hash of
seed and place are kept. The least of parts hold the least of the whole, whatever the parts. At the end the bins are put
into bands of quantiles of the neuron's positive post, each bin by its middle: an error of at most half a bin's share.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from ingest.statistics.example_loops import BIN_SHIFT, FIRST_BIN, N_BINS, SAMPLES, add_best, add_samples
from ingest.statistics.hashing import place_hashes
from ingest.statistics.layers import LayerAccumulator, TokenBatch

TOP = 50
"""Top places of each neuron (UN's k)."""
LISTED = ("values", "places", "contexts")
"""What a list of places keeps of each."""
NOWHERE = 2**63 - 1
"""Place and hash of an empty entry."""
BANDS = (0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
"""Upper ends of the bands of quantiles."""


@dataclass(frozen=True)
class Examples:
    """Per neuron, empty entries last: place `NOWHERE`, value -inf, of the lowest inf."""

    context: int
    """Tokens per row."""
    top_values: Float32[np.ndarray, "neurons top"]
    """Post, falling."""
    top_places: Int64[np.ndarray, "neurons top"]
    """row * context + position."""
    lowest_values: Float32[np.ndarray, "neurons lowest"]
    """Post, rising, of gated neurons; no columns of others."""
    lowest_places: Int64[np.ndarray, "neurons lowest"]
    values: Float32[np.ndarray, "neurons bands samples"]
    """Post of the samples, falling within a band."""
    places: Int64[np.ndarray, "neurons bands samples"]
    quantiles: Float64[np.ndarray, "neurons bands samples"]
    """Share of the neuron's positive post below the middle of the sample's bin."""


class ExampleAccumulator(LayerAccumulator):
    """Best places and samples of consecutive layers of one model."""

    best_values_: Float32[Tensor, "neurons top"]
    best_places_: Int64[Tensor, "neurons top"]
    best_contexts_: Int64[Tensor, "neurons top"]
    """Hashes; of a neuron's entries no two are equal."""
    counts_: Int64[Tensor, "neurons bins"]
    """Places per bin."""
    hashes_: Int64[Tensor, "neurons bins samples"]
    """Rising."""
    places_: Int64[Tensor, "neurons bins samples"]
    values_: Float32[Tensor, "neurons bins samples"]

    def __init__(self, context: int, n_neurons: int, seed: int, device: torch.device, gated: bool = False) -> None:
        """Args:
        context: tokens per row.
        seed: of the samples.
        gated: the neurons have gates.
        """
        self.context = context
        self.seed = seed
        samples = n_neurons, N_BINS, SAMPLES
        self.best_values_, self.best_places_, self.best_contexts_ = _empty(n_neurons, device)
        # of what is negated, so that the lowest are the best
        self.lowest_ = _empty(n_neurons, device) if gated else []
        self.counts_ = torch.zeros(n_neurons, N_BINS, dtype=torch.int64, device=device)
        self.hashes_ = torch.full(samples, NOWHERE, device=device)
        self.places_ = torch.full(samples, NOWHERE, device=device)
        self.values_ = torch.full(samples, -torch.inf, device=device)

    @staticmethod
    def bytes_needed(n_neurons: int, gated: bool = False) -> int:
        """Bytes of the resident lists."""
        return n_neurons * (20 * TOP * (1 + gated) + N_BINS * (8 + 20 * SAMPLES))

    def observe(
        self, batch: TokenBatch, pre: Tensor, post: Tensor, neurons: slice, read: Tensor | None = None
    ) -> None:
        """Add the kept places of one layer of a batch."""
        if len(batch.kept) == 0:
            return
        hashes = place_hashes(batch.places, self.seed)
        best, lowest = ([x[neurons] for x in lists] for lists in (self._best, self.lowest_))
        samples = [x[neurons] for x in (self.counts_, self.hashes_, self.places_, self.values_)]
        if post.device.type == "cpu":
            add_best(post, batch.kept, batch.places, batch.contexts, *best)
            if lowest:
                add_best(-post, batch.kept, batch.places, batch.contexts, *lowest)
            add_samples(post, batch.kept, batch.places, hashes, *samples)
            return
        kept = post.index_select(0, batch.kept)
        _put(best, best_of(best, best_of_batch(kept, batch.places, batch.contexts)))
        if lowest:
            _put(lowest, best_of(lowest, best_of_batch(-kept, batch.places, batch.contexts)))
        _put(samples, least_of(samples, samples_of_batch(kept, batch.places, hashes)))

    @property
    def _best(self) -> list[Tensor]:
        return [self.best_values_, self.best_places_, self.best_contexts_]

    def state(self) -> dict[str, Tensor]:
        """The live lists."""
        lists = {"best": self._best, "lowest": self.lowest_}
        named = {f"{kind}_{name}": x for kind, held in lists.items() for name, x in zip(LISTED, held, strict=bool(held))}
        return named | {"counts": self.counts_, "hashes": self.hashes_, "places": self.places_, "values": self.values_}

    def merge(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put in the lists of other rows."""
        live = list(self.state().values())
        other = [torch.from_numpy(arrays[name]).to(live[0].device) for name in self.state()]
        *first, samples = range(0, len(live) - 1, len(LISTED))
        for start in first:
            own = slice(start, start + len(LISTED))
            _put(live[own], best_of(live[own], other[own]))
        _put(live[samples:], least_of(live[samples:], other[samples:]))

    def compute(self) -> Examples:
        """What was found in everything seen."""
        top_values, top_places = _ordered(self._best)
        lowest_values, lowest_places = _ordered(self.lowest_) if self.lowest_ else (top_values[:, :0], top_places[:, :0])
        arrays = [x.cpu().numpy() for x in (self.counts_, self.hashes_, self.places_, self.values_)]
        return Examples(
            self.context,
            top_values,
            top_places,
            0.0 - lowest_values,
            lowest_places,
            *samples_by_band(*arrays),
        )


def _empty(n_neurons: int, device: torch.device) -> list[Tensor]:
    """`LISTED` of no place at all."""
    kinds = ((-torch.inf, torch.float32), (NOWHERE, torch.int64), (0, torch.int64))
    return [torch.full((n_neurons, TOP), value, dtype=kind, device=device) for value, kind in kinds]


def _ordered(lists: list[Tensor]) -> tuple[Float32[np.ndarray, "neurons top"], Int64[np.ndarray, "neurons top"]]:
    """Values, falling, and places, ties by the lower one."""
    values, places = (x.cpu().numpy() for x in lists[:2])
    order = np.lexsort((places, -values), axis=1)
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(places, order, axis=1)


def _put(live: list[Tensor], values: list[Tensor]) -> None:
    for target, source in zip(live, values, strict=True):
        target.copy_(source)


def best_of_batch(post: Tensor, places: Tensor, contexts: Tensor) -> list[Tensor]:
    """The best places of distinct contexts of one batch, on any device.

    Args:
        post: (tokens, width) fp32; places, contexts: (tokens,) int64, places rising.
    Returns:
        Values, places and contexts, (width, up to TOP) each.
    """
    n = len(places)
    # one number per entry that is larger where post is, and among equals where the place is lower
    bits = (post + 0.0).view(torch.int32)
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
    keys = (ordered << 32) | torch.arange(n - 1, -1, -1, device=post.device)[:, None]
    known, group = contexts.unique(return_inverse=True)
    if len(known) < n:
        least = torch.full((len(known), keys.shape[1]), torch.iinfo(torch.int64).min, device=post.device)
        keys = least.scatter_reduce_(0, group[:, None].expand_as(keys), keys, "amax")
    token = n - 1 - (keys.topk(min(TOP, len(keys)), dim=0).values & 0xFFFFFFFF)
    return [post.gather(0, token).T, places[token].T, contexts[token].T]


def best_of(one: list[Tensor], other: list[Tensor]) -> list[Tensor]:
    """Two lists of values, places and contexts made one: the best `TOP` entries of distinct contexts.

    Args:
        one, other: (width, any number of) fp32, int64, int64.
    """
    values, places, contexts = (torch.cat(pair, dim=1) for pair in zip(one, other, strict=True))
    order = places.argsort(dim=1)
    order = order.gather(1, (values + 0.0).gather(1, order).argsort(dim=1, descending=True, stable=True))
    values, places, contexts = (x.gather(1, order) for x in (values, places, contexts))
    by_context = contexts.argsort(dim=1, stable=True)
    grouped = contexts.gather(1, by_context)
    again = torch.zeros_like(grouped, dtype=torch.bool)
    again[:, 1:] = grouped[:, 1:] == grouped[:, :-1]
    repeated = torch.zeros_like(again).scatter_(1, by_context, again)
    first = repeated.byte().argsort(dim=1, stable=True)[:, :TOP]
    gone = repeated.gather(1, first)
    filled = ((values, -torch.inf), (places, NOWHERE), (contexts, 0))
    return [x.gather(1, first).masked_fill(gone, empty) for x, empty in filled]


def samples_of_batch(post: Tensor, places: Tensor, hashes: Tensor) -> list[Tensor]:
    """Counts by bin, and the places of least hash of each bin, of one batch, on any device.

    Args:
        post: (tokens, width) fp32; places, hashes: (tokens,) int64.
    Returns:
        Counts (width, bins); hashes, places, values (width, bins, samples).
    """
    order = hashes.argsort()
    post, places, hashes = post[order], places[order], hashes[order]
    bins = ((post.view(torch.int32) >> BIN_SHIFT) - FIRST_BIN).clamp_(0, N_BINS - 1).long()
    bins[~(post > 0)] = N_BINS  # is dropped
    n, width = post.shape
    counts = torch.zeros(N_BINS + 1, width, dtype=torch.int64, device=post.device)
    counts.scatter_add_(0, bins, torch.ones_like(bins))
    rank = torch.arange(n, device=post.device)[:, None].expand(n, width)
    firsts = []
    for _ in range(SAMPLES):
        first = torch.full((N_BINS + 1, width), n, device=post.device).scatter_reduce_(0, bins, rank, "amin")
        bins = bins.masked_fill(first.gather(0, bins) == rank, N_BINS)
        firsts.append(first[:N_BINS])
    token = torch.stack(firsts, dim=-1).transpose(0, 1)
    missing, token = token == n, token.clamp(max=n - 1)
    values = post.T[:, None].expand(width, N_BINS, n).gather(2, token)
    taken = ((hashes[token], NOWHERE), (places[token], NOWHERE), (values, -torch.inf))
    return [counts[:N_BINS].T, *(x.masked_fill(missing, empty) for x, empty in taken)]


def least_of(one: list[Tensor], other: list[Tensor]) -> list[Tensor]:
    """Two states of samples (counts, hashes, places, values) made one."""
    hashes, places, values = (torch.cat(pair, dim=2) for pair in zip(one[1:], other[1:], strict=True))
    order = hashes.argsort(dim=2, stable=True)[:, :, :SAMPLES]
    return [one[0] + other[0], *(x.gather(2, order) for x in (hashes, places, values))]


def samples_by_band(
    counts: np.ndarray, hashes: np.ndarray, places: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, places and quantiles (neurons, bands, samples) of the samples of bins: of each band those of least hash."""
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    middle = (counts.cumsum(1) - counts / 2) / total
    band = np.searchsorted(BANDS, middle, side="right").repeat(SAMPLES, axis=1)
    flat = [x.reshape(len(counts), -1) for x in (hashes, places, values, middle.repeat(SAMPLES, axis=1))]
    nothing: tuple[Any, ...] = (NOWHERE, np.float32(-np.inf), np.nan)
    of_bands = []
    for number in range(len(BANDS)):
        in_band = np.where(band == number, flat[0], NOWHERE)
        least = np.argsort(in_band, axis=1, kind="stable")[:, :SAMPLES]
        empty = np.take_along_axis(in_band, least, axis=1) == NOWHERE
        chosen = [np.take_along_axis(x, least, axis=1) for x in flat[1:]]
        chosen = [np.where(empty, gone, x) for x, gone in zip(chosen, nothing, strict=True)]
        order = np.lexsort((chosen[0], -chosen[1]), axis=1)
        of_bands.append([np.take_along_axis(x, order, axis=1) for x in chosen])
    placed, valued, quantiles = (np.stack(columns, axis=1) for columns in zip(*of_bands, strict=True))
    return valued, placed, quantiles
