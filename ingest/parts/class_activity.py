"""class_activity: of neurons with a peaked effect on the logits, whether they are active before the tokens that it is on."""

from collections.abc import Iterator, Sequence

import numpy as np

from catalog.rows import FeatureRow
from ingest.features.of_corpus import vocabulary_of, vocabulary_rows
from ingest.features.vocabulary import FeatureTable
from ingest.parts.arrays import Arrays, TableRows
from ingest.parts.effects import explanations_of, statistics_of
from ingest.parts.ground import Ground
from ingest.parts.measure import Advance, Keys, ModelMeasure, Written, with_keys
from ingest.parts.shapes import ModelShape, Share
from ingest.roles.class_activity import ClassActivity, class_activity

LEAST_KURTOSIS = 5.0
"""Over the vocabulary, from which on a neuron's activity before its class is measured: below what labels ask for, 10."""


class ActivityBeforeClasses(ModelMeasure):
    """One pass for all such neurons, whose sums have one column each: it is not cut."""

    part = name = "class_activity"
    title = "activity before classes"
    needs = ("effects", "explanations")
    tables = ("class_activity",)
    reads_corpus = True

    def features(self, ground: Ground) -> Sequence[FeatureRow]:
        return vocabulary_rows(ground.tokenizer)

    def tokens(self, ground: Ground) -> FeatureTable | None:
        return vocabulary_of(ground.tokenizer)

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return tokens * shape.block_flop * shape.n_layers

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        checkpoint, table = ground.processed(model), vocabulary_of(ground.tokenizer)
        explained = explanations_of(model, ground)
        first = explained["rank"] == 1
        neurons, features = explained["neuron_index"][first], explained["feature_index"][first]
        peaked = statistics_of(model, ground).vocab_kurt.cpu().numpy()[neurons] > LEAST_KURTOSIS
        neurons, features = neurons[peaked], features[peaked]
        used, class_of = np.unique(features, return_inverse=True)
        classes = np.zeros((len(used), checkpoint.d_vocab), dtype=bool)
        classes[:, : table.matrix.shape[1]] = table.matrix[used]
        activity = class_activity(
            checkpoint, ground.corpus, neurons.tolist(), class_of.tolist(), classes, *ground.reading, advance
        )
        return {"neuron_index": neurons, "feature_index": features, **vars(activity)}

    def rows(self, arrays: Arrays, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        ids = keys.models[model].neuron_ids
        numbers = {name: arrays[name] for name in ClassActivity.__dataclass_fields__}
        columns = {"neuron_id": ids[arrays["neuron_index"]], "feature_id": arrays["feature_index"], **numbers}
        yield "class_activity", with_keys(columns, keys.of(self.features(ground)))

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=0.1)
