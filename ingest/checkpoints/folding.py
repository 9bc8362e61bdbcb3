"""Weight processing (SPEC §0.2): the gains and biases of norms go into the matrices that read what they give, and what no
reader of the residual stream sees is taken out of the matrices that write into it.

    reads      W = γ∘W, b = b + β·W, and W minus its mean over d_model where the norm takes the mean away
    writes     W_out, W_O and their biases minus their mean over d_model, where every reader takes it away
    logits     W_U likewise, and minus its mean over the vocabulary, which no log-probability sees; not under a cap of logits
    values     b_O = b_O + Σ b_V·W_O, for every row of attention sums to one

A norm between what a block writes and the residual stream (post-norm) stays where it is: nothing can be folded through it.
Everything is computed in float64, and kept in the model's precision.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ingest.checkpoints.attention_matrices import Heads, Kind, read_heads, write_heads
from ingest.checkpoints.modules import Linear, Modules, Norm


@dataclass(frozen=True)
class FoldedBlock:
    """The matrices of a block."""

    heads: dict[Kind, Heads]
    """Values without bias."""
    attention_output: Linear
    """From all heads, side by side, to the residual."""
    gate: Linear | None
    input: Linear
    output: Linear


@dataclass(frozen=True)
class Folded:
    """All matrices of a model after weight processing, in its precision."""

    blocks: list[FoldedBlock]
    unembedding: Linear


def fold(modules: Modules, d_head: int, capped: bool) -> Folded:
    """Process the weights of a model.

    Args:
        modules: of the raw model.
        capped: whether logits are bounded by a function after the unembedding, which does not commute with a shift.
    """
    blocks = [_fold_block(modules, layer, d_head) for layer in range(len(modules.blocks))]
    unembedding = reading(modules.unembedding, modules.final_norm)
    if not capped:
        weight, bias = unembedding
        unembedding = Linear(weight - weight.mean(1, keepdim=True), bias - bias.mean())
    return Folded(blocks, _as(unembedding, modules.unembedding.weight))


def put_into(model: nn.Module, architecture: str, folded: Folded) -> None:
    """Put processed matrices into a raw model, in its precision, and leave its norms nothing but to normalise."""
    put_blocks_into(model, architecture, folded)
    modules = Modules(model, architecture)
    for layer, block in enumerate(folded.blocks):
        modules.replace(layer, modules.architecture.output, block.output)
    modules.neutralise(modules.last_norm)
    like, (weight, bias) = next(model.parameters()), folded.unembedding
    unembedding = nn.Linear(*weight.shape).to(like)
    with torch.no_grad():
        unembedding.weight.copy_(weight.T)
        unembedding.bias.copy_(bias)
    model.set_output_embeddings(unembedding)  # type: ignore[operator]


def put_blocks_into(model: nn.Module, architecture: str, folded: Folded) -> None:
    """Put what blocks read, and what attention writes, into a raw model; what neurons write and the unembedding stay raw."""
    modules = Modules(model, architecture)
    norms: set[nn.Module] = set()
    for layer, block in enumerate(folded.blocks):
        names = (modules.architecture.attention_norm, modules.architecture.mlp_norm)
        norms |= {modules.blocks[layer].get_submodule(name) for name in names if name is not None}
        write_heads(modules, layer, block.heads)
        for name, matrix in _named(modules, block):
            modules.replace(layer, name, matrix)
    for norm in norms:
        modules.neutralise(norm)


def _named(modules: Modules, block: FoldedBlock) -> Iterable[tuple[str, Linear]]:
    architecture = modules.architecture
    yield architecture.attention_output, block.attention_output
    yield architecture.input, block.input
    if architecture.gate is not None and block.gate is not None:
        yield architecture.gate, block.gate


def _fold_block(modules: Modules, layer: int, d_head: int) -> FoldedBlock:
    architecture, mlp = modules.architecture, modules.mlp_norm(layer)
    of_attention = modules.attention_norm(layer)
    heads = {kind: _reading_heads(held, of_attention) for kind, held in read_heads(modules, layer, d_head).items()}
    attention = _double(modules.linear(layer, architecture.attention_output))
    values = heads["values"].repeated(heads["queries"].bias.shape[0])
    attention = Linear(attention.weight, attention.bias + values.bias.flatten() @ attention.weight)
    heads["values"] = replace(heads["values"], bias=torch.zeros_like(heads["values"].bias))
    gate, like = architecture.gate, modules.unembedding.weight
    return FoldedBlock(
        heads={kind: Heads(held.weight.to(like), held.bias.to(like)) for kind, held in heads.items()},
        attention_output=_as(_written(modules, attention), like),
        gate=None if gate is None else _as(reading(modules.linear(layer, gate), mlp), like),
        input=_as(reading(modules.linear(layer, architecture.input), mlp), like),
        output=_as(_written(modules, _double(modules.linear(layer, architecture.output))), like),
    )


def reading(matrix: Linear, norm: Norm | None) -> Linear:
    """What reads a residual that is only divided by its scale, float64."""
    matrix = _double(matrix)
    if norm is None:
        return matrix
    weight = norm.gain.double()[:, None] * matrix.weight
    if norm.centred:
        weight = weight - weight.mean(0)
    return Linear(weight, matrix.bias + norm.bias.double() @ matrix.weight)


def _reading_heads(heads: Heads, norm: Norm | None) -> Heads:
    flat = reading(Linear(heads.weight.flatten(1), heads.bias.flatten()), norm)
    return Heads(flat.weight.unflatten(1, heads.bias.shape), flat.bias.unflatten(0, heads.bias.shape))


def _written(modules: Modules, matrix: Linear) -> Linear:
    """What is added to the residual, without what no reader of it sees."""
    architecture = modules.architecture
    if not architecture.centred or architecture.written_norms:
        return matrix
    return Linear(matrix.weight - matrix.weight.mean(1, keepdim=True), matrix.bias - matrix.bias.mean())


def _double(matrix: Linear) -> Linear:
    return Linear(matrix.weight.double(), matrix.bias.double())


def _as(matrix: Linear, like: Tensor) -> Linear:
    return Linear(matrix.weight.to(like), matrix.bias.to(like))
