"""examples: where neurons are most active, and samples below, from lists per neuron to rows."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from ingest.parts.arrays import Arrays, Ids, TableRows
from ingest.parts.ground import Ground
from ingest.parts.measure import LayerMeasure, Written
from ingest.parts.shapes import LayerPivots, Layers, LayerShape, Size
from ingest.statistics.examples import BANDS, NOWHERE, ExampleAccumulator, Examples

TOP_KIND, LOWEST_KIND = 0, -1
BAND_KINDS = tuple(round(100 * end) for end in BANDS)
"""The upper percent of a band names it in the table."""


class FoundExamples(LayerMeasure[ExampleAccumulator]):
    """The places of the largest activations, of gated neurons also of the lowest, and samples of quantile bands."""

    part = name = "examples"

    def size(self, shape: LayerShape) -> Size:
        n = shape.n_neurons
        return Size(ExampleAccumulator.bytes_needed(n, shape.gated), operations=n, finish_operations=n)

    def start(self, shape: LayerShape, pivots: LayerPivots) -> ExampleAccumulator:
        return ExampleAccumulator(shape.corpus.context, shape.n_neurons, shape.seed, pivots.pre.device, shape.gated)

    def finish(self, sums: ExampleAccumulator, layers: Layers, ground: Ground) -> Arrays:
        return describe_examples(sums.compute(), ground.corpus.tokens)

    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        return example_columns(arrays, ids)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(kept=68)


def describe_examples(examples: Examples, tokens: Int[np.ndarray, "rows context"]) -> Arrays:
    """One entry per example, neuron after neuron, top, then the lowest, then the bands upwards; empty entries are left out.

    Args:
        tokens: ids of the corpus.
    Returns:
        neuron (within the layers), kind, rank, value, row, position, quantile (NaN for top and lowest), token_id.
    """
    (n, n_top), n_lowest = examples.top_places.shape, examples.lowest_places.shape[1]
    n_bands, n_samples = examples.places.shape[1:]
    places = np.concatenate([examples.top_places, examples.lowest_places, examples.places.reshape(n, -1)], axis=1)
    values = np.concatenate([examples.top_values, examples.lowest_values, examples.values.reshape(n, -1)], axis=1)
    quantiles = np.concatenate([np.full((n, n_top + n_lowest), np.nan), examples.quantiles.reshape(n, -1)], axis=1)
    kinds = np.repeat([TOP_KIND, LOWEST_KIND, *BAND_KINDS], [n_top, n_lowest, *[n_samples] * n_bands])
    ranks = np.concatenate([np.arange(n_top), np.arange(n_lowest), np.tile(np.arange(n_samples), n_bands)]) + 1
    neuron, entry = np.nonzero(places != NOWHERE)
    row, position = np.divmod(places[neuron, entry], examples.context)
    return {
        "neuron": neuron.astype(np.int32),
        "kind": kinds[entry].astype(np.int16),
        "rank": ranks[entry].astype(np.int16),
        "value": values[neuron, entry],
        "row": row.astype(np.int32),
        "position": position.astype(np.int32),
        "quantile": quantiles[neuron, entry].astype(np.float32),
        "token_id": tokens[row, position].astype(np.int32),
    }


def example_columns(arrays: Arrays, ids: Ids) -> Iterator[TableRows]:
    """Rows of examples."""
    columns = {name: values for name, values in arrays.items() if name != "neuron"}
    yield "examples", {"neuron_id": ids[arrays["neuron"]], **columns}
