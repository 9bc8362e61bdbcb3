"""64-bit hashes of places and of tokens, the same on every device."""

import torch
from torch import Tensor

CONTEXT_TOKENS = 10
"""Tokens before a token that, with it, make its context (DECISIONS, Numbers)."""

# splitmix64's constants (Steele, Lea, Flood 2014), as signed numbers: torch has no unsigned arithmetic
_FIRST, _SECOND, STEP = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15, -0x61C8864680B583EB


def mixed(values: Tensor) -> Tensor:
    """splitmix64's last step of int64 values: one to one, and every bit depends on every bit."""
    values = (values ^ _shifted(values, 30)) * _FIRST
    values = (values ^ _shifted(values, 27)) * _SECOND
    return values ^ _shifted(values, 31)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Shifted to the right as unsigned numbers."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def place_hashes(places: Tensor, seed: int) -> Tensor:
    """int64 hash of each place; different places have different hashes."""
    return mixed(places + mixed(torch.tensor([seed], device=places.device) + STEP))


def context_hashes(tokens: Tensor) -> Tensor:
    """Hash of each token and the `CONTEXT_TOKENS` before it in its row; fewer where the row has no more.

    Args:
        tokens: (rows, context) int64, not negative.
    Returns:
        (rows, context) int64.
    """
    hashes = mixed(tokens + 1)
    for back in range(1, min(CONTEXT_TOKENS, tokens.shape[1] - 1) + 1):
        hashes[:, back:] = mixed(hashes[:, back:] ^ (tokens[:, :-back] + 1))
    return hashes
