"""Where things are: environment variables and folders."""

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The folder of the embedded database and the caches: CATALOG_HOME, else the user's data folder; created."""
    folder = Path(os.environ.get("CATALOG_HOME") or platformdirs.user_data_dir("neuron-catalog")).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def staging_folder() -> Path:
    """The folder of sums and checkpoints of unpublished runs: CATALOG_STAGING, else a folder of `home`; not created."""
    given = os.environ.get("CATALOG_STAGING")
    return Path(given).expanduser().resolve() if given else home() / "staging"


def database_url() -> str | None:
    """The database to use instead of the embedded one: CATALOG_DATABASE_URL."""
    return os.environ.get("CATALOG_DATABASE_URL") or None


def reader_password() -> str | None:
    """Password of the role catalog_reader on a server that asks for one: CATALOG_READER_PASSWORD."""
    return os.environ.get("CATALOG_READER_PASSWORD") or None
