"""Batches of tokens and the centred activations of every model on them.

The pivot of a neuron is its mean over the first 4,096 kept tokens, whatever the batch size, so that a result does not
depend on how the tokens were cut (DECISIONS, Numbers).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ingest.checkpoints.checkpoint import Checkpoint
from ingest.checkpoints.modules import MlpPass
from ingest.corpus.rows import TokenCorpus
from ingest.statistics.layers import FeatureBatch, TokenBatch

PIVOT_TOKENS = 4096


@dataclass(frozen=True)
class Pivots:
    """(neurons,) fp32 each, flat order."""

    pre: Tensor
    post: Tensor


class FeatureSource(Protocol):
    """Says which features the positions of a corpus have."""

    def of_kept(self, first_row: int, rows: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Of (rows, context) tokens of consecutive rows, of which `kept` says the positions that count.

        Returns:
            (known, columns) bool of the token, then of the one before it in the row; and which of the kept positions
            these are, (known,) int64, or None for all.
        """


def token_batches(
    corpus: TokenCorpus,
    batch_tokens: int,
    device: torch.device,
    first_row: int = 0,
    end_row: int | None = None,
    features: Mapping[str, FeatureSource] | None = None,
) -> Iterator[TokenBatch]:
    """Rows of the corpus in order, about `batch_tokens` tokens at a time (one row at least), with their features."""
    context = corpus.tokens.shape[1]
    step = max(1, batch_tokens // context)
    end = corpus.n_rows if end_row is None else end_row
    first_kept = corpus.count_kept(first_row)
    ids = torch.from_numpy(corpus.ids).to(device)
    for start in range(first_row, end, step):
        rows = np.asarray(corpus.tokens[start : min(start + step, end)], dtype=np.int64)
        mask = torch.from_numpy(corpus.kept_mask(rows)).flatten()
        tokens = torch.from_numpy(rows)
        previous = torch.full_like(tokens, -1)
        previous[:, 1:] = tokens[:, :-1]
        kept = mask.nonzero().squeeze(1)
        of_rows = (corpus.subset_ids, corpus.block_ids)
        subsets, blocks = (torch.from_numpy(ids[start : start + len(rows)].astype(np.int64)) for ids in of_rows)
        of_positions = {
            name: _feature_batch(*source.of_kept(start, rows, mask.view(tokens.shape).numpy()), device)
            for name, source in (features or {}).items()
        }
        move = partial(_to_device, device=device)
        yield TokenBatch(
            start,
            rows.shape[0],
            first_kept,
            move(tokens),
            move(kept),
            move(tokens.flatten()[kept]),
            move(previous.flatten()[kept]),
            move(subsets),
            move(blocks),
            of_positions,
            ids,
        )
        first_kept += len(kept)


class TokenRows(Protocol):
    """What a forward pass needs of a batch."""

    @property
    def tokens(self) -> Tensor:
        """(rows, context) int64."""

    @property
    def kept(self) -> Tensor:
        """(kept,) int64: positions of the flattened rows that count."""


@dataclass(frozen=True)
class BlockBatch:
    """Rows of one block of documents, see `TokenRows`."""

    tokens: Tensor
    kept: Tensor


def block_batches(corpus: TokenCorpus, block: int, batch_tokens: int, device: torch.device) -> Iterator[BlockBatch]:
    """The rows of a block in their order, about `batch_tokens` tokens at a time (one row at least)."""
    numbers = np.flatnonzero(corpus.block_ids == block)
    step = max(1, batch_tokens // corpus.tokens.shape[1])
    for start in range(0, len(numbers), step):
        rows = np.asarray(corpus.tokens[numbers[start : start + step]], dtype=np.int64)
        kept = torch.from_numpy(np.flatnonzero(corpus.kept_mask(rows)))
        yield BlockBatch(_to_device(torch.from_numpy(rows), device), _to_device(kept, device))


def _feature_batch(features: np.ndarray, places: np.ndarray | None, device: torch.device) -> FeatureBatch:
    moved = None if places is None else _to_device(torch.from_numpy(places), device)
    return FeatureBatch(_to_device(torch.from_numpy(features), device), moved)


def _to_device(values: Tensor, device: torch.device) -> Tensor:
    """Without waiting for the device: a copy from pinned memory runs beside its work."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


Observe = Callable[[int, MlpPass], None]
"""Takes a layer, and what goes through its MLP at every position, which it must not keep."""


class Buffers:
    """Memory for the activations of one batch of each model, used again by the next: what comes anew costs time and grows."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def __call__(self, checkpoint: Checkpoint, batch: TokenRows) -> Tensor:
        """(2, tokens, neurons) fp32, at least as many tokens as the batch has."""
        held = self._held.get(checkpoint.identity.sha256)
        if held is None or held.shape[1] < batch.tokens.numel():
            neurons = checkpoint.n_layers * checkpoint.d_mlp
            held = torch.empty(2, batch.tokens.numel(), neurons, device=batch.tokens.device)
            self._held[checkpoint.identity.sha256] = held
        return held


def kept_activations(
    checkpoint: Checkpoint,
    batch: TokenRows,
    observe: Observe | None = None,
    buffers: Buffers | None = None,
    last: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Pre- and post-activations of the layers at the kept positions, (kept, neurons) fp32 each, flat order.

    Args:
        observe: is shown every layer as the forward pass reaches it.
        buffers: where the activations go, until the next batch; None: into memory of their own.
        last: the last layer that is wanted, after which the forward pass ends; None: that of the model.
    """
    d_mlp = checkpoint.d_mlp
    wanted = checkpoint.n_layers if last is None else last + 1
    pre, post = (buffers or Buffers())(checkpoint, batch)[:, : len(batch.kept), : wanted * d_mlp]

    def keep(layer: int, shown: MlpPass) -> None:
        neurons = slice(layer * d_mlp, (layer + 1) * d_mlp)
        torch.index_select(shown.pre, 0, batch.kept, out=pre[:, neurons])
        torch.index_select(shown.post, 0, batch.kept, out=post[:, neurons])
        if observe is not None:
            observe(layer, shown)

    checkpoint.visit_mlps(batch.tokens, keep, last)
    return pre, post


def pivots(checkpoint: Checkpoint, corpus: TokenCorpus, batch_tokens: int, device: torch.device) -> Pivots:
    """Means over the first `PIVOT_TOKENS` kept tokens (all of them, if there are fewer)."""
    sums = torch.zeros(2, checkpoint.n_layers * checkpoint.d_mlp, dtype=torch.float64, device=device)
    missing = PIVOT_TOKENS
    for batch in token_batches(corpus, batch_tokens, device):
        pre, post = kept_activations(checkpoint, batch)
        sums[0] += pre[:missing].double().sum(0)
        sums[1] += post[:missing].double().sum(0)
        missing -= min(missing, len(pre))
        if missing == 0:
            break
    n = PIVOT_TOKENS - missing
    mean = (sums / max(n, 1)).float()
    return Pivots(pre=mean[0], post=mean[1])
