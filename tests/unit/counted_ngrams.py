"""Corpora and activity, and their n-grams counted in dictionaries."""

from collections import Counter
from itertools import pairwise

import numpy as np
import torch

from ingest.corpus.meta import CorpusMeta
from ingest.corpus.rows import TokenCorpus
from ingest.parts import ngrams as ngram_part
from ingest.parts.arrays import Arrays
from ingest.parts.shapes import CorpusShape, LayerShape
from ingest.statistics.layers import TokenBatch
from ingest.statistics.ngrams import ActivityAccumulator

BOS, NEWLINE = 0, 1
CPU = torch.device("cpu")


def corpus_of(rows: np.ndarray, *masked: int) -> TokenCorpus:
    """Rows of tokens, the first of each is BOS, as a corpus in memory."""
    meta = CorpusMeta("made", "made", None, None, rows.shape[1], len(rows), [], "0" * 64)
    return TokenCorpus(meta, rows.astype(np.int32), *[np.zeros(len(rows), dtype=np.int16)] * 2, masked or (BOS, NEWLINE))


def made_rows(n_rows: int, context: int, vocabulary: int, seed: int) -> np.ndarray:
    """Tokens with few common and many rare ones; BOS and newlines occur inside rows as well."""
    generator = np.random.default_rng(seed)
    rows = np.minimum(generator.zipf(1.3, (n_rows, context)) - 1, vocabulary - 1)
    rows[:, 0] = BOS
    return rows


def made_activity(corpus: TokenCorpus, n_neurons: int, seed: int) -> np.ndarray:
    """bool (kept, neurons): dead, always on, noise of every density, and neurons of single tokens and of bigrams."""
    generator = np.random.default_rng(seed)
    rows = np.asarray(corpus.tokens)
    mask = corpus.kept_mask(rows)
    token, before = rows[mask], np.roll(rows, 1, axis=1)[mask]
    active = generator.random((len(token), n_neurons)) < generator.random(n_neurons) ** 4
    active[:, 0], active[:, 1] = False, True
    for neuron in range(2, n_neurons, 4):
        wanted = generator.integers(2, 40, 2)
        active[:, neuron] = np.isin(token, wanted) & ((neuron % 8 == 2) | (before % 2 == 0))
    return active


def accumulated(corpus: TokenCorpus, active: np.ndarray, most: int, cuts: list[int], parts: int = 1) -> ActivityAccumulator:
    """The bits of batches that end at the rows `cuts`, in as many accumulators as jobs, put together backwards."""
    n_neurons = active.shape[1]
    room = LayerShape(n_neurons, 1, CorpusShape(corpus.n_rows, corpus.meta.context, ngram_tokens=most)).bit_tokens
    jobs = [ActivityAccumulator(room, n_neurons, CPU) for _ in range(parts)]
    edges = [0, *sorted(min(cut, corpus.n_rows) for cut in cuts), corpus.n_rows]
    nothing = torch.empty(0, dtype=torch.int64)
    for number, (first, end) in reversed(list(enumerate(pairwise(edges)))):
        kept = slice(corpus.count_kept(first), corpus.count_kept(end))
        wide = torch.from_numpy(np.where(active[kept], 0.5, -0.5).astype(np.float32))
        pre = torch.cat([wide, wide], dim=1)[:, :n_neurons]  # rows do not touch, as in a batch of several layers
        batch = TokenBatch(first, end - first, kept.start, *[nothing] * 6)
        jobs[number % parts].update(batch, pre, pre + 30)
    for job in jobs[1:]:
        jobs[0].merge({name: sums.numpy() for name, sums in job.state().items()})
    return jobs[0]


def counted(corpus: TokenCorpus, active: np.ndarray, most: int) -> tuple[list[list[Counter]], list[Counter]]:
    """By dictionaries: activations per n-gram of each neuron, by n, and occurrences of n-grams, by n."""
    windows: list[list[tuple[int, ...] | None]] = [[], [], []]
    for row in np.asarray(corpus.tokens).tolist():
        for place, token in enumerate(row):
            if token in corpus.masked_ids or len(windows[0]) == most:
                continue
            for n in (1, 2, 3):
                ngram = tuple(row[max(0, place - n + 1) : place + 1])
                windows[n - 1].append(None if len(ngram) < n or BOS in ngram else ngram)
    by_neuron = [
        [Counter(own[t] for t in np.flatnonzero(column[: len(own)]) if own[t] is not None) for column in active.T]
        for own in windows
    ]
    return by_neuron, [Counter(ngram for ngram in own if ngram is not None) for own in windows]


def plain_cover(counts: Counter) -> int:
    covered, total = 0, sum(counts.values())
    for number, (_, count) in enumerate(counts.most_common(), start=1):
        covered += count
        if 100 * covered >= 95 * total:
            return number
    return 0


def assert_is_counted(found: Arrays, corpus: TokenCorpus, active: np.ndarray, most: int) -> None:
    """Totals, covers and detected n-grams are those of the dictionaries."""
    by_neuron, occurrences = counted(corpus, active, most)
    assert found["n_tokens"].tolist() == [sum(occurrences[0].values())]
    for n in (1, 2, 3):
        assert found["activations"][n - 1].tolist() == [sum(counts.values()) for counts in by_neuron[n - 1]]
        assert found["cover"][n - 1].tolist() == [plain_cover(counts) for counts in by_neuron[n - 1]]
    expected = []
    for neuron in range(active.shape[1]):
        for n, most_cover in ngram_part.DETECTING.items():
            counts = by_neuron[n - 1][neuron]
            if sum(counts.values()) < ngram_part.LEAST_ACTIVATIONS or plain_cover(counts) > most_cover:
                continue
            own = [
                (-count, ngram, occurrences[n - 1][ngram])
                for ngram, count in counts.items()
                if occurrences[n - 1][ngram] >= ngram_part.LEAST_COUNT and 2 * count >= occurrences[n - 1][ngram]
            ]
            expected += [
                (neuron, n, rank, [*ngram, *[-1] * (3 - n)], times, -count)
                for rank, (count, ngram, times) in enumerate(sorted(own), start=1)
            ]
    names = ("neuron", "n", "rank", "ids", "count", "activations")
    assert list(zip(*(found[f"detected_{name}"].tolist() for name in names), strict=True)) == expected
