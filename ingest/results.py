"""Results of jobs as bytes for the database: named arrays in numpy's .npz format, which checks them on reading."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ingest.activations import Pivots
from ingest.labels.explanations import Explanations, LetterScores, TopTokens
from ingest.statistics.correlation import DirectedCorrelations, TileCorrelations

Arrays = dict[str, np.ndarray]

PLACE = "place"
"""Name of the array that says whose results they are: model, first neuron, and the one after the last."""


def encode(arrays: Mapping[str, np.ndarray | Tensor]) -> bytes:
    """Arrays as bytes; text must be of fixed width, for nothing is pickled."""
    buffer = io.BytesIO()
    named: dict[str, Any] = {name: v if isinstance(v, np.ndarray) else v.cpu().numpy() for name, v in arrays.items()}
    np.savez(buffer, **named)
    return buffer.getvalue()


def decode(data: bytes) -> Arrays:
    """What `encode` was given."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def encode_pivots(pivots: Pivots) -> bytes:
    """Pivots of one model."""
    return encode({"pre": pivots.pre, "post": pivots.post})


def decode_pivots(data: bytes, device: torch.device) -> Pivots:
    """Pivots of one model, on the device."""
    arrays = decode(data)
    return Pivots(*(torch.from_numpy(arrays[name]).to(device) for name in ("pre", "post")))


def encode_tile(tile: TileCorrelations) -> bytes:
    """Best partners of a tile in both directions."""
    arrays: dict[str, np.ndarray | Tensor] = {
        "rows": np.array([tile.rows.start, tile.rows.stop]),
        "columns": np.array([tile.columns.start, tile.columns.stop]),
        "diagonal": tile.diagonal,
    }
    for direction in ("forward", "backward"):
        directed = getattr(tile, direction)
        arrays |= {f"{direction}.{field.name}": getattr(directed, field.name) for field in fields(DirectedCorrelations)}
    return encode(arrays)


def decode_tile(data: bytes) -> TileCorrelations:
    """What `encode_tile` was given."""
    arrays = decode(data)
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
class Explained:
    """Explanations and top tokens of consecutive neurons of one model."""

    model: int
    start: int
    """Flat index of the first neuron."""
    explanations: Explanations
    top: TopTokens


def encode_explained(part: Explained) -> bytes:
    """Explanations of one span of neurons."""
    arrays: Arrays = {"place": np.array([part.model, part.start])}
    own = [field.name for field in fields(Explanations) if field.name != "letters"]
    arrays |= {f"explanations.{name}": getattr(part.explanations, name) for name in own}
    arrays |= {f"letters.{f.name}": getattr(part.explanations.letters, f.name) for f in fields(LetterScores)}
    arrays |= {f"top.{f.name}": getattr(part.top, f.name) for f in fields(TopTokens)}
    arrays["letters.letter"] = arrays["letters.letter"].astype("U1")
    return encode(arrays)


def decode_explained(data: bytes) -> Explained:
    """What `encode_explained` was given."""
    arrays = decode(data)
    arrays["letters.letter"] = arrays["letters.letter"].astype(object)
    letters = LetterScores(**{f.name: arrays[f"letters.{f.name}"] for f in fields(LetterScores)})
    own = {f.name: arrays[f"explanations.{f.name}"] for f in fields(Explanations) if f.name != "letters"}
    top = TopTokens(**{f.name: arrays[f"top.{f.name}"] for f in fields(TopTokens)})
    model, start = arrays["place"].tolist()
    return Explained(model, start, Explanations(**own, letters=letters), top)
