"""Interventions on neurons of the last layer, without a layer or an unembedding computed anew.

Such a neuron changes the residual that the final norm reads by Δ·w_out. With w̃ = w_out about its mean (RMSNorm: w_out),
e = (γ∘w̃)·W_U, b the logits that the norm's bias gives, x the residual and σ₀ its scale (DECISIONS, Interventions):

    logits(Δ) = b + (σ₀·(logits₀ - b) + Δ·e) / σ(Δ)        σ(Δ)² = σ₀² + (2Δ·x·w̃ + Δ²·‖w̃‖²) / d_model
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ingest.roles.later_layers import Model
from ingest.roles.prediction_metrics import Nominal, TokenMetrics, centre, dot, intervened_metrics, mean_square, variant_metrics
from ingest.roles.vocabulary_sums import vocabulary_sums


class Written:
    """What some neurons of the last layer write, as the raw weights have it, and what it does to logits."""

    def __init__(self, model: Model, neurons: Sequence[int], ids: slice = slice(None)) -> None:
        norm = model.modules.final_norm
        w_u, head_bias = (values[..., ids].float() for values in model.modules.unembedding)
        w_out = model.raw_w_out(model.n_layers - 1)[list(neurons)].double()
        self.epsilon = norm.epsilon
        self.writes: Float64[Tensor, "neurons d_model"] = norm.centre(w_out)
        self.effects: Float[Tensor, "neurons vocabulary"] = centre((self.writes * norm.gain).float() @ w_u)
        self.base: Float[Tensor, " vocabulary"] = centre(norm.bias @ w_u + head_bias)

    def scale(self, nominal: Tensor, linear: Tensor, square: Tensor) -> Float64[Tensor, "tokens variants"]:
        """σ(Δ), at least what the norm's ε leaves of it.

        Args:
            nominal: (tokens,) float64, σ₀.
            linear, square: (tokens, variants) float64, Δ·x·w̃ and Δ²·‖w̃‖².
        """
        d_model = self.writes.shape[1]
        return (nominal[:, None].square() + (2 * linear + square) / d_model).clamp_min(self.epsilon).sqrt()


class FinalLayer(Written):
    """The same, with what sums over the vocabulary of all metrics are made of."""

    def __init__(self, model: Model, neurons: Sequence[int]) -> None:
        super().__init__(model, neurons)
        directions = self.effects.double()
        self._base_square = self.base.double().square().mean()
        self._effect_squares = directions.square().mean(1)
        self._base_effects = directions @ self.base.double() / len(self.base)
        self._columns = torch.cat([self.base[None], self.effects]).T.contiguous()

    def one_each(
        self, nominal: Nominal, residual: Tensor, scale: Tensor, delta: Tensor, chosen: Int64[Tensor, " variants"]
    ) -> TokenMetrics:
        """Variants that change one neuron each.

        Args:
            residual: (tokens, d_model) that the final norm reads.
            scale: (tokens,) float64, its nominal scale.
            delta: (tokens, variants) float64 change of post.
            chosen: which of the neurons each variant changes.
        """
        n_ids = len(self.base)
        linear = (residual.double() @ self.writes.T)[:, chosen]
        scales = self.scale(scale, linear * delta, delta**2 * self.writes.square().sum(1)[chosen])
        s, t = scale[:, None] / scales, delta / scales
        logits = nominal.logits - self.base
        products = (logits @ self._columns).double() / n_ids
        logit_var = (
            s**2 * mean_square(logits)[:, None]
            + self._base_square
            + t**2 * self._effect_squares[chosen]
            + 2 * (s * products[:, :1] + s * t * products[:, 1:][:, chosen] + t * self._base_effects[chosen])
        )
        columns = (nominal.probabilities @ self._columns).double()
        expected = columns[:, :1] + s * dot(nominal.probabilities, logits)[:, None] + t * columns[:, 1:][:, chosen]
        arguments = (self.base, logits, self.effects, chosen, s.float(), t.float(), nominal.targets)
        return variant_metrics(vocabulary_sums(*arguments), nominal, scales, logit_var, expected)

    def together(
        self, nominal: Nominal, residual: Tensor, scale: Tensor, delta: Tensor, chosen: Int64[Tensor, " changed"]
    ) -> TokenMetrics:
        """One variant that changes several neurons; `delta` is (tokens, changed)."""
        change = delta @ self.writes[chosen]
        linear = (residual.double() * change).sum(1, keepdim=True)
        scales = self.scale(scale, linear, change.square().sum(1, keepdim=True))
        moved = delta.float() @ self.effects[chosen]
        logits = self.base + (scale[:, None].float() * (nominal.logits - self.base) + moved) / scales.float()
        return intervened_metrics(nominal, logits, scales[:, 0])
