"""Vectors of neurons by whose cosines the catalog searches: input weights, output weights, and effects on the logits.

Effects are vectors over the vocabulary, too long to store. Those of several models that share a vocabulary all lie in the
span of the rows of their unembeddings; in an orthonormal basis of that span they have a few thousand coordinates, and
inner products stay what they are, within a model and across models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float64
from torch import Tensor

ROWS_AT_ONCE = 4096
LEAST_EFFECT = 1e-10
"""Length of an effect over that of w_out times that of the unembedding, up to which it is rounding."""


@dataclass(frozen=True)
class UnitVectors:
    """One vector of length 1 per neuron, in flat order."""

    vectors: Float16[np.ndarray, "neurons dimensions"]
    """NaN where there is none."""
    norm: Float64[np.ndarray, " neurons"]
    """Length before."""
    exists: Bool[np.ndarray, " neurons"]
    """False for vectors of length 0, which have no direction."""


def weight_vectors(
    w_in: Float[Tensor, "layers d_model d_mlp"], w_out: Float[Tensor, "layers d_mlp d_model"]
) -> dict[str, UnitVectors]:
    """Unit vectors in the residual stream, by "w_in" and "w_out"."""
    rows = {"w_in": w_in.transpose(1, 2).flatten(0, 1), "w_out": w_out.flatten(0, 1)}
    return {name: _rounded(*unit_rows(vectors, torch.float16)) for name, vectors in rows.items()}


def effect_vectors(models: Sequence[tuple[Tensor, Tensor]]) -> Iterator[UnitVectors]:
    """Unit vectors of the effects on the logits of each model in turn, all in one basis.

    Args:
        models: w_out (layers, d_mlp, d_model) and w_u (d_model, tokens) of each; the tokens are real ids of a vocabulary that
            they share. More models than these need a new basis, so all of them belong in one call.
    Returns:
        Of min(tokens, sum of d_model) dimensions.
    Raises:
        ValueError: unembeddings of different numbers of tokens.
    """
    for (w_out, _), basis in zip(models, effect_bases([w_u for _, w_u in models]), strict=True):
        rows = w_out.flatten(0, 1)
        units, norms = unit_rows(rows, torch.float16, basis.to(rows.device))
        floor = LEAST_EFFECT * rows.norm(dim=1, dtype=torch.float64) * basis.norm().to(rows.device)
        yield _rounded(units, torch.where(norms > floor, norms, 0.0))


def effect_bases(unembeddings: Sequence[Float[Tensor, "_d_model tokens"]]) -> list[Float64[Tensor, "_d_model _dimensions"]]:
    """Matrices that turn w_out into coordinates of its effect: w_a · B_a · B_bᵀ · w_b = Σ_v e_a[v] e_b[v].

    The side-by-side transposed unembeddings are factored into Q R by rows at a time; Q, the basis, is not needed, and R holds
    the coordinates of the columns. Nothing is squared, so directions that the unembedding all but ignores stay exact.

    Raises:
        ValueError: unembeddings of different numbers of tokens.
    """
    widths = [len(w_u) for w_u in unembeddings]
    n_tokens = [w_u.shape[1] for w_u in unembeddings]
    if len(set(n_tokens)) != 1:
        raise ValueError(f"effects on different vocabularies cannot be compared: {n_tokens} tokens")
    step = 4 * sum(widths)
    triangle = torch.empty(0, sum(widths), dtype=torch.float64, device=unembeddings[0].device)
    for start in range(0, n_tokens[0], step):
        rows = torch.cat([w_u[:, start : start + step].to(triangle).T for w_u in unembeddings], dim=1)
        triangle = torch.linalg.qr(torch.cat([triangle, rows]), mode="r").R
    return [columns.T.contiguous() for columns in triangle.split(widths, dim=1)]


def unit_rows(
    rows: Float[Tensor, "neurons d"], dtype: torch.dtype, basis: Float64[Tensor, "d dimensions"] | None = None
) -> tuple[Tensor, Float64[Tensor, " neurons"]]:
    """Rows of length 1 (NaN where it was 0) and the lengths before; worked out in float64, some rows at a time.

    Args:
        dtype: of the unit vectors.
        basis: the rows are multiplied by it first.
    """
    width = rows.shape[1] if basis is None else basis.shape[1]
    units = torch.empty(len(rows), width, dtype=dtype, device=rows.device)
    norms = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        values = rows[part].double() if basis is None else rows[part].double() @ basis
        norms[part] = values.norm(dim=1)
        units[part] = (values / norms[part, None]).to(dtype)
    return units, norms


def _rounded(units: Tensor, norms: Tensor) -> UnitVectors:
    exists = norms > 0
    return UnitVectors(units.masked_fill_(~exists[:, None], torch.nan).cpu().numpy(), norms.cpu().numpy(), exists.cpu().numpy())
