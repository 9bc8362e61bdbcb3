"""A small model of the same kind, with random weights, goes through the very code of an ingest: what it takes is measured.

The rehearsed model has the vocabulary, the context and, up to some size, the widths of the model that is planned, and few
layers. What each phase took is later scaled by the operations that the phase consists of (`ingest.phase_estimates`). Code that
is compiled on first use runs once before it is timed.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from catalog.documents import DocumentCounts
from ingest.behaviour import READS
from ingest.checkpoint import Checkpoint, open_checkpoint
from ingest.corpus_cache import CorpusMeta, TokenCorpus
from ingest.device import describe
from ingest.model_arguments import ModelSource
from ingest.parts.shapes import ModelShape
from ingest.prepare import Inputs
from ingest.progress import Stopwatch
from ingest.quiet import quiet
from ingest.role_work import RoleWork
from ingest.roles.attention import rows_needed
from ingest.roles.intervention import FIXED_AT, Intervention
from ingest.roles.vectors import effect_vectors, weight_vectors
from ingest.settings import ROLES, IngestSettings
from ingest.tokenizer import TokenizerInfo

NAME = "rehearsal"
MOST_LAYERS, MOST_MODEL, MOST_MLP = 2, 1024, 1024
"""Of the rehearsed model."""
TOKENS = 4096
"""Of the rows that there are to read."""
ROLE_TOKENS = 1024
"""On which neurons are held and ablated, a row at least."""
TIMES = 2
"""That everything is timed: the shortest counts, for other processes only make it longer."""
HELD_FLOP, MOST_HELD = 2e11, 10
"""Operations of the passes with a held neuron, and such neurons per layer: with a large vocabulary they take longest."""


@dataclass(frozen=True)
class Rehearsal:
    """A small model and what its phases took."""

    inputs: Inputs
    shape: ModelShape
    seconds: dict[str, float]
    """By phase, without the model's name; `vectors` are part of staging."""
    n_tokens: int
    """Read by every one of these phases that reads tokens."""
    n_held: int
    """Neurons times values at which they were held."""
    n_pairs: int
    """Of neuron and head that were ablated."""

    @property
    def checkpoint(self) -> Checkpoint:
        return self.inputs.checkpoints[0]


@contextmanager
def rehearse(
    config: Any,
    tokenizer: Any,
    info: TokenizerInfo,
    corpus: TokenCorpus | None,
    context: int,
    settings: IngestSettings,
    device: torch.device,
    memory_bytes: int,
) -> Iterator[Rehearsal]:
    """Go through everything that is done model by model; the model is there until the end of the `with`.

    Args:
        config: of the model that is planned.
        corpus: whose first rows are read; None: rows of random tokens.
    """
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="catalog-rehearsal-") as folder:
        _write(config, tokenizer, Path(folder))
        watch.phase("load")
        checkpoint = open_checkpoint(ModelSource(NAME, folder, None, True), device)
        watch.end()
        rows = random_rows(info, context) if corpus is None else first_rows(corpus)
        inputs = Inputs([checkpoint], info, rows, context, device, describe(device), memory_bytes)
        checkpoint.process(info.n_tokens)
        watch.phase("check weights")
        checkpoint.process(info.n_tokens)
        watch.end()
        seconds, held, pairs = _roles(settings, inputs)
        shape = ModelShape(checkpoint.n_layers, checkpoint.d_model, checkpoint.d_mlp, checkpoint.d_vocab)
        found = {name.removesuffix(f", {NAME}"): took for name, took in (watch.seconds | seconds).items()}
        n_tokens = rows_needed(rows, ROLE_TOKENS) * context
        yield Rehearsal(inputs, shape, found, n_tokens, held, pairs)


def _roles(settings: IngestSettings, inputs: Inputs) -> tuple[dict[str, float], int, int]:
    """Every part but sums over the corpus: seconds by phase, how many times a neuron was held, and how many pairs ablated."""
    asked = {*settings.parts}
    # neurons to hold are chosen here, and not by what the weights of a random model say
    parts = tuple(
        part for part in ("weights", *ROLES) if part in asked - {"entropy"} or (part == "weights" and "entropy" in asked)
    )
    small = replace(settings, intervention_tokens=ROLE_TOKENS)
    held: tuple[Intervention, ...] = ()
    RoleWork(replace(settings, intervention_tokens=1), inputs, parts).compute(0, Stopwatch())
    watches, pairs = [Stopwatch() for _ in range(TIMES)], 0
    for watch in watches:
        work = RoleWork(small, inputs, parts)
        pairs = len(work.compute(0, watch).ablations or ())
        if "entropy" in asked:
            held = _held(inputs)
            work.measure(inputs.checkpoints[0], held, ["control"] * len(held), [-1] * len(held), watch)
        if "redundancy" in parts:
            watch.phase("vectors")
            weights = inputs.checkpoints[0].weights
            weight_vectors(weights.W_in, weights.W_out)
            list(effect_vectors([(weights.W_out, weights.W_U[:, : inputs.tokenizer.n_tokens])]))
        watch.end()
    return {name: min(watch.seconds[name] for watch in watches) for name in watches[0].seconds}, len(held), pairs


def _held(inputs: Inputs) -> tuple[Intervention, ...]:
    """Neurons of both layers, at every value."""
    model = inputs.checkpoints[0]
    flop = 2.0 * ROLE_TOKENS * model.d_model * model.d_vocab * len(FIXED_AT) * model.n_layers
    n = min(max(1, round(HELD_FLOP / flop)), MOST_HELD, model.d_mlp)
    neurons = [(layer, index) for layer in range(model.n_layers) for index in range(n)]
    return tuple(Intervention("fix", (neuron,), value) for neuron in neurons for value in FIXED_AT)


def _write(config: Any, tokenizer: Any, folder: Path) -> None:
    """A checkpoint with random weights."""
    small, reads = deepcopy(config), READS[config.model_type]
    width = min(config.hidden_size, MOST_MODEL) // (head := config.hidden_size // config.num_attention_heads) * head
    width = max(width, head)
    values = {
        "n_layers": min(config.num_hidden_layers, MOST_LAYERS),
        "n_heads": width // head,
        "d_model": width,
        "d_mlp": min(getattr(config, reads["d_mlp"]) or 4 * config.hidden_size, MOST_MLP),
        "d_embedding": width,
    }
    for name, value in values.items():
        if name in reads:
            setattr(small, reads[name], value)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(small, dtype=torch.float32).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def first_rows(corpus: TokenCorpus, n_tokens: int = TOKENS) -> TokenCorpus:
    """The first rows of a corpus, in memory."""
    n = min(corpus.n_rows, -(-n_tokens // corpus.meta.context))
    return replace(
        corpus, meta=replace(corpus.meta, n_rows=n), tokens=np.asarray(corpus.tokens[:n]), subset_ids=corpus.subset_ids[:n]
    )


def random_rows(info: TokenizerInfo, context: int, n_tokens: int = TOKENS) -> TokenCorpus:
    """Rows of tokens that are as unevenly frequent as words are, of one subset."""
    n = -(-n_tokens // context)
    usual = np.array(sorted(set(range(info.n_tokens)) - info.masked_ids), dtype=np.int32)
    places = np.random.default_rng(0).zipf(1.2, size=(n, context)) - 1
    tokens = usual[places % len(usual)]
    tokens[:, 0] = info.bos_id
    meta = CorpusMeta(NAME, NAME, None, None, context, n, [], "", DocumentCounts())
    return TokenCorpus(meta, tokens, np.zeros(n, dtype=np.int16), tuple(sorted(info.masked_ids)))
