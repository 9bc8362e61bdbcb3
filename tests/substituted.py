"""Neurons that are replaced, by the definition: plain forward passes of the models as transformers has them, in float64."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

NONLINEARITIES = {
    "gpt2": "transformer.h.{}.mlp.act",
    "gpt_neox": "gpt_neox.layers.{}.mlp.act",
    "opt": "model.decoder.layers.{}.activation_fn",
}
HALF, N_BLOCKS = 16, 32


@dataclass
class Reference:
    """Models in float64 on the rows of a corpus, all at once."""

    models: Mapping[int, nn.Module]
    tokens: np.ndarray
    """(rows, context) ids."""
    blocks: np.ndarray
    """(rows,)"""
    masked_ids: Collection[int]
    """Not in M_corr."""
    special_ids: Collection[int]
    """Not in M_next, and not replaced."""
    _known: dict[object, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fitting, self.scoring = (self.tokens[mask] for mask in (self.blocks < HALF, self.blocks >= HALF))
        self.kept = ~np.isin(self.fitting, list(self.masked_ids))

    @torch.no_grad()
    def post(self, model: int, layer: int, index: int, tokens: np.ndarray) -> np.ndarray:
        """(rows, context) of one neuron."""
        key = (model, layer, index, len(tokens), tokens is self.fitting)
        if key not in self._known:
            seen: list[Tensor] = []
            handle = self._module(model, layer).register_forward_hook(lambda module, inputs, output: seen.append(output))
            self.models[model](torch.from_numpy(tokens).long())
            handle.remove()
            self._known[key] = seen[0].reshape(*tokens.shape, -1)[..., index].numpy()
        return self._known[key]

    @torch.no_grad()
    def losses(self, model: int, layer: int, index: int, values: np.ndarray | None) -> np.ndarray:
        """(rows, context) -ln p of the next token in the scoring half, the neuron replaced; 0 outside M_next."""
        tokens = torch.from_numpy(self.scoring).long()
        ordinary = torch.from_numpy(~np.isin(self.scoring, list(self.special_ids)))

        def replace(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            changed = output.clone().reshape(*tokens.shape, -1)
            changed[..., index] = torch.where(ordinary, torch.from_numpy(np.asarray(values)), changed[..., index])
            return changed.view_as(output)

        handles = [] if values is None else [self._module(model, layer).register_forward_hook(replace)]
        log_p = self.models[model](tokens).logits.log_softmax(-1)
        for handle in handles:
            handle.remove()
        lost = np.zeros(tokens.shape)
        lost[:, :-1] = -log_p[:, :-1].gather(2, tokens[:, 1:, None])[..., 0].numpy()
        return np.where(self.counted, lost, 0.0)

    @property
    def counted(self) -> np.ndarray:
        """M_next of the scoring half."""
        counted = ~np.isin(self.scoring, list(self.special_ids))
        counted[:, -1] = False
        return counted

    def of_blocks(self, values: np.ndarray) -> np.ndarray:
        """(16,) sums over the scoring blocks."""
        rows = self.blocks[self.blocks >= HALF]
        return np.array([values[rows == block].sum() for block in range(HALF, N_BLOCKS)])

    def line(self, neuron: Sequence[int], other: Sequence[int]) -> tuple[float, float]:
        """α and β of two neurons, (model, layer, index) each."""
        return self._line(neuron, other, self.kept)

    def _line(self, neuron: Sequence[int], other: Sequence[int], kept: np.ndarray) -> tuple[float, float]:
        x, y = (self.post(*place, self.fitting)[kept] for place in (neuron, other))
        if np.ptp(y) == 0:
            return float(x.mean()), 0.0
        beta, alpha = np.polyfit(y - y.mean(), x, 1)
        return float(alpha - beta * y.mean()), float(beta)

    def slope_error(self, neuron: Sequence[int], other: Sequence[int]) -> float:
        """Of β, by a jackknife over the blocks that fit."""
        blocks = np.broadcast_to(self.blocks[self.blocks < HALF, None], self.fitting.shape)
        there = np.unique(blocks[self.kept])
        without = np.array([self._line(neuron, other, self.kept & (blocks != block))[1] for block in there])
        return float(np.sqrt((len(there) - 1) / len(there) * ((without - without.mean()) ** 2).sum()))

    def token_means(self, neuron: Sequence[int]) -> dict[int, float]:
        """By the token ids that occur in the first half, newlines among them."""
        ordinary = ~np.isin(self.fitting, list(self.special_ids))
        x, ids = self.post(*neuron, self.fitting)[ordinary], self.fitting[ordinary]
        return {int(i): float(x[ids == i].mean()) for i in np.unique(ids)}

    def changes(self, neuron: Sequence[int], others: Sequence[Sequence[int]]) -> np.ndarray:
        """(2 + 2 others, 16): change of the loss by block with the mean, the token's mean, each other neuron's line, and each
        line once more, steeper by the error of its slope."""
        mean = float(self.post(*neuron, self.fitting)[self.kept].mean())
        of_tokens = self.token_means(neuron)
        replacements = [
            np.full(self.scoring.shape, mean),
            np.vectorize(lambda i: of_tokens.get(int(i), mean), otypes=[float])(self.scoring),
        ]
        lines = [self.line(neuron, other) for other in others]
        errors = [self.slope_error(neuron, other) for other in others]
        steeper = [beta + np.copysign(error, beta) for (_, beta), error in zip(lines, errors, strict=True)]
        slopes = [*(beta for _, beta in lines), *steeper]
        for other, beta in zip([*others, *others], slopes, strict=True):
            about = self.post(*other, self.fitting)[self.kept].mean()
            replacements.append(mean + beta * (self.post(*other, self.scoring) - about))
        alone = self.losses(*neuron, None)
        return np.stack([self.of_blocks(self.losses(*neuron, values) - alone) for values in replacements])

    def _module(self, model: int, layer: int) -> nn.Module:
        raw = self.models[model]
        return raw.get_submodule(NONLINEARITIES[raw.config.model_type].format(layer))
