"""Silence for libraries that talk on stderr: what they warn of is checked here and told in one sentence."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from transformers import modeling_gguf_pytorch_utils as gguf
from transformers.utils import logging as transformers_logging


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, log lines below errors, or warnings of third parties within the block."""
    bar, gguf.tqdm = gguf.tqdm, partial(gguf.tqdm, disable=True)
    level, bars = logging.root.manager.disable, transformers_logging.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        gguf.tqdm = bar
        logging.disable(level)
        if bars:
            transformers_logging.enable_progress_bar()
