"""A small model of the same kind, with random weights, goes through the very code of an ingest: what it takes is measured.

The rehearsed model has the vocabulary, the context and, up to some size, the widths of the model that is planned, and few
layers. What each phase took is later scaled by the operations that the phase consists of (`ingest.preview.phases`). Code that
is compiled on first use runs once before it is timed.
"""

import tempfile
import time
from collections import deque
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
from catalog.rows import ModelIds
from ingest.checkpoints.architectures import ARCHITECTURES
from ingest.checkpoints.arguments import ModelSource
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.checkpoints.quiet import quiet
from ingest.corpus.bos import RowStart
from ingest.corpus.rows import CorpusMeta, TokenCorpus, first_rows
from ingest.corpus.tokenizer import TokenizerInfo
from ingest.device import describe
from ingest.inputs import Inputs
from ingest.jobs.context import ground_of
from ingest.parts import MEASURES, measures_of_models
from ingest.parts.arrays import SHARE, encode
from ingest.parts.measure import Keys
from ingest.parts.shapes import ModelShape, Share
from ingest.progress import Stopwatch
from ingest.settings import IngestSettings
from ingest.statistics.jackknife import N_BLOCKS

NAME = "rehearsal"
MOST_LAYERS, MOST_MODEL, MOST_MLP = 2, 1024, 1024
"""Of the rehearsed model."""
TOKENS = 4096
"""Of the rows that there are to read."""
ROLE_TOKENS = 1024
"""On which neurons are held and ablated, a row at least."""
TIMES = 2
"""That everything is timed: the shortest counts, for other processes only make it longer."""
ROWS_OF_RUN = "rows of the run"
"""The phase in which is computed what rows of all models together need."""


@dataclass(frozen=True)
class Rehearsal:
    """A small model and what its phases took."""

    inputs: Inputs
    shape: ModelShape
    seconds: dict[str, float]
    """By phase, without the model's name; `ROWS_OF_RUN` are part of staging."""
    measured: dict[str, float]
    """Seconds per operation of each measure of models that was asked for."""

    @property
    def checkpoint(self) -> Checkpoint:
        return self.inputs.checkpoints[0]


