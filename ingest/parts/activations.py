"""activations: moments and frequency of each neuron, with their standard errors.

The moments are those that jobs take in any case, for others stand on them; the errors follow from sums by block of documents.
"""

from collections.abc import Iterator

import numpy as np

from ingest.parts.arrays import Arrays, Columns, Ids, TableRows
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.moments import ModelMoments
from ingest.parts.shapes import LayerPivots, Layers, LayerShape, Size
from ingest.statistics.block_moments import MOMENTS, BlockMoments
from ingest.statistics.jackknife import N_BLOCKS


class Activations(LayerMeasure[BlockMoments]):
    """Sums of powers of pre and post, and activity, by block of documents: the standard errors of moments and frequency."""

    part = name = "activations"

    def size(self, shape: LayerShape) -> Size:
        n = shape.n_neurons
        needed = BlockMoments.bytes_needed(n)
        # at the finish there are four arrays of as many estimates as there were sums
        return Size(needed, operations=n, finish_operations=n * N_BLOCKS, shared_bytes=4 * needed)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> BlockMoments:
        return BlockMoments(pivots.pre, pivots.post)

    def finish(self, sums: BlockMoments, layers: Layers, ground: Ground) -> Arrays:
        return {f"{name}_se": errors for name, errors in sums.standard_errors().items()}

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        moments = ground.moments(layers.model)
        yield "activation_statistics", {"neuron_id": ids, **activation_columns(moments, layers.neurons), **arrays}

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=1)


def activation_columns(sums: ModelMoments, neurons: slice) -> Columns:
    """Columns of activation_statistics that the moments of a model give."""
    pre, post = sums.pre.compute()[neurons], sums.post.compute()[neurons]
    return {
        "n_tokens": np.full(len(pre.mean), pre.n, dtype=np.int64),
        **{name: getattr(pre, name).cpu().numpy() for name in MOMENTS},
        **{f"post_{name}": getattr(post, name).cpu().numpy() for name in MOMENTS},
        "sparsity": sums.frequency.compute()[neurons].cpu().numpy(),
        "degenerate": post.degenerate.cpu().numpy(),
    }
