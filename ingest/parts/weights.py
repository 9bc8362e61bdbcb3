"""weights: norms, cosines, moments over the vocabulary, and the tokens that a neuron promotes and suppresses, by weights alone.

NaN becomes NULL on the way into the database; no other value stands for "undefined".
"""

from collections.abc import Iterator

import numpy as np

from ingest.checkpoints.undefined import Described, no_direct_effects
from ingest.parts.arrays import Columns, Ids, TableRows
from ingest.parts.effects import STATISTICS, directions_of, lists_of, statistics_of
from ingest.parts.ground import Ground
from ingest.parts.measure import Keys, Lacking, Measure, Written
from ingest.statistics.directions import Directions, directions
from ingest.statistics.weights import OF_VOCABULARY, LogitEffects, WeightStatistics, without_effects


class Weights(Measure):
    """Rows of what the pass over all effects found."""

    part = name = "weights"
    needs = ("effects",)

    def undefined_in_part(self, model: Described, context: int) -> Lacking | None:
        reason = no_direct_effects(model)
        columns = tuple(f"weight_statistics.{name}" for name in OF_VOCABULARY)
        return None if reason is None else Lacking(reason, (*columns, "logit_effects"))

    def rows_of_model(self, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        ids, checkpoint = keys.models[model].neuron_ids, ground.processed(model)
        if no_direct_effects(checkpoint) is not None:
            own = checkpoint.weights
            directed = directions(own.W_in, own.W_out, own.W_gate, own.b_gate, slice(None))
            yield "weight_statistics", weight_columns(ids, without_effects(own.W_in, own.b_in, own.W_out), directed)
            return
        yield "weight_statistics", weight_columns(ids, statistics_of(model, ground), directions_of(model, ground))
        for columns in logit_effect_columns(ids, lists_of(model, ground)):
            yield "logit_effects", columns

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(kept=60, moved=1)


def weight_columns(ids: Ids, result: WeightStatistics, directed: Directions) -> Columns:
    """Rows of weight_statistics."""
    columns = {name: getattr(result, name).cpu().numpy() for name in STATISTICS}
    columns |= {name: values.numpy() for name, values in vars(directed).items()}
    others = columns.pop("mismatched_index")
    return {
        "neuron_id": ids,
        **columns,
        "vocab_n": np.full(len(ids), result.vocab_n, dtype=np.int32),
        "mismatched_index": np.ma.masked_array(others.astype(np.int32), mask=others < 0),
    }


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
