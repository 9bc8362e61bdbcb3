"""What the last layer's neurons do to how sure a model is: mean ablation, in closed form (Stolfo et al. 2024).

A neuron's post is replaced by its mean at every position. The logits of position t change by

    (s - 1)·(logits₀ - b) + t·e        s = σ₀/σ, t = Δ/σ        (`ingest.roles.final_layer`)

for the total effect; with the final norm's scale frozen, by Δ/σ₀·e; and with logits held along a direction v of length 1, by
the first less its own component along v. Ids beyond the tokenizer's get no probability. Nothing is summed over neurons, so that
what is found of one is the same to the bit, whichever others are asked for: products are of blocks of neurons.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from ingest.roles.final_layer import Written
from ingest.roles.later_layers import Model, Seen, forward, unembed
from ingest.roles.log_ratios import Before, Change, beyond, excesses
from ingest.roles.prediction_metrics import centre, dot, next_token_mask, scored_mask
from ingest.roles.token_frequency import TokenFrequency
from ingest.statistics.jackknife import N_BLOCKS

NEURONS_AT_ONCE = 64
"""Whose effects on all logits are in memory at once."""
SUMMED = ("total", "direct", "held", "loss", "divergence")
"""|change of the loss|; the same with the scale frozen; with logits held along v; the change of the loss; of KL(P ‖ model)."""


class Corpus(Protocol):
    """Rows of tokens, each of one block of documents."""

    @property
    def tokens(self) -> np.ndarray: ...
    @property
    def block_ids(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Reading:
    """What is read of a corpus, and how."""

    corpus: Corpus
    special_ids: Collection[int]
    """BOS, EOS and PAD."""
    n_tokens: int
    """BOS included; the row that reaches this number is read to its end."""
    batch_tokens: int
    """At once, one row at least."""
    device: torch.device
    advance: Callable[[int], None] = lambda tokens: None
    """Is told how many tokens were read."""

    @property
    def rows(self) -> np.ndarray:
        """(rows, context) of the tokens that are read."""
        return self.corpus.tokens[: -(-self.n_tokens // self.corpus.tokens.shape[1])]

    def batches(self) -> Iterator[slice]:
        """Of rows."""
        step = max(1, self.batch_tokens // self.rows.shape[1])
        for start in range(0, len(self.rows), step):
            yield slice(start, min(start + step, len(self.rows)))

    def scored(self, most: int) -> Bool[np.ndarray, "rows context"]:
        """Positions whose losses are measured."""
        return scored_mask(np.asarray(self.rows), self.special_ids, most)


@torch.inference_mode()
def mean_posts(model: Model, reading: Reading) -> tuple[Float64[np.ndarray, " neurons"], int]:
    """Mean post of the last layer's neurons over M_next of the rows that are read, NaN without one; how many positions."""
    sums, n = torch.zeros(model.d_mlp, dtype=torch.float64, device=reading.device), 0
    for part in reading.batches():
        rows = np.asarray(reading.rows[part], dtype=np.int64)
        kept = torch.from_numpy(next_token_mask(rows, reading.special_ids).ravel()).to(reading.device)
        sums += _look(model, rows, reading.device).mlps[model.n_layers - 1].post[kept].double().sum(0)
        n += int(kept.sum())
        reading.advance(rows.size)
    return (sums / (n or torch.nan)).cpu().numpy(), n


def _look(model: Model, rows: np.ndarray, device: torch.device) -> Seen:
    columns = torch.arange(model.d_mlp, device=device)
    return forward(model, torch.from_numpy(rows).to(device), {model.n_layers - 1: columns}, [])


class Ablated(NamedTuple):
    """Per position and variant, (tokens, variants) float64: changes of the loss, and of KL(P ‖ model), in nats."""

    total: Tensor
    held: Tensor
    divergence: Tensor


