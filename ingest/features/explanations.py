"""Explanations of neurons by token features: reduction in variance from sums by feature and block (UN eq. 4, SPEC §6).

For a yes-or-no feature y, VR = β(1-β)(μ₁-μ₀)²/σ², so counts and sums of each feature are sufficient. Sums are about the
neuron's pivot, which leaves differences of means unchanged and keeps them from drowning in a large mean; no square of an
uncentred sum is ever taken. The mean outside a class comes from the same sums as the mean inside, so that it is good to
rounding even where almost every token is inside. Everything is float64.

Features that divide the positions alike (equal columns, complements) are summed once, so that ties are exact and go to the
earlier column whatever the order of summation (§6.4).
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ingest.features.divisions import Divisions
from ingest.features.held_out import Scores, ShiftSums, Totals
from ingest.features.scores import LEAST_SUPPORT, ratio
from ingest.features.unigrams import LetterClasses

CHUNK = 256
"""Neurons explained at a time."""
LETTER_NUMBERS = (
    "variance_reduction",
    "chosen_variance_reduction",
    "held_out_variance_reduction",
    "variance_reduction_se",
    "held_out_variance_reduction_se",
)


class Explained(NamedTuple):
    """What is kept of neurons."""

    rows: dict[str, np.ndarray]
    """As `Scores.kept_rows` has them."""
    letters: dict[str, np.ndarray]
    """The best letter of each neuron that has one: `neuron_index`, `letter`, `feature_index`, its scores, and the mean post
    `mean_a` on the letter's own tokens, `mean_b` on other words that start with it (NaN if there are none), `mean_c` on the
    rest."""


@dataclass(frozen=True)
class DivisionSums:
    """Sums of all neurons by block and by the ways in which features divide the positions; as `FeatureAccumulator` has them."""

    counts: Int[np.ndarray, "blocks columns"]
    """Divisions by the current token, then by the previous one; the last counts all positions."""
    sums: Float[np.ndarray, "blocks columns neurons"]
    squares: Float[np.ndarray, "blocks neurons"]

    def shifts(self, divisions: tuple[Divisions, Divisions], part: slice) -> list[ShiftSums]:
        """Of a chunk of neurons."""
        n_current = len(divisions[0].matrix)
        places = slice(n_current), slice(n_current, -1)
        return [
            ShiftSums(self.counts[:, place], self.sums[:, place, part], made.of_feature, made.swapped)
            for place, made in zip(places, divisions, strict=True)
        ]


@dataclass(frozen=True)
class TopTokens:
    """Tokens with the largest mean activation, of those that occur often enough (§3.3)."""

    neuron_index: Int[np.ndarray, " rows"]
    rank: Int[np.ndarray, " rows"]
    token_id: Int[np.ndarray, " rows"]
    mean: Float[np.ndarray, " rows"]
    n: Int[np.ndarray, " rows"]


def explain(
    names: list[str],
    divisions: tuple[Divisions, Divisions],
    found: DivisionSums,
    letters: LetterClasses,
    token_counts: Int[np.ndarray, " tokens"],
    token_sums: Float[np.ndarray, "tokens neurons"],
    pivot: Float[np.ndarray, " neurons"],
    degenerate: Bool[np.ndarray, " neurons"],
    least_support: int = LEAST_SUPPORT,
    chunk: int = CHUNK,
) -> Explained:
    """Explain the neurons of one model.

    Args:
        names: of the vocabulary features, then of the unigram features (§5); at least one.
        divisions: how they divide positions by the current, and by the previous token. A position without a previous token
            belongs to no feature.
        letters: classes A, B and C of each letter (§6.5).
        token_counts, token_sums: kept positions whose current token is each id, and sums of post - pivot over them, float64.
        pivot: subtracted from post in the sums.
        degenerate: such neurons have no rows; nor have those of variance 0.
        least_support: positions that both classes of a feature need, in the half that chooses, to be scored.
        chunk: neurons at a time, which bounds the memory to 6 numbers per feature, shift and neuron of a chunk.
    """
    places = _letter_features(names)
    pieces, letter_pieces = [], []
    for start in range(0, max(1, len(pivot)), chunk):
        part = slice(start, start + chunk)
        totals = Totals(
            start, found.counts[:, -1], found.sums[:, -1, part], found.squares[:, part], pivot[part], ~degenerate[part]
        )
        scores = Scores(found.shifts(divisions, part), totals, least_support)
        pieces.append(scores.kept_rows())
        letter_pieces.append(_letter_rows(places, letters, scores, token_counts, token_sums[:, part]))
    return Explained(_concatenate(pieces), _concatenate(letter_pieces))


def _concatenate(pieces: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _letter_features(names: list[str]) -> dict[str, int]:
    """Columns of the letters that are features of this corpus."""
    own_names = {f"{letter}_unigram": letter for letter in string.ascii_lowercase}
    return {own_names[name]: i for i, name in enumerate(names) if name in own_names}


def _letter_rows(
    places: Mapping[str, int], letters: LetterClasses, scores: Scores, counts: np.ndarray, sums: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns of `Explained.letters`; the half that chooses says which letter, of equals the first of the alphabet."""
    alphabet = sorted(places)
    columns = np.array([places[letter] for letter in alphabet], dtype=int)
    chosen = np.full((1 + len(columns), sums.shape[1]), -1.0)
    chosen[:-1] = np.nan_to_num(scores.chosen[columns], nan=-1.0)
    best, neuron = chosen.argmax(axis=0), np.flatnonzero(chosen.max(axis=0) >= 0)
    best = best[neuron]
    letter = np.array(alphabet, dtype=object)[best]
    number = np.array([string.ascii_lowercase.index(each) for each in letter], dtype=int)
    classes = {"mean_a": letters.itself, "mean_b": letters.starting, "mean_c": letters.rest}
    means = {name: _class_means(members, counts, sums) for name, members in classes.items()}
    numbers = scores.numbers(columns[best], neuron)
    return {
        "neuron_index": neuron + scores.totals.start,
        "letter": letter,
        "feature_index": columns[best],
        **{name: numbers[name] for name in LETTER_NUMBERS},
        **{name: values[number, neuron] + scores.totals.pivot[neuron] for name, values in means.items()},
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
