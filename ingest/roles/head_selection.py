"""Which scores of neurons on heads are kept, and which pairs of them are ablated (SPEC §9)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ingest.roles.head_scores import HeadScores
from ingest.roles.heads import Pair

PER_HEAD = 50


@dataclass(frozen=True)
class SelectedScores:
    """Pairs in order of neuron, head layer and head. Neurons whose w_out is zero have none."""

    neuron_index: Int[np.ndarray, " pairs"]
    """Flat, int64."""
    head_layer: Int[np.ndarray, " pairs"]
    head: Int[np.ndarray, " pairs"]
    h: Float[np.ndarray, " pairs"]
    """float64; rotary: the mean over destinations p ≥ T/2."""
    h_sd: Float[np.ndarray, " pairs"]
    """Over these destinations; NaN unless rotary."""
    h_scaled: Float[np.ndarray, " pairs"]
    """With the model's own divisor of scores."""
    head_rank: Int[np.ndarray, " pairs"]
    """1 for the head's largest |h|, up to 50; 0 for a pair that is not among them."""
    largest: Bool[np.ndarray, " pairs"]
    """The neuron's largest h over all heads."""
    smallest: Bool[np.ndarray, " pairs"]


def select_scores(scores: HeadScores, per_head: int = PER_HEAD) -> SelectedScores:
    """Per head the largest |h| (equal ones by lowest neuron), and per neuron its largest and smallest h (by lowest head).

    A model of one layer has no pairs.
    """
    n_neurons, n_heads = scores.n_layers * scores.d_mlp, scores.n_heads
    best = {sign: np.full(n_neurons, -np.inf) for sign in (1, -1)}
    place = {sign: np.full(n_neurons, -1, dtype=np.int64) for sign in (1, -1)}
    ranks: dict[tuple[int, int], np.ndarray] = {}
    values: dict[tuple[int, int], np.ndarray] = {}
    for layer in range(1, scores.n_layers):
        h = scores.of_layer(layer).cpu().numpy()
        for head in range(n_heads):
            order = _strongest(np.abs(h[:, head]), per_head)
            ranks[layer, head], values[layer, head] = order, h[order, head]
        for sign in (1, -1):
            signed = np.where(np.isnan(h), -np.inf, sign * h)
            head_of = signed.argmax(1)
            value = signed[np.arange(len(h)), head_of]
            better = np.flatnonzero(value > best[sign][: len(h)])
            best[sign][better], place[sign][better] = value[better], layer * n_heads + head_of[better]
    return _table(scores, ranks, values, best, place)


def choose_pairs(scores: SelectedScores, d_mlp: int, n_each: int, threshold: float, most: int) -> list[Pair]:
    """Pairs to ablate, each once: the largest h of the model, the smallest, then what passes a threshold.

    Args:
        n_each: how many of largest and how many of smallest h; ties go to the first of the selected scores.
        threshold: every neuron whose largest h is this or more has that pair among them, and every neuron whose smallest
            h is minus this or less that one, strongest first. NaN passes none.
        most: no more pairs than this in all.
    """
    order = np.argsort(-scores.h, kind="stable")[:n_each].tolist() + np.argsort(scores.h, kind="stable")[:n_each].tolist()
    passes = (scores.largest & (scores.h >= threshold)) | (scores.smallest & (scores.h <= -threshold))
    strong = np.flatnonzero(passes)
    order += strong[np.argsort(-np.abs(scores.h[strong]), kind="stable")].tolist()
    return [
        Pair(*divmod(int(scores.neuron_index[i]), d_mlp), int(scores.head_layer[i]), int(scores.head[i]))
        for i in list(dict.fromkeys(order))[:most]
    ]


def _strongest(size: np.ndarray, n: int) -> np.ndarray:
    """Indices of the n largest, largest first, equal ones by lowest index; NaN is never among them."""
    defined = np.flatnonzero(~np.isnan(size))
    if len(defined) > n:
        least = np.partition(size[defined], -n)[-n]
        defined = defined[size[defined] >= least]
    return defined[np.argsort(-size[defined], kind="stable")][:n]


def _table(
    scores: HeadScores,
    ranks: dict[tuple[int, int], np.ndarray],
    values: dict[tuple[int, int], np.ndarray],
    best: dict[int, np.ndarray],
    place: dict[int, np.ndarray],
) -> SelectedScores:
    """The union of both selections; a pair is numbered neuron * (all heads) + head, so that numbers sort as rows do."""
    all_heads = scores.n_layers * scores.n_heads
    neurons = {sign: np.flatnonzero(place[sign] >= 0) for sign in (1, -1)}
    extremes = {sign: neurons[sign] * all_heads + place[sign][neurons[sign]] for sign in (1, -1)}
    empty = np.empty(0, dtype=np.int64)
    ranked = np.concatenate([empty, *(ranking * all_heads + a * scores.n_heads + b for (a, b), ranking in ranks.items())])
    rank = np.concatenate([empty, *(np.arange(1, len(ranking) + 1) for ranking in ranks.values())])
    keys = np.unique(np.concatenate([ranked, extremes[1], extremes[-1]]))
    h, head_rank = np.empty(len(keys)), np.zeros(len(keys), dtype=np.int32)
    for sign in (1, -1):
        h[np.searchsorted(keys, extremes[sign])] = sign * best[sign][neurons[sign]]
    where = np.searchsorted(keys, ranked)
    h[where], head_rank[where] = np.concatenate([np.empty(0), *values.values()]), rank
    neuron, (head_layer, head) = keys // all_heads, np.divmod(keys % all_heads, scores.n_heads)
    return SelectedScores(
        neuron_index=neuron,
        head_layer=head_layer.astype(np.int32),
        head=head.astype(np.int32),
        h=h,
        h_sd=_deviations(scores, neuron, head_layer, head),
        h_scaled=h / np.array(scores.divisor)[head_layer],
        head_rank=head_rank,
        largest=np.isin(keys, extremes[1]),
        smallest=np.isin(keys, extremes[-1]),
    )


def _deviations(scores: HeadScores, neuron: np.ndarray, head_layer: np.ndarray, head: np.ndarray) -> np.ndarray:
    deviations = np.full(len(neuron), np.nan)
    if scores.spread is None:
        return deviations
    for layer, number in np.unique(np.stack([head_layer, head]), axis=1).T.tolist():
        where = np.flatnonzero((head_layer == layer) & (head == number))
        neurons = torch.from_numpy(neuron[where]).to(scores.W_out.device)
        deviations[where] = scores.deviations(neurons, layer, number).cpu().numpy()
    return deviations
