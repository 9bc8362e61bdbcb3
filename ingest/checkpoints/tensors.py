"""What each tensor of a model holds, by a hash: what models are recognised by, and what tells which of them share weights."""

import hashlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from catalog.errors import InputError
from catalog.rows import TensorRow
from catalog.schema.identity import COUNTED_DISTINCT
from ingest.checkpoints.arguments import ModelSource

AT_ONCE = 2**22
"""Values that are hashed at a time."""
FEW = 2**12
"""Values of these among which nearly every tensor has enough that differ, so that the others need not be sorted."""


def tensors_of(model: nn.Module, source: ModelSource) -> list[TensorRow]:
    """All parameters, tied ones once, in order of their names; independent of the file layout.

    Args:
        model: in fp32, on the CPU.
    Raises:
        InputError: a parameter holds NaN or infinity; the sentence names it.
    """
    return [_row(name, tensor.detach(), source) for name, tensor in sorted(model.named_parameters(), key=lambda item: item[0])]


def weights_sha256(tensors: Iterable[TensorRow]) -> str:
    """sha256 over a line per tensor: its name, its shape as 24x16, and its sha256."""
    lines = (f"{name} {'x'.join(map(str, shape))} {sha256}" for name, shape, sha256, _ in tensors)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _row(name: str, tensor: Tensor, source: ModelSource) -> TensorRow:
    digest, distinct = hashlib.sha256(), torch.empty(0)
    for values in _pieces(tensor):
        if not torch.isfinite(values).all():
            raise InputError(f"the weights of {source.location} are not finite in {name}; get an undamaged checkpoint.")
        digest.update(values.numpy().data)
        for part in (values[:FEW], values[FEW:]):
            if len(distinct) < COUNTED_DISTINCT:
                distinct = torch.cat([distinct, part]).unique()
    return TensorRow(name, tuple(tensor.shape), digest.hexdigest(), min(len(distinct), COUNTED_DISTINCT))


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    """The values in order, -0 as 0: a sign that no output shows, and that some ways of saving lose."""
    for values in tensor.contiguous().view(-1).split(AT_ONCE):
        yield values + 0.0
