"""redundancy: the most similar and the most opposite neurons of a model, and the vectors that such questions are asked of."""

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from ingest.checkpoints.undefined import Described, no_direct_effects
from ingest.parts.arrays import Arrays, Columns, Ids, TableRows
from ingest.parts.ground import Ground
from ingest.parts.measure import Advance, Keys, Lacking, ModelMeasure, Written
from ingest.parts.shapes import ModelShape, Share
from ingest.roles.redundancy import SimilarNeurons, similar_rows
from ingest.roles.vectors import UnitVectors, effect_vectors, weight_vectors
from ingest.settings import IngestSettings

WEIGHTS = ("w_in", "w_out")
"""Of weights that are compared, each in a share of its own: every pair of neurons is met once, so that no share has fewer."""


class Similarity(ModelMeasure):
    """The nearest and the most opposite neurons by input and by output weights."""

    part = name = "redundancy"
    title = "similar neurons"
    computes_rows_of_run = True

    def undefined_in_part(self, model: Described, context: int) -> Lacking | None:
        reason = no_direct_effects(model)
        return None if reason is None else Lacking(reason, ("neuron_vectors WHERE kind = 'logit_effect'",))

    def shares(self, shape: ModelShape, settings: IngestSettings) -> int:
        return len(WEIGHTS)

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return shape.n_neurons**2 * (shape.d_model + 100) / shares

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        weights = ground.processed(model).weights
        vectors = (weights.W_in.transpose(1, 2).flatten(0, 1), weights.W_out.flatten(0, 1))
        return vars(similar_rows(vectors[share.number], advance=advance)) | {"kind": np.array(WEIGHTS[share.number])}

    def rows(self, arrays: Arrays, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        similar = SimilarNeurons(**{field.name: arrays[field.name] for field in fields(SimilarNeurons)})
        for columns in similar_columns(similar, str(arrays["kind"]), keys.models[model].neuron_ids):
            yield "similar_neurons", columns

    def rows_of_run(self, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        """Vectors: effects on the logits of all models share one basis, so they are made together when they are written."""
        checkpoints = [ground.processed(model) for model in range(len(ground.checkpoints))]
        for of_model, checkpoint in zip(keys.models, checkpoints, strict=True):
            for kind, vectors in weight_vectors(checkpoint.weights.W_in, checkpoint.weights.W_out).items():
                yield "neuron_vectors", vector_columns(vectors, kind, of_model.neuron_ids, of_model.model_id)
        n = ground.tokenizer.n_tokens
        acting = [(of, c.weights) for of, c in zip(keys.models, checkpoints, strict=True) if no_direct_effects(c) is None]
        effects = effect_vectors([(weights.W_out, weights.W_U[:, :n]) for _, weights in acting]) if acting else ()
        for (of_model, _), vectors in zip(acting, effects, strict=True):
            yield "neuron_vectors", vector_columns(vectors, "logit_effect", of_model.neuron_ids, of_model.model_id)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(kept=83)


def similar_columns(similar: SimilarNeurons, weights: str, ids: Ids) -> Iterator[Columns]:
    """Rows of similar_neurons, by input or by output weights."""
    ends = (
        (False, similar.nearest, similar.nearest_cosine, similar.nearest_mutual),
        (True, similar.opposite, similar.opposite_cosine, similar.opposite_mutual),
    )
    for opposite, others, cosines, mutual in ends:
        neuron, place = np.nonzero(others >= 0)
        n = len(neuron)
        yield {
            "neuron_id": ids[neuron],
            "kind": np.full(n, weights.encode()),
            "opposite": np.full(n, opposite),
            "rank": (place + 1).astype(np.int16),
            "other_neuron_id": ids[others[neuron, place]],
            "cosine": cosines[neuron, place].astype(np.float32),
            "mutual": mutual[neuron] & (place == 0),
        }


def vector_columns(units: UnitVectors, source: str, ids: Ids, model_id: int) -> Columns:
    """Rows of neuron_vectors, of one source; neurons without a direction have none."""
    neurons = np.flatnonzero(units.exists)
    return {
        "neuron_id": ids[neurons],
        "kind": np.full(len(neurons), source.encode()),
        "model_id": np.full(len(neurons), model_id, dtype=np.int32),
        "vector": units.vectors[neurons],
    }
