"""How a model predicts, per token and on average, as it is and after something was done to it (SPEC §3.6, §8.3; B31, B33).

Everything is of the model's own distribution, over all ids that it embeds. Positions are those of M_next (§0.3).
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ingest.roles.vocabulary_sums import VocabularySums, vocabulary_sums

METRICS = ("scale", "entropy", "loss", "rank", "recip_rank", "logit_var", "kl")
"""scale: denominator of the final norm. entropy, loss: nats. rank: #{v: logit_v > logit of the true token}, from 0.
recip_rank: 1 / (rank + 1). logit_var: population variance of the logits over the vocabulary, after the final norm and
with its gains. kl: KL(nominal ‖ intervened), nats; 0 for the nominal model."""

BYTES_PER_LOGIT, LOGIT_MEMORY = 20, 2 * 2**30
"""What logits take per token of a batch and id of the vocabulary while metrics are made of them, and what they may take."""


def logit_bytes(d_vocab: int, batch_tokens: int) -> int:
    """What logits of a batch take, where memory is not short."""
    return min(LOGIT_MEMORY, BYTES_PER_LOGIT * d_vocab * batch_tokens)


def tokens_at_once(memory_bytes: int, d_vocab: int, batch_tokens: int) -> int:
    """Tokens of a batch, as many as are wanted and their logits fit into memory."""
    return min(batch_tokens, min(memory_bytes, LOGIT_MEMORY) // (BYTES_PER_LOGIT * d_vocab))


def next_token_mask(tokens: np.ndarray, special_ids: Collection[int]) -> np.ndarray:
    """M_next of SPEC §0.3: positions that have a next token in their row, and whose own token is not special.

    Args:
        tokens: (rows, context) ids.
        special_ids: BOS, EOS and PAD; a newline is no special token here.
    Returns:
        (rows, context) bool.
    """
    mask = ~np.isin(tokens, list(special_ids))
    mask[:, -1] = False
    return mask


def scored_mask(tokens: np.ndarray, special_ids: Collection[int], most: int | None) -> np.ndarray:
    """Positions of M_next that are scored: all where these are so many at most, else every second, third ... of them.

    Args:
        tokens: (rows, context) ids.
        most: positions; None: all.
    Returns:
        (rows, context) bool.
    """
    mask = next_token_mask(tokens, special_ids)
    places = np.flatnonzero(mask)
    chosen = np.zeros(mask.size, dtype=bool)
    chosen[places[:: 1 if most is None else max(1, -(-len(places) // most))]] = True
    return chosen.reshape(mask.shape)


@dataclass(frozen=True)
class TokenMetrics:
    """Metrics of some tokens in some variants of a model; (tokens, variants) float64 each."""

    scale: Tensor
    entropy: Tensor
    loss: Tensor
    rank: Tensor
    logit_var: Tensor
    kl: Tensor

    def stacked(self) -> Float[Tensor, "metrics tokens variants"]:
        """In the order of METRICS."""
        recip_rank = 1 / (self.rank + 1)
        return torch.stack([self.scale, self.entropy, self.loss, self.rank, recip_rank, self.logit_var, self.kl])


@dataclass(frozen=True)
class Nominal:
    """The model as it is, on the positions of a batch that count."""

    logits: Float[Tensor, "tokens vocabulary"]
    """fp32, about the mean of each token: log-probabilities and variances do not see it, and fp32 keeps more digits."""
    probabilities: Float[Tensor, "tokens vocabulary"]
    targets: Int64[Tensor, " tokens"]
    cross_entropy: Float64[Tensor, "tokens 1"]
    """-Σ p·log p, rounded as that of other logits is, so that both cancel where nothing changes."""
    metrics: TokenMetrics
    """One variant."""


def nominal_metrics(logits: Tensor, scale: Tensor, targets: Tensor) -> Nominal:
    """The nominal model's metrics and what the others are compared with.

    Args:
        logits: (tokens, vocabulary) fp32.
        scale: (tokens,) float64.
        targets: (tokens,) int64 id of the next token.
    """
    centred = centre(logits)
    sums = _sums_of(centred, targets)
    probabilities = (centred - sums.log_z.float()).exp_()
    metrics = _with_sums(sums, scale[:, None], mean_square(centred)[:, None], torch.zeros_like(sums.log_z))
    return Nominal(centred, probabilities, targets, sums.log_z - dot(probabilities, centred)[:, None], metrics)


def intervened_metrics(nominal: Nominal, logits: Tensor, scale: Tensor) -> TokenMetrics:
    """Metrics of other logits of the same tokens, one variant.

    Args:
        logits: (tokens, vocabulary) fp32.
        scale: (tokens,) float64.
    """
    centred = centre(logits)
    sums = _sums_of(centred, nominal.targets)
    expected = dot(nominal.probabilities, centred)[:, None]
    return variant_metrics(sums, nominal, scale[:, None], mean_square(centred)[:, None], expected)


def variant_metrics(sums: VocabularySums, nominal: Nominal, scale: Tensor, logit_var: Tensor, expected: Tensor) -> TokenMetrics:
    """Metrics of variants of whose logits only sums are known, (tokens, variants) float64 each.

    Args:
        expected: Σ p·logit over the vocabulary, p the nominal probabilities.
    """
    return _with_sums(sums, scale, logit_var, sums.log_z - expected - nominal.cross_entropy)


def centre(logits: Tensor) -> Tensor:
    """About the mean over the vocabulary, fp32."""
    return logits - logits.mean(-1, keepdim=True)


def mean_square(centred: Tensor) -> Tensor:
    """Population variance over the vocabulary of logits that are centred, (tokens,) float64."""
    return torch.linalg.vector_norm(centred, dim=-1).double().square() / centred.shape[-1]


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Of each token over the vocabulary, (tokens,) float64, without a product in memory."""
    return torch.bmm(left[:, None], right[:, :, None])[:, 0, 0].double()


