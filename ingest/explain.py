"""Turns sums per token into explanations, and those into rows once neuron ids are known."""

from collections.abc import Iterator

import numpy as np

from ingest.columns import Columns, Ids
from ingest.compute import LayerTokenSums
from ingest.corpus_features import CorpusFeatures
from ingest.feature_results import SHIFTS
from ingest.labels.explanations import Explanations, TopTokens, explain, top_tokens
from ingest.labels.unigrams import LetterClasses, letter_classes
from ingest.results import Explained


class Explainer:
    """Explanations of every model of a run, from the sums per token of one span of layers after another."""

    def __init__(self, features: CorpusFeatures, min_count: int) -> None:
        tokenizer = features.tokenizer
        self.features = features.tokens
        excluded = tokenizer.masked_ids | tokenizer.unknown_ids
        self.letters: LetterClasses = letter_classes(tokenizer.strings, excluded_ids=excluded)
        self.counts = features.counts
        self.min_count = min_count
        self.n_ids = tokenizer.n_tokens

    def explain(self, layer: LayerTokenSums) -> Explained:
        """Explain the neurons of one span of layers; ids beyond the tokenizer's never occur in a corpus."""
        sums = layer.sums[:, : self.n_ids].cpu().numpy()
        explanations = explain(
            self.features,
            self.letters,
            counts=self.counts.current[: self.n_ids],
            counts_previous=self.counts.previous[: self.n_ids],
            sums=sums[0],
            sums_previous=sums[1],
            n=layer.moments.n,
            mean=layer.moments.mean.cpu().numpy(),
            variance=layer.moments.var.cpu().numpy(),
            pivot=layer.pivot.cpu().numpy().astype(np.float64),
            degenerate=layer.moments.degenerate.cpu().numpy(),
        )
        top = top_tokens(self.counts.current[: self.n_ids], sums[0], pivot=layer.pivot.cpu().numpy(), min_count=self.min_count)
        return Explained(layer.model, layer.neurons.start, explanations, top)

    def columns(self, parts: list[Explained], ids: list[Ids], feature_ids: dict[str, int]) -> Iterator[tuple[str, Columns]]:
        """Rows of explanations, letter_scores and top_tokens, each with its table."""
        by_index = np.array([feature_ids[name] for name in self.features.names], dtype=np.int32)
        for part in parts:
            own = ids[part.model][part.start :]
            yield "explanations", _explanation_columns(own, part.explanations, by_index)
            yield "letter_scores", _letter_columns(own, part.explanations, by_index)
            yield "top_tokens", _top_columns(own, part.top)


def _top_columns(ids: Ids, top: TopTokens) -> Columns:
    return {
        "neuron_id": ids[top.neuron_index],
        "rank": top.rank.astype(np.int16),
        "token_id": top.token_id.astype(np.int32),
        "mean": top.mean,
        "n": top.n.astype(np.int64),
    }


def _explanation_columns(ids: Ids, part: Explanations, feature_ids: np.ndarray) -> Columns:
    numbers = ("variance_reduction", "n_in", "n_out", "mean_in", "mean_out", "cohen_d")
    return {
        "neuron_id": ids[part.neuron_index],
        "feature_id": feature_ids[part.feature_index],
        "shift": SHIFTS[part.shift],
        **{name: getattr(part, name) for name in numbers},
        "rank": part.rank.astype(np.int32),
    }


def _letter_columns(ids: Ids, part: Explanations, feature_ids: np.ndarray) -> Columns:
    letters = part.letters
    return {
        "neuron_id": ids[letters.neuron_index],
        "letter": letters.letter,
        "feature_id": feature_ids[letters.feature_index],
        **{name: getattr(letters, name) for name in ("variance_reduction", "mean_a", "mean_b", "mean_c")},
    }
