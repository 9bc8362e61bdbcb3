"""Columns of rows that are of heads."""

import numpy as np

from ingest.parts.arrays import Columns


def of_heads(shape: tuple[int, ...], first_layer: int, model_id: int) -> Columns:
    """The key columns of all heads from a layer on, in order.

    Args:
        shape: layers and heads of the model.
    """
    layers, heads = (grid.ravel().astype(np.int16) for grid in np.indices(shape))
    later = layers >= first_layer
    n = int(later.sum())
    return {"model_id": np.full(n, model_id, dtype=np.int32), "head_layer": layers[later], "head": heads[later]}
