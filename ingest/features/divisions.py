"""Features that divide the positions alike (equal columns, complements) are computed once, so that their scores tie exactly."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from ingest.features.scores import Classes, Neurons, class_statistics


@dataclass(frozen=True)
class Divisions:
    """The different ways in which features divide the positions of a corpus, each once."""

    matrix: Bool[np.ndarray, "divisions tokens"]
    of_feature: Int[np.ndarray, " features"]
    swapped: Bool[np.ndarray, " features"]
    """The feature is true outside its division."""

    @cached_property
    def weights(self) -> Float[np.ndarray, "divisions tokens"]:
        """The matrix for products: 1 for members, else 0."""
        return self.matrix.astype(np.float64)

    def sums_in(self, sums: Float[np.ndarray, "tokens neurons"], total: Float[np.ndarray, " neurons"]) -> np.ndarray:
        """(features, neurons) sums over the positions with each feature; `total` is over all positions."""
        inside = (self.weights @ sums)[self.of_feature]
        return np.where(self.swapped[:, None], total - inside, inside)


def divide(matrix: Bool[np.ndarray, "features tokens"], counts: Int[np.ndarray, " tokens"], n: int) -> Divisions:
    """Group the features by how they divide the tokens that occur, in n positions."""
    divided = matrix[:, counts > 0]
    swapped = np.zeros(len(matrix), dtype=bool)
    # A position without a token is outside of a feature and of its complement, which then differ.
    if divided.shape[1] and counts.sum() == n:
        swapped = divided[:, 0].copy()
        divided = divided ^ swapped[:, None]
    keys = np.ascontiguousarray(np.packbits(np.pad(divided, ((0, 0), (1, 0))), axis=1))
    _, first, of_feature = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return Divisions(matrix[first] ^ swapped[first][:, None], of_feature.ravel(), swapped)


def divided_statistics(
    divisions: Divisions,
    counts: Int[np.ndarray, " tokens"],
    sums: Float[np.ndarray, "tokens neurons"],
    n: int,
    neurons: Neurons,
    least_support: int,
) -> Classes:
    """Classes of every feature: one product of the (divisions, tokens) and the (tokens, neurons) matrix, and its arithmetic."""
    total = sums.sum(axis=0) if counts.sum() == n else n * neurons.centre
    n_in = (divisions.weights @ counts).astype(np.int64)
    each = class_statistics(n_in, divisions.weights @ sums, total, n, neurons, least_support)
    division, swapped = divisions.of_feature, divisions.swapped
    return Classes(
        n_in=np.where(swapped, n - n_in[division], n_in[division]),
        mean_in=np.where(swapped[:, None], each.mean_out[division], each.mean_in[division]),
        mean_out=np.where(swapped[:, None], each.mean_in[division], each.mean_out[division]),
        reduction=each.reduction[division],
    )
