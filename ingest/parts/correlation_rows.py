"""Rows of pairs, universality_by_model and universality."""

from collections.abc import Iterator

import numpy as np

from ingest.parts.arrays import Columns, Ids
from ingest.statistics.correlation import DirectedCorrelations
from ingest.statistics.universality import BestMatches, Universality

PAIR_ROWS = 1_000_000
"""Rows of `pairs` that are turned into columns at a time."""


def pair_columns(
    ids: Ids, other_ids: Ids, other_model_id: int, directed: DirectedCorrelations, errors: np.ndarray, mutual: np.ndarray
) -> Iterator[Columns]:
    """Rows of pairs of one direction, in pieces."""
    values, partners = directed.top_values.numpy(), directed.top_index.numpy()
    k = values.shape[1]
    step = max(1, PAIR_ROWS // k)
    for start in range(0, len(ids), step):
        rows = slice(start, start + step)
        partner = partners[rows].ravel()
        rank = np.tile(np.arange(1, k + 1, dtype=np.int16), len(partner) // k)
        real = partner >= 0
        yield {
            "neuron_id": np.repeat(ids[rows], k)[real],
            "other_neuron_id": other_ids[partner[real]],
            "other_model_id": np.full(real.sum(), other_model_id, dtype=np.int32),
            "correlation": values[rows].ravel()[real].astype(np.float32),
            "correlation_se": errors[rows].ravel()[real].astype(np.float32),
            "rank": rank[real],
            "mutual_best": ((rank == 1) & np.repeat(mutual[rows], k))[real],
        }


def match_columns(
    ids: Ids,
    other_ids: Ids,
    other_model_id: int,
    match: BestMatches,
    diagonal: np.ndarray | None,
    mutual: np.ndarray,
) -> Iterator[Columns]:
    """Rows of universality_by_model, those that have errors and the others; ids of partners are masked where there is none."""
    missing = match.other < 0
    columns: Columns = {
        "neuron_id": ids,
        "other_model_id": np.full(len(ids), other_model_id, dtype=np.int32),
        "max_corr": match.max_corr.astype(np.float32),
        "max_corr_se": match.max_corr_se.astype(np.float32),
        "other_neuron_id": np.ma.masked_array(other_ids[np.clip(match.other, 0, None)], mask=missing),
        "baseline": match.baseline.astype(np.float32),
        "baseline_sd": match.baseline_sd.astype(np.float32),
        "baseline_se": match.baseline_se.astype(np.float32),
        "baseline_layer": np.ma.masked_array(match.baseline_layer.astype(np.int16), mask=match.baseline_layer < 0),
        "diag_corr": np.full(len(ids), np.nan, np.float32) if diagonal is None else diagonal.astype(np.float32),
        "mutual_best": mutual,
    }
    arrays = {"without_blocks": match.without, "baseline_without_blocks": match.baseline_without}
    known = ~np.isnan(match.max_corr_se)
    both = known & ~np.isnan(match.baseline_without).any(1)
    for some, there in ((both, [*arrays]), (known & ~both, ["without_blocks"]), (~known, [])):
        if some.any():
            more = {name: arrays[name][some].astype(np.float32) for name in there}
            yield {name: values[some] for name, values in columns.items()} | more


def universality_columns(ids: Ids, result: Universality) -> Columns:
    """Rows of universality."""
    columns = {name: getattr(result, name) for name in Universality.__dataclass_fields__}
    for name in ("n_models", "n_degenerate"):
        columns[name] = columns[name].astype(np.int16)
    return {"neuron_id": ids, **columns}