class _Scored:
    """The positions of a batch whose losses are measured."""

    def __init__(
        self,
        model: Model,
        frequency: TokenFrequency,
        rows: np.ndarray,
        scored: Bool[np.ndarray, "rows context"],
        device: torch.device,
    ) -> None:
        n_ids = len(frequency.counts)
        self.v, self.p_frequency = (
            torch.from_numpy(values).float().to(device) for values in (frequency.direction, frequency.probability)
        )
        kept = torch.from_numpy(np.flatnonzero(scored)).to(device)
        # a position that counts is never the last of its row
        self.targets = torch.from_numpy(rows.ravel()).to(device)[kept + 1]
        seen = _look(model, rows, device)
        self.residual, self.post = seen.last[kept].double(), seen.mlps[model.n_layers - 1].post[kept].double()
        self.scale = model.modules.final_norm.scale(seen.last)[kept]
        logits = centre(unembed(model, seen.normed[kept])[:, :n_ids])
        log_z = logits.logsumexp(1, keepdim=True)
        self.loss = (log_z - logits.gather(1, self.targets[:, None]))[:, 0].double()
        self.divergence = _of_frequency(frequency) + log_z[:, 0].double() - (logits @ self.p_frequency).double()
        self.p = (logits - log_z).exp_()
        self.base = Written(model, [], slice(n_ids)).base
        self.a, self.log_z = logits - self.base, log_z
        self.p_a, self.p_v = dot(self.p, self.a)[:, None], (self.p @ self.v).double()[:, None]
        self.a_v, self.a_frequency = ((self.a @ values).double()[:, None] for values in (self.v, self.p_frequency))
        self.a_target = self.a.gather(1, self.targets[:, None]).double()
        self.v_target = self.v[self.targets, None].double()

    def ablated(
        self, written: Written, delta: Float64[Tensor, "tokens variants"], chosen: Int64[Tensor, " variants"]
    ) -> Ablated:
        """Changes by variants that change one neuron each.

        Args:
            delta: change of post.
            chosen: along which of the written directions.
        """
        effects, squares = written.effects, written.writes.square().sum(1)
        p_e, e_target = (values.double()[:, chosen] for values in (self.p @ effects.T, effects[:, self.targets].T))
        e_v, e_frequency = ((effects @ values).double()[chosen] for values in (self.v, self.p_frequency))
        scales = written.scale(self.scale, (self.residual @ written.writes.T)[:, chosen] * delta, delta**2 * squares[chosen])
        nominal, along = self.scale[:, None] / scales - 1, delta / scales
        back = -(nominal * self.a_v + along * e_v)
        mean = nominal * self.p_a + along * p_e
        target = nominal * self.a_target + along * e_target
        before = Before(self.p, self.a, effects, self.v, chosen)
        total = self._log_ratio(before, Change(nominal, along, torch.zeros_like(delta)), mean)
        held = self._log_ratio(before, Change(nominal, along, back), mean + back * self.p_v)
        return Ablated(
            total - target,
            held - target - back * self.v_target,
            total - nominal * self.a_frequency - along * e_frequency,
        )


    def with_frozen_scale(
        self, written: Written, delta: Float64[Tensor, "tokens variants"], chosen: Int64[Tensor, " variants"]
    ) -> Float64[Tensor, "tokens variants"]:
        """The change of the loss by the same variants, the final norm dividing by what it did before."""
        effects, along, nothing = written.effects, delta / self.scale[:, None], torch.zeros_like(delta)
        p_e, e_target = (values.double()[:, chosen] for values in (self.p @ effects.T, effects[:, self.targets].T))
        before = Before(self.p, self.a, effects, self.v, chosen)
        return self._log_ratio(before, Change(nothing, along, nothing), along * p_e) - along * e_target

    def _log_ratio(self, before: Before, change: Change, mean: Float64[Tensor, "tokens variants"]) -> Tensor:
        """log Z after the change, less that before."""
        ratio = mean + excesses(before, change, mean).log1p()
        for t, k in beyond(before, change, mean).tolist():
            vectors = (before.a[t], before.directions[before.chosen[k]], before.v)
            moved = sum(how_far[t, k] * vector.double() for how_far, vector in zip(change, vectors, strict=True))
            ratio[t, k] = (before.a[t].double() + self.base - self.log_z[t] + moved).logsumexp(0)
        return ratio


def _of_frequency(frequency: TokenFrequency) -> float:
    """Σ P·log P."""
    p = frequency.probability
    return float((p * np.log(p)).sum())


@dataclass(frozen=True)
class ConfidenceSums:
    """Over positions, of each block of documents."""

    n: Int64[np.ndarray, " blocks"]
    loss: Float64[np.ndarray, " blocks"]
    """Of the model left alone, nats."""
    divergence: Float64[np.ndarray, " blocks"]
    """KL(P ‖ model left alone), nats."""
    changes: Float64[np.ndarray, "summed wanted blocks"]
    """By mean ablation, in the order of SUMMED."""