@contextmanager
def rehearse(
    config: Any,
    tokenizer: Any,
    info: TokenizerInfo,
    start: RowStart,
    corpus: TokenCorpus | None,
    context: int,
    settings: IngestSettings,
    device: torch.device,
    memory_bytes: int,
) -> Iterator[Rehearsal]:
    """Go through everything that is done model by model; the model is there until the end of the `with`.

    Args:
        config: of the model that is planned.
        start: with what rows begin.
        corpus: whose first rows are read; None: rows of random tokens.
    """
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="catalog-rehearsal-") as folder:
        _write(config, tokenizer, Path(folder))
        watch.phase("load")
        checkpoint = open_checkpoint(ModelSource(NAME, folder, None, True), device)
        watch.end()
        rows = random_rows(info, start.bos_id, context) if corpus is None else first_rows(corpus, -(-TOKENS // context))
        inputs = Inputs([checkpoint], info, rows, context, device, describe(device), memory_bytes, start)
        checkpoint.process(info.n_tokens)
        watch.phase("check weights")
        checkpoint.process(info.n_tokens)
        watch.end()
        shape = ModelShape(checkpoint.n_layers, checkpoint.d_model, checkpoint.d_mlp, checkpoint.d_vocab)
        measured = _measured(settings, inputs, shape)
        watch.phase(ROWS_OF_RUN)
        _make_rows_of_run(settings, inputs)
        watch.end()
        yield Rehearsal(inputs, shape, watch.seconds, measured)


def _measured(settings: IngestSettings, inputs: Inputs, shape: ModelShape) -> dict[str, float]:
    """Every measure of the model: what it takes per operation that it counts."""
    _measure_once(replace(settings, intervention_tokens=1, substitution_tokens=1), inputs, shape)
    small = replace(settings, intervention_tokens=ROLE_TOKENS, substitution_tokens=ROLE_TOKENS)
    rounds = [_measure_once(small, inputs, shape) for _ in range(TIMES)]
    return {name: min(seconds[name] for seconds in rounds) for name in rounds[0]}


def _measure_once(settings: IngestSettings, inputs: Inputs, shape: ModelShape) -> dict[str, float]:
    results: dict[str, bytes] = {}

    def read(name: str) -> list[bytes]:
        return [data for key, data in results.items() if key.startswith(name.removesuffix("%"))]

    seconds: dict[str, float] = {}
    for measure in measures_of_models(settings.parts):
        spent, operations = 0.0, 0.0
        shares = measure.shares(shape, settings)
        for share in (Share(number, shares) for number in range(shares)):
            ground = ground_of(settings, inputs, None, read, settings.parts)
            began = time.perf_counter()
            arrays = measure.rehearse(0, share, ground, lambda amount: None)
            spent += time.perf_counter() - began
            tokens = ground.tokens_read(measure.tokens_wanted(settings)) if measure.reads_corpus else 0
            operations += measure.operations(shape, tokens, measure.count(arrays), shares)
            results[f"{measure.name}:0:{share.number}"] = encode({SHARE: np.array(share.number), **arrays})
        if shares:
            seconds[measure.name] = spent / operations
    return seconds


def _make_rows_of_run(settings: IngestSettings, inputs: Inputs) -> None:
    """What is computed of all models together when their rows are written."""
    n = inputs.checkpoints[0].n_layers * inputs.checkpoints[0].d_mlp
    keys = Keys([ModelIds(1, np.arange(n, dtype=np.int32), True)], {})
    ground = ground_of(settings, inputs, None, lambda name: [], settings.parts)
    for measure in MEASURES:
        if measure.part in settings.parts and measure.computes_rows_of_run:
            deque(measure.rows_of_run(keys, ground), maxlen=0)


def _write(config: Any, tokenizer: Any, folder: Path) -> None:
    """A checkpoint with random weights."""
    small, reads = deepcopy(config), ARCHITECTURES[config.model_type].reads
    group = config.num_attention_heads // (getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    per_group = config.hidden_size // config.num_attention_heads * group
    width = max(min(config.hidden_size, MOST_MODEL) // per_group * per_group, per_group)
    n_layers = min(config.num_hidden_layers, MOST_LAYERS)
    values = {
        "n_layers": n_layers,
        "n_heads": width // per_group * group,
        "n_key_value_heads": width // per_group,
        "d_model": width,
        "d_mlp": min(getattr(config, reads["d_mlp"]) or 4 * config.hidden_size, MOST_MLP),
        "d_embedding": width,
    }
    for name, value in values.items():
        if name in reads:
            setattr(small, reads[name], value)
    if "attention_by_layer" in reads and (kinds := getattr(small, reads["attention_by_layer"], None)) is not None:
        setattr(small, reads["attention_by_layer"], kinds[:n_layers])
        if hasattr(small, "attention_types"):  # from which GPT-Neo's kinds are made anew
            small.attention_types = [[kinds[:n_layers], 1]]
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(small, dtype=torch.float32).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def random_rows(info: TokenizerInfo, bos_id: int | None, context: int, n_tokens: int = TOKENS) -> TokenCorpus:
    """Rows of tokens that are as unevenly frequent as words are, of one subset."""
    n = -(-n_tokens // context)
    usual = np.array(sorted(set(range(info.n_tokens)) - info.masked_ids), dtype=np.int32)
    places = np.random.default_rng(0).zipf(1.2, size=(n, context)) - 1
    tokens = usual[places % len(usual)]
    if bos_id is not None:
        tokens[:, 0] = bos_id
    meta = CorpusMeta(NAME, NAME, None, None, context, n, [], "", DocumentCounts(), begins_with_bos=bos_id is not None)
    subsets, blocks = np.zeros(n, dtype=np.int16), np.arange(n, dtype=np.int16) % N_BLOCKS
    return TokenCorpus(meta, tokens, subsets, blocks, tuple(sorted(info.masked_ids)))
