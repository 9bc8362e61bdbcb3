"""Neurons of one model that read or write nearly the same, or the opposite (UN App. C, SPEC §4 and §10).

Cosines of all pairs are met in square blocks, each pair once, and never kept. Products of unit vectors are fp32: a cosine is
off by up to 7e-7 in 768 dimensions (measured; the bound is (d_model + 2) · 2^-24), so neighbours that are closer than that
may change places.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from ingest.roles.vectors import unit_rows
from ingest.statistics import weight_loops

K = 20
SIDE = 2048
"""Neurons on each side of a block; its cosines take 16 MiB."""


@dataclass(frozen=True)
class SimilarNeurons:
    """The other neurons whose vectors have the highest and the lowest cosine with a neuron's own.

    Partners are flat indices, best first, equal cosines by lowest index; -1 and NaN past the end and for vectors of norm 0.
    """

    nearest: Int64[np.ndarray, "neurons k"]
    nearest_cosine: Float32[np.ndarray, "neurons k"]
    """Descending. The first column is the largest cosine, max_in_sim or max_out_sim."""
    opposite: Int64[np.ndarray, "neurons k"]
    opposite_cosine: Float32[np.ndarray, "neurons k"]
    """Ascending. The first column is the smallest cosine."""
    nearest_mutual: Bool[np.ndarray, " neurons"]
    """The nearest neuron's nearest is this one."""
    opposite_mutual: Bool[np.ndarray, " neurons"]


def similar_neurons(
    w_in: Float[Tensor, "layers d_model d_mlp"],
    w_out: Float[Tensor, "layers d_mlp d_model"],
    k: int = K,
    advance: Callable[[int], None] = lambda n_neurons: None,
    side: int = SIDE,
) -> dict[str, SimilarNeurons]:
    """The k most similar and the k most opposite neurons by "w_in" and by "w_out", over all layers.

    Args:
        advance: is given the number of neurons that were compared with all others; 2N in the end.
        side: neurons on each side of a block.
    """
    vectors = {"w_in": w_in.transpose(1, 2).flatten(0, 1), "w_out": w_out.flatten(0, 1)}
    return {name: similar_rows(rows, k, advance, side) for name, rows in vectors.items()}


def similar_rows(
    vectors: Float[Tensor, "neurons d_model"],
    k: int = K,
    advance: Callable[[int], None] = lambda n_neurons: None,
    side: int = SIDE,
) -> SimilarNeurons:
    """The same for one vector per neuron."""
    units, norms = unit_rows(vectors, torch.float32)
    places = (norms > 0).nonzero().squeeze(1)
    units = units[places]
    lists = _Lists(len(units), k)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for start in range(0, len(units), side):
            rows = units[start : start + side]
            for first in range(start, len(units), side):
                lists.add((rows @ units[first : first + side].T).cpu().numpy(), start, first, pool)
            advance(len(rows))
    advance(len(vectors) - len(units))
    return lists.result(places.cpu().numpy(), len(vectors))


class _Lists:
    """The best partners of neurons that have a direction, both ways, while blocks come in."""

    def __init__(self, n: int, k: int) -> None:
        self.values = np.full((2, n, k), -np.inf)
        self.ids = np.full((2, n, k), -1, dtype=np.int64)
        self.last = np.full((2, n), -np.inf)

    def add(self, block: np.ndarray, row_id: int, column_id: int, pool: ThreadPoolExecutor) -> None:
        """Meet a block of cosines; one above the diagonal stands for its mirror image, too."""
        tasks = [(weight_loops.rank_rows, part) for part in _parts(block.shape[0])]
        if column_id > row_id:
            tasks += [(weight_loops.rank_columns, part) for part in _parts(block.shape[1])]

        def one(loop: Callable[..., None], part: slice) -> None:
            loop(block, part.start, part.stop, row_id, column_id, self.last, self.values, self.ids)

        for _ in pool.map(one, *zip(*tasks, strict=True)):
            pass

    def result(self, places: np.ndarray, n_neurons: int) -> SimilarNeurons:
        """In terms of all neurons.

        Args:
            places: flat indices of those that were compared.
        """
        partners = np.full((2, n_neurons, self.ids.shape[2]), -1, dtype=np.int64)
        cosines = np.full(partners.shape, np.nan, dtype=np.float32)
        taken = self.ids >= 0
        partners[:, places] = np.where(taken, np.append(places, -1)[self.ids], -1)
        signed = self.values * np.array([1.0, -1.0])[:, None, None] + 0.0  # no negative zero
        cosines[:, places] = np.where(taken, signed, np.nan)
        return SimilarNeurons(partners[0], cosines[0], partners[1], cosines[1], _mutual(partners[0]), _mutual(partners[1]))


def _parts(n: int) -> list[slice]:
    """As many parts as there are threads."""
    edges = np.linspace(0, n, torch.get_num_threads() + 1).astype(int)
    return [slice(first, end) for first, end in pairwise(edges.tolist()) if end > first]


def _mutual(partners: np.ndarray) -> np.ndarray:
    """Whose first partner has them as its first one."""
    first = partners[:, 0]
    return (first >= 0) & (first[first] == np.arange(len(first)))
