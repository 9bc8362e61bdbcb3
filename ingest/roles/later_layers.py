"""Forward passes that show or change the MLPs of a model: the whole one, and one that begins after a block."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ingest.checkpoints.architectures import LAYERS, blocks, final_norm, nonlinearities


class Model(Protocol):
    """What is needed of a checkpoint."""

    architecture: str
    n_layers: int
    d_model: int
    d_mlp: int
    model: nn.Module

    def raw_w_out(self, layer: int) -> Tensor:
        """(d_mlp, d_model) as the file has it."""

    def raw_w_u(self) -> Tensor:
        """(d_model, d_vocab) as the file has it."""


@dataclass(frozen=True)
class Seen:
    """What a forward pass showed, fp32."""

    pre: Mapping[int, Tensor]
    """By layer, (rows * context, wanted neurons)."""
    post: Mapping[int, Tensor]
    after: Mapping[int, Tensor]
    """By layer, the residual stream after the block, (rows, context, d_model)."""
    last: Tensor
    """The residual stream that the final layer norm reads, (rows * context, d_model)."""
    normed: Tensor
    """What the unembedding reads, (rows * context, d_model)."""


Edit = Callable[[nn.Module, Tensor, Tensor], None]
"""Takes a nonlinearity, pre and post, (rows * context, d_mlp) each, and changes post in place."""


def forward(model: Model, tokens: Tensor, neurons: Mapping[int, Tensor], after: Sequence[int]) -> Seen:
    """The forward pass up to the unembedding.

    Args:
        tokens: (rows, context) int64, BOS included.
        neurons: by layer, indices whose pre and post are wanted.
        after: layers, the last one excepted, after which the residual stream is wanted.
    """
    pre: dict[int, Tensor] = {}
    post: dict[int, Tensor] = {}
    residual: dict[int, Tensor] = {}
    layers, modules = blocks(model.model, model.architecture), nonlinearities(model.model, model.architecture)

    def keep_mlp(layer: int) -> Callable[..., None]:
        def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            pre[layer] = inputs[0].reshape(-1, model.d_mlp)[:, neurons[layer]]
            post[layer] = output.reshape(-1, model.d_mlp)[:, neurons[layer]]

        return seen

    def keep_residual(layer: int) -> Callable[..., None]:
        def seen(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            residual[layer] = inputs[0]

        return seen

    with ExitStack() as hooks:
        for layer in neurons:
            hooks.callback(modules[layer].register_forward_hook(keep_mlp(layer)).remove)
        for layer in after:
            hooks.callback(layers[layer + 1].register_forward_pre_hook(keep_residual(layer)).remove)
        last, normed = _to_the_end(model, input_ids=tokens)
    return Seen(pre, post, residual, last, normed)


def forward_after(model: Model, layer: int, residual: Tensor, edits: Mapping[int, Edit]) -> tuple[Tensor, Tensor]:
    """The layers after `layer`, from the residual stream after it.

    Args:
        residual: (rows, context, d_model).
        edits: by later layer, what to change of its post.
    Returns:
        What the final layer norm reads and gives, (rows * context, d_model) each.
    """
    modules = nonlinearities(model.model, model.architecture)

    def change(edit: Edit) -> Callable[..., None]:
        def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            edit(module, inputs[0].view(-1, model.d_mlp), output.view(-1, model.d_mlp))

        return seen

    with ExitStack() as hooks:
        for later, edit in edits.items():
            hooks.callback(modules[later].register_forward_hook(change(edit)).remove)
        with _begin_after(model, layer, residual):
            # embeddings of this shape make masks and rotations, and are dropped before the first block
            return _to_the_end(model, inputs_embeds=residual)


@contextmanager
def _begin_after(model: Model, layer: int, residual: Tensor) -> Iterator[None]:
    """Leave the blocks up to `layer` out of the model, and give the next one this residual stream."""
    path, _, name = LAYERS[model.architecture].rpartition(".")
    parent = model.model.get_submodule(path)
    complete = getattr(parent, name)
    remaining = nn.ModuleList(list(complete)[layer + 1 :])
    handle = remaining[0].register_forward_pre_hook(lambda module, inputs: (residual, *inputs[1:]))
    setattr(parent, name, remaining)
    try:
        yield
    finally:
        setattr(parent, name, complete)
        handle.remove()


def _to_the_end(model: Model, **inputs: Any) -> tuple[Tensor, Tensor]:
    """What the final layer norm reads and gives."""
    read: list[Tensor] = []
    norm = final_norm(model.model, model.architecture)
    handle = norm.register_forward_pre_hook(lambda module, arguments: read.append(arguments[0]))
    try:
        normed = model.model.base_model(use_cache=False, **inputs).last_hidden_state  # type: ignore[operator]
    finally:
        handle.remove()
    return read[0].reshape(-1, model.d_model), normed.reshape(-1, model.d_model)


def unembed(model: Model, normed: Tensor) -> Tensor:
    """Logits of (tokens, d_model)."""
    logits = model.model.get_output_embeddings()(normed)  # type: ignore[operator]
    assert isinstance(logits, torch.Tensor)
    return logits
