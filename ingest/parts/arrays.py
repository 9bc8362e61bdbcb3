"""Results of jobs as bytes for the database: named arrays in numpy's .npz format, which checks them on reading."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ingest.corpus.batches import Pivots

Arrays = dict[str, np.ndarray]
Columns = dict[str, np.ndarray]
"""Rows for the catalog: name of a column of the table -> values."""
TableRows = tuple[str, Columns]
"""A table's name and some of its rows."""
Ids = Int[np.ndarray, " neurons"]
"""Database ids of neurons in flat order."""

PLACE = "place"
"""Name of the array that says whose results they are: model, first neuron, and the one after the last."""

SHARE = "share"
"""Name of the array that says which share of a measure they are, so that results are read in order."""


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


def object_array(values: list[Any]) -> np.ndarray:
    """(values,) of any objects, lists among them."""
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made
