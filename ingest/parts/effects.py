"""Effects of neurons on the logits, met once per model: what several parts stand on.

Meeting all effects is the longest product of weights that there is, so that its sums are jobs for which others wait; they
are never made twice.
"""

from dataclasses import fields

import numpy as np
import torch

from ingest.checkpoints.undefined import Described, no_direct_effects
from ingest.features.of_corpus import vocabulary_of
from ingest.parts.arrays import PLACE, Arrays
from ingest.parts.ground import Ground
from ingest.parts.measure import Advance, ModelMeasure
from ingest.parts.shapes import ModelShape, Share
from ingest.roles.prediction import EffectExplainer
from ingest.settings import IngestSettings
from ingest.statistics.directions import Directions, directions
from ingest.statistics.effects import BLOCK_SIZE, EffectSums
from ingest.statistics.weights import LogitEffects, WeightStatistics, weight_statistics

NEURONS_AT_ONCE = 16_384
"""Of one share, at most: their lists and explanations take 20 MB."""


class Effects(ModelMeasure):
    """Moments, lists of tokens and, where a part needs them, explanations by classes of tokens, from one pass; cosines."""

    part = ""
    name = "effects"
    title = "effects on logits"
    provides = ("effects", "explanations")

    def undefined(self, model: Described, context: int) -> str | None:
        return no_direct_effects(model)

    def shares(self, shape: ModelShape, settings: IngestSettings) -> int:
        blocks = -(-shape.n_neurons // BLOCK_SIZE.neurons)
        return min(blocks, max(-(-shape.n_neurons // NEURONS_AT_ONCE), settings.at_least_jobs))

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return shape.n_neurons * shape.d_model * shape.d_vocab / shares

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        weights, n_tokens = ground.processed(model).weights, ground.tokenizer.n_tokens
        # blocks of a share are blocks of the whole model, so that every product is the same
        neurons = share.slice(weights.b_in.numel(), BLOCK_SIZE.neurons)
        explainer = EffectExplainer(vocabulary_of(ground.tokenizer)) if "explanations" in ground.needed else None

        def each(sums: EffectSums) -> None:
            if explainer is not None:
                explainer.add(sums)
            advance(sums.neurons.stop - sums.neurons.start)

        statistics, effects = weight_statistics(
            weights.W_in.transpose(1, 2).flatten(0, 1)[neurons].T[None],
            weights.b_in.flatten()[neurons][None],
            weights.W_out.flatten(0, 1)[neurons][None],
            weights.W_U[:, :n_tokens],
            classes=None if explainer is None else explainer.classes,
            each=each,
            size=BLOCK_SIZE,
        )
        arrays: Arrays = {PLACE: np.array([model, neurons.start, neurons.stop]), "vocab_n": np.array(statistics.vocab_n)}
        arrays |= {f"statistics.{name}": getattr(statistics, name).cpu().numpy() for name in STATISTICS}
        directed = directions(weights.W_in, weights.W_out, weights.W_gate, weights.b_gate, neurons)
        arrays |= {f"directions.{name}": values.numpy() for name, values in vars(directed).items()}
        arrays |= {f"lists.{field.name}": getattr(effects, field.name).numpy() for field in fields(LogitEffects)}
        explained = {} if explainer is None else explainer.result()
        return arrays | {f"explanations.{name}": values for name, values in explained.items()}


STATISTICS = tuple(field.name for field in fields(WeightStatistics) if field.name != "vocab_n")


def statistics_of(model: int, ground: Ground) -> WeightStatistics:
    """Columns of all neurons, in flat order."""
    shares = _shares(model, ground)
    columns = {name: torch.from_numpy(np.concatenate([share[f"statistics.{name}"] for share in shares])) for name in STATISTICS}
    return WeightStatistics(**columns, vocab_n=int(shares[0]["vocab_n"]))


def directions_of(model: int, ground: Ground) -> Directions:
    """How what neurons read is directed to what they write, in flat order."""
    shares = _shares(model, ground)
    names = [field.name for field in fields(Directions)]
    return Directions(*(torch.from_numpy(np.concatenate([share[f"directions.{name}"] for share in shares])) for name in names))


def lists_of(model: int, ground: Ground) -> LogitEffects:
    """Tokens that each neuron promotes and suppresses most, in flat order."""
    shares = _shares(model, ground)
    names = [field.name for field in fields(LogitEffects)]
    return LogitEffects(*(torch.from_numpy(np.concatenate([share[f"lists.{name}"] for share in shares])) for name in names))


def explanations_of(model: int, ground: Ground) -> Arrays:
    """What classes of tokens explain of the effects, by flat index and rank; see `EffectExplainer.result`."""
    explanations = [_explanations(share) for share in _shares(model, ground)]
    return {name: np.concatenate([share[name] for share in explanations]) for name in explanations[0]}


def _shares(model: int, ground: Ground) -> list[Arrays]:
    return ground.once(Effects.name, model, lambda model: ground.found(Effects.name, model))


def _explanations(share: Arrays) -> Arrays:
    names = [name for name in share if name.startswith("explanations.")]
    explanations = {name.removeprefix("explanations."): share[name] for name in names}
    return explanations | {"neuron_index": explanations["neuron_index"] + share[PLACE][1]}
