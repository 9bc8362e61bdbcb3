"""What a model loses when a neuron is replaced: by its mean, by what the current token tells, by a neuron of another seed.

A neuron's post x is replaced at every position whose token is not special (BOS, EOS, PAD) by

    mean          its mean
    token_mean    its mean over the occurrences of the current token; the mean where the token was not met
    a substitute  α + β·y, y being the post of a neuron of another model on the same tokens

The mean, α and β (least squares) are of M_corr of the first half of the blocks of documents (`ingest.statistics.jackknife`),
means of tokens of all its positions that are replaced, newlines included; the change of the loss is of M_next of the others. A
substitute that never varies has β = 0.

How sure β is says what the loss does with a line that is steeper by β's standard error: how sure the change by a substitute is
follows from the documents that score and from those that fit. The mean is the same in the ablation and in the line, which turns
about it, so that its error is not of their ratio, to first order.

Sums are of one neuron at a time, whichever others are asked for, so that what is found of it is the same to the bit.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from ingest.roles.later_layers import Model, Seen, forward, forward_after, unembed
from ingest.roles.prediction_metrics import centre, next_token_mask
from ingest.statistics.jackknife import HALF, N_BLOCKS
from ingest.statistics.lines import Line, LineSums

STACKED_TOKENS = 4096
"""Tokens that pass the later layers at once, of as many replacements of one neuron as that allows."""


class Corpus(Protocol):
    """Rows of tokens, each of one block of documents."""

    @property
    def tokens(self) -> np.ndarray: ...
    @property
    def block_ids(self) -> np.ndarray: ...
    def kept_mask(self, rows: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Replaced:
    """A neuron, and those of other models that stand in for it."""

    neuron: int
    """Flat index in its model."""
    substitutes: tuple[tuple[int, int], ...]
    """Model and flat index of each."""


@dataclass(frozen=True)
class Losses:
    """What the second half says: sums over tokens of each scoring block."""

    n: Int64[np.ndarray, " blocks"]
    """Tokens of M_next."""
    alone: Float64[np.ndarray, " blocks"]
    """Loss of the model left alone, in nats."""
    changes: list[Float64[np.ndarray, "replacements blocks"]]
    """Of each neuron, the change by each replacement: mean, token_mean, then its substitutes."""
    steeper: list[Float64[np.ndarray, " substitutes"]]
    """Of each neuron, the sum of the change by each substitute whose slope is farther from 0 by its standard error."""


def substitute(
    models: Mapping[int, Model],
    model: int,
    replaced: Sequence[Replaced],
    corpus: Corpus,
    special_ids: Collection[int],
    n_tokens: int,
    batch_tokens: int,
    device: torch.device,
    advance: Callable[[int], None] = lambda tokens: None,
) -> tuple[list[Line], Losses]:
    """Replace neurons of one model on the first rows of a corpus.

    Args:
        models: checkpoints by number, that of `model` and those of all substitutes.
        special_ids: BOS, EOS and PAD.
        n_tokens: how many tokens are read, BOS included; the row that reaches this number is read to its end.
        batch_tokens: how many at once, one row at least.
        advance: is told how many tokens were read.
    Raises:
        ValueError: the model's final norm is no LayerNorm.
    """
    n_rows = min(len(corpus.tokens), -(-n_tokens // corpus.tokens.shape[1]))
    fitting = np.asarray(corpus.block_ids[:n_rows]) < HALF
    step = max(1, batch_tokens // corpus.tokens.shape[1])
    watched = _Watched(models, model, replaced, device)
    n_ids = int(corpus.tokens[:n_rows].max(initial=0)) + 1
    lines = _lines(watched, corpus, special_ids, n_ids, _batches(fitting, step), advance)
    losses = _losses(watched, lines, corpus, special_ids, _batches(~fitting, step), advance)
    return lines, losses


def _batches(wanted: Bool[np.ndarray, " rows"], step: int) -> Iterator[np.ndarray]:
    """Numbers of the wanted rows, some at a time."""
    rows = np.flatnonzero(wanted)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


@dataclass
class _Watched:
    """The models, and which of their neurons are looked at."""

    models: Mapping[int, Model]
    model: int
    replaced: Sequence[Replaced]
    device: torch.device
    columns: dict[int, dict[int, Tensor]] = field(init=False)
    """By model and layer, indices in the layer."""

    def __post_init__(self) -> None:
        wanted: dict[int, set[int]] = defaultdict(set)
        wanted[self.model].update(one.neuron for one in self.replaced)
        for model, neuron in (substitute for one in self.replaced for substitute in one.substitutes):
            wanted[model].add(neuron)
        self.columns, self._places = {}, {}
        for model, neurons in wanted.items():
            layers: dict[int, list[int]] = defaultdict(list)
            for neuron in sorted(neurons):
                layer, index = divmod(neuron, self.models[model].d_mlp)
                self._places[model, neuron] = layer, len(layers[layer])
                layers[layer].append(index)
            self.columns[model] = {layer: torch.tensor(indices, device=self.device) for layer, indices in layers.items()}

    def look(self, rows: np.ndarray) -> dict[int, Seen]:
        """Forward passes of all models over (rows, context) tokens."""
        tokens = torch.from_numpy(rows).to(self.device)
        final = self.models[self.model].n_layers - 1
        after = {self.model: sorted(layer for layer in self.columns[self.model] if layer < final)}
        return {m: forward(self.models[m], tokens, columns, after.get(m, [])) for m, columns in self.columns.items()}

    def post(self, seen: Mapping[int, Seen], model: int, neuron: int) -> Tensor:
        """(positions,) fp32 of one neuron."""
        layer, column = self._places[model, neuron]
        return seen[model].mlps[layer].post[:, column]

    def posts(self, seen: Mapping[int, Seen], one: Replaced) -> Float64[np.ndarray, "neurons positions"]:
        """Of a replaced neuron and its substitutes."""
        places = [(self.model, one.neuron), *one.substitutes]
        return torch.stack([self.post(seen, *place) for place in places]).double().cpu().numpy()


def _rows(corpus: Corpus, numbers: np.ndarray) -> np.ndarray:
    return np.asarray(corpus.tokens[numbers], dtype=np.int64)


def _ordinary(rows: np.ndarray, special_ids: Collection[int]) -> Bool[np.ndarray, " positions"]:
    """Positions at which neurons are replaced."""
    return ~np.isin(rows.ravel(), list(special_ids))


# --- the first half ---


@torch.inference_mode()
def _lines(
    watched: _Watched,
    corpus: Corpus,
    special_ids: Collection[int],
    n_ids: int,
    batches: Iterator[np.ndarray],
    advance: Callable[[int], None],
) -> list[Line]:
    """Empty where no token of M_corr is there."""
    sums, counts = [LineSums(n_ids) for _ in watched.replaced], np.zeros(n_ids, dtype=np.int64)
    for numbers in batches:
        rows = _rows(corpus, numbers)
        ordinary = _ordinary(rows, special_ids)
        if ordinary.any():
            ids, kept, seen = rows.ravel()[ordinary], corpus.kept_mask(rows).ravel()[ordinary], watched.look(rows)
            blocks = np.repeat(corpus.block_ids[numbers], rows.shape[1])[ordinary]
            of_blocks = [(block, np.flatnonzero(kept & (blocks == block))) for block in np.unique(blocks[kept]).tolist()]
            counts += np.bincount(ids, minlength=n_ids)
            for one, of_neuron in zip(watched.replaced, sums, strict=True):
                of_neuron.add(watched.posts(seen, one)[:, ordinary], ids, of_blocks)
        advance(rows.size)
    return [of_neuron.line(counts) for of_neuron in sums] if sums and sums[0].n.any() else []


# --- the second half ---


@torch.inference_mode()
def _losses(
    watched: _Watched,
    lines: Sequence[Line],
    corpus: Corpus,
    special_ids: Collection[int],
    batches: Iterator[np.ndarray],
    advance: Callable[[int], None],
) -> Losses:
    n, alone = np.zeros(N_BLOCKS - HALF, dtype=np.int64), np.zeros(N_BLOCKS - HALF)
    changes = [np.zeros((2 + 2 * len(line.beta), N_BLOCKS - HALF)) for line in lines]
    for numbers in batches if lines else ():
        rows, blocks = _rows(corpus, numbers), np.asarray(corpus.block_ids[numbers]) - HALF
        counted = next_token_mask(rows, special_ids)
        batch = _Scored(watched, rows, counted)
        np.add.at(n, blocks, counted.sum(1))
        np.add.at(alone, blocks, batch.by_row(batch.alone))
        ordinary = _ordinary(rows, special_ids)
        for one, line, of_neuron in zip(watched.replaced, lines, changes, strict=True):
            for place, change in enumerate(batch.changes(one, _replacements(watched, batch.seen, one, line, rows), ordinary)):
                np.add.at(of_neuron[place], blocks, batch.by_row(change))
            advance(0)
        advance(rows.size)
    ends = [2 + len(line.beta) for line in lines]
    steeper = [of_neuron[end:].sum(1) for of_neuron, end in zip(changes, ends, strict=True)]
    return Losses(n, alone, [of_neuron[:end] for of_neuron, end in zip(changes, ends, strict=True)], steeper)


def _replacements(
    watched: _Watched, seen: Mapping[int, Seen], one: Replaced, line: Line, rows: np.ndarray
) -> Float64[np.ndarray, "replacements positions"]:
    """What the neuron is replaced by at each position: by steeper lines last, as often as by lines."""
    others = watched.posts(seen, one)[1:]
    fitted = line.alpha[:, None] + line.beta[:, None] * others
    # where the error is not known, that of the change is not either, whatever stands here
    more = np.nan_to_num(np.copysign(line.beta_se, line.beta))[:, None] * (others - line.of_others[:, None])
    by_token = line.of_tokens[rows.ravel()]
    return np.concatenate([np.full((1, rows.size), line.mean), by_token[None], fitted, fitted + more])


class _Scored:
    """A batch of the second half."""

    def __init__(self, watched: _Watched, rows: np.ndarray, counted: Bool[np.ndarray, "rows context"]) -> None:
        self.model, self.watched, self.shape = watched.models[watched.model], watched, rows.shape
        self.counted = counted
        self.kept = torch.from_numpy(np.flatnonzero(counted)).to(watched.device)
        # a position that counts is never the last of its row
        self.targets = torch.from_numpy(rows.ravel()).to(watched.device)[self.kept + 1]
        self.seen = watched.look(rows)
        self.alone = self._loss(self.seen[watched.model].normed)

    def _loss(self, normed: Tensor) -> Float64[Tensor, " kept"]:
        """Of what the unembedding reads, (positions, d_model)."""
        logits = centre(unembed(self.model, normed[self.kept]))
        return logits.logsumexp(1).double() - logits.gather(1, self.targets[:, None])[:, 0].double()

    def by_row(self, values: Tensor) -> Float64[np.ndarray, " rows"]:
        """Sums of values of the positions that count."""
        spread = np.zeros(self.shape)
        spread[self.counted] = values.cpu().numpy()
        return spread.sum(1)

    def changes(
        self,
        one: Replaced,
        replacements: Float64[np.ndarray, "replacements positions"],
        ordinary: Bool[np.ndarray, " positions"],
    ) -> Iterator[Float64[Tensor, " kept"]]:
        """The change of the loss by each replacement of a neuron."""
        layer, index = divmod(one.neuron, self.model.d_mlp)
        own = self.watched.post(self.seen, self.watched.model, one.neuron).double().cpu().numpy()
        delta = torch.from_numpy(np.where(ordinary, replacements - own, 0.0)).float().to(self.watched.device)
        w_out, at_once = self.model.raw_w_out(layer)[index], max(1, STACKED_TOKENS // delta.shape[1])
        for start in range(0, len(delta), at_once):
            for normed in self._normed(layer, delta[start : start + at_once], w_out):
                yield self._loss(normed) - self.alone

    def _normed(self, layer: int, delta: Tensor, w_out: Tensor) -> Sequence[Tensor]:
        """What the unembedding reads with each of some changes of a neuron's post, (positions, d_model)."""
        seen, final = self.seen[self.watched.model], layer == self.model.n_layers - 1
        residual = seen.last if final else seen.after[layer].reshape(-1, self.model.d_model)
        changed = residual + delta[..., None] * w_out
        if final:
            return list(self.model.modules.last_norm(changed))
        _, normed = forward_after(self.model, layer, changed.view(-1, self.shape[1], self.model.d_model), {})
        return normed.chunk(len(delta))
