"""Examples of neurons: from lists per neuron to rows of the catalog."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from ingest.columns import Columns, Ids
from ingest.results import Arrays
from ingest.statistics.examples import BANDS, NOWHERE, Examples

TOP_KIND = 0
BAND_KINDS = tuple(round(100 * end) for end in BANDS)
"""The upper percent of a band names it in the table."""


def describe_examples(found: Examples, tokens: Int[np.ndarray, "rows context"]) -> Arrays:
    """One entry per example, neuron after neuron, top first and then the bands upwards; empty entries are left out.

    Args:
        tokens: ids of the corpus.
    Returns:
        neuron (within the span), kind, rank, value, row, position, quantile (NaN for top), token_id.
    """
    n, n_top = found.top_places.shape
    n_bands, n_samples = found.places.shape[1:]
    places = np.concatenate([found.top_places, found.places.reshape(n, -1)], axis=1)
    values = np.concatenate([found.top_values, found.values.reshape(n, -1)], axis=1)
    quantiles = np.concatenate([np.full((n, n_top), np.nan), found.quantiles.reshape(n, -1)], axis=1)
    kinds = np.concatenate([np.full(n_top, TOP_KIND), np.repeat(BAND_KINDS, n_samples)])
    ranks = np.concatenate([np.arange(n_top), np.tile(np.arange(n_samples), n_bands)]) + 1
    neuron, entry = np.nonzero(places != NOWHERE)
    row, position = np.divmod(places[neuron, entry], found.context)
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


def example_columns(found: Arrays, ids: Ids) -> Iterator[tuple[str, Columns]]:
    """Rows of examples."""
    columns = {name: values for name, values in found.items() if name != "neuron"}
    yield "examples", {"neuron_id": ids[found["neuron"]], **columns}
