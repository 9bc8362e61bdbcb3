"""Explanations of neurons by token features: reduction in variance from sums per token id (UN eq. 4, SPEC §6).

For a yes-or-no feature y, VR = β(1-β)(μ₁-μ₀)²/σ², so counts and sums per token id are sufficient for every feature at
once: n_y = F·count, Σ_y = F·sum, with F the (features, tokens) matrix. Sums are about the neuron's pivot, which leaves
differences of means unchanged and keeps them from drowning in a large mean. Everything is float64.
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ingest.labels.unigrams import LetterClasses
from ingest.labels.vocabulary import FeatureTable

TOP = 5
LEAST_SUPPORT = 100
"""Tokens that both classes need (§6.1)."""
CHUNK = 512
"""Neurons explained at a time."""


@dataclass(frozen=True)
class LetterScores:
    """The best letter of each neuron that has one."""

    neuron_index: Int[np.ndarray, " rows"]
    letter: np.ndarray
    """(rows,) object: one letter each."""
    feature_index: Int[np.ndarray, " rows"]
    variance_reduction: Float[np.ndarray, " rows"]
    mean_a: Float[np.ndarray, " rows"]
    """Mean post on the letter's own tokens."""
    mean_b: Float[np.ndarray, " rows"]
    """On other words that start with it; NaN if there are none."""
    mean_c: Float[np.ndarray, " rows"]
    """On the rest."""


@dataclass(frozen=True)
class Explanations:
    """The explanations that are kept: per neuron the top five, the best of each shift, and the best letter."""

    neuron_index: Int[np.ndarray, " rows"]
    feature_index: Int[np.ndarray, " rows"]
    shift: Int[np.ndarray, " rows"]
    """0: the current token has the feature; 1: the previous one."""
    variance_reduction: Float[np.ndarray, " rows"]
    n_in: Int[np.ndarray, " rows"]
    n_out: Int[np.ndarray, " rows"]
    mean_in: Float[np.ndarray, " rows"]
    mean_out: Float[np.ndarray, " rows"]
    cohen_d: Float[np.ndarray, " rows"]
    """NaN where nothing varies within the classes."""
    rank: Int[np.ndarray, " rows"]
    """Among all features and both shifts, 1 the best; of equal scores the earlier feature, current before previous."""
    letters: LetterScores


@dataclass(frozen=True)
class TopTokens:
    """Tokens with the largest mean activation, of those that occur often enough (§3.3)."""

    neuron_index: Int[np.ndarray, " rows"]
    rank: Int[np.ndarray, " rows"]
    token_id: Int[np.ndarray, " rows"]
    mean: Float[np.ndarray, " rows"]
    n: Int[np.ndarray, " rows"]


@dataclass(frozen=True)
class _Classes:
    """Counts and mean activations of the classes of all features and both shifts, for a chunk of neurons."""

    n_in: np.ndarray
    """(2 * features,)."""
    mean_in: np.ndarray
    """(2 * features, neurons) about the pivot; NaN for an empty class."""
    mean_out: np.ndarray
    reduction: np.ndarray
    """(2 * features, neurons); NaN where undefined or unsupported."""


def explain(
    features: FeatureTable,
    letters: LetterClasses,
    counts: Int[np.ndarray, " tokens"],
    counts_previous: Int[np.ndarray, " tokens"],
    sums: Float[np.ndarray, "tokens neurons"],
    sums_previous: Float[np.ndarray, "tokens neurons"],
    n: int,
    mean: Float[np.ndarray, " neurons"],
    variance: Float[np.ndarray, " neurons"],
    pivot: Float[np.ndarray, " neurons"],
    degenerate: np.ndarray,
    least_support: int = LEAST_SUPPORT,
    chunk: int = CHUNK,
) -> Explanations:
    """Explain the neurons of one model.

    Args:
        counts, counts_previous: kept positions whose current (previous) token is each id. A position without a previous
            token belongs to no feature, but to n.
        sums, sums_previous: sums of post - pivot at those positions, float64.
        n: kept positions.
        mean, variance: of post, population.
        pivot: subtracted from post in the sums.
        degenerate: bool (neurons,); such neurons have no rows.
    """
    pieces, letter_pieces = [], []
    f = features.matrix.astype(np.float64)
    for start in range(0, sums.shape[1], chunk):
        part = slice(start, start + chunk)
        centre = mean[part] - pivot[part]
        usable = np.where(degenerate[part], np.nan, variance[part])
        current = _class_statistics(f, counts, sums[:, part], n, centre, usable, least_support)
        previous = _class_statistics(f, counts_previous, sums_previous[:, part], n, centre, usable, least_support)
        both = _join(current, previous)
        pieces.append(_kept_rows(both, len(features.names), n, start, pivot[part], usable))
        letter_pieces.append(_letter_rows(features, letters, both, counts, sums[:, part], start, pivot[part]))
    columns = [np.concatenate(column) for column in zip(*pieces, strict=True)]
    letter_columns = [np.concatenate(column) for column in zip(*letter_pieces, strict=True)]
    return Explanations(*columns, LetterScores(*letter_columns))  # type: ignore[arg-type]


