"""gates: what gated neurons do in the quadrants of what their gate reads and what it multiplies."""

from collections.abc import Iterator

import numpy as np

from ingest.parts.arrays import Arrays, Ids, TableRows
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.shapes import LayerPivots, Layers, LayerShape, ModelShape, Size
from ingest.statistics.jackknife import N_BLOCKS
from ingest.statistics.quadrants import QUADRANTS, QuadrantAccumulator


class Gates(LayerMeasure[QuadrantAccumulator]):
    """Frequency, post and its size in each quadrant of (g, u) of gated neurons, by block of documents."""

    part = name = "gates"

    def sums_of(self, shape: ModelShape) -> bool:
        return shape.gated

    def size(self, shape: LayerShape) -> Size:
        n = shape.n_neurons
        needed = QuadrantAccumulator.bytes_needed(n)
        # at the finish there are as many estimates as there were sums, and the deviations of these
        return Size(needed, operations=n, finish_operations=n * N_BLOCKS, shared_bytes=3 * needed)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> QuadrantAccumulator:
        return QuadrantAccumulator(shape.n_neurons, pivots.pre.device)

    def finish(self, sums: QuadrantAccumulator, layers: Layers, ground: Ground) -> Arrays:
        return {"n_tokens": sums.n_.sum().numpy(), **describe_quadrants(sums)}

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        n_tokens = np.full(len(ids), arrays.pop("n_tokens"), dtype=np.int64)
        yield "gate_statistics", {"neuron_id": ids, "n_tokens": n_tokens, **arrays}

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=1)


def describe_quadrants(sums: QuadrantAccumulator) -> Arrays:
    """Columns of gate_statistics."""
    found = {"": sums.statistics(), "_se": sums.standard_errors()}
    return {
        f"{name}_{quadrant}{end}": of_quadrants[place]
        for end, statistics in found.items()
        for name, of_quadrants in statistics.items()
        for place, quadrant in enumerate(QUADRANTS)
    }
