"""On which n-grams a neuron is active: how few cover its activations, and which it detects (VO 4, SPEC §12.3-12.5).

While tokens come in, one bit per neuron and token is kept for the first tokens of the corpus: whether pre > 0. At the end
the tokens are sorted by the n-gram that ends there, and the bits are counted group by group. So every count is exact, and
memory is an eighth of a byte per neuron and token, however many n-grams there are.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ingest.statistics.bit_loops import WORD, count_bit, count_bits, pack_positive
from ingest.statistics.layers import LayerAccumulator, TokenBatch

ID_BITS = 21
"""Bits of a token id, of which three fit an int64."""
INDEX_BYTES = 56
"""Per token, the most memory that grouping it takes; 36 of them at most stay while bits are counted."""
LARGE = 1024
"""Counts of so many are kept one by one, smaller ones in a histogram."""


class ActivityAccumulator(LayerAccumulator):
    """Whether each neuron of consecutive layers is active at the first kept tokens of the corpus."""

    bits_: Tensor
    """(words, tokens) int64: neuron i is bit i % 64 of word i // 64; the bits of tokens that were not seen are 0."""

    def __init__(self, n_tokens: int, n_neurons: int, device: torch.device) -> None:
        self.bits_ = torch.zeros(-(-n_neurons // WORD), n_tokens, dtype=torch.int64, device=device)
        self.n_neurons = n_neurons

    @staticmethod
    def bytes_needed(n_tokens: int, n_neurons: int) -> int:
        """Bytes of the bits."""
        return 8 * -(-n_neurons // WORD) * n_tokens

    @staticmethod
    def finish_bytes(n_tokens: int) -> int:
        """Bytes beside the bits when they are counted, once for all accumulators of a job: the tokens, grouped."""
        return INDEX_BYTES * n_tokens

    def update(self, batch: TokenBatch, pre: Tensor, post: Tensor) -> None:
        """Add a batch, as far as its tokens are among the first."""
        left = self.bits_.shape[1] - batch.first_kept
        if left <= 0:
            return
        pack = pack_positive if pre.device.type == "cpu" else pack_words
        pack(pre[:left], self.bits_, batch.first_kept)

    def state(self) -> dict[str, Tensor]:
        """The live bits; those of other rows are 0 here, so adding puts them together."""
        return {"bits": self.bits_}

    def words(self, number: int, n_tokens: int) -> np.ndarray:
        """(n_tokens,) uint64: the bits of 64 neurons, the last of which need not exist."""
        return self.bits_[number].cpu().numpy().view(np.uint64)[:n_tokens]


def pack_words(values: Tensor, bits: Tensor, first: int) -> None:
    """`pack_positive` in operations on tensors."""
    active = torch.nn.functional.pad(values > 0, (0, -values.shape[1] % WORD)).view(len(values), -1, WORD)
    # the last place is the sign; bits are distinct, so that their sum never carries
    places = torch.ones(WORD, dtype=torch.int64, device=values.device) << torch.arange(WORD, device=values.device)
    bits[:, first : first + len(values)] = (active * places).sum(2).T


@dataclass(frozen=True)
class NgramIndex:
    """The first kept tokens of a corpus, grouped by the n-gram that ends there."""

    n: int
    windows: Int[np.ndarray, "3 tokens"]
    """int32 ids: two tokens earlier, one earlier, the token itself; -1 where there is none or BOS."""
    order: Int[np.ndarray, " grouped"]
    """int32 tokens that end an n-gram, those of one n-gram together."""
    starts: Int[np.ndarray, " groups_and_end"]
    """int32 places in `order` where the n-grams begin, and its length."""

    @property
    def sizes(self) -> Int[np.ndarray, " groups"]:
        """How often each n-gram occurs."""
        return np.diff(self.starts)

    def ids(self, groups: Int[np.ndarray, " some"]) -> Int[np.ndarray, "some n"]:
        """The tokens of some n-grams, int32."""
        return self.windows[3 - self.n :, self.order[self.starts[groups]]].T


def index_ngrams(windows: Int[np.ndarray, "3 tokens"], n: int) -> NgramIndex:
    """Group tokens by the n-gram that ends there, of 1 to 3 tokens without BOS.

    Raises:
        ValueError: an id has more than 21 bits.
    """
    last = windows[3 - n :]
    if last.size and last.max() >= 1 << ID_BITS:
        raise ValueError(f"token id {last.max()} has more than {ID_BITS} bits")
    ends = np.flatnonzero((last >= 0).all(0)).astype(np.int32)
    keys = np.zeros(len(ends), dtype=np.int64)
    for ids in last:
        keys <<= ID_BITS
        keys |= ids[ends]
    sort = np.argsort(keys, kind="stable")
    order = ends[sort]
    # what is not needed any more makes room: this is the most memory that the finish takes
    del ends
    keys = keys[sort]
    del sort
    begins = np.ones(len(keys) + 1, dtype=bool)
    begins[1:-1] = keys[1:] != keys[:-1]
    del keys
    return NgramIndex(n, windows, order, np.flatnonzero(begins).astype(np.int32))


def smallest_cover(counts: Int[np.ndarray, " values"], times: Int[np.ndarray, " values"]) -> int:
    """How many of the largest counts sum to 95 % of all (§12.3).

    Args:
        counts: descending; times: how often each occurs.
    Raises:
        ValueError: the sum is 0, for which it is undefined.
    """
    sums = np.cumsum(counts * times)
    if len(sums) == 0 or sums[-1] == 0:
        raise ValueError("nothing is covered where there is no activation")
    goal = 19 * int(sums[-1])  # in twentieths, so that integers decide
    at = int(np.argmax(20 * sums >= goal))
    before = int(times[:at].sum()), 20 * int(sums[at] - counts[at] * times[at])
    return before[0] + -(-(goal - before[1]) // (20 * int(counts[at])))


def cover_of_word(words: np.ndarray, index: NgramIndex) -> tuple[Int[np.ndarray, "64"], Int[np.ndarray, "64"]]:
    """Activations of 64 neurons on n-grams, and the smallest number of n-grams with 95 % of them; 0 where there are none.

    Args:
        words: (tokens,) uint64.
    """
    histogram, large = count_bits(words, index.order, index.starts, LARGE)
    counts, times = np.arange(LARGE - 1, 0, -1), histogram[:0:-1]
    total = counts @ times + large.sum(0, dtype=np.int64)
    cover = np.zeros(WORD, dtype=np.int64)
    for i in np.flatnonzero(total):
        largest = -np.sort(-large[large[:, i] > 0, i].astype(np.int64))
        cover[i] = smallest_cover(np.append(largest, counts), np.append(np.ones_like(largest), times[:, i]))
    return total, cover


@dataclass(frozen=True)
class Detected:
    """n-grams on which one neuron is active more often than not."""

    ids: Int[np.ndarray, "ngrams n"]
    counts: Int[np.ndarray, " ngrams"]
    activations: Int[np.ndarray, " ngrams"]
    """Descending; of equal ones the lower ids come first."""


def detected_by(words: np.ndarray, bit: int, index: NgramIndex, least_count: int, least_probability: float) -> Detected:
    """The n-grams that occur often enough and activate the neuron often enough (§12.4, condition 2).

    Args:
        words: (tokens,) uint64; bit: which of its 64 neurons.
    """
    sizes = index.sizes
    frequent = np.flatnonzero(sizes >= least_count)
    active = count_bit(words, bit, index.order, index.starts, frequent)
    kept = np.flatnonzero(active / sizes[frequent] >= least_probability)
    kept = kept[np.argsort(-active[kept], kind="stable")]
    return Detected(index.ids(frequent[kept]), sizes[frequent[kept]], active[kept])
