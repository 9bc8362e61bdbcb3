"""What each tensor of a model holds, by a hash: what models are recognised by, and what tells which of them share weights."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

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


class HashedWeights(NamedTuple):
    """What the weights of a model hold."""

    tensors: list[TensorRow]
    """All parameters, tied ones once, in order of their names."""
    sha256: str
    """Over names, dtypes, shapes and bytes of all of them; independent of the file layout."""


def hashed_weights(model: nn.Module, source: ModelSource) -> HashedWeights:
    """Hash every parameter, and all of them.

    Args:
        model: in fp32, on the CPU.
    Raises:
        InputError: a parameter holds NaN or infinity; the sentence names it.
    """
    whole = hashlib.sha256()
    named = sorted(model.named_parameters(), key=lambda item: item[0])
    return HashedWeights([_row(name, tensor.detach(), source, whole) for name, tensor in named], whole.hexdigest())


def _row(name: str, tensor: Tensor, source: ModelSource, whole: "hashlib._Hash") -> TensorRow:
    digest, distinct = hashlib.sha256(), torch.empty(0)
    whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    for values in _pieces(tensor):
        if not torch.isfinite(values).all():
            raise InputError(f"the weights of {source.location} are not finite in {name}; get an undamaged checkpoint.")
        digest.update(values.numpy().data)
        whole.update(values.numpy().data)
        for part in (values[:FEW], values[FEW:]):
            if len(distinct) < COUNTED_DISTINCT:
                distinct = torch.cat([distinct, part]).unique()
    return TensorRow(name, tuple(tensor.shape), digest.hexdigest(), min(len(distinct), COUNTED_DISTINCT))


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    """The values in order, -0 as 0: a sign that no output shows, and that some ways of saving lose."""
    for values in tensor.contiguous().view(-1).split(AT_ONCE):
        yield values + 0.0
