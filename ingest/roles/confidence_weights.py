"""What the weights of the last layer say about confidence: its null space, and token frequency (Stolfo et al. 2024).

W_U is that of the processed weights (final norm's gain folded), of the real ids alone, about its mean over them, for what moves
all logits alike changes no prediction. Under LayerNorm, directions are those without a mean: the norm takes the mean away.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ingest.roles.entropy_candidates import controls_of
from ingest.roles.vectors import effect_bases

NULL_FRACTION = 0.01
"""Of d_model: how many of the last left singular directions are the null space of W_U, one at least."""
ROUNDING = 1e-6
"""Length of an effect over that of w_out times that of W_U, up to which it is what fp32 weights are rounded by."""
LEAST_PERCENTILE = 99.0
"""Of |cosine| with the direction of frequency in the layer, from which a neuron may be a token-frequency neuron."""


def null_dimensions(d_model: int) -> int:
    """k."""
    return max(1, round(NULL_FRACTION * d_model))


def null_shares(
    w_out: Float[Tensor, "neurons d_model"], w_u: Float[Tensor, "d_model ids"], centred: bool
) -> Float64[np.ndarray, " neurons"]:
    """ρ: ‖w_out in the last k left singular directions of W_U‖ / ‖w_out‖; NaN where w_out is 0.

    Args:
        w_out, w_u: processed weights, w_u of the real ids.
        centred: whether the norm takes the mean away, so that directions have none.
    """
    d_model = len(w_u)
    (coordinates,) = effect_bases([w_u - w_u.double().mean(1, keepdim=True)])
    basis = torch.eye(d_model).to(coordinates)
    if centred:
        ones = torch.ones(d_model, 1).to(coordinates)
        basis = torch.linalg.qr(torch.cat([ones, basis[:, : d_model - 1]], dim=1)).Q[:, 1:]
    left = basis @ torch.linalg.svd(basis.T @ coordinates).U
    written = w_out.to(coordinates)
    inside = (written @ left[:, -null_dimensions(d_model) :]).norm(dim=1)
    return (inside / written.norm(dim=1)).clamp(max=1).cpu().numpy()  # rounding alone takes it above 1


def frequency_cosines(
    w_out: Float[Tensor, "neurons d_model"], w_u: Float[Tensor, "d_model ids"], direction: Float64[np.ndarray, " ids"]
) -> Float64[np.ndarray, " neurons"]:
    """Cosine of w_out·W_U and v; NaN where either is 0, up to rounding."""
    centred = w_u - w_u.double().mean(1, keepdim=True)
    (coordinates,) = effect_bases([centred])
    written = w_out.to(coordinates)
    along = written @ (centred.to(coordinates) @ torch.from_numpy(direction).to(coordinates.device))
    lengths = (written @ coordinates).norm(dim=1)
    nothing = lengths <= ROUNDING * written.norm(dim=1) * coordinates.norm()
    cosines = (along / lengths).masked_fill(nothing | ~torch.tensor(direction.any()).to(nothing), torch.nan)
    return cosines.cpu().numpy()


def frequency_candidates(cosines: Float64[np.ndarray, " neurons"]) -> Int64[np.ndarray, " candidates"]:
    """Neurons of the layer whose output weights lie most along the direction of frequency, to either side."""
    defined = np.isfinite(cosines) & (cosines != 0)
    if not defined.any():
        return np.empty(0, dtype=np.int64)
    far = np.abs(np.where(defined, cosines, 0.0))
    return np.flatnonzero(defined & (far >= np.percentile(far[defined], LEAST_PERCENTILE)))


def frequency_controls(
    cosines: Float64[np.ndarray, " neurons"], candidates: Int64[np.ndarray, " candidates"], seed: int
) -> Int64[np.ndarray, " controls"]:
    """Other neurons of the layer, along whose output weights the changes of candidates are written; the same for all of them.

    They are drawn uniformly without replacement from those that are no candidates and write something; ascending.
    """
    eligible = np.setdiff1d(np.flatnonzero(np.isfinite(cosines)), candidates)
    wanted = min(controls_of(len(candidates)), len(eligible)) if len(candidates) else 0
    return np.sort(np.random.default_rng([seed, len(cosines)]).choice(eligible, size=wanted, replace=False))
