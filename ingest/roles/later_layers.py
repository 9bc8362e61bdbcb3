"""Forward passes that show or change the MLPs of a model: the whole one, and one that begins after a block."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ingest.checkpoints.modules import MlpPass, Modules, Watch


class Model(Protocol):
    """What is needed of a checkpoint."""

    architecture: str
    n_layers: int
    d_model: int
    d_mlp: int
    model: nn.Module

    @property
    def modules(self) -> Modules: ...

    def raw_w_out(self, layer: int) -> Tensor:
        """(d_mlp, d_model) as the file has it."""

    def raw_w_u(self) -> Tensor:
        """(d_model, d_vocab) as the file has it."""


@dataclass(frozen=True)
class Seen:
    """What a forward pass showed, fp32."""

    mlps: Mapping[int, MlpPass]
    """By layer, of the neurons that are wanted."""
    after: Mapping[int, Tensor]
    """By layer, the residual stream after the block, (rows, context, d_model)."""
    last: Tensor
    """The residual stream that the final norm reads, (rows * context, d_model)."""
    normed: Tensor
    """What the unembedding reads, (rows * context, d_model)."""


def forward(model: Model, tokens: Tensor, neurons: Mapping[int, Tensor], after: Sequence[int]) -> Seen:
    """The forward pass up to the unembedding.

    Args:
        tokens: (rows, context) int64, BOS included.
        neurons: by layer, indices whose pre and post are wanted.
        after: layers, the last one excepted, after which the residual stream is wanted.
    """
    mlps: dict[int, MlpPass] = {}
    residual: dict[int, Tensor] = {}

    def keep_mlp(layer: int) -> Watch:
        def seen(shown: MlpPass) -> None:
            mlps[layer] = shown.each(lambda values: values[:, neurons[layer]])

        return seen

    def keep_residual(layer: int) -> Callable[..., None]:
        def seen(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            residual[layer] = inputs[0]

        return seen

    blocks = model.modules.blocks
    with ExitStack() as hooks:
        hooks.enter_context(model.modules.watched({layer: keep_mlp(layer) for layer in neurons}))
        for layer in after:
            hooks.callback(blocks[layer + 1].register_forward_pre_hook(keep_residual(layer)).remove)
        last, normed = _to_the_end(model, input_ids=tokens)
    return Seen(mlps, residual, last, normed)


def forward_after(model: Model, layer: int, residual: Tensor, edits: Mapping[int, Watch]) -> tuple[Tensor, Tensor]:
    """The layers after `layer`, from the residual stream after it.

    Args:
        residual: (rows, context, d_model).
        edits: by later layer, what changes its post.
    Returns:
        What the final norm reads and gives, (rows * context, d_model) each.
    """
    # the modules are found before the blocks up to the layer are left out
    with model.modules.watched(edits), model.modules.beginning_after(layer, residual):
        # embeddings of this shape make masks and rotations, and are dropped before the first block
        return _to_the_end(model, inputs_embeds=residual)


def _to_the_end(model: Model, **inputs: Any) -> tuple[Tensor, Tensor]:
    """What the final norm reads and gives."""
    read: list[Tensor] = []
    handle = model.modules.last_norm.register_forward_pre_hook(lambda module, arguments: read.append(arguments[0]))
    try:
        normed = model.model.base_model(use_cache=False, **inputs).last_hidden_state  # type: ignore[operator]
    finally:
        handle.remove()
    return read[0].reshape(-1, model.d_model), normed.reshape(-1, model.d_model)


def unembed(model: Model, normed: Tensor) -> Tensor:
    """Logits of (tokens, d_model), of a model that bounds them by nothing."""
    logits = model.model.get_output_embeddings()(normed)  # type: ignore[operator]
    assert isinstance(logits, torch.Tensor)
    return logits
