"""What reading a corpus takes, measured on its first rows: tokenising, finding topics, annotating syntax."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from catalog.errors import InputError
from ingest.corpus.counts import MODEL_TOKENS, row_counts
from ingest.corpus.rows import TokenCorpus, first_rows
from ingest.corpus.syntax.annotate import check_installed, load_pipeline
from ingest.corpus.syntax.processes import TOKENS_AT_ONCE, Annotator, processors
from ingest.corpus.syntax.subsets import syntax_subsets
from ingest.corpus.tokenizer import TokenizerInfo, text_encoder
from ingest.features.topics import topic_model
from ingest.inputs import open_corpus
from ingest.preview.phases import Reading
from ingest.preview.rehearsal import random_rows
from ingest.progress import Silent
from ingest.settings import IngestSettings

TOPIC_TOKENS = 131_072
"""In which topics are looked for, and in half of them, to see what that takes."""
SYNTAX_TOKENS = 2048
"""That are annotated: a pipeline takes seconds for some thousands."""


def reading(
    settings: IngestSettings,
    tokenizer: Any,
    info: TokenizerInfo,
    bos_id: int | None,
    corpus: TokenCorpus | None,
    n_tokens: int,
    context: int,
) -> Reading:
    """Seconds of the phases that read; of a corpus that is given, from now on.

    Args:
        bos_id: what rows begin with; None: they begin with text.
        corpus: None where only a number of tokens is known: then of so many random ones.
    """
    if not settings.needs_corpus:
        return Reading()
    parts = {*settings.parts}
    return Reading(
        _tokenise(settings, tokenizer, info, bos_id, corpus, n_tokens, context),
        _topics(info, bos_id, corpus, n_tokens, context) if "topics" in parts and settings.topics is None else None,
        _syntax(settings, info, bos_id, corpus, n_tokens, context) if "syntax" in parts else None,
    )


def _tokenise(
    settings: IngestSettings,
    tokenizer: Any,
    info: TokenizerInfo,
    bos_id: int | None,
    corpus: TokenCorpus | None,
    n_tokens: int,
    context: int,
) -> float:
    """The corpus is in the cache by now, and is opened once more."""
    if corpus is not None:
        return _seconds(lambda: open_corpus(settings, info, tokenizer, context, Silent()))
    tokens = random_rows(info, bos_id, context).tokens
    texts = ["".join(info.strings[i] for i in row) for row in tokens]
    encode = text_encoder(tokenizer)
    encode(texts[:1])
    return _seconds(lambda: encode(texts)) * n_tokens / tokens.size


def _topics(info: TokenizerInfo, bos_id: int | None, corpus: TokenCorpus | None, n_tokens: int, context: int) -> float:
    """With more rows it takes as much longer as it did from the half to the whole of what is tried."""

    def seconds_of(tokens: int) -> float:
        rows = random_rows(info, bos_id, context, tokens) if corpus is None else first_rows(corpus, -(-tokens // context))
        return _seconds(lambda: topic_model(row_counts(rows, info.n_tokens), info.texts))

    tried = min(n_tokens, TOPIC_TOKENS)
    seconds = seconds_of(tried)
    more = min(n_tokens, MODEL_TOKENS) - tried
    return seconds + max(0.0, seconds - seconds_of(tried // 2)) * 2 * more / tried if more else seconds


def _syntax(
    settings: IngestSettings, info: TokenizerInfo, bos_id: int | None, corpus: TokenCorpus | None, n_tokens: int, context: int
) -> float | None:
    """None where the pipeline is not there."""
    try:
        check_installed(settings.spacy_model)
        began = time.perf_counter()
        loaded = load_pipeline(settings.spacy_model)
        loading = time.perf_counter() - began
    except InputError:
        return None
    rows, share = random_rows(info, bos_id, context, SYNTAX_TOKENS).tokens, 1.0
    if corpus is not None:
        names = syntax_subsets(corpus.subset_names, settings.syntax_subsets)
        wanted = np.isin(corpus.subset_ids, [corpus.subset_names.index(name) for name in names])
        wanted |= not corpus.subset_names
        share = float(wanted.mean())
        chosen = np.flatnonzero(wanted)[: len(rows)]
        rows = np.asarray(corpus.tokens[chosen])
    if not rows.size:
        return loading
    breaks = tuple(sorted(info.special_ids))
    annotator = Annotator(settings.spacy_model, loaded, info.token_bytes, breaks)
    annotator.annotate(rows[:1])
    each = _seconds(lambda: annotator.annotate(rows)) / rows.size
    parts = -(-round(n_tokens * share) // TOKENS_AT_ONCE)
    processes = max(1, min(processors(), parts))
    # other processes import and load the pipeline anew
    return max(loading, 0.01) * (1 if processes == 1 else 3) + each * n_tokens * share / processes


def _seconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
