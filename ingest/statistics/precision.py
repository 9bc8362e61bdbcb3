"""The precisions of matrix products of activations, and a product into a resident fp32 accumulator in each.

    fp32  every operand as it is; the default
    bf16  operands rounded to bfloat16 (8 bits of mantissa), products summed in fp32
    tf32  operands rounded to TF32 (11 bits of mantissa) by CUDA's tensor units, products summed in fp32

Rounding an operand is an independent relative error of at most 2^-9 (bf16) or 2^-12 (tf32) of each activation about its
pivot. The errors of a correlation's sum average out over tokens, so that the error of a correlation falls with their number;
`bench/precision.py` measures it on real activations.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

BLOCK_COLUMNS = 2048
"""Columns of a bf16 product on the CPU at a time, which bounds its temporary."""


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware; without that, bf16 is only slower and less exact than fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def product_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Have products of fp32 tensors inside the block computed in `precision`; forward passes outside stay as they are."""
    backend: Any = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    matmul = backend.matmul
    wanted = {"fp32": "ieee", "tf32": "tf32", "bf16": "bf16" if device.type == "cpu" else "ieee"}[precision]
    before = matmul.fp32_precision
    matmul.fp32_precision = wanted
    try:
        yield
    finally:
        matmul.fp32_precision = before


def add_product(into: Tensor, x: Tensor, y: Tensor, precision: str) -> None:
    """into += xᵀ y.

    Args:
        into: (n_x, n_y) fp32, which may be a part of a larger tensor.
        x, y: (tokens, n_x) and (tokens, n_y) fp32.
    """
    device = into.device
    with product_precision(precision, device):
        if precision != "bf16":
            into.addmm_(x.T, y)
        elif device.type == "cuda":
            into += torch.mm(x.T.bfloat16(), y.bfloat16(), out_dtype=torch.float32)
        else:
            _add_in_blocks(into, x, y)


def _add_in_blocks(into: Tensor, x: Tensor, y: Tensor) -> None:
    """The library's bf16 product is slow where it adds to its output, and its fastest form wants xᵀ in order."""
    rows = x.T.contiguous()
    for start in range(0, y.shape[1], BLOCK_COLUMNS):
        columns = slice(start, start + BLOCK_COLUMNS)
        into[:, columns] += torch.mm(rows, y[:, columns])
