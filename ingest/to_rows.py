"""The border for weights: results per flat neuron index become columns per neuron id, ready for binary COPY.

NaN becomes NULL on the way into the database; no other value stands for "undefined".
"""

from collections.abc import Iterator

import numpy as np

from ingest.parts.arrays import Columns, Ids
from ingest.statistics.weights import LogitEffects, WeightStatistics


def weight_columns(ids: Ids, result: WeightStatistics) -> Columns:
    """Rows of weight_statistics."""
    names = [name for name in WeightStatistics.__dataclass_fields__ if name != "vocab_n"]
    columns = {name: getattr(result, name).cpu().numpy() for name in names}
    return {"neuron_id": ids, **columns, "vocab_n": np.full(len(ids), result.vocab_n, dtype=np.int32)}


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
