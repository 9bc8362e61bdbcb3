"""The modules of a loaded model that the catalog reads, hooks and writes, found by the description of its architecture."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from ingest.checkpoints.architectures import ARCHITECTURES, Architecture

EPSILON_WITHOUT_NAME = 1e-5
"""Of norms that keep no ε (OLMo's)."""


@dataclass(frozen=True)
class Norm:
    """What a norm computes: (x - mean)/√(variance + ε) or x/√(mean square + ε), times gain, plus bias."""

    centred: bool
    epsilon: float
    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]

    def centre(self, vectors: Tensor) -> Tensor:
        """As the norm sees them: without their mean over the last dimension, if it takes that away."""
        return vectors - vectors.mean(-1, keepdim=True) if self.centred else vectors

    def scale(self, residual: Float[Tensor, "tokens d_model"]) -> Float[Tensor, " tokens"]:
        """What the norm divides by, float64."""
        if not self.centred:
            square = torch.linalg.vector_norm(residual, dim=-1, dtype=torch.float64).square() / residual.shape[-1]
            return (square + self.epsilon).sqrt()
        # the norm's own kernel, which goes through memory once
        _, _, inverse = torch.native_layer_norm(residual, residual.shape[1:], None, None, self.epsilon)
        return 1 / inverse[:, 0].double()

    def without_gain(self, residual: Tensor) -> Tensor:
        """Normalised, before gain and bias."""
        shape = residual.shape[-1:]
        function: Any = nn.functional.layer_norm if self.centred else nn.functional.rms_norm
        normalised = function(residual, shape, eps=self.epsilon)
        assert isinstance(normalised, Tensor)
        return normalised


class Linear(NamedTuple):
    """A matrix that is multiplied from the right, and its bias; 0 where the model has none."""

    weight: Float[Tensor, "read written"]
    bias: Float[Tensor, " written"]


class MlpPass(NamedTuple):
    """What goes through an MLP, (rows * context, d_mlp) each."""

    pre: Tensor
    """Of gated neurons, what their gates read."""
    post: Tensor
    """What is changed of it here, the model goes on with."""
    read: Tensor | None
    """Of gated neurons, what the gate's activation is multiplied by."""

    def each(self, take: Callable[[Tensor], Tensor]) -> "MlpPass":
        """The same of all that is there."""
        return MlpPass(take(self.pre), take(self.post), None if self.read is None else take(self.read))


Watch = Callable[[MlpPass], None]
"""Sees a layer's MLP in a forward pass; it must not keep what it sees."""


