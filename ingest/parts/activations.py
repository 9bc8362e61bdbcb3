"""activations: moments and frequency of each neuron; jobs take them in any case, for others stand on them."""

from collections.abc import Iterator

import numpy as np

from ingest.parts.arrays import Columns, Ids, TableRows
from ingest.parts.ground import Ground
from ingest.parts.measure import Keys, MomentMeasure, Written
from ingest.parts.moments import ModelMoments


class Activations(MomentMeasure):
    """One row per neuron."""

    part = name = "activations"

    def rows_of_model(self, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        yield "activation_statistics", activation_columns(keys.models[model].neuron_ids, ground.moments(model))

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=1)


def activation_columns(ids: Ids, sums: ModelMoments) -> Columns:
    """Rows of activation_statistics."""
    names = ("mean", "var", "skew", "kurt")
    pre, post = sums.pre.compute(), sums.post.compute()
    return {
        "neuron_id": ids,
        "n_tokens": np.full(len(ids), pre.n, dtype=np.int64),
        **{name: getattr(pre, name).cpu().numpy() for name in names},
        **{f"post_{name}": getattr(post, name).cpu().numpy() for name in names},
        "sparsity": sums.frequency.compute().cpu().numpy(),
        "degenerate": post.degenerate.cpu().numpy(),
    }
