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
        return ModelSource(name or folder_name(path), str(path.resolve()), None, True)
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


def nearest_folder(location: str) -> str:
    """For a sentence that misses a folder: one of nearly this name, beside where it would be."""
    path = Path(location).expanduser()
    try:
        beside = [folder.name for folder in path.parent.iterdir() if folder.is_dir()]
    except OSError:
        return ""
    return did_you_mean(path.name, beside, before=location.removesuffix(path.name))


def _no_folder(location: str) -> str:
    return (
        f"there is no folder {location!r}{nearest_folder(location)}; give the folder of a checkpoint, or a hub name as "
        "OWNER/NAME."
    )
