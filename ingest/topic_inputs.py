"""What topics are made of: a file that names them, or how often each token occurs in each row of a corpus."""

import csv
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array, csr_array

from catalog.errors import InputError
from ingest.corpus_cache import ROWS_AT_ONCE, TokenCorpus
from ingest.labels.topics import LONGEST_NAME, Topic

MODEL_TOKENS = 10_000_000
"""Tokens of the corpus, the first rows of it, that the model reads; the published one read as many."""


def row_counts(corpus: TokenCorpus, n_tokens: int) -> csr_array:
    """(rows, tokens) counts of kept positions, for the first rows of a corpus."""
    n_rows = min(corpus.n_rows, max(1, MODEL_TOKENS // corpus.meta.context))
    pieces = []
    for start in range(0, n_rows, ROWS_AT_ONCE):
        rows = np.asarray(corpus.tokens[start : min(start + ROWS_AT_ONCE, n_rows)])
        row, position = np.nonzero(corpus.kept_mask(rows))
        keys, counts = np.unique((row + start).astype(np.int64) * n_tokens + rows[row, position], return_counts=True)
        pieces.append((keys, counts))
    keys = np.concatenate([np.empty(0, dtype=np.int64), *(keys for keys, _ in pieces)])
    counts = np.concatenate([np.empty(0, dtype=np.int64), *(counts for _, counts in pieces)])
    return coo_array((counts, (keys // n_tokens, keys % n_tokens)), shape=(n_rows, n_tokens)).tocsr()


def read_topics(path: Path, n_tokens: int | None = None) -> list[Topic]:
    """The topics of a file with the columns `token_id,topic`, in order of their first line; a token may be of several.

    Args:
        n_tokens: ids of the tokenizer; None: not known yet, any id goes.
    Raises:
        InputError: the file cannot be read, a line is no pair of them, or an id is unknown.
    """
    found: dict[str, set[int]] = {}
    for line, row in _lines(path):
        token, name = (row.get("token_id") or "").strip(), (row.get("topic") or "").strip()
        if not (token.isascii() and token.isdigit()):
            raise InputError(f"--topics {path}, line {line}: {token!r} is no token id; give a whole number from 0.")
        if n_tokens is not None and int(token) >= n_tokens:
            raise InputError(
                f"--topics {path}, line {line}: the tokenizer has no token id {token}; its ids are 0 to {n_tokens - 1}."
            )
        if not name or "\0" in name or len(name) > LONGEST_NAME:
            words = f"is no name of a topic; give 1 to {LONGEST_NAME} characters."
            raise InputError(f"--topics {path}, line {line}: {name!r} {words}")
        found.setdefault(name, set()).add(int(token))
    if not found:
        raise InputError(f"--topics {path} has no lines below its header; give at least one token_id,topic.")
    return [Topic(name, np.array(sorted(ids))) for name, ids in found.items()]


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Number and columns of each line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"token_id", "topic"} <= set(reader.fieldnames or ()):
                raise InputError(f"--topics {path} lacks a column; its first line must name token_id and topic.")
            return [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"--topics {path} cannot be read ({why}); give a CSV with the columns token_id,topic.") from error
