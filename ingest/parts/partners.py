"""Results of pairs of models: tiles of correlations as they travel, joined to the best partners of every neuron.

What `correlations` finds, and what others need of it who choose neurons by their partners.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ingest.parts.arrays import Arrays, decode
from ingest.statistics.correlation import DirectedCorrelations, TileCorrelations, merge_tiles
from ingest.statistics.universality import BestMatches, best_matches


@dataclass(frozen=True)
class Partners:
    """The partners of every neuron of one model in one other model, in flat order."""

    best: BestMatches
    second: Int[np.ndarray, " neurons"]
    """Flat index of the second-best partner; -1: none."""


def partners_of(tiles: Sequence[bytes], top_k: int, forward: bool, d_mlp: int) -> Partners:
    """One direction of a pair, of what its tiles ended in.

    Args:
        d_mlp: of the model that has the partners.
        forward: of the neurons of the pair's first model in the second; else of those of the second in the first.
    """
    pair = joined([tile_of(decode(data)) for data in tiles], top_k)
    directed = pair.forward if forward else pair.backward
    index = directed.top_index.numpy()
    second = index[:, 1] if index.shape[1] > 1 else np.full(len(index), -1)
    # nobody who chooses by partners asks how sure they are
    unknown = np.empty((len(index), 0))
    return Partners(best_matches(directed, unknown, unknown, d_mlp), second)


def tile_arrays(tile: TileCorrelations) -> dict[str, np.ndarray | Tensor]:
    """Best partners of a tile in both directions."""
    arrays: dict[str, np.ndarray | Tensor] = {
        "rows": np.array([tile.rows.start, tile.rows.stop]),
        "columns": np.array([tile.columns.start, tile.columns.stop]),
        "diagonal": tile.diagonal,
    }
    for direction in ("forward", "backward"):
        directed = getattr(tile, direction)
        arrays |= {f"{direction}.{field.name}": getattr(directed, field.name) for field in fields(DirectedCorrelations)}
    return arrays


def tile_of(arrays: Arrays) -> TileCorrelations:
    """What `tile_arrays` was given."""
    forward, backward = (
        DirectedCorrelations(
            **{field.name: torch.from_numpy(arrays[f"{direction}.{field.name}"]) for field in fields(DirectedCorrelations)}
        )
        for direction in ("forward", "backward")
    )
    return TileCorrelations(
        rows=slice(*arrays["rows"].tolist()),
        columns=slice(*arrays["columns"].tolist()),
        forward=forward,
        backward=backward,
        diagonal=torch.from_numpy(arrays["diagonal"]),
    )


@dataclass(frozen=True)
class PairResult:
    """Both directions of one pair of models."""

    forward: DirectedCorrelations
    """Neurons of a, partners in b."""
    backward: DirectedCorrelations
    """Neurons of b, partners in a."""
    diagonal: np.ndarray
    """float64 correlations of equal indices; they say something only where the shapes are equal."""


def joined(tiles: list[TileCorrelations], top_k: int) -> PairResult:
    """Join the tiles of a pair; tiles with equal rows (columns) hold different partners of the same neurons."""
    entries = torch.cat([tile.diagonal for tile in tiles])
    return PairResult(
        forward=_join(top_k, [(tile.rows, tile.columns, tile.forward) for tile in tiles]),
        backward=_join(top_k, [(tile.columns, tile.rows, tile.backward) for tile in tiles]),
        diagonal=entries[entries[:, 0].argsort(), 1].numpy(),
    )


def _join(k: int, parts: list[tuple[slice, slice, DirectedCorrelations]]) -> DirectedCorrelations:
    """Concatenate ranges of neurons, after merging what different tiles know of the same range, in order of partners."""
    by_start: dict[int, list[tuple[int, DirectedCorrelations]]] = defaultdict(list)
    for neurons, partners, part in parts:
        by_start[neurons.start].append((partners.start, part))
    in_order = [sorted(by_start[start], key=lambda entry: entry[0]) for start in sorted(by_start)]
    merged = [merge_tiles([part for _, part in tiles], k) for tiles in in_order]
    names = [field.name for field in fields(DirectedCorrelations)]
    return DirectedCorrelations(*(torch.cat([getattr(part, name) for part in merged]) for name in names))
