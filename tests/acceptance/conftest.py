"""What all ingests of a test process share."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.checkpoints import checkpoint
from ingest.corpus.syntax import cache
from tests.remembered_weights import remembered

load_pipeline = functools.cache(cache.load_pipeline)


@pytest.fixture(scope="module", autouse=True)
def process_weights_once(remembered_weights: Path) -> Iterator[None]:
    """Weights are folded and proved once for each model: tests of many modules ingest the same few.

    Tests elsewhere, of the proof itself among them, process every time.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "processed_weights", remembered(checkpoint.processed_weights, remembered_weights))
        yield


@pytest.fixture(scope="module", autouse=True)
def annotate_in_this_process() -> Iterator[None]:
    """A spaCy pipeline is loaded once, and not again by each of several processes for seconds of work.

    Tests elsewhere annotate by several processes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "load_pipeline", load_pipeline)
        patch.setattr(cache, "processors", lambda: 1)
        yield
