"""spaCy in several processes; what they import is kept small, for every one of them imports it."""

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from ingest.corpus.syntax.annotate import Pipeline, annotate, load_pipeline

TOKENS_AT_ONCE = 32_768
"""Of the rows that a process annotates at a time; part of what decides the result, so it is fixed."""


@dataclass(frozen=True)
class Annotator:
    """Annotates rows of one tokenizer's tokens with one pipeline."""

    name: str
    """By which the pipeline is loaded."""
    pipeline: Pipeline
    token_bytes: list[bytes | None]
    breaks: tuple[int, ...]
    """Ids that are no text and end one."""

    def annotate(self, rows: Int[np.ndarray, "rows context"]) -> UInt8[np.ndarray, "rows context bytes"]:
        """The packed features of rows of token ids."""
        return annotate(self.pipeline.nlp, self.token_bytes, self.breaks, rows)

    def parts(
        self, tokens: Int[np.ndarray, "rows context"], rows: Int[np.ndarray, " wanted"], processes: int
    ) -> Iterator[UInt8[np.ndarray, "part context bytes"]]:
        """The packed features of the wanted rows in order, some rows at a time.

        Args:
            tokens: all rows of a corpus.
            processes: the most that work at a time; one is this one.
        """
        step = max(1, TOKENS_AT_ONCE // tokens.shape[1])
        parts = [rows[start : start + step] for start in range(0, len(rows), step)]
        if min(processes, len(parts)) <= 1:
            yield from (self.annotate(np.asarray(tokens[part])) for part in parts)
            return
        # new interpreters: a fork would inherit locks of the threads that torch and the database have here
        context = multiprocessing.get_context("spawn")
        arguments = (self.name, self.token_bytes, self.breaks)
        pool = ProcessPoolExecutor(min(processes, len(parts)), context, initializer=_begin, initargs=arguments)
        try:
            # a few parts are on their way at a time, whatever the size of the corpus
            ahead = 2 * processes
            waiting = [pool.submit(_annotate, np.asarray(tokens[part])) for part in parts[:ahead]]
            for number in range(len(parts)):
                yield waiting.pop(0).result()
                waiting += [pool.submit(_annotate, np.asarray(tokens[part])) for part in parts[number + ahead :][:1]]
        finally:
            pool.shutdown(cancel_futures=True)


def processors() -> int:
    """As many as this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_OWN: list[Annotator] = []
"""In a process that `Annotator.parts` started: its annotator."""


def _begin(name: str, token_bytes: list[bytes | None], breaks: tuple[int, ...]) -> None:
    """Prepare a process; it ends with the one that started it, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    _OWN.append(Annotator(name, load_pipeline(name), token_bytes, breaks))


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _annotate(rows: Int[np.ndarray, "rows context"]) -> UInt8[np.ndarray, "rows context bytes"]:
    (annotator,) = _OWN
    return annotator.annotate(rows)
