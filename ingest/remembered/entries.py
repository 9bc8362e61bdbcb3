"""What files were found to hold, so that a repeated command need not read gigabytes to hear what it heard before.

An entry is believed while every file is still the one that was read: by name, size, times of content and of entry
(mtime and ctime, which nobody sets back at once), inode, and for small files by content. Files that changed in the moment
before they were read are not remembered: their times could not tell a second change. Code and libraries of other versions
believe nothing. `catalog verify` compares what is remembered with what files hold.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from catalog.settings import home

FORMAT_VERSION = 1
MOMENT = 2.0
"""Seconds by which clocks, and the times that a file system keeps, may be off: FAT counts in twos."""
SMALL = 16 * 2**20
"""Bytes up to which a model's file is hashed each time."""
MOST_FILES = 10_000
"""Of which the state is taken; a folder of more is no checkpoint."""
SOURCES = ("catalog", "ingest", "ingest/checkpoints", "ingest/corpus", "ingest/remembered")
"""Folders of the code that reads files."""
LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "gguf", "huggingface-hub", "datasets", "pyarrow")

State = dict[str, list[Any]]
"""By file name: size, mtime and ctime in ns, inode, and the sha256 of small files."""


def state_of(files: Mapping[str, Path], small: int = 0) -> State | None:
    """The state of files now; None if there are none, too many, or one cannot be looked at.

    Args:
        small: bytes up to which the content counts.
    """
    if not 0 < len(files) <= MOST_FILES:
        return None
    state: State = {}
    try:
        for name, path in files.items():
            status = path.stat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if status.st_size <= small else None
            state[name] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, content]
    except OSError:
        return None
    return state


class Reading:
    """Files that are about to be read."""

    def __init__(self, kind: str, key: list[Any], state: Callable[[], State | None]) -> None:
        """Take their state.

        Args:
            kind: of what they hold; a folder of the memory.
            key: says which files these are, and how they are read.
            state: takes their state, now and after they are read.
        """
        self._path, self._state = entry_path(kind, key), state
        self._began = time.time()
        self._before = state()

    def remember(self, facts: dict[str, Any]) -> None:
        """Keep what was read, if nobody changed the files meanwhile; else forget what was known of them."""
        if self._before is None or not self._settled() or self._state() != self._before:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            return
        entry = {"code": code_version(), "files": self._before, "facts": facts}
        with suppress(OSError):  # to remember is no duty
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, suffix=".new", delete=False) as file:
                json.dump(entry, file)
            os.replace(file.name, self._path)

    def _settled(self) -> bool:
        assert self._before is not None
        newest = max((max(changed, entered) for _, changed, entered, *_ in self._before.values()), default=0)
        return newest < (self._began - MOMENT) * 1e9


def recall(kind: str, key: list[Any], state: State | None) -> dict[str, Any] | None:
    """What was read of files in this very state, by this very code; None if that is not known."""
    try:
        entry = json.loads(entry_path(kind, key).read_text())
        same = state is not None and (entry["code"], entry["files"]) == (code_version(), state)
        return dict(entry["facts"]) if same else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def entry_path(kind: str, key: list[Any]) -> Path:
    """Where the entry is, or would be."""
    return home() / "remembered" / kind / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"


@cache
def code_version() -> str:
    """sha256 over all that decides what is found in files: this code's sources, and the libraries that read them."""
    digest = hashlib.sha256(str(FORMAT_VERSION).encode())
    root = Path(__file__).parents[2]
    for folder in SOURCES:
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.read_bytes())
    for name in LIBRARIES:
        digest.update(f"{name} {metadata.version(name)}\n".encode())
    return digest.hexdigest()
