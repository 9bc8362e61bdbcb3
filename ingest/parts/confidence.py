"""confidence: what neurons of the last layer do to how sure a model is, by mean ablation in closed form.

Means of post, what weights say, and which neurons may be token-frequency neurons are a job of their own, for which the shares
of ablations and of controls wait.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from catalog.rows import ModelIds
from ingest.checkpoints.checkpoint import Checkpoint
from ingest.checkpoints.undefined import Described, no_direct_effects
from ingest.parts.arrays import Arrays, Columns, TableRows
from ingest.parts.ground import Ground
from ingest.parts.measure import Advance, Keys, ModelMeasure, Written
from ingest.parts.shapes import ModelShape, Share
from ingest.roles.confidence import (
    NEURONS_AT_ONCE,
    SUMMED,
    Reading,
    ablate_to_means,
    along_others,
    mean_posts,
)
from ingest.roles.confidence_weights import (
    frequency_candidates,
    frequency_controls,
    frequency_cosines,
    null_dimensions,
    null_shares,
)
from ingest.roles.entropy_candidates import controls_of
from ingest.roles.prediction_metrics import logit_bytes, tokens_at_once
from ingest.roles.token_frequency import PSEUDO_COUNT, TokenFrequency, count_ids
from ingest.settings import IngestSettings
from ingest.statistics.mediation import Estimate, mean, mediated

SCORED_TOKENS = 2048
"""Positions whose losses are measured, at most: every second, third ... of those that count."""
CONTROL_TOKENS = 256
"""Of them, for candidates and their controls."""
SHARE_OF_CANDIDATES = 0.01
"""Of a layer, about."""
AT_ONCE, LEAST = 1024, 256
"""Neurons of one share, about, and of one that workers are left: every share reads the tokens again."""
CANDIDATES_AT_ONCE = 8
"""Of one share, about."""
EXPONENTIAL = 20.0
"""What an exponential takes, in multiplications of a product of matrices."""
WAYS, CONTROLLED_WAYS = 3, 2
"""Sums over the vocabulary of each ablation, and of each control."""


class LastLayer(ModelMeasure):
    """Means that ablation sets neurons to, how frequent tokens are, and what the weights of the last layer say of both."""

    part = "confidence"
    name = "last_layer"
    title = "last layer"
    tables = ("confidence", "confidence_models")
    provides = ("last_layer",)
    reads_corpus = True

    def undefined(self, model: Described, context: int) -> str | None:
        return no_direct_effects(model)

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return tokens * shape.block_flop * shape.n_layers + shape.d_model**2 * shape.d_vocab

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        checkpoint, special, n_ids = ground.processed(model), ground.tokenizer.special_ids, ground.tokenizer.n_tokens
        frequency = count_ids(ground.corpus.tokens, special, n_ids)
        means, n = mean_posts(checkpoint, _reading(ground, ground.settings.batch_tokens, advance))
        w_out, w_u = checkpoint.weights.W_out[-1], checkpoint.weights.W_U[:, :n_ids]
        cosines = frequency_cosines(w_out, w_u, frequency.direction)
        candidates = frequency_candidates(cosines)
        return {
            "counts": frequency.counts,
            "mean": means,
            "n_means": np.array(n),
            "null_share": null_shares(w_out, w_u, checkpoint.modules.architecture.centred),
            "cosine": cosines,
            "candidates": candidates,
            "controls": frequency_controls(cosines, candidates, ground.settings.seed),
        }


class Confidence(ModelMeasure):
    """Each neuron of the last layer at its mean, some of them in each share."""

    part = name = "confidence"
    title = "confidence"
    needs = ("last_layer",)
    reads_corpus = True

    def expected(self, shape: ModelShape, settings: IngestSettings) -> int:
        return shape.d_mlp

    def shares(self, shape: ModelShape, settings: IngestSettings) -> int:
        return min(-(-shape.d_mlp // LEAST), max(-(-shape.d_mlp // AT_ONCE), settings.at_least_jobs))

    def bytes_needed(self, shape: ModelShape, settings: IngestSettings, budget: int) -> int:
        return min(budget, logit_bytes(shape.d_vocab, settings.batch_tokens))

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return _reading_operations(shape, tokens) + WAYS * EXPONENTIAL * n * min(tokens, SCORED_TOKENS) * shape.d_vocab

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        (own,) = ground.found(LastLayer.name, model)
        checkpoint = ground.checkpoints[model]
        # blocks of a share are blocks of the whole layer, so that every product is the same
        wanted = share.slice(checkpoint.d_mlp, NEURONS_AT_ONCE)
        reading, frequency = _reading(ground, _at_once(checkpoint, ground), advance), TokenFrequency(own["counts"])
        sums = ablate_to_means(checkpoint, own["mean"], frequency, reading, SCORED_TOKENS, wanted)
        return {"first": np.array(wanted.start), **vars(sums)}

    def count(self, arrays: Arrays) -> int:
        return int(arrays["changes"].shape[1])

    def rows_of_model(self, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        (own,) = ground.found(LastLayer.name, model)
        checkpoint, ids = ground.checkpoints[model], keys.models[model]
        shares = ground.found(self.name, model)
        yield "confidence_models", _row_of_model(ids, checkpoint, own, shares[0])
        for arrays in shares:
            if self.count(arrays):
                yield "confidence", _of_neurons(ids, checkpoint, own, arrays)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=0.1)


class FrequencyControls(ModelMeasure):
    """What candidates for token-frequency neurons would do if they wrote along others of their layer, some in each share."""

    part = "confidence"
    name = "frequency_controls"
    title = "controls of token frequency"
    tables = ("frequency_tests", "frequency_controls")
    needs = ("last_layer",)
    reads_corpus = True

    def expected(self, shape: ModelShape, settings: IngestSettings) -> int:
        candidates = _expected_candidates(shape)
        return candidates * min(controls_of(candidates) + candidates, shape.d_mlp)

    def shares(self, shape: ModelShape, settings: IngestSettings) -> int:
        candidates = _expected_candidates(shape)
        return min(candidates, max(-(-candidates // CANDIDATES_AT_ONCE), settings.at_least_jobs))

    def bytes_needed(self, shape: ModelShape, settings: IngestSettings, budget: int) -> int:
        return min(budget, logit_bytes(shape.d_vocab, settings.batch_tokens))

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        sums = CONTROLLED_WAYS * n * min(tokens, CONTROL_TOKENS) * shape.d_vocab
        return _reading_operations(shape, tokens) + EXPONENTIAL * sums

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        (own,) = ground.found(LastLayer.name, model)
        checkpoint, frequency = ground.checkpoints[model], TokenFrequency(own["counts"])
        wanted = share.slice(len(own["candidates"]))
        neurons = own["candidates"][wanted].tolist()
        # of all candidates in every share, so that every product is the same
        others = [*own["controls"].tolist(), *own["candidates"].tolist()]
        if not neurons:
            return {"neuron": np.empty(0, dtype=np.int64), "effect": np.empty((0, 0)), "own": np.empty(0), "n": np.array(0)}
        reading = _reading(ground, _at_once(checkpoint, ground), advance)
        effects, n = along_others(checkpoint, own["mean"], frequency, reading, CONTROL_TOKENS, neurons, others)
        n_controls = len(own["controls"])
        alone = effects[:, n_controls + wanted.start : n_controls + wanted.stop].diagonal()
        return {"neuron": np.array(neurons), "effect": effects[:, :n_controls], "own": alone.copy(), "n": np.array(n)}

    def count(self, arrays: Arrays) -> int:
        return int(arrays["effect"].size)

    def rows(self, arrays: Arrays, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        if not len(arrays["neuron"]):
            return
        (own,) = ground.found(LastLayer.name, model)
        ids = _last(keys.models[model], ground.checkpoints[model])
        neurons, n_controls = ids[arrays["neuron"]], len(own["controls"])
        tokens = np.full(len(neurons), arrays["n"])
        yield "frequency_tests", {"neuron_id": neurons, "n_tokens": tokens, "frequency_effect": arrays["own"]}
        if n_controls:
            yield (
                "frequency_controls",
                {
                    "neuron_id": np.repeat(neurons, n_controls),
                    "along_neuron_id": np.tile(ids[own["controls"]], len(neurons)),
                    "frequency_effect": arrays["effect"].ravel(),
                },
            )

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=0.2)


def _expected_candidates(shape: ModelShape) -> int:
    return max(1, round(SHARE_OF_CANDIDATES * shape.d_mlp))


def _reading_operations(shape: ModelShape, tokens: int) -> float:
    return tokens * (shape.block_flop * shape.n_layers + shape.d_model * shape.d_vocab)


def _at_once(checkpoint: Checkpoint, ground: Ground) -> int:
    return tokens_at_once(ground.memory_bytes, checkpoint.d_vocab, ground.settings.batch_tokens)


def _reading(ground: Ground, at_once: int, advance: Advance) -> Reading:
    """The first rows of the corpus."""
    n_tokens, _, device = ground.reading
    return Reading(ground.corpus, ground.tokenizer.special_ids, n_tokens, at_once, device, advance)


def _last(ids: ModelIds, checkpoint: Checkpoint) -> Int[np.ndarray, " neurons"]:
    """Of the neurons of the last layer."""
    return ids.neuron_ids[-checkpoint.d_mlp :]


def _row_of_model(ids: ModelIds, checkpoint: Checkpoint, own: Arrays, share: Arrays) -> Columns:
    frequency, n = TokenFrequency(own["counts"]), share["n"]
    total = n.sum() or np.nan
    return {
        "model_id": np.array([ids.model_id], dtype=np.int32),
        "null_dimensions": np.array([null_dimensions(checkpoint.d_model)], dtype=np.int32),
        "vocabulary": np.array([len(frequency.counts)], dtype=np.int32),
        "counted": np.array([frequency.counts.sum()]),
        "unseen": np.array([(frequency.counts == 0).sum()], dtype=np.int32),
        "pseudo_count": np.array([PSEUDO_COUNT]),
        "n_means": np.array([own["n_means"]]),
        "n_tokens": np.array([n.sum()]),
        "n_blocks": np.array([(n > 0).sum()], dtype=np.int16),
        "loss": np.array([share["loss"].sum() / total]),
        "divergence": np.array([share["divergence"].sum() / total]),
    }


def _of_neurons(ids: ModelIds, checkpoint: Checkpoint, own: Arrays, share: Arrays) -> Columns:
    """Rows of confidence, of one share."""
    changes: dict[str, Float[np.ndarray, "neurons blocks"]] = dict(zip(SUMMED, share["changes"], strict=True))
    n, first = share["n"], int(share["first"])
    here = slice(first, first + len(share["changes"][0]))
    estimates = {
        "total_effect": mean(n, changes["total"]),
        "direct_effect": mean(n, changes["direct"]),
        "norm_share": mediated(n, changes["total"], changes["direct"]),
        "held_effect": mean(n, changes["held"]),
        "frequency_effect": mean(n, changes["total"] - changes["held"]),
        "frequency_share": mediated(n, changes["total"], changes["held"]),
        "loss_delta": mean(n, changes["loss"]),
        "divergence_delta": mean(n, changes["divergence"]),
    }
    return {
        "neuron_id": _last(ids, checkpoint)[here],
        **{name: own[name][here] for name in ("null_share", "mean")},
        "frequency_cosine": own["cosine"][here],
        "n_tokens": np.full(here.stop - here.start, n.sum()),
        **{column: values for name, estimate in estimates.items() for column, values in _with_error(name, estimate)},
    }


def _with_error(name: str, estimate: Estimate) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]:
    return (name, estimate.value), (f"{name}_se", estimate.se)