def _class_statistics(
    f: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
    n: int,
    centre: np.ndarray,
    variance: np.ndarray,
    least_support: int,
) -> _Classes:
    n_in = f @ counts
    n_out = n - n_in
    sum_in = f @ sums
    mean_in = _ratio(sum_in, n_in)
    mean_out = _ratio(n * centre - sum_in, n_out)
    beta = (n_in / n)[:, None]
    defined = (np.minimum(n_in, n_out) >= max(1, least_support))[:, None] & (np.nan_to_num(variance) > 0)
    safe = np.where(np.nan_to_num(variance) > 0, variance, 1.0)
    reduction = beta * (1 - beta) * (mean_in - mean_out) ** 2 / safe
    return _Classes(n_in.astype(np.int64), mean_in, mean_out, np.where(defined, np.clip(reduction, 0, 1), np.nan))


def _ratio(sums: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Rows of sums over n; NaN where n is 0."""
    return np.where((n > 0)[:, None], sums / np.maximum(n, 1)[:, None], np.nan)


def _join(current: _Classes, previous: _Classes) -> _Classes:
    names = ("n_in", "mean_in", "mean_out", "reduction")
    return _Classes(*(np.concatenate([getattr(current, name), getattr(previous, name)]) for name in names))


def _kept_rows(
    both: _Classes, n_features: int, n: int, start: int, pivot: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The columns of `Explanations`, without letters."""
    filled = np.where(np.isnan(both.reduction), -1.0, both.reduction)
    order = np.argsort(-filled, axis=0, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(1, len(order) + 1)[:, None], axis=0)
    keep = rank <= TOP
    for shift in (slice(0, n_features), slice(n_features, None)):
        best = filled[shift].argmax(0) + (shift.start or 0)
        keep[best, np.arange(keep.shape[1])] = True
    keep &= filled >= 0
    neuron, row = np.nonzero(keep.T)
    reduction, mean_in, mean_out = (values[row, neuron] for values in (both.reduction, both.mean_in, both.mean_out))
    within = np.sqrt(np.maximum(1 - reduction, 0) * variance[neuron])
    spread = within > 1e-12
    return (
        neuron + start,
        row % n_features,
        row // n_features,
        reduction,
        both.n_in[row],
        n - both.n_in[row],
        mean_in + pivot[neuron],
        mean_out + pivot[neuron],
        np.where(spread, (mean_in - mean_out) / np.where(spread, within, 1.0), np.nan),
        rank[row, neuron],
    )


def _letter_rows(
    features: FeatureTable,
    letters: LetterClasses,
    both: _Classes,
    counts: np.ndarray,
    sums: np.ndarray,
    start: int,
    pivot: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """The columns of `LetterScores`: the best of the letters that are features of this corpus."""
    places = dict(_letter_features(features))
    if not places:
        return tuple(np.empty(0, dtype=kind) for kind in (int, object, int, float, float, float, float))
    index = np.array(list(places.values()))
    scores = np.where(np.isnan(both.reduction[index]), -1.0, both.reduction[index])
    best = scores.argmax(0)
    neuron = np.flatnonzero(scores.max(0) >= 0)
    letter = np.array(list(places), dtype=object)[best[neuron]]
    classes = (letters.own, letters.starting, ~(letters.own | letters.starting))
    own, starting, rest = (_class_means(members, counts, sums) for members in classes)
    which = np.array([string.ascii_lowercase.index(c) for c in letter], dtype=int)
    return (
        neuron + start,
        letter,
        index[best[neuron]],
        scores[best[neuron], neuron],
        own[which, neuron] + pivot[neuron],
        starting[which, neuron] + pivot[neuron],
        rest[which, neuron] + pivot[neuron],
    )


def _letter_features(features: FeatureTable) -> Iterator[tuple[str, int]]:
    for i, name in enumerate(features.names):
        if features.families[i] == "unigram" and name.removesuffix("_unigram") in tuple(string.ascii_lowercase):
            yield name[0], i


def _class_means(members: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Mean about the pivot of one class per letter, (26, neurons); NaN for an empty class."""
    f = members.astype(np.float64)
    return _ratio(f @ sums, f @ counts)


def top_tokens(
    counts: Int[np.ndarray, " tokens"],
    sums: Float[np.ndarray, "tokens neurons"],
    pivot: Float[np.ndarray, " neurons"],
    min_count: int,
    k: int = 20,
) -> TopTokens:
    """The k tokens with the largest mean, of those that occur at least `min_count` times; of equals the lowest id."""
    frequent = np.flatnonzero(counts >= min_count)
    k = min(k, len(frequent))
    means = sums[frequent] / np.maximum(counts[frequent], 1)[:, None]
    order = np.argsort(-means, axis=0, kind="stable")[:k]
    neuron = np.repeat(np.arange(sums.shape[1]), k)
    place = order.T.ravel()
    return TopTokens(
        neuron_index=neuron,
        rank=np.tile(np.arange(1, k + 1), sums.shape[1]),
        token_id=frequent[place],
        mean=means[place, neuron] + pivot[neuron],
        n=counts[frequent[place]],
    )
