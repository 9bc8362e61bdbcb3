"""Two pocket models and their corpus, and the accumulation loop over it, for benchmarks on real activations."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from bench import POCKET_CORPUS, POCKET_MODELS
from catalog.settings import home
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.corpus.batches import Buffers, Pivots, kept_activations, pivots, token_batches
from ingest.corpus.files import CorpusSource
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.jobs.sums import JobSums
from ingest.parts.shapes import CorpusShape, model_shape
from ingest.plan.items import Item, MomentItem, OwnItem, Plan, TileItem
from ingest.statistics.layers import TokenBatch
from ingest.statistics.tiles import LayerSpan

CPU = torch.device("cpu")
BATCH_TOKENS = 8192


def two_models() -> list[Checkpoint]:
    """The first two seeds."""
    return [open_checkpoint(parse_model_argument(path), CPU) for path in POCKET_MODELS[:2]]


def corpus(checkpoint: Checkpoint, max_tokens: int | None) -> TokenCorpus:
    """Rows of the pocket corpus, BOS counted; tokenised once into the catalog's home."""
    source = CorpusSource(POCKET_CORPUS)
    info = tokenizer_identity(checkpoint.tokenizer)
    return tokenise(source, info, checkpoint.tokenizer, checkpoint.n_ctx, max_tokens, 0, False, home() / "corpora")


def repeated_batches(rows: TokenCorpus, n_tokens: int) -> Iterator[TokenBatch]:
    """Batches of about `n_tokens` tokens in all; the corpus starts again where it ends."""
    left = n_tokens // rows.tokens.shape[1]
    while left > 0:
        for batch in token_batches(rows, BATCH_TOKENS, CPU, 0, min(left, rows.n_rows)):
            yield batch
            left -= batch.n_rows


def accumulators(models: list[Checkpoint], rows: TokenCorpus, known: dict[int, Pivots], precision: str = "fp32") -> JobSums:
    """What one job of a pair needs: moments, products of layers with themselves, and one tile of all neurons."""
    shapes = tuple(model_shape(m.config) for m in models)
    spans = [LayerSpan(0, m.n_layers - 1, m.d_mlp) for m in models]
    items: list[Item] = [MomentItem(model) for model in (0, 1)]
    items += [OwnItem(m, LayerSpan(layer, layer, s.d_mlp)) for m, s in enumerate(spans) for layer in s.layers]
    items.append(TileItem(0, 1, *spans))
    plan = Plan((), shapes, CorpusShape(rows.n_rows, rows.tokens.shape[1]))
    return JobSums(tuple(items), plan, known, CPU, precision)


@torch.inference_mode()
def known_pivots(models: list[Checkpoint], rows: TokenCorpus) -> dict[int, Pivots]:
    """What a run computes once, before its jobs."""
    return {number: pivots(model, rows, BATCH_TOKENS, CPU) for number, model in enumerate(models)}


@torch.inference_mode()
def accumulate(models: list[Checkpoint], rows: TokenCorpus, n_tokens: int, known: dict[int, Pivots]) -> JobSums:
    """The accumulation loop: forward passes and sums of `n_tokens` tokens, one after the other as a job does it."""
    sums, buffers = accumulators(models, rows, known), Buffers()
    for batch in repeated_batches(rows, n_tokens):
        both: list[dict[int, Tensor]] = [{}, {}]
        for number, model in enumerate(models):
            both[0][number], both[1][number] = kept_activations(model, batch, partial(sums.observe, batch, number), buffers)
            both[1][number] -= known[number].post
        sums.update(batch, *both)
    return sums
