"""Activations with their tokens, their sums, and every explanation by its definition."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.features.divisions import divide
from ingest.features.explanations import DivisionSums, Explained, explain
from ingest.features.unigrams import LetterClasses
from ingest.features.vocabulary import FeatureTable
from ingest.statistics.jackknife import HALF, N_BLOCKS
from tests import references

STRINGS = ["a", " a", "A", "an", " at", "b", " b", "bed", "x", " of", "?", "\n", "12", "the"]

SHIFTS = (0, 1)


@dataclass(frozen=True)
class Raw:
    """Kept positions, each with its token, the one before it (-1: none) and the activations."""

    current: np.ndarray
    previous: np.ndarray
    post: np.ndarray
    """(positions, neurons) float64."""
    blocks: np.ndarray | None = None
    """(positions,); None: all are of the first block, so that all of them choose and none are held out."""

    @property
    def of_block(self) -> np.ndarray:
        return np.zeros(len(self.current), dtype=np.int64) if self.blocks is None else self.blocks

    @property
    def choosing(self) -> "Raw":
        """The half that chooses."""
        return self.only(self.of_block < HALF)

    @property
    def held_out(self) -> "Raw":
        return self.only(self.of_block >= HALF)

    def only(self, wanted: np.ndarray) -> "Raw":
        return Raw(self.current[wanted], self.previous[wanted], self.post[wanted], self.of_block[wanted])

    def ids(self, shift: int) -> np.ndarray:
        return self.previous if shift else self.current

    def member(self, features: FeatureTable, feature: int, shift: int) -> np.ndarray:
        """bool (positions,): the definition of a feature, false where there is no token."""
        ids = self.ids(shift)
        return np.where(ids >= 0, features.matrix[feature][np.maximum(ids, 0)], False)

    def sums(self, shift: int, n_tokens: int, pivot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts, sums = np.zeros(n_tokens, dtype=np.int64), np.zeros((n_tokens, self.post.shape[1]))
        seen = self.ids(shift) >= 0
        np.add.at(counts, self.ids(shift)[seen], 1)
        np.add.at(sums, self.ids(shift)[seen], (self.post - pivot)[seen])
        return counts, sums

    def division_sums(self, matrices: Sequence[np.ndarray], pivot: np.ndarray) -> DivisionSums:
        """Of divisions by the current and by the previous token, position by position."""
        members = [np.concatenate([matrix.T, np.zeros((1, len(matrix)), dtype=bool)]) for matrix in matrices]
        columns = [members[shift][self.ids(shift)] for shift in SHIFTS] + [np.ones((len(self.post), 1), dtype=bool)]
        inside, exact = np.concatenate(columns, axis=1).astype(np.float64), self.post - pivot
        counts = np.zeros((N_BLOCKS, inside.shape[1]), dtype=np.int64)
        sums, squares = np.zeros((*counts.shape, exact.shape[1])), np.zeros((N_BLOCKS, exact.shape[1]))
        for block in range(N_BLOCKS):
            here = self.of_block == block
            counts[block], squares[block] = inside[here].sum(0), (exact[here] ** 2).sum(0)
            # equal columns are equal in sum
            sums[block] = [exact[here][column].sum(0) for column in inside[here].T.astype(bool)]
        return DivisionSums(counts, sums, squares)


def table(matrix: np.ndarray, names: list[str] | None = None) -> FeatureTable:
    names = names or [f"feature_{i}" for i in range(len(matrix))]
    return FeatureTable(names, ["type"] * len(names), list(names), matrix.astype(bool))


def no_letters(n_tokens: int) -> LetterClasses:
    return LetterClasses(*(np.zeros((26, n_tokens), dtype=bool) for _ in range(3)))


def explained(
    raw: Raw,
    features: FeatureTable,
    letters: LetterClasses | None = None,
    pivot: np.ndarray | None = None,
    least_support: int = 1,
    chunk: int = 512,
) -> Explained:
    n_tokens = features.matrix.shape[1]
    pivot = raw.post[: 1 + len(raw.post) // 3].mean(axis=0) if pivot is None else pivot
    counts, sums = raw.sums(0, n_tokens, pivot)
    of_counts = counts, raw.sums(1, n_tokens, pivot)[0]
    current, previous = (divide(features.matrix, each, len(raw.post)) for each in of_counts)
    return explain(
        features.names,
        (current, previous),
        raw.division_sums((current.matrix, previous.matrix), pivot),
        letters or no_letters(n_tokens),
        token_counts=counts,
        token_sums=sums,
        pivot=pivot,
        degenerate=raw.post.var(axis=0) == 0,
        least_support=least_support,
        chunk=chunk,
    )


def random_raw(seed: int, n: int, n_tokens: int, n_neurons: int = 4, without_previous: int = 5) -> Raw:
    """Activations that depend on both tokens, of all blocks; every few positions start a row and have no previous token."""
    rng = np.random.default_rng(seed)
    current, previous = rng.integers(0, n_tokens, (2, n))
    previous[::without_previous] = -1
    effect = rng.normal(size=(2, n_tokens + 1, n_neurons))
    post = effect[0, current] + effect[1, previous] + rng.normal(size=(n, n_neurons)) + rng.normal(size=n_neurons) * 5
    return Raw(current, previous, post, np.arange(n) * 7 % N_BLOCKS)


def all_reductions(raw: Raw, features: FeatureTable, least_support: int) -> np.ndarray:
    """(2 * features, neurons) by the definition, NaN where unsupported."""
    result = np.full((2 * len(features.names), raw.post.shape[1]), np.nan)
    for shift in SHIFTS:
        for feature in range(len(features.names)):
            member = raw.member(features, feature, shift)
            if min(member.sum(), (~member).sum()) < max(1, least_support):
                continue
            for neuron, values in enumerate(raw.post.T):
                if values.var() > 0:
                    row = shift * len(features.names) + feature
                    result[row, neuron] = references.variance_reduction(values, member)
    return result


def rows_of(found: Explained, neuron: int) -> dict[tuple[int, int], tuple[int, float]]:
    """Rank and variance reduction in the half that chose, of each (shift, feature) kept for a neuron."""
    of = found.rows["neuron_index"] == neuron
    columns = (found.rows[name][of] for name in ("shift", "feature_index", "rank", "chosen_variance_reduction"))
    return {(s, f): (r, v) for s, f, r, v in zip(*(column.tolist() for column in columns), strict=True)}
