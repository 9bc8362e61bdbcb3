"""Where a corpus is: its files in order, what of a folder is left out, and what identifies the text.

Nothing heavy is imported here, so that a corpus that cannot be used is told at once.
"""

import codecs
import glob
import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from catalog.errors import InputError

JSON_ENDING = r"\.(jsonl|ndjson|json)(\.(gz|xz|bz2|zst))?"
PARQUET = ".parquet"
ENDINGS = "ends in .jsonl, .ndjson or .json, as it is or with .gz, .xz, .bz2 or .zst, or in .parquet"
UTF_8 = "utf-8"

OTHER_ENDING = "with another ending"
HIDDEN = "hidden"
NOT_CHOSEN = "by --include or --exclude"


@dataclass(frozen=True)
class CorpusSource:
    """Where text is, and which columns hold it."""

    location: str
    subset_column: str = "subset"
    """Empty: none."""
    text_column: str = "text"
    split: str | None = None
    revision: str | None = None
    encoding: str = UTF_8
    """Of JSON Lines."""
    include: tuple[str, ...] = ()
    """Glob patterns relative to a folder; what matches none of them is left out. Empty: nothing is."""
    exclude: tuple[str, ...] = ()
    """Glob patterns of what is left out."""

    @property
    def name(self) -> str:
        """The last part of the location, without endings."""
        return Path(self.location).name.split(".")[0] or self.location

    @property
    def path(self) -> Path | None:
        """The file or folder; None for a data set on the hub.

        Raises:
            InputError: the place cannot be looked at.
        """
        try:
            path = Path(self.location).expanduser()
            return path if self.location and path.exists() else None
        except (OSError, RuntimeError) as error:
            raise InputError(f"the corpus {self.location!r} cannot be read ({error}); give another place.") from None


class CorpusFile(NamedTuple):
    """One file that may hold text."""

    path: Path
    name: str
    """Relative to the folder, or the file's own."""

    @property
    def is_parquet(self) -> bool:
        return self.name.lower().endswith(PARQUET)


@dataclass(frozen=True)
class CorpusFiles:
    """What a local source consists of."""

    files: list[CorpusFile]
    """In the order of their names, folder by folder."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why, by name relative to the folder."""


def check_source(source: CorpusSource) -> CorpusFiles | None:
    """The files of a local source, or None for a data set on the hub, by looking at names alone.

    Raises:
        InputError: no such file or folder, nothing in it that can be read, or an option that cannot act on it.
    """
    if not source.location.strip():
        raise InputError("--corpus is empty; give a JSON Lines or Parquet file, a folder of them, or a hub name.")
    _encoding(source)
    path = source.path
    if path is not None:
        return _find_files(source, path)
    if _is_like_a_path(source.location) or not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", source.location):
        raise InputError(
            f"there is no corpus {source.location!r}: no such file or folder; give a JSON Lines or Parquet file, a folder of "
            "them, or a data set on the hub."
        )
    _refuse_options(source, "a data set on the hub", [*_of_folders(source), *_of_text(source)])
    return None


def _is_like_a_path(location: str) -> bool:
    parts = location.split("/")
    return (
        len(parts) > 2
        or location.startswith(("~", "."))
        or location.endswith("/")
        or "\\" in location
        or (len(parts) == 1 and "." in location)
        or (len(parts) > 1 and Path(parts[0]).is_dir())
        or _is_corpus(location)
    )


def _is_corpus(name: str) -> bool:
    return re.search(rf"({JSON_ENDING}|{re.escape(PARQUET)})$", name, re.IGNORECASE) is not None


def _of_folders(source: CorpusSource) -> list[str]:
    by_option = (("--include", source.include), ("--exclude", source.exclude))
    return [option for option, patterns in by_option if patterns]


def _of_text(source: CorpusSource) -> list[str]:
    return ["--encoding"] if _encoding(source) != UTF_8 else []


def _refuse_options(source: CorpusSource, what: str, options: list[str]) -> None:
    if options:
        raise InputError(f"{options[0]} does nothing for {source.location}, which is {what}; leave it out.")


