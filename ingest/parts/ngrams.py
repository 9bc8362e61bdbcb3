"""ngrams: on which n-grams neurons are active, from bits to one entry per neuron and its rows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from catalog.words import DETECTING, LEAST_ACTIVATIONS, LEAST_COUNT, LEAST_PROBABILITY
from ingest.checkpoints.output_weights import OutputWeights
from ingest.checkpoints.undefined import Described, no_direct_effects
from ingest.parts.arrays import Arrays, Columns, Ids, TableRows, object_array
from ingest.parts.ground import ORDERS, CorpusNgrams, Ground
from ingest.parts.measure import Lacking, LayerMeasure, Written
from ingest.parts.shapes import LayerPivots, Layers, LayerShape, Size
from ingest.statistics.bit_loops import WORD
from ingest.statistics.ngrams import ActivityAccumulator, Detected, NgramIndex, cover_of_word, detected_by

NEURONS_AT_ONCE = 256
EFFECTS = ("effect", "effect_raw", "percentile")
"""Columns that say what a neuron does to the logits."""


class Ngrams(LayerMeasure[ActivityAccumulator]):
    """One bit per neuron and token: whether it is active there."""

    part = name = "ngrams"

    def undefined_in_part(self, model: Described, context: int) -> Lacking | None:
        reason = no_direct_effects(model)
        return None if reason is None else Lacking(reason, tuple(f"detected_ngrams.{name}" for name in EFFECTS))

    def size(self, shape: LayerShape) -> Size:
        n, tokens = shape.n_neurons, shape.bit_tokens
        return Size(
            ActivityAccumulator.bytes_needed(tokens, n),
            operations=n,
            finish_operations=n * tokens,
            shared_bytes=ActivityAccumulator.finish_bytes(tokens),
            shared_operations=tokens,
        )

    def start(self, shape: LayerShape, pivots: LayerPivots) -> ActivityAccumulator:
        return ActivityAccumulator(shape.bit_tokens, shape.n_neurons, pivots.pre.device)

    def prepare(self, shape: LayerShape, ground: Ground) -> None:
        ground.ngrams(shape.bit_tokens)

    def finish(self, sums: ActivityAccumulator, layers: Layers, ground: Ground) -> Arrays:
        return describe_ngrams(sums, ground.ngrams)

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        acts = no_direct_effects(ground.checkpoints[layers.model]) is None
        return ngram_columns(arrays, ids, ground.output_weights(layers.model, layers.neurons) if acts else None)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=2)


def describe_ngrams(accumulator: ActivityAccumulator, ngrams: CorpusNgrams) -> Arrays:
    """One entry per neuron, and one per neuron and n-gram that activates it (SPEC 12.3-12.5).

    Returns:
        `activations` and `cover`, (3, neurons) int64 for n = 1, 2, 3, cover 0 where there are no activations; `n_tokens`
        (1,); `detected_…` arrays by neuron, n and rank: neuron (within the layers), n, rank, ids ((entries, 3), filled up
        with -1), count, activations.
    """
    indices = ngrams(accumulator.bits_.shape[1])
    n_tokens = indices[0].windows.shape[1]

    def one_word(number: int) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int, Detected]]]:
        words = accumulator.words(number, n_tokens)
        total, cover = (np.stack(values) for values in zip(*(cover_of_word(words, index) for index in indices), strict=True))
        return total, cover, list(_detections(words, number * WORD, total, cover, indices))

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        words = list(threads.map(one_word, range(len(accumulator.bits_))))
    n = accumulator.n_neurons
    return {
        "n_tokens": np.array([n_tokens]),
        "activations": np.concatenate([total for total, _, _ in words], axis=1)[:, :n],
        "cover": np.concatenate([cover for _, cover, _ in words], axis=1)[:, :n],
        **_detected_arrays([entry for _, _, entries in words for entry in entries]),
    }


def _detections(
    words: np.ndarray, first: int, total: np.ndarray, cover: np.ndarray, indices: tuple[NgramIndex, ...]
) -> Iterator[tuple[int, int, Detected]]:
    """Neuron, n and n-grams, of the neurons of a word that few n-grams cover."""
    few = {n: (total[n - 1] >= LEAST_ACTIVATIONS) & (cover[n - 1] <= most) for n, most in DETECTING.items()}
    for bit in range(WORD):
        for n in DETECTING:
            if few[n][bit]:
                yield first + bit, n, detected_by(words, bit, indices[n - 1], LEAST_COUNT, LEAST_PROBABILITY)


def _detected_arrays(entries: list[tuple[int, int, Detected]]) -> Arrays:
    sizes = [len(detected.counts) for _, _, detected in entries]
    ids = [np.pad(detected.ids, ((0, 0), (0, 3 - n)), constant_values=-1) for _, n, detected in entries]
    none = np.empty(0, dtype=np.int64)
    return {
        "detected_neuron": np.repeat(np.array([neuron for neuron, _, _ in entries], dtype=np.int64), sizes),
        "detected_n": np.repeat(np.array([n for _, n, _ in entries], dtype=np.int16), sizes),
        "detected_rank": np.concatenate([none, *(np.arange(1, size + 1) for size in sizes)]),
        "detected_ids": np.concatenate([np.empty((0, 3), dtype=np.int32), *ids]),
        "detected_count": np.concatenate([none, *(detected.counts for _, _, detected in entries)]),
        "detected_activations": np.concatenate([none, *(detected.activations for _, _, detected in entries)]),
    }


def ngram_columns(arrays: Arrays, ids: Ids, weights: OutputWeights | None) -> Iterator[TableRows]:
    """Rows of ngram_statistics and detected_ngrams.

    Args:
        weights: of the same neurons; None where what they write has no effect on logits by itself.
    """
    by_n = dict(zip(ORDERS, zip(arrays["activations"], arrays["cover"], strict=True), strict=True))
    yield (
        "ngram_statistics",
        {
            "neuron_id": ids,
            "n_tokens": np.full(len(ids), arrays["n_tokens"][0], dtype=np.int64),
            **{f"activations_{n}": activations for n, (activations, _) in by_n.items()},
            **{f"cover_{n}": np.ma.masked_equal(cover.astype(np.int32), 0) for n, (_, cover) in by_n.items()},
        },
    )
    neurons, n = arrays["detected_neuron"], arrays["detected_n"]
    if len(neurons) == 0:
        return
    token_ids = object_array([row[:length].tolist() for row, length in zip(arrays["detected_ids"], n, strict=True)])
    triggers = arrays["detected_ids"][np.arange(len(n)), n - 1]
    yield (
        "detected_ngrams",
        {
            "neuron_id": ids[neurons],
            "n": n,
            "rank": arrays["detected_rank"].astype(np.int32),
            "token_ids": token_ids,
            "count": arrays["detected_count"].astype(np.int32),
            "activations": arrays["detected_activations"].astype(np.int32),
            **({} if weights is None else _trigger_effects(neurons, triggers, weights)),
        },
    )


def _trigger_effects(neurons: np.ndarray, triggers: np.ndarray, weights: OutputWeights) -> Columns:
    """What each neuron adds to the logit of the token that it is active on (SPEC 12.7), some neurons at a time.

    Args:
        neurons: (entries,) ascending, within the span; triggers: (entries,) token ids.
    """
    columns = {name: np.empty(len(neurons), dtype=np.float32) for name in EFFECTS}
    distinct = np.unique(neurons)
    for start in range(0, len(distinct), NEURONS_AT_ONCE):
        some = torch.from_numpy(distinct[start : start + NEURONS_AT_ONCE])
        effects = (weights.w_out[some] @ weights.w_u).cpu().numpy()
        raw = (weights.raw_w_out[some] @ weights.raw_w_u).cpu().numpy()
        for neuron, effect, own_raw in zip(some.tolist(), effects, raw, strict=True):
            entries = slice(*np.searchsorted(neurons, [neuron, neuron + 1]))
            values, ordered = effect[triggers[entries]], np.sort(effect)
            columns["effect"][entries], columns["effect_raw"][entries] = values, own_raw[triggers[entries]]
            below = np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")
            columns["percentile"][entries] = 50 * (below + 1) / len(effect)
    return columns