class Modules:
    """Where things are in one loaded model."""

    def __init__(self, model: nn.Module, architecture: str) -> None:
        self.model = model
        self.architecture: Architecture = ARCHITECTURES[architecture]

    @property
    def blocks(self) -> list[nn.Module]:
        """In order; a view on the model, which `beginning_after` may have shortened."""
        return list(self.model.get_submodule(self.architecture.blocks).children())

    @property
    def activations(self) -> list[nn.Module]:
        """Of each block, the module whose input is pre."""
        return [block.get_submodule(self.architecture.activation) for block in self.blocks]

    @property
    def attention_readers(self) -> list[nn.Module]:
        """Of each block, the first module that reads what enters attention: its norm, or what gives queries."""
        name = self.architecture.attention_norm or self.architecture.queries
        return [block.get_submodule(name) for block in self.blocks]

    @property
    def last_norm(self) -> nn.Module:
        """The module between the last block and the unembedding."""
        return self.model.get_submodule(self.architecture.final_norm)

    @cached_property
    def final_norm(self) -> Norm:
        """The norm before the unembedding."""
        return self.norm_of(self.last_norm)

    def attention_norm(self, layer: int) -> Norm | None:
        """The norm of what attention reads; None: there is none."""
        name = self.architecture.attention_norm
        return None if name is None else self.norm_of(self.blocks[layer].get_submodule(name))

    def mlp_norm(self, layer: int) -> Norm | None:
        """The norm of what the MLP reads; None: there is none."""
        name = self.architecture.mlp_norm
        return None if name is None else self.norm_of(self.blocks[layer].get_submodule(name))

    def norm_of(self, module: nn.Module) -> Norm:
        """What a norm of this model computes."""
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        like = self.unembedding.weight
        ones = torch.ones(like.shape[0], dtype=like.dtype, device=like.device)
        gain = ones if weight is None else weight.detach()
        if self.architecture.norm == "rms with 1 + gain":
            gain = 1 + gain
        epsilon = getattr(module, "eps", getattr(module, "variance_epsilon", EPSILON_WITHOUT_NAME))
        return Norm(self.architecture.centred, float(epsilon), gain, torch.zeros_like(ones) if bias is None else bias.detach())

    @property
    def unembedding(self) -> Linear:
        """From what the final norm gives to logits."""
        return _matrix(self.model.get_output_embeddings())  # type: ignore[operator]

    def linear(self, layer: int, name: str) -> Linear:
        """A matrix of a block, by the path of its module."""
        return _matrix(self.blocks[layer].get_submodule(name))

    def replace(self, layer: int, name: str, new: Linear) -> None:
        """Put another matrix in the place of one of a block; a bias comes where there was none, unless it is 0."""
        parent = self.blocks[layer]
        module: Any = parent.get_submodule(name)
        new = Linear(*(values.to(module.weight) for values in new))
        if module.bias is None and bool(new.bias.any()):
            module = nn.Linear(*new.weight.shape).to(new.weight)
            parent.set_submodule(name, module)
        weight = new.weight if isinstance(module, Conv1D) else new.weight.T
        module.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
        if module.bias is not None:
            module.bias = nn.Parameter(new.bias.clone(), requires_grad=False)

    @torch.no_grad()
    def neutralise(self, norm: nn.Module) -> None:
        """Leave a norm neither gain nor bias."""
        weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
        if weight is not None:
            weight.fill_(0.0 if self.architecture.norm == "rms with 1 + gain" else 1.0)
        if bias is not None:
            bias.fill_(0.0)

    @contextmanager
    def watched(self, watchers: Mapping[int, Watch]) -> Iterator[None]:
        """Show the MLPs of some layers, as the forward pass reaches them."""
        with ExitStack() as hooks:
            for layer, watch in watchers.items():
                for handle in self._show(self.blocks[layer], watch):
                    hooks.callback(handle.remove)
            yield

    def _show(self, block: nn.Module, watch: Watch) -> Iterator[RemovableHandle]:
        held: dict[str, Tensor] = {}
        architecture = self.architecture

        def hold_pre(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            held["pre"] = inputs[0]

        def hold_read(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            held["read"] = output

        def show(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            pre, read, post = held.pop("pre"), held.pop("read", None), inputs[0]
            width = post.shape[-1]
            watch(MlpPass(pre.view(-1, width), post.view(-1, width), None if read is None else read.view(-1, width)))

        yield block.get_submodule(architecture.activation).register_forward_pre_hook(hold_pre)
        if architecture.gate is not None:
            yield block.get_submodule(architecture.input).register_forward_hook(hold_read)
        yield block.get_submodule(architecture.output).register_forward_pre_hook(show)

    @contextmanager
    def beginning_after(self, layer: int, residual: Tensor) -> Iterator[None]:
        """Leave the blocks up to `layer` out of the model, and give the next one this residual stream."""
        path, _, name = self.architecture.blocks.rpartition(".")
        parent = self.model.get_submodule(path)
        complete, config = getattr(parent, name), self.model.config
        # by which the model finds the mask of a layer, counting from the first that it has
        kinds: Any = getattr(config, "layer_types", None)
        remaining = nn.ModuleList(list(complete)[layer + 1 :])
        handle = remaining[0].register_forward_pre_hook(lambda module, inputs: (residual, *inputs[1:]))
        setattr(parent, name, remaining)
        if kinds is not None:
            config.layer_types = kinds[layer + 1 :]  # type: ignore[union-attr]
        try:
            yield
        finally:
            if kinds is not None:
                config.layer_types = kinds  # type: ignore[union-attr]
            setattr(parent, name, complete)
            handle.remove()


def _matrix(module: Any) -> Linear:
    weight = module.weight.detach()
    read_written = weight if isinstance(module, Conv1D) else weight.T
    bias = read_written.new_zeros(read_written.shape[1]) if module.bias is None else module.bias.detach()
    return Linear(read_written, bias)
