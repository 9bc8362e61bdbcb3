"""How much neurons turn heads towards BOS, by weights: what the parts of heads stand on.

It is quickly made; but pairs are chosen by it in several jobs, maybe on several devices, which must choose alike.
"""

from dataclasses import fields

import torch

from ingest.parts.arrays import Arrays
from ingest.parts.ground import Ground
from ingest.parts.measure import Advance, ModelMeasure
from ingest.parts.shapes import ModelShape, Share
from ingest.roles.head_scores import RandomBaseline, head_scores, random_baseline
from ingest.roles.head_selection import SelectedScores, select_scores


class HeadScores(ModelMeasure):
    """The scores that are kept, and those of random directions."""

    part = ""
    name = "head_scores"
    title = "scores of heads"
    provides = ("head_scores",)

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return shape.n_neurons * shape.n_layers * shape.d_model

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        """Nothing where rows begin without BOS."""
        checkpoint = ground.processed(model)
        if ground.bos_id is None:
            advance(checkpoint.n_layers * checkpoint.d_mlp)
            return {}
        scores = head_scores(checkpoint, ground.bos_id, ground.context)
        selected, baseline = select_scores(scores), random_baseline(scores, ground.settings.seed)
        advance(checkpoint.n_layers * checkpoint.d_mlp)
        arrays = {f"baseline.{field.name}": getattr(baseline, field.name).cpu().numpy() for field in fields(RandomBaseline)}
        return arrays | {field.name: getattr(selected, field.name) for field in fields(SelectedScores)}


def scores_of(model: int, ground: Ground) -> tuple[SelectedScores, RandomBaseline]:
    """What was found of a model."""
    (scores,) = ground.once(HeadScores.name, model, lambda model: ground.found(HeadScores.name, model))
    baseline = RandomBaseline(*(torch.from_numpy(scores[f"baseline.{field.name}"]) for field in fields(RandomBaseline)))
    return SelectedScores(**{field.name: scores[field.name] for field in fields(SelectedScores)}), baseline
