"""The border: results per flat neuron index become columns per neuron id, ready for binary COPY.

NaN becomes NULL on the way into the database; no other value stands for "undefined". Rows that do not exist (a partner
that is undefined) are left out.
"""

from collections.abc import Iterator

import numpy as np

from ingest.collect import ActivationResult
from ingest.columns import Columns, Ids
from ingest.statistics.correlation import DirectedCorrelations
from ingest.statistics.universality import BestMatches, Universality
from ingest.statistics.weights import LogitEffects, WeightStatistics

PAIR_ROWS = 1_000_000
"""Rows of `pairs` that are turned into columns at a time."""


def weight_columns(ids: Ids, result: WeightStatistics) -> Columns:
    """Rows of weight_statistics."""
    names = [name for name in WeightStatistics.__dataclass_fields__ if name != "vocab_n"]
    columns = {name: getattr(result, name).cpu().numpy() for name in names}
    return {"neuron_id": ids, **columns, "vocab_n": np.full(len(ids), result.vocab_n, dtype=np.int32)}


def activation_columns(ids: Ids, result: ActivationResult) -> Columns:
    """Rows of activation_statistics."""
    pre = {name: getattr(result.pre, name).cpu().numpy() for name in ("mean", "var", "skew", "kurt")}
    post = {f"post_{name}": getattr(result.post, name).cpu().numpy() for name in ("mean", "var", "skew", "kurt")}
    return {
        "neuron_id": ids,
        "n_tokens": np.full(len(ids), result.pre.n, dtype=np.int64),
        **pre,
        **post,
        "sparsity": result.sparsity.cpu().numpy(),
        "degenerate": result.post.degenerate.cpu().numpy(),
    }


def pair_columns(
    ids: Ids, other_ids: Ids, other_model_id: int, directed: DirectedCorrelations, mutual: np.ndarray
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
) -> Columns:
    """Rows of universality_by_model; ids of partners are masked where there is none."""
    missing = match.other < 0
    return {
        "neuron_id": ids,
        "other_model_id": np.full(len(ids), other_model_id, dtype=np.int32),
        "max_corr": match.max_corr.astype(np.float32),
        "other_neuron_id": np.ma.masked_array(other_ids[np.clip(match.other, 0, None)], mask=missing),
        "baseline": match.baseline.astype(np.float32),
        "baseline_sd": match.baseline_sd.astype(np.float32),
        "baseline_layer": np.ma.masked_array(match.baseline_layer.astype(np.int16), mask=match.baseline_layer < 0),
        "diag_corr": np.full(len(ids), np.nan, np.float32) if diagonal is None else diagonal.astype(np.float32),
        "mutual_best": mutual,
    }


def universality_columns(ids: Ids, result: Universality) -> Columns:
    """Rows of universality."""
    columns = {name: getattr(result, name) for name in Universality.__dataclass_fields__}
    for name in ("n_models", "n_degenerate"):
        columns[name] = columns[name].astype(np.int16)
    return {"neuron_id": ids, **columns}


def logit_effect_columns(ids: Ids, effects: LogitEffects) -> Iterator[Columns]:
    """Rows of logit_effects, one direction at a time."""
    for direction in ("promoted", "suppressed"):
        tokens = getattr(effects, direction).numpy()
        k = tokens.shape[1]
        yield {
            "neuron_id": np.repeat(ids, k),
            "direction": np.full(len(ids) * k, direction.encode()),
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int16), len(ids)),
            "token_id": tokens.ravel().astype(np.int32),
            "effect": getattr(effects, f"{direction}_effect").numpy().ravel().astype(np.float32),
        }
