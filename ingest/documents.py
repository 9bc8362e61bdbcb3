"""Documents one after another from a JSON Lines or Parquet file, a folder of them, or a data set on the hub."""

import gzip
import hashlib
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from catalog.errors import InputError

JSON_LINES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".jsonl.xz", ".ndjson")
PARQUET_ROWS = 1000


@dataclass(frozen=True)
class CorpusSource:
    """Where text is, and which columns hold it."""

    location: str
    subset_column: str = "subset"
    text_column: str = "text"
    split: str | None = None
    revision: str | None = None

    @property
    def name(self) -> str:
        """The last part of the location, without endings."""
        return Path(self.location).name.split(".")[0] or self.location

    @property
    def is_local(self) -> bool:
        return Path(self.location).expanduser().exists()


class Document(NamedTuple):
    """One document; text that is no string is None."""

    text: str | None
    subset: str


def local_files(source: CorpusSource) -> list[Path]:
    """The files of a local source, in order.

    Raises:
        InputError: nothing is there, or nothing that can be read.
    """
    path = Path(source.location).expanduser()
    endings = (*JSON_LINES, ".parquet")
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith(endings))
        if not files:
            raise InputError(f"the folder {path} has no file that ends in {', '.join(endings)}; give one that has.")
        return files
    if not path.name.endswith(endings):
        raise InputError(f"{path} is no corpus file; give one that ends in {', '.join(endings)}.")
    return [path]


def content_key(source: CorpusSource) -> list[str]:
    """What identifies the text: sha256 of each local file, or name, revision and split on the hub.

    Raises:
        InputError: there is no such file, and the location is no hub name.
    """
    if source.is_local:
        return [_file_sha256(file) for file in local_files(source)]
    parts = Path(source.location).parts
    is_path = (len(parts) > 1 and Path(parts[0]).is_dir()) or source.location.endswith((*JSON_LINES, ".parquet"))
    if is_path or not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", source.location):
        raise InputError(f"there is no corpus {source.location!r}; give a JSON Lines or Parquet file, or a hub name.")
    return [source.location, source.revision or "", source.split or "train"]


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_documents(source: CorpusSource) -> Iterator[Document]:
    """All documents in order, streamed.

    Raises:
        InputError: a line is no JSON object, or the text column is missing.
    """
    if not source.is_local:
        yield from _documents_of(source, _hub_rows(source), source.location)
        return
    for path in local_files(source):
        rows = _parquet_rows(path, source) if path.suffix == ".parquet" else _json_rows(path)
        yield from _documents_of(source, rows, str(path))


def _documents_of(source: CorpusSource, rows: Iterator[dict[str, Any]], where: str) -> Iterator[Document]:
    for row in rows:
        if source.text_column not in row:
            raise InputError(
                f"{where} has no column {source.text_column!r}, its columns are {', '.join(sorted(row))}; name one with "
                "--text-column."
            )
        text, subset = row[source.text_column], row.get(source.subset_column)
        yield Document(text if isinstance(text, str) else None, _subset_name(subset))


def _subset_name(value: Any) -> str:
    """The value as text that a database takes: no NUL, no lone surrogate; "" for a missing one."""
    text = "" if value is None else str(value)
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", errors="replace").decode("utf-8")


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """One object per line; a .json file may also be one list of objects."""
    opener: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, io.open)
    try:
        with opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                if number == 1 and line.lstrip().startswith("["):
                    yield from _objects(json.loads(line + lines.read()), path)
                    return
                if line.strip():
                    yield from _objects([_parsed(line, path, number)], path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); give an undamaged file.") from None


def _parsed(line: str, path: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"line {number} of {path} is no JSON ({error}); give one object per line.") from None


def _objects(values: list[Any], path: Path) -> Iterator[dict[str, Any]]:
    for value in values:
        if not isinstance(value, dict):
            raise InputError(f"{path} holds {type(value).__name__} values, not objects; give one object with text per line.")
        yield value


def _parquet_rows(path: Path, source: CorpusSource) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        wanted = [name for name in (source.text_column, source.subset_column) if name in names]
        if source.text_column not in names:
            raise InputError(
                f"{path} has no column {source.text_column!r}, its columns are {', '.join(names)}; name one with --text-column."
            )
        for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=wanted):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); give an undamaged Parquet file.") from None


def _hub_rows(source: CorpusSource) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    try:
        yield from load_dataset(source.location, split=source.split or "train", revision=source.revision, streaming=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the data set {source.location} cannot be read from the hub ({reason}); give a local JSON Lines or Parquet file."
        ) from None
