"""The precisions of matrix products of activations, and a product into a resident fp32 accumulator in each.

    fp32  every operand as it is; the default
    bf16  operands rounded to bfloat16 (8 bits of mantissa), products summed in fp32
    tf32  operands rounded to TF32 (11 bits of mantissa) by CUDA's tensor units, products summed in fp32

Rounding an operand is a relative error of at most 2^-9 (bf16) or 2^-12 (tf32) of each activation about its pivot. Where the
pivot itself is representable (`exact_in`), these errors are as good as independent, and that of a correlation falls with the
number of tokens; about any other pivot it stays at some 1e-4 for neurons that are mostly off. On two pocket models and 96,751
tokens the largest of 590,000 errors was 2e-7 in fp32 and 9.3e-5 in bf16 (`bench/speed/precision.py`); tf32, rounded in
software, 1.6e-5. Few tokens and heavy tails have more: bf16 reached 1.0e-4 on 15,000 tokens of synthetic activations of
kurtosis 21.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

BLOCK = 2048
"""Rows of a bf16 product at a time on CUDA, which bounds its temporary; columns on a CPU, which is faster."""


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


def exact_in(values: Tensor, precision: str) -> Tensor:
    """The nearest numbers (fp32) that rounding to `precision` leaves as they are.

    A pivot must be one: most activations of a neuron are about 0, so about minus the pivot when centred, and a pivot that
    is rounded again in every product is the same error in every token, which no number of tokens averages out.
    """
    return values if precision == "fp32" else values.bfloat16().float()  # what bf16 holds, tf32 holds


def add_product(into: Tensor, x: Tensor, y: Tensor, precision: str) -> None:
    """into += xᵀ y, without a temporary of its size.

    Args:
        into: (n_x, n_y) fp32, which may be a part of a larger tensor.
        x, y: (tokens, n_x) and (tokens, n_y) fp32.
    """
    device = into.device
    with product_precision(precision, device):
        if precision != "bf16":
            into.addmm_(x.T, y)
        elif device.type == "cuda":
            rows, columns = x.bfloat16(), y.bfloat16()
            for part, some in zip(into.split(BLOCK), rows.split(BLOCK, dim=1), strict=True):
                part += torch.mm(some.T, columns, out_dtype=torch.float32)
        else:
            # wide products read xᵀ once per block: in order, that is worth the copy (measured)
            transposed = x.T.contiguous() if y.shape[1] > BLOCK else x.T
            for part, some in zip(into.split(BLOCK, dim=1), y.split(BLOCK, dim=1), strict=True):
                part.addmm_(transposed, some)
