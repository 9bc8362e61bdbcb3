"""The folder of sums and checkpoints: whether it can be written, which is asked before anything heavy is imported."""

import secrets
from pathlib import Path

from catalog.errors import InputError


def check_writable(folder: Path) -> None:
    """Raises:
    InputError: no file can be made in the staging folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"probe.{secrets.token_hex(4)}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"the staging folder {folder} cannot be written ({error.strerror}); name another with --staging or CATALOG_STAGING."
        ) from None
