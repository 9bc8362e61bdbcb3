"""prediction: which classes of tokens the effects of a neuron on the logits tell apart."""

from collections.abc import Iterator, Sequence

import numpy as np

from catalog.rows import FeatureRow
from ingest.features.of_corpus import vocabulary_of, vocabulary_rows
from ingest.features.vocabulary import FeatureTable
from ingest.parts.arrays import Arrays, Columns, Ids, TableRows
from ingest.parts.effects import explanations_of
from ingest.parts.ground import Ground
from ingest.parts.measure import Keys, Measure, Written, with_keys

NUMBERS = ("mean_in", "mean_out", "mean_difference", "welch_t", "variance_reduction", "skew_reduction", "kurt_reduction")


class Prediction(Measure):
    """Rows of what the pass over all effects explained."""

    part = name = "prediction"
    needs = ("effects", "explanations")
    tables = ("logit_explanations",)

    def features(self, ground: Ground) -> Sequence[FeatureRow]:
        return vocabulary_rows(ground.tokenizer)

    def tokens(self, ground: Ground) -> FeatureTable | None:
        return vocabulary_of(ground.tokenizer)

    def rows_of_model(self, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        columns = explanation_columns(explanations_of(model, ground), keys.models[model].neuron_ids)
        yield "logit_explanations", with_keys(columns, keys.of(self.features(ground)))

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(kept=5)


def explanation_columns(arrays: Arrays, ids: Ids) -> Columns:
    """Rows of logit_explanations; features are places."""
    return {
        "neuron_id": ids[arrays["neuron_index"]],
        "feature_id": arrays["feature_index"],
        "rank": arrays["rank"].astype(np.int16),
        **{name: arrays[name].astype(np.int32) for name in ("n_in", "n_out")},
        **{name: arrays[name] for name in NUMBERS},
    }
