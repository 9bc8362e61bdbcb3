"""What a class of positions still explains of a neuron when the current token is known (DECISIONS, Meaning of labels).

Activations are regressed on the token, each with a mean of its own, and on whether a position is in the class. With nᵥ the
count of token v, πᵥ its share inside the class C, Sᵥ the sum of the neuron over v and S_C its sum over C:

    spread = Σ nᵥ·πᵥ·(1 − πᵥ)        β = (S_C − Σ πᵥ·Sᵥ) / spread        SS_within = Σ x² − Σ Sᵥ²/nᵥ
    partial effect = β / σ_within     partial variance reduction = β²·spread / SS_within     overlap = spread / n_C

Tokens that are only inside the class, or never, say nothing; a class without any others has no partial effect.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ingest.statistics import feature_loops

LEAST_WITHIN = 1e-9
"""Share of the sum of squares within tokens below which it is rounding."""


class Partial(NamedTuple):
    """What classes explain given the token."""

    effect: Float[np.ndarray, "classes neurons"]
    """β in standard deviations within tokens; NaN where undefined."""
    reduction: Float[np.ndarray, "classes neurons"]
    """Share of the variance within tokens that the class explains; NaN where undefined."""
    overlap: Float[np.ndarray, " classes"]
    """Σ nᵥ·πᵥ·(1 − πᵥ) / n_C; NaN for an empty class."""


class TokenClassSums:
    """Sums of `post - pivot` by the current token, and how often each token is in each class.

    Costs 8 * (n_ids + 2) bytes per neuron, and 8 * n_ids for each class. Two additions and a multiplication per position.
    """

    counts_: Int64[Tensor, "tokens classes"]
    """Positions of each token in each class; the last entry counts all."""
    sums_: Float64[Tensor, "tokens neurons"]
    total_: Float64[Tensor, " neurons"]
    squares_: Float64[Tensor, " neurons"]

    def __init__(self, n_ids: int, n_classes: int, n_neurons: int, device: torch.device) -> None:
        self.counts_ = torch.zeros(n_ids, n_classes + 1, dtype=torch.int64, device=device)
        self.sums_ = torch.zeros(n_ids, n_neurons, dtype=torch.float64, device=device)
        self.total_ = torch.zeros(n_neurons, dtype=torch.float64, device=device)
        self.squares_ = torch.zeros(n_neurons, dtype=torch.float64, device=device)

    @staticmethod
    def bytes_needed(n_ids: int, n_classes: int, n_neurons: int) -> int:
        """Bytes of the resident sums."""
        return 8 * ((n_ids + 2) * n_neurons + n_ids * (n_classes + 1))

    def add(self, post: Tensor, ids: Tensor, members: Tensor) -> None:
        """Add positions.

        Args:
            post: (positions, neurons) fp32 about the pivot.
            ids: (positions,) int64, the row of each current token (`TokenBatch.current_rows`).
            members: (positions, classes) bool.
        """
        everything = torch.ones(len(ids), 1, dtype=torch.int64, device=ids.device)
        self.counts_.index_add_(0, ids, torch.cat([members.long(), everything], dim=1))
        if post.device.type == "cpu":
            feature_loops.add_squared_rows(post, ids, self.sums_, self.total_, self.squares_)
        else:
            add_squared_rows(post, ids, self.sums_, self.total_, self.squares_)

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        return {f"given_{name}": getattr(self, f"{name}_") for name in ("counts", "sums", "total", "squares")}

    def partial(self, class_sums: Float[np.ndarray, "classes neurons"]) -> Partial:
        """What each class explains given the token.

        Args:
            class_sums: of post - pivot over the positions of each class, float64.
        """
        counts = self.counts_.double()
        n_tokens = counts[:, -1:].clamp_min(1)
        shares = counts[:, :-1] / n_tokens
        spread = (counts[:, :-1] * (1 - shares)).sum(0).cpu().numpy()
        expected = (shares.T @ self.sums_).cpu().numpy()
        between = (self.sums_.square() / n_tokens).sum(0).cpu().numpy()
        squares, n = self.squares_.cpu().numpy(), float(counts[:, -1].sum())
        about_mean = squares - self.total_.square().cpu().numpy() / max(n, 1)
        within = squares - between
        within = np.where(within > LEAST_WITHIN * np.maximum(about_mean, squares * LEAST_WITHIN), within, np.nan)
        n_in = counts[:, :-1].sum(0).cpu().numpy()
        known = np.where(spread > 0, spread, np.nan)[:, None]
        beta = (class_sums - expected) / known
        return Partial(
            effect=beta / np.sqrt(within / max(n, 1)),
            reduction=beta**2 * known / within,
            overlap=np.where(n_in > 0, spread / np.maximum(n_in, 1), np.nan),
        )


def add_squared_rows(values: Tensor, ids: Tensor, sums: Tensor, total: Tensor, squares: Tensor) -> None:
    """Add every row of (positions, neurons) fp32 to the row of its id, to the total, and its squares to theirs; float64."""
    exact = values.double()
    sums.index_add_(0, ids, exact)
    total += exact.sum(0)
    squares += exact.square().sum(0)
