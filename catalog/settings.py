"""Where things are: environment variables and folders."""

import os
from pathlib import Path

import platformdirs

from catalog.errors import InputError


def home() -> Path:
    """The folder of the embedded database and the caches: CATALOG_HOME, else the user's data folder; created.

    Raises:
        InputError: it cannot be made, or nothing can be written into it.
    """
    folder = Path(os.environ.get("CATALOG_HOME") or platformdirs.user_data_dir("neuron-catalog"))
    try:
        folder = folder.expanduser().resolve()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise _no_home(folder, getattr(error, "strerror", None) or str(error)) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _no_home(folder, "permission denied")
    return folder


def _no_home(folder: Path, reason: str) -> InputError:
    return InputError(
        f"the catalog's folder {folder} cannot be written ({reason}); name one that can in CATALOG_HOME, where the embedded "
        "database and the caches are kept."
    )


def staging_folder() -> Path:
    """The folder of sums and checkpoints of unpublished runs: CATALOG_STAGING, else a folder of `home`; not created."""
    folder = os.environ.get("CATALOG_STAGING")
    return Path(folder).expanduser().resolve() if folder else home() / "staging"


def database_url() -> str | None:
    """The database to use instead of the embedded one: CATALOG_DATABASE_URL."""
    return os.environ.get("CATALOG_DATABASE_URL") or None


def reader_password() -> str | None:
    """Password of the role catalog_reader on a server that asks for one: CATALOG_READER_PASSWORD."""
    return os.environ.get("CATALOG_READER_PASSWORD") or None
