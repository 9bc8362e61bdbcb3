"""Weights that are folded and proved once in a session of the tests, whichever of its processes reads the model."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from ingest.checkpoints.checkpoint import Checkpoint
from ingest.checkpoints.processing import ProcessedWeights

Process = Callable[[Checkpoint, int], ProcessedWeights]


def remembered(process: Process, folder: Path) -> Process:
    """The same function, which keeps what it has found in a folder."""

    def found(checkpoint: Checkpoint, n_real_tokens: int) -> ProcessedWeights:
        file = folder / f"{checkpoint.identity.sha256}-{n_real_tokens}.pt"
        if not file.exists():
            folder.mkdir(exist_ok=True)
            half_done = file.with_suffix(f".{os.getpid()}")
            torch.save(asdict(process(checkpoint, n_real_tokens)), half_done)
            half_done.rename(file)
        return ProcessedWeights(**torch.load(file))

    return found
