"""Explanations of neurons by token features: reduction in variance from sums per token id (UN eq. 4, SPEC §6).

For a yes-or-no feature y, VR = β(1-β)(μ₁-μ₀)²/σ², so counts and sums per token id are sufficient for every feature at
once: n_y = F·count, Σ_y = F·sum, with F the (features, tokens) matrix. Sums are about the neuron's pivot, which leaves
differences of means unchanged and keeps them from drowning in a large mean; no square of an uncentred sum is ever taken.
The mean outside a class comes from the same sums as the mean inside, so that it is good to rounding even where almost
every token is inside. Everything is float64.

Features that divide the positions alike (equal columns, complements) get one score, computed once, so that ties are exact
and go to the earlier column whatever the order of summation (§6.4).
"""

import string
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ingest.features.divisions import divide, divided_statistics
from ingest.features.scores import LEAST_SUPPORT, Classes, Neurons, kept_rows, ratio
from ingest.features.unigrams import LetterClasses
from ingest.features.vocabulary import FeatureTable

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
    degenerate: Bool[np.ndarray, " neurons"],
    least_support: int = LEAST_SUPPORT,
    chunk: int = CHUNK,
) -> Explanations:
    """Explain the neurons of one model.

    Args:
        features: the vocabulary features, then the unigram features (§5); at least one.
        letters: classes A, B and C of each letter (§6.5).
        counts, counts_previous: kept positions whose current (previous) token is each id. A position without a previous
            token belongs to no feature, but to n.
        sums, sums_previous: sums of post - pivot at those positions, float64.
        n: kept positions, at least 1.
        mean, variance: of post, population.
        pivot: subtracted from post in the sums.
        degenerate: such neurons have no rows; nor have those of variance 0.
        least_support: positions that both classes of a feature need to be scored.
        chunk: neurons at a time, which bounds the memory to 6 numbers per feature, shift and neuron of a chunk.
    """
    divisions = [divide(features.matrix, each, n) for each in (counts, counts_previous)]
    usable = np.where(degenerate | ~(variance > 0), np.nan, variance)
    places = _letter_features(features)
    pieces, letter_pieces = [], []
    for start in range(0, max(1, sums.shape[1]), chunk):
        part = slice(start, start + chunk)
        neurons = Neurons(start, mean[part] - pivot[part], pivot[part], usable[part])
        current = divided_statistics(divisions[0], counts, sums[:, part], n, neurons, least_support)
        previous = divided_statistics(divisions[1], counts_previous, sums_previous[:, part], n, neurons, least_support)
        pieces.append(kept_rows([current, previous], n, neurons))
        letter_pieces.append(_letter_rows(places, letters, current, counts, sums[:, part], neurons))
    return Explanations(**_concatenate(pieces), letters=LetterScores(**_concatenate(letter_pieces)))


def _concatenate(pieces: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _letter_features(features: FeatureTable) -> dict[str, int]:
    """Columns of the letters that are features of this corpus."""
    own_names = {f"{letter}_unigram": letter for letter in string.ascii_lowercase}
    return {own_names[name]: i for i, name in enumerate(features.names) if name in own_names}


def _letter_rows(
    places: dict[str, int],
    letters: LetterClasses,
    current: Classes,
    counts: np.ndarray,
    sums: np.ndarray,
    neurons: Neurons,
) -> dict[str, np.ndarray]:
    """The columns of `LetterScores`; of equal letters the first of the alphabet."""
    alphabet = sorted(places)
    columns = np.array([places[letter] for letter in alphabet], dtype=int)
    scores = np.full((1 + len(columns), sums.shape[1]), -1.0)
    scores[:-1] = np.nan_to_num(current.reduction[columns], nan=-1.0)
    best, neuron = scores.argmax(axis=0), np.flatnonzero(scores.max(axis=0) >= 0)
    best = best[neuron]
    letter = np.array(alphabet, dtype=object)[best]
    number = np.array([string.ascii_lowercase.index(each) for each in letter], dtype=int)
    classes = {"mean_a": letters.itself, "mean_b": letters.starting, "mean_c": letters.rest}
    means = {name: _class_means(members, counts, sums) for name, members in classes.items()}
    return {
        "neuron_index": neuron + neurons.start,
        "letter": letter,
        "feature_index": columns[best],
        "variance_reduction": scores[best, neuron],
        **{name: values[number, neuron] + neurons.pivot[neuron] for name, values in means.items()},
    }


def _class_means(members: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """(26, neurons) means about the pivot; NaN for an empty class."""
    matrix = members.astype(np.float64)
    return ratio(matrix @ sums, matrix @ counts)


def top_tokens(
    counts: Int[np.ndarray, " tokens"],
    sums: Float[np.ndarray, "tokens neurons"],
    pivot: Float[np.ndarray, " neurons"],
    min_count: int,
    k: int = 20,
) -> TopTokens:
    """The k tokens with the largest mean, of those that occur at least `min_count` times; of equals the lowest id.

    Args:
        counts: kept positions of each id.
        sums: sums of post - pivot at those positions, float64.
        pivot: subtracted from post in the sums.
        min_count: 75 in the catalog (§3.3); a token that never occurs is never listed.
    """
    frequent = np.flatnonzero(counts >= max(1, min_count))
    k, n_neurons = min(k, len(frequent)), sums.shape[1]
    place = np.zeros((n_neurons, k), dtype=int)
    mean = np.zeros((n_neurons, k))
    for neuron in range(n_neurons if k else 0):
        means = sums[frequent, neuron] / counts[frequent]
        place[neuron] = _largest(means, k)
        mean[neuron] = means[place[neuron]] + pivot[neuron]
    return TopTokens(
        neuron_index=np.repeat(np.arange(n_neurons), k),
        rank=np.tile(np.arange(1, k + 1), n_neurons),
        token_id=frequent[place.ravel()],
        mean=mean.ravel(),
        n=counts[frequent[place.ravel()]],
    )


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Places of the k largest values in descending order, of equals the first."""
    candidates = np.flatnonzero(values >= np.partition(values, len(values) - k)[len(values) - k])
    return candidates[np.argsort(-values[candidates], kind="stable")][:k]
