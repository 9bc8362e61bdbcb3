"""Mean ablation of last-layer neurons by hooks on the raw model in float64, from the definitions alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ingest.checkpoints.architectures import ARCHITECTURES
from tests.factories import load_raw


class Reference:
    """One model, and P of its corpus."""

    def __init__(self, folder: Path, architecture: str, tokens: np.ndarray, kept: np.ndarray, counts: np.ndarray) -> None:
        self.model: Any = load_raw(folder).double()
        self.described = ARCHITECTURES[architecture]
        self.tokens, self.kept = tokens, kept
        self.n_ids = len(counts)
        self.p = (counts + 1) / (counts + 1).sum()
        log_p = np.log(self.p)
        self.v = (log_p - log_p.mean()) / np.linalg.norm(log_p - log_p.mean())
        block = list(self.model.get_submodule(self.described.blocks).children())[-1]
        self.output: nn.Module = block.get_submodule(self.described.output)
        self.norm: nn.Module = self.model.get_submodule(self.described.final_norm)
        self.look()

    def look(self) -> None:
        """At the model as it is."""
        posts, self.residual = self._watch()
        self.post = posts[self.kept]
        self.logits = self._run()
        self.nominal = log_softmax(self.logits)

    @torch.no_grad()
    def _watch(self) -> tuple[np.ndarray, Tensor]:
        seen: list[Tensor] = []
        handles = [self.output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))]
        handles.append(self.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])))
        self._run()
        for handle in handles:
            handle.remove()
        return seen[0].reshape(*self.tokens.shape, -1).numpy(), seen[1].reshape(*self.tokens.shape, -1)

    @torch.no_grad()
    def _run(self) -> np.ndarray:
        logits = self.model(torch.from_numpy(self.tokens).long()).logits.numpy()
        return np.asarray(logits[self.kept][:, : self.n_ids])

    @contextmanager
    def ablated(self, neuron: int, frozen: bool, along: Tensor | None = None) -> Iterator[None]:
        """Its post is its mean; the final norm divides by what it divided by before, if it is frozen."""
        mean = float(self.post[:, neuron].mean())

        def hold(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            post = inputs[0].clone()
            post.view(*self.tokens.shape, -1)[..., neuron] = mean
            return (post,)

        def write(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            change = mean - inputs[0].reshape(*self.tokens.shape, -1)[..., neuron]
            return output + (change[..., None] * along).view_as(output)

        def freeze(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            x, before = inputs[0].reshape(self.residual.shape), self.residual
            centred = self.described.norm == "layer"
            own = [value - value.mean(-1, keepdim=True) if centred else value for value in (x, before)]
            epsilon = getattr(module, "eps", getattr(module, "variance_epsilon", None))
            scale = [(value.square().mean(-1, keepdim=True) + epsilon).sqrt() for value in own]
            bias = getattr(module, "bias", None)
            bias = 0 if bias is None else bias
            return ((output.view(x.shape) - bias) * scale[0] / scale[1] + bias).view_as(output)

        handles = [
            self.output.register_forward_pre_hook(hold) if along is None else self.output.register_forward_hook(write)
        ]
        if frozen:
            handles.append(self.norm.register_forward_hook(freeze))
        yield
        for handle in handles:
            handle.remove()

    def log_p(self, neuron: int, frozen: bool = False, held: bool = False, along: Tensor | None = None) -> np.ndarray:
        """Of each kept position, (tokens, ids)."""
        with self.ablated(neuron, frozen, along):
            logits = self._run()
        if held:
            logits = logits - ((logits - self.logits) @ self.v)[:, None] * self.v
        return log_softmax(logits)

    def loss(self, log_p: np.ndarray) -> np.ndarray:
        rows, places = self.kept.nonzero()
        return np.asarray(-log_p[np.arange(len(rows)), self.tokens[rows, places + 1]])

    def divergence(self, log_p: np.ndarray) -> np.ndarray:
        """KL(P ‖ model)."""
        return np.asarray((self.p * (np.log(self.p) - log_p)).sum(1))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
