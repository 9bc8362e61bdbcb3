"""Topics that a file names; read before anything heavy is imported."""

import csv
from pathlib import Path

from catalog.errors import InputError
from ingest.features.topics import LONGEST_NAME, Topic


def read_topics(path: Path, n_tokens: int | None = None) -> list[Topic]:
    """The topics of a file with the columns `token_id,topic`, in order of their first line; a token may be of several.

    Args:
        n_tokens: ids of the tokenizer; None: not known yet, any id goes.
    Raises:
        InputError: the file cannot be read, a line is no pair of them, or an id is unknown.
    """
    topics: dict[str, set[int]] = {}
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
        topics.setdefault(name, set()).add(int(token))
    if not topics:
        raise InputError(f"--topics {path} has no lines below its header; give at least one token_id,topic.")
    return [Topic(name, tuple(sorted(ids))) for name, ids in topics.items()]


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