def _encoding(source: CorpusSource) -> str:
    """The encoding by its one name.

    Raises:
        InputError: there is none of that name.
    """
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=source.encoding)
        name = codecs.lookup(source.encoding).name
    except (LookupError, ValueError):
        raise InputError(
            f"--encoding {source.encoding!r} is no encoding of text; name one such as latin-1, cp1252, utf-16 or gb18030."
        ) from None
    return UTF_8 if name == "utf-8-sig" else name


def _find_files(source: CorpusSource, path: Path) -> CorpusFiles:
    hub_only = (("--split", source.split), ("--corpus-revision", source.revision))
    _refuse_options(source, "no data set on the hub", [option for option, value in hub_only if value is not None])
    if path.is_dir():
        files = _of_folder(source, path)
    else:
        _refuse_options(source, "no folder", _of_folders(source))
        if not _is_corpus(path.name):
            raise InputError(f"{path} is no corpus file; give one that {ENDINGS}.")
        files = CorpusFiles([CorpusFile(path, path.name)])
    if all(file.is_parquet for file in files.files):
        _refuse_options(source, "Parquet and has an encoding of its own", _of_text(source))
    return files


def _of_folder(source: CorpusSource, folder: Path) -> CorpusFiles:
    included = _matches(folder, "--include", source.include) if source.include else None
    excluded = _matches(folder, "--exclude", source.exclude)
    files, left_out = [], {}
    for name in sorted(_names(folder), key=lambda name: name.split("/")):
        reason = _reason(folder, name, included, excluded)
        if reason is None:
            files.append(CorpusFile(folder / name, name))
        elif reason != HIDDEN or _is_corpus(name):
            left_out[name] = reason
    if not files:
        chosen = " that --include and --exclude leave and that" if NOT_CHOSEN in left_out.values() else " that"
        raise InputError(f"the folder {folder} has no file{chosen} {ENDINGS}; give one that has.")
    return CorpusFiles(files, left_out)


def _reason(folder: Path, name: str, included: set[str] | None, excluded: set[str]) -> str | None:
    """Why the file is left out, or None."""
    above = {name, *(parent.as_posix() for parent in Path(name).parents)}
    if any(part.startswith(".") for part in name.split("/")):
        return HIDDEN
    if above & excluded or (included is not None and not above & included):
        return NOT_CHOSEN
    path = folder / name
    # a link that leads nowhere is no other kind of file: opening it will say what is wrong
    if not _is_corpus(name) or (path.exists() and not path.is_file()):
        return OTHER_ENDING
    return None


def _names(folder: Path) -> Iterator[str]:
    """Every file below the folder, through links too, each folder once."""

    def refuse(error: OSError) -> None:
        raise InputError(f"the folder {error.filename} cannot be read ({error.strerror}); give one that can.") from None

    seen: set[tuple[int, int]] = set()
    for top, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(top)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from ((Path(top) / name).relative_to(folder).as_posix() for name in names)


def _matches(folder: Path, option: str, patterns: tuple[str, ...]) -> set[str]:
    """Names of files and folders that a pattern matches.

    Raises:
        InputError: a pattern matches nothing.
    """
    paths: set[str] = set()
    for pattern in patterns:
        names = glob.glob(pattern, root_dir=folder, recursive=True)
        if not names:
            raise InputError(
                f"{option} {pattern!r} matches nothing in {folder}; write a pattern relative to it, such as 'old/*.jsonl' or "
                "'**/*.json'."
            )
        paths |= {os.path.normpath(name) for name in names}
    return paths


def content_key(source: CorpusSource, files: CorpusFiles | None) -> list[object]:
    """What identifies the text: sha256 of each local file, or name, revision and split on the hub.

    Args:
        files: the local files; None on the hub.
    Raises:
        InputError: a file cannot be read.
    """
    if files is None:
        return [source.location, source.revision or "", source.split or "train"]
    in_folder = source.path is not None and source.path.is_dir()
    hashes: list[object] = [[file.name if in_folder else "", _file_sha256(file.path)] for file in files.files]
    return [*hashes, "" if all(file.is_parquet for file in files.files) else _encoding(source)]


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give an undamaged file.") from None
