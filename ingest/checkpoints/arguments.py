"""Models as they are given on the command line."""

import re
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import InputError, did_you_mean


@dataclass(frozen=True)
class ModelSource:
    """Where a model is, as given on the command line: [NAME=]LOCATION[@REVISION]."""

    name: str
    location: str
    revision: str | None
    is_local: bool

    @property
    def file(self) -> Path | None:
        """The one GGUF file that is the whole checkpoint; None of folders and names."""
        return Path(self.location) if self.is_local and _is_file(Path(self.location)) else None

    @property
    def folder(self) -> str:
        """What libraries are given: a folder, or a name on the hub."""
        return self.location if self.file is None else str(self.file.parent)

    @property
    def in_folder(self) -> dict[str, str]:
        """What libraries are told of a file in it, by option."""
        return {} if self.file is None else {"gguf_file": self.file.name}


def _is_file(path: Path) -> bool:
    return path.suffix == ".gguf" and path.is_file()


def parse_model_argument(argument: str) -> ModelSource:
    """Split an argument into name, location and revision; the name defaults to the location's last part.

    Raises:
        InputError: nothing is left of the argument, or it is a path where nothing is.
    """
    name, equals, location = argument.partition("=")
    if not equals or "/" in name or not name:
        name, location = "", argument
    if not location.strip():
        raise InputError(f"the model {argument!r} has no location; give a checkpoint's folder, or a hub name as OWNER/NAME.")
    if Path(location).expanduser().exists():
        path = Path(location).expanduser().absolute()
        if _is_file(path):  # it may be a link to a file without an ending, as in the hub's cache
            return ModelSource(name or path.stem, str(path.parent.resolve() / path.name), None, True)
        return ModelSource(name or folder_name(path), str(path.resolve()), None, True)
    if location.endswith(".gguf"):
        raise InputError(f"there is no file {location!r}{nearest(location)}; give a GGUF file, or the folder of a checkpoint.")
    location, _, revision = location.rpartition("@") if "@" in location else (location, "", "")
    if Path(location).expanduser().is_dir():
        raise InputError(f"{location} is a folder and has no revision {revision!r}; leave out @{revision}.")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", location) or location.startswith("."):
        raise InputError(_no_folder(location))
    if Path(location).parts[0] != location and Path(Path(location).parts[0]).is_dir():
        raise InputError(_no_folder(location))
    return ModelSource(name or location.rsplit("/", 1)[-1], location, revision or None, False)


def folder_name(folder: Path) -> str:
    """What a model in this folder is called: as the folder is, or, within the hub's cache, as on the hub.

    The cache keeps a model as models--OWNER--NAME/snapshots/COMMIT, and a commit is no name.
    """
    for part in folder.resolve().parts[-3::2]:
        cached = re.fullmatch(r"models--(?:.+--)?(.+)", part)
        if cached:
            return cached[1]
    return folder.name or folder.resolve().name


def nearest(location: str) -> str:
    """For a sentence that misses a folder or a GGUF file: one of nearly this name, beside where it would be."""
    path = Path(location).expanduser()
    try:
        beside = [one.name for one in path.parent.iterdir() if one.is_dir() or _is_file(one)]
    except OSError:
        return ""
    return did_you_mean(path.name, beside, before=location.removesuffix(path.name))


def _no_folder(location: str) -> str:
    return (
        f"there is no folder {location!r}{nearest(location)}; give the folder of a checkpoint, or a hub name as "
        "OWNER/NAME."
    )