def _sums_of(logits: Tensor, targets: Tensor) -> VocabularySums:
    """Of logits that are there, as one variant."""
    ones, nothing = logits.new_ones(len(logits), 1), logits.new_zeros(1, logits.shape[1])
    chosen = torch.zeros(1, dtype=torch.int64, device=logits.device)
    return vocabulary_sums(nothing[0], logits, nothing, chosen, ones, torch.zeros_like(ones), targets)


def _with_sums(sums: VocabularySums, scale: Tensor, logit_var: Tensor, kl: Tensor) -> TokenMetrics:
    # rounding alone takes a divergence below 0
    return TokenMetrics(scale, sums.entropy, sums.log_z - sums.true_logit, sums.rank, logit_var, kl.clamp_min(0))


class PairedSums:
    """Sums over tokens of metrics of interventions, and of their differences to the nominal model's."""

    def __init__(self, n_interventions: int, device: torch.device) -> None:
        shape = (len(METRICS), n_interventions)
        self.n = 0
        self.nominal = torch.zeros(len(METRICS), dtype=torch.float64, device=device)
        self.values, self.deltas, self.squares = torch.zeros(3, *shape, dtype=torch.float64, device=device)

    def add_nominal(self, nominal: Nominal) -> None:
        """Count the tokens of a batch; once, whatever its interventions."""
        self.n += len(nominal.targets)
        self.nominal += nominal.metrics.stacked().sum((1, 2))

    def add(
        self, interventions: Int64[Tensor, " together"], metrics: TokenMetrics, nominal: Nominal, among: Tensor | None = None
    ) -> None:
        """Add the tokens of a batch to some interventions, each of which is one variant.

        Args:
            among: (variants,) int64 places among these interventions, if something was found of some of them only: sums are
                of one shape in any case, for sums of other shapes may round otherwise.
        """
        values = metrics.stacked()
        deltas = values - nominal.metrics.stacked()
        if among is not None and len(among) < len(interventions):
            values, deltas = (_spread(held, among, len(interventions)) for held in (values, deltas))
        self.values[:, interventions] += values.sum(1)
        self.deltas[:, interventions] += deltas.sum(1)
        self.squares[:, interventions] += deltas.square_().sum(1)

    def results(self, wanted: slice = slice(None)) -> "InterventionResults":
        """Means and standard errors of the interventions that are wanted; undefined ones are NaN."""
        n = self.n or torch.nan
        mean, delta = (self.values / n).T.cpu().numpy(), (self.deltas / n).T
        spread = (self.squares / n).T - delta**2
        variance_of_mean = spread.clamp_min(0) / (self.n - 1 if self.n > 1 else torch.nan)
        nominal = (self.nominal / n).cpu().numpy()
        columns = (mean, delta.cpu().numpy(), variance_of_mean.sqrt().cpu().numpy())
        return InterventionResults(self.n, nominal, *(column[wanted] for column in columns))


def _spread(values: Tensor, places: Tensor, n: int) -> Tensor:
    """(metrics, tokens, variants) at their places among n, 0 at the others."""
    spread = values.new_zeros(*values.shape[:2], n)
    spread[..., places] = values
    return spread


@dataclass(frozen=True)
class InterventionResults:
    """Means over the kept tokens, float64, columns in the order of METRICS; NaN where no token (for `se`, one) was kept."""

    n_tokens: int
    """Tokens in M_next, over which the means are."""
    nominal: Float[np.ndarray, " metrics"]
    mean: Float[np.ndarray, "interventions metrics"]
    delta: Float[np.ndarray, "interventions metrics"]
    """Mean of the difference to the nominal model on the same token."""
    se: Float[np.ndarray, "interventions metrics"]
    """Standard error of `delta`: sample standard deviation of the differences / √n."""