def _batches(
    model: Model, frequency: TokenFrequency, reading: Reading, most: int, n_neurons: int
) -> Iterator[tuple[_Scored, Int64[np.ndarray, " tokens"], list[tuple[int, int]]]]:
    """Batches of scored positions, and the block of documents of each position; and blocks of so many neurons.

    With each of these the first neuron, and how many tokens more are done after it: a batch takes long with a large vocabulary.
    """
    scored, firsts = reading.scored(most), range(0, n_neurons, NEURONS_AT_ONCE)
    for part in reading.batches():
        rows, here = np.asarray(reading.rows[part], dtype=np.int64), scored[part]
        edges = [rows.size * number // max(1, len(firsts)) for number in range(len(firsts) + 1)]
        if here.any() and n_neurons:
            blocks = np.repeat(np.asarray(reading.corpus.block_ids[part], dtype=np.int64), here.sum(1))
            done = [after - before for before, after in pairwise(edges)]
            yield _Scored(model, frequency, rows, here, reading.device), blocks, list(zip(firsts, done, strict=True))
        else:
            reading.advance(rows.size)


@torch.inference_mode()
def ablate_to_means(
    model: Model,
    means: Float64[np.ndarray, " neurons"],
    frequency: TokenFrequency,
    reading: Reading,
    most: int,
    neurons: slice = slice(None),
) -> ConfidenceSums:
    """Replace the post of each neuron of the last layer by its mean.

    Args:
        means: of all neurons of the layer.
        most: positions that are scored.
        neurons: whose changes are wanted; starts at a multiple of NEURONS_AT_ONCE.
    """
    wanted = range(model.d_mlp)[neurons]
    n, loss, divergence = np.zeros(N_BLOCKS, dtype=np.int64), *np.zeros((2, N_BLOCKS))
    changes = np.zeros((len(SUMMED), len(wanted), N_BLOCKS))
    of_all, ids = torch.from_numpy(means).to(reading.device), slice(len(frequency.counts))
    for batch, blocks, some_neurons in _batches(model, frequency, reading, most, len(wanted)):
        np.add.at(n, blocks, 1)
        np.add.at(loss, blocks, batch.loss.cpu().numpy())
        np.add.at(divergence, blocks, batch.divergence.cpu().numpy())
        for first, done in some_neurons:
            some = wanted[first : first + NEURONS_AT_ONCE]
            delta = of_all[some.start : some.stop] - batch.post[:, some.start : some.stop]
            variants = Written(model, some, ids), delta, torch.arange(len(some), device=reading.device)
            for place, values in enumerate(_summed(batch.ablated(*variants), batch.with_frozen_scale(*variants))):
                changes[place, first : first + len(some)] += _by_block(values, blocks)
            reading.advance(done)
    return ConfidenceSums(n, loss, divergence, changes)


def _summed(ablated: Ablated, direct: Tensor) -> list[Tensor]:
    """In the order of SUMMED."""
    return [ablated.total.abs(), direct.abs(), ablated.held.abs(), ablated.total, ablated.divergence]


def _by_block(values: Float64[Tensor, "tokens neurons"], blocks: np.ndarray) -> Float64[np.ndarray, "neurons blocks"]:
    sums = torch.zeros(N_BLOCKS, values.shape[1], dtype=torch.float64)
    return sums.index_add_(0, torch.from_numpy(blocks), values.cpu()).T.numpy()


@torch.inference_mode()
def along_others(
    model: Model,
    means: Float64[np.ndarray, " neurons"],
    frequency: TokenFrequency,
    reading: Reading,
    most: int,
    neurons: Sequence[int],
    others: Sequence[int],
) -> tuple[Float64[np.ndarray, "chosen others"], int]:
    """|Change of the loss| less that with logits held along v, mean over positions, of mean ablations written along others.

    Args:
        neurons: whose post is replaced.
        others: neurons of the layer along whose output weights the change is written, as long as along the neuron's own.
    Returns:
        Effects and the number of positions.
    """
    found, n = torch.zeros(len(neurons), len(others), dtype=torch.float64, device=reading.device), 0
    of_all = torch.from_numpy(means).to(reading.device)
    own = model.modules.final_norm.centre(model.raw_w_out(model.n_layers - 1)[list(neurons)].double()).norm(dim=1)
    for batch, _, some_neurons in _batches(model, frequency, reading, most, len(others)):
        n += len(batch.targets)
        for first, done in some_neurons:
            written = Written(model, others[first : first + NEURONS_AT_ONCE], slice(len(frequency.counts)))
            chosen = torch.arange(len(written.writes), device=reading.device)
            for place, neuron in enumerate(neurons):
                delta = (of_all[neuron] - batch.post[:, neuron, None]) * own[place] / written.writes.norm(dim=1)
                ablated = batch.ablated(written, delta, chosen)
                found[place, first : first + len(chosen)] += (ablated.total.abs() - ablated.held.abs()).sum(0)
            reading.advance(done)
    return (found / (n or torch.nan)).cpu().numpy(), n
