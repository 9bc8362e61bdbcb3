"""Exceptions as one sentence for the person at the shell, and the exit code of each."""

import errno
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from catalog.errors import TERMINATED, CatalogError, interruption_in

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT


class Interrupted(SystemExit):
    """Ctrl-C or SIGTERM, with what to say of it."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(code)
        self.text = text


class Sentence(NamedTuple):
    """What is said on stderr (nothing if empty), and the exit code."""

    text: str
    code: int


@contextmanager
def when_interrupted(consequence: str) -> Iterator[None]:
    """Have an interruption of the block say what it leaves behind."""
    try:
        yield
    except BaseException as ending:
        error = interruption_in(ending)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"interrupted; {consequence}", INTERRUPTED) from None
        if isinstance(error, Interrupted):
            raise Interrupted(f"{error.text}; {consequence}", TERMINATED) from None
        raise


def sentence(ending: BaseException) -> Sentence | None:
    """What to say of an error; None for a fault of this program, about which a person can do nothing."""
    error = interruption_in(ending) or ending
    if isinstance(error, Interrupted):
        return Sentence(error.text, TERMINATED if error.code == TERMINATED else INTERRUPTED)
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else FAILED if error.code else 0
        return Sentence("interrupted" if code == INTERRUPTED else "", code)
    if isinstance(error, KeyboardInterrupt):
        return Sentence("interrupted", INTERRUPTED)
    text = _explanation(error)
    return None if text is None else Sentence(f"error: {one_line(without_passwords(text))}", FAILED)


def without_passwords(text: str) -> str:
    """The text with the passwords of URLs and of connection strings starred out."""
    text = re.sub(r"(://[^:@/\s]*):[^@/\s]*@", r"\1:***@", text)
    return re.sub(r"(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)", r"\1***", text)


def one_line(text: str) -> str:
    """The text with every run of white space made one blank."""
    return " ".join(text.split())


def _explanation(error: BaseException) -> str | None:
    if isinstance(error, CatalogError):
        return str(error)
    if isinstance(error, OSError):
        return _operating_system(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory is exhausted; give `catalog ingest` a smaller --memory or --batch-tokens."
    return _database(error)


def _operating_system(error: OSError) -> str | None:
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}; make room, or move the catalog's data with CATALOG_HOME."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"permission denied{where}; change the permission, or move the catalog's data with CATALOG_HOME."
    return None


def _database(error: BaseException) -> str | None:
    original = getattr(error, "orig", None) or error
    psycopg = sys.modules.get("psycopg")
    if psycopg is None or not isinstance(original, (psycopg.OperationalError, psycopg.DataError)):
        return None
    reason = str(original).strip().splitlines() or [type(original).__name__]
    if isinstance(original, psycopg.DataError):
        return f"the database cannot hold a value that was given ({reason[0].rstrip('.')}); give one within its range."
    return f"the database refused or broke off ({reason[0].rstrip('.')}); `catalog doctor` says what is wrong."
