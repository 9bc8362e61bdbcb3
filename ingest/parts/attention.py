"""attention: how neurons compose with heads, and how much they turn heads towards BOS, by weights alone."""

from collections.abc import Iterator

import numpy as np

from ingest.parts.arrays import Arrays, Columns, Ids, TableRows
from ingest.parts.ground import Ground
from ingest.parts.head_scores import scores_of
from ingest.parts.heads import of_heads
from ingest.parts.measure import Advance, Keys, ModelMeasure, Written
from ingest.parts.shapes import ModelShape, Share
from ingest.roles.compositions import head_compositions
from ingest.roles.head_scores import RandomBaseline
from ingest.roles.head_selection import SelectedScores
from ingest.settings import IngestSettings

MOST_BYTES = 64 * 2**20
"""Of the scores in one share."""
D_HEAD = 64
"""Dimensions of a head, about, by which the number of heads is estimated."""
SCORES = "qkvo"


class Compositions(ModelMeasure):
    """Compositions with all heads, some layers of neurons in each share; and rows of the scores that parts of heads share."""

    part = name = "attention"
    title = "heads"
    needs = ("head_scores",)

    def shares(self, shape: ModelShape, settings: IngestSettings) -> int:
        heads = shape.n_layers * max(1, shape.d_model // D_HEAD)
        return min(shape.n_layers, -(-shape.n_neurons * 2 * heads * 4 // MOST_BYTES))

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return shape.n_neurons * shape.n_layers * shape.d_model**2 / shares

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        checkpoint = ground.processed(model)
        weights, layers = checkpoint.weights, range(checkpoint.n_layers)
        made = head_compositions(
            weights.W_in, weights.W_out, weights.W_Q, weights.W_K, weights.W_V, weights.W_O,
            parallel=checkpoint.parallel_attention, advance=advance, layers=share.part(layers),
        )  # fmt: skip
        return {f"{name}:{layer.layer}": getattr(layer, name) for layer in made for name in SCORES}

    def rows(self, arrays: Arrays, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        d_mlp, ids = ground.checkpoints[model].d_mlp, keys.models[model].neuron_ids
        for layer in sorted({int(name.partition(":")[2]) for name in arrays}):
            scores = {name: arrays[f"{name}:{layer}"] for name in SCORES}
            yield "head_compositions", composition_columns(scores, ids[layer * d_mlp : (layer + 1) * d_mlp])

    def rows_of_model(self, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        yield from super().rows_of_model(model, keys, ground)
        if ground.bos_id is None:
            return
        scores, baseline = scores_of(model, ground)
        yield "head_scores", score_columns(scores, keys.models[model].neuron_ids)
        yield "head_baselines", baseline_columns(baseline, keys.models[model].model_id)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=2.1)


def composition_columns(scores: Arrays, ids: Ids) -> Columns:
    """Rows of head_compositions of a layer; neurons without input or output weights have none."""
    defined = ~np.any([np.isnan(values).any(1) for values in scores.values()], axis=0)
    return {"neuron_id": ids[defined], **{name: values[defined].astype(np.float32) for name, values in scores.items()}}


def score_columns(scores: SelectedScores, ids: Ids) -> Columns:
    """Rows of head_scores."""
    return {
        "neuron_id": ids[scores.neuron_index],
        **{name: getattr(scores, name).astype(np.int16) for name in ("head_layer", "head")},
        **{name: getattr(scores, name).astype(np.float32) for name in ("h", "h_sd", "h_scaled")},
        "head_rank": np.ma.masked_equal(scores.head_rank.astype(np.int16), 0),
        "largest": scores.largest,
        "smallest": scores.smallest,
    }


def baseline_columns(baseline: RandomBaseline, model_id: int) -> Columns:
    """Rows of head_baselines; no neuron comes before the heads of layer 0."""
    numbers = {"max_abs_h": baseline.largest[1:], "sd_h": baseline.sd[1:]}
    columns = of_heads(tuple(baseline.largest.shape), 1, model_id)
    return {**columns, **{name: v.flatten().cpu().numpy().astype(np.float32) for name, v in numbers.items()}}
