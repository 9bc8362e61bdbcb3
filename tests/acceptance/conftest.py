"""What all ingests of a test process share."""

from collections.abc import Iterator

import pytest

from ingest.checkpoints import checkpoint as opened
from ingest.checkpoints.checkpoint import Checkpoint
from ingest.checkpoints.processing import ProcessedWeights

KNOWN: dict[tuple[str, int], ProcessedWeights] = {}


@pytest.fixture(scope="module", autouse=True)
def process_weights_once() -> Iterator[None]:
    """Weights are folded and proved once for each model: tests of many modules ingest the same few.

    Tests elsewhere, of the proof itself among them, process every time.
    """
    process = opened.processed_weights

    def remembered(checkpoint: Checkpoint, n_real_tokens: int) -> ProcessedWeights:
        key = (checkpoint.identity.sha256, n_real_tokens)
        if key not in KNOWN:
            KNOWN[key] = process(checkpoint, n_real_tokens)
        return KNOWN[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opened, "processed_weights", remembered)
        yield
